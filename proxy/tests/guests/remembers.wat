;; Counts its calls, in a global and in memory; tells both as one number.
;; phases: mail
(global $calls (mut i32) (i32.const 0))
(func $on-mail (param i32 i32 i32) (result i32)
  (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
  (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
  ;; Far off as well, where memory is cleared in another way.
  (i32.store (i32.const 131000) (i32.add (i32.load (i32.const 131000)) (i32.const 1)))
  (call $score
    (i32.add
      (i32.add (i32.mul (global.get $calls) (i32.const 100)) (i32.mul (i32.load (i32.const 0)) (i32.const 10)))
      (i32.load (i32.const 131000)))))
