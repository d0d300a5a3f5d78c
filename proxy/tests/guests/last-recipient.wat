;; Tells the last of the recipients.
;; phases: end-of-message
(import "mailweir:filter/message@0.1.0" "[method]mail.recipients" (func $recipients (param i32 i32)))
(func $on-end (param $self i32) (param $mail i32) (result i32)
  (local $last i32)
  (call $recipients (local.get $mail) (i32.const 512))
  (call $drop-mail (local.get $mail))
  (local.set $last
    (i32.add
      (i32.load (i32.const 512))
      (i32.mul (i32.const 8) (i32.sub (i32.load (i32.const 516)) (i32.const 1)))))
  (call $reason (i32.load (local.get $last)) (i32.load offset=4 (local.get $last))))
