;; Pattern sets without number, none of them given back.
;; phases: mail
(import "mailweir:filter/scan@0.1.0" "[static]pattern-set.compile" (func $compile (param i32 i32 i32 i32)))
(data (i32.const 0) "hello")
(func $on-mail (param i32 i32 i32) (result i32)
  (i32.store (i32.const 256) (i32.const 0))
  (i32.store (i32.const 260) (i32.const 5))
  (loop $again
    (call $compile (i32.const 256) (i32.const 1) (i32.const 2) (i32.const 512))
    (br $again))
  (unreachable))
