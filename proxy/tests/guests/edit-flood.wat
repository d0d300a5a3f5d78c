;; A million edits.
;; phases: end-of-message
;; edits
(func $on-end (param $self i32) (param $mail i32) (result i32)
  (call $drop-mail (local.get $mail))
  (drop (memory.grow (i32.const 400)))
  (drop (call $pass))
  (i32.store (i32.const 1072) (i32.const 4096))
  (i32.store (i32.const 1076) (i32.const 1000000))
  (i32.const 1024))
