;; Tells how many MIME parts there are.
;; phases: end-of-message
(import "mailweir:filter/message@0.1.0" "[method]mail.parts" (func $parts (param i32 i32)))
(func $on-end (param $self i32) (param $mail i32) (result i32)
  (call $parts (local.get $mail) (i32.const 512))
  (call $drop-mail (local.get $mail))
  (call $score (i32.load (i32.const 516))))
