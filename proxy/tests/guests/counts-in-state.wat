;; Counts transactions, all of them together.
;; phases: mail
(import "mailweir:filter/state@0.1.0" "increment" (func $increment (param i32 i32 i32 i32) (result i64)))
(data (i32.const 0) "n")
(func $on-mail (param i32 i32 i32) (result i32)
  (call $score (i32.wrap_i64 (call $increment (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 60)))))
