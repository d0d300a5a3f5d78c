;; Edits, though it said that it makes none.
;; phases: end-of-message
(data (i32.const 0) "X-Tag")
(func $on-end (param $self i32) (param $mail i32) (result i32)
  (call $drop-mail (local.get $mail))
  (i32.store8 (i32.const 1536) (i32.const 0))
  (i32.store (i32.const 1540) (i32.const 0))
  (i32.store (i32.const 1544) (i32.const 5))
  (call $edit))
