;; As body-length, of decoded text: it also traps at a piece that begins within a character.
;; phases: body end-of-message
;; body: push-decoded-text
;; max-body: 100000
(func $on-body (param $self i32) (param $chunk i32) (param $length i32) (result i32)
  (if (i32.eq (i32.and (i32.load8_u (local.get $chunk)) (i32.const 0xc0)) (i32.const 0x80)) (then (unreachable)))
  (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (local.get $length)))
  (i32.store (i32.const 4) (i32.add (i32.load (i32.const 4)) (i32.const 1)))
  (call $no-decision))
(func $on-end (param $self i32) (param $mail i32) (result i32)
  (call $drop-mail (local.get $mail))
  (call $score (i32.add (i32.load (i32.const 0)) (i32.mul (i32.load (i32.const 4)) (i32.const 1000000)))))
