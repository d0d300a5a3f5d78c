;; A verdict that the contract does not have.
;; phases: mail
(func $on-mail (param i32 i32 i32) (result i32)
  (call $reply (i32.const 77) (i32.const 550) (i32.const 0) (i32.const 0)))
