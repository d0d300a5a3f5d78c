;; Calls the host a million times.
;; phases: mail
(import "mailweir:filter/observe@0.1.0" "count" (func $count (param i32 i32 i32)))
(data (i32.const 0) "flood")
(func $on-mail (param i32 i32 i32) (result i32)
  (local $left i32)
  (local.set $left (i32.const 1000000))
  (loop $again
    (call $count (i32.const 0) (i32.const 5) (i32.const 1))
    (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
  (call $pass))
