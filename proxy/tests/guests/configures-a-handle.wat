;; Makes the handle of its transaction before there is one.
;; phases: mail
(global $transaction (mut i32) (i32.const 0))
(func $configure (param i32 i32) (result i32)
  (global.set $transaction (call $transaction-new (i32.const 7)))
  (call $plan))
(func $constructor (param i32) (result i32)
  (global.get $transaction))
(func $on-mail (param $self i32) (param i32 i32) (result i32)
  (call $score (local.get $self)))
