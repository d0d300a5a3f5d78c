;; Tells how often the message says "hello", and where it did so last.
;; phases: end-of-message
(import "mailweir:filter/scan@0.1.0" "[static]pattern-set.compile" (func $compile (param i32 i32 i32 i32)))
(import "mailweir:filter/scan@0.1.0" "find" (func $find (param i32 i32 i32 i32 i32)))
(data (i32.const 0) "hello")
(func $configure (param i32 i32) (result i32)
  ;; One pattern, case-insensitive.
  (i32.store (i32.const 256) (i32.const 0))
  (i32.store (i32.const 260) (i32.const 5))
  (call $compile (i32.const 256) (i32.const 1) (i32.const 2) (i32.const 512))
  (if (i32.load8_u (i32.const 512)) (then (unreachable)))
  (call $plan))
(func $on-end (param $self i32) (param $mail i32) (result i32)
  (local $last i32)
  (call $find (local.get $mail) (i32.const 2) (i32.load (i32.const 516)) (i32.const 100) (i32.const 520))
  (call $drop-mail (local.get $mail))
  (local.set $last
    (i32.add (i32.load (i32.const 520)) (i32.mul (i32.const 32) (i32.sub (i32.load (i32.const 524)) (i32.const 1)))))
  (drop (call $score (i32.load (i32.const 524))))
  (i32.store (i32.const 1056) (i32.load offset=24 (local.get $last)))
  (i32.store (i32.const 1060) (i32.load offset=28 (local.get $last)))
  (i32.const 1024))
