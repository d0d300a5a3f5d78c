;; A log line of four gigabytes.
;; phases: mail
(import "mailweir:filter/observe@0.1.0" "log" (func $log (param i32 i32 i32)))
(func $on-mail (param i32 i32 i32) (result i32)
  (call $log (i32.const 3) (i32.const 0) (i32.const -1))
  (call $pass))
