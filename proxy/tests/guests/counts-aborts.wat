;; Counts transactions that end early.
;; phases: mail abort
(import "mailweir:filter/observe@0.1.0" "count" (func $count (param i32 i32 i32)))
(data (i32.const 0) "abort")
(func $on-abort (param i32)
  (call $count (i32.const 0) (i32.const 5) (i32.const 1)))
