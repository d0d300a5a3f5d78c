;; Keeps more in one value than it may.
;; phases: mail
(import "mailweir:filter/state@0.1.0" "set" (func $set (param i32 i32 i32 i32 i32)))
(func $on-mail (param i32 i32 i32) (result i32)
  (drop (memory.grow (i32.const 2)))
  (call $set (i32.const 0) (i32.const 1) (i32.const 4096) (i32.const 65537) (i32.const 60))
  (call $pass))
