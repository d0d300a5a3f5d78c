;; A refusal that says yes.
;; phases: mail
(data (i32.const 0) "ok")
(func $on-mail (param i32 i32 i32) (result i32)
  (call $reply (i32.const 3) (i32.const 250) (i32.const 0) (i32.const 2)))
