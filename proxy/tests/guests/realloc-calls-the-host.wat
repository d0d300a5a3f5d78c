;; Calls the host while the host is about to call it.
;; phases: mail
(import "mailweir:filter/observe@0.1.0" "count" (func $count (param i32 i32 i32)))
(func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
  (call $count (i32.const 0) (i32.const 5) (i32.const 1))
  (i32.const 4096))
