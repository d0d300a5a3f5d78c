;; Calls the host while the host hands it what a phase is about.
;; phases: mail
(import "mailweir:filter/observe@0.1.0" "count" (func $count (param i32 i32 i32)))
(data (i32.const 0) "event")
(global $calling (mut i32) (i32.const 0))
(func $realloc (export "cabi_realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
  (if (global.get $calling) (then (call $count (i32.const 0) (i32.const 5) (i32.const 1))))
  (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
  (global.set $heap (i32.add (global.get $heap) (local.get $size)))
  (i32.sub (global.get $heap) (local.get $size)))
(func $constructor (param i32) (result i32)
  (global.set $calling (i32.const 1))
  (call $transaction-new (i32.const 0)))
