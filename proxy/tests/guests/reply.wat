;; A proper refusal.
;; phases: mail
(data (i32.const 0) "not here")
(func $on-mail (param i32 i32 i32) (result i32)
  (call $reply (i32.const 2) (i32.const 550) (i32.const 0) (i32.const 8)))
