;; Asks for the whole message, four gigabytes at a time, from the start and from far past the end.
;; phases: end-of-message
(import "mailweir:filter/message@0.1.0" "[method]mail.raw" (func $raw (param i32 i64 i32 i32)))
(func $on-end (param $self i32) (param $mail i32) (result i32)
  (call $raw (local.get $mail) (i64.const -1) (i32.const -1) (i32.const 512))
  (if (i32.load (i32.const 516)) (then (unreachable)))
  (call $raw (local.get $mail) (i64.const 0) (i32.const -1) (i32.const 512))
  (call $drop-mail (local.get $mail))
  (call $score (i32.load (i32.const 516))))
