;; Tells the size of the message.
;; phases: headers end-of-message
(import "mailweir:filter/message@0.1.0" "[method]mail.size" (func $size (param i32) (result i64)))
(func $on-headers (param $self i32) (param $mail i32) (result i32)
  (call $on-end (local.get $self) (local.get $mail)))
(func $on-end (param $self i32) (param $mail i32) (result i32)
  (local $size i32)
  (local.set $size (i32.wrap_i64 (call $size (local.get $mail))))
  (call $drop-mail (local.get $mail))
  (call $score (local.get $size)))
