;; Tells the outcome of SPF for the envelope sender, and the domain.
;; phases: mail
(import "mailweir:filter/authentication@0.1.0" "spf" (func $spf (param i32 i32)))
(func $on-mail (param i32 i32 i32) (result i32)
  (call $spf (i32.const 1) (i32.const 512))
  (drop (call $score (i32.load8_u (i32.const 512))))
  (i32.store (i32.const 1056) (i32.load (i32.const 516)))
  (i32.store (i32.const 1060) (i32.load (i32.const 520)))
  (i32.const 1024))
