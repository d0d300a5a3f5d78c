;; Asks for SPF before there is a transaction.
(import "mailweir:filter/authentication@0.1.0" "spf" (func $spf (param i32 i32)))
(func $configure (param i32 i32) (result i32)
  (call $spf (i32.const 0) (i32.const 512))
  (call $plan))
