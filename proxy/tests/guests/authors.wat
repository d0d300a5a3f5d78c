;; Tells the first author; the score is which fault there is, counted from 1.
;; phases: end-of-message
(import "mailweir:filter/authentication@0.1.0" "authors" (func $authors (param i32 i32)))
(func $on-end (param $self i32) (param $mail i32) (result i32)
  (call $authors (local.get $mail) (i32.const 512))
  (call $drop-mail (local.get $mail))
  (if (i32.load8_u (i32.const 512))
    (then (return (call $score (i32.add (i32.load8_u (i32.const 516)) (i32.const 1))))))
  (call $reason
    (i32.load (i32.load (i32.const 516)))
    (i32.load offset=4 (i32.load (i32.const 516)))))
