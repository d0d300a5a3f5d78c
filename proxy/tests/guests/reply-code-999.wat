;; A reply with a code that SMTP does not have.
;; phases: mail
(data (i32.const 0) "no")
(func $on-mail (param i32 i32 i32) (result i32)
  (call $reply (i32.const 2) (i32.const 999) (i32.const 0) (i32.const 2)))
