;; Tells the first Subject.
;; phases: end-of-message
(import "mailweir:filter/message@0.1.0" "[method]mail.header" (func $header (param i32 i32 i32 i32)))
(data (i32.const 0) "Subject")
(func $on-end (param $self i32) (param $mail i32) (result i32)
  (call $header (local.get $mail) (i32.const 0) (i32.const 7) (i32.const 512))
  (call $drop-mail (local.get $mail))
  (call $reason
    (i32.load (i32.load (i32.const 512)))
    (i32.load offset=4 (i32.load (i32.const 512)))))
