;; Remembers that it was configured: in a global, in memory, and in memory that it got for that. Adds its own calls to each, and
;; tells them as one number.
;; phases: mail
(global $seen (mut i32) (i32.const 0))
(global $far (mut i32) (i32.const 0))
(func $configure (param i32 i32) (result i32)
  (global.set $far (i32.mul (memory.grow (i32.const 1)) (i32.const 65536)))
  (call $see)
  (call $plan))
(func $on-mail (param i32 i32 i32) (result i32)
  (call $see)
  (call $score
    (i32.add
      (i32.add (i32.mul (global.get $seen) (i32.const 100)) (i32.mul (i32.load (i32.const 0)) (i32.const 10)))
      (i32.load (global.get $far)))))
(func $see
  (global.set $seen (i32.add (global.get $seen) (i32.const 1)))
  (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
  (i32.store (global.get $far) (i32.add (i32.load (global.get $far)) (i32.const 1))))
