;; Counts the bytes that it is given and the calls it takes: the score is 1,000 calls and a byte each.
;; phases: body end-of-message
;; body: push-raw
;; max-body: 150000
(func $on-body (param $self i32) (param $chunk i32) (param $length i32) (result i32)
  (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (local.get $length)))
  (i32.store (i32.const 4) (i32.add (i32.load (i32.const 4)) (i32.const 1)))
  (call $no-decision))
(func $on-end (param $self i32) (param $mail i32) (result i32)
  (call $drop-mail (local.get $mail))
  (call $score (i32.add (i32.load (i32.const 0)) (i32.mul (i32.load (i32.const 4)) (i32.const 1000000)))))
