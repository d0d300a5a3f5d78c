;; A reply that would be two.
;; phases: mail
(data (i32.const 0) "no\0d\0a250 yes")
(func $on-mail (param i32 i32 i32) (result i32)
  (call $reply (i32.const 2) (i32.const 550) (i32.const 0) (i32.const 11)))
