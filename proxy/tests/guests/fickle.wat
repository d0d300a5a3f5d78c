;; Asks for other phases every time.
(import "mailweir:filter/state@0.1.0" "increment" (func $increment (param i32 i32 i32 i32) (result i64)))
(data (i32.const 0) "n")
(func $configure (param i32 i32) (result i32)
  (drop (call $plan))
  (i32.store8 (i32.const 1032)
    (i32.wrap_i64 (call $increment (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 1000))))
  (i32.const 1024))
