;; Asks for the size of a message that it was not given.
;; phases: mail
(import "mailweir:filter/message@0.1.0" "[method]mail.size" (func $size (param i32) (result i64)))
(func $on-mail (param i32 i32 i32) (result i32)
  (drop (call $size (i32.const 1)))
  (call $pass))
