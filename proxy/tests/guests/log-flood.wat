;; Logs a thousand lines, with a line break and an escape sequence in each.
;; phases: mail
(import "mailweir:filter/observe@0.1.0" "log" (func $log (param i32 i32 i32)))
(data (i32.const 0) "all is well\0d\0aERROR \1b[31mforged")
(func $on-mail (param i32 i32 i32) (result i32)
  (local $left i32)
  (local.set $left (i32.const 1000))
  (loop $again
    (call $log (i32.const 3) (i32.const 0) (i32.const 30))
    (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
  (call $pass))
