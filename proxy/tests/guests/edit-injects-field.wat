;; Adds a field whose value brings another one.
;; phases: end-of-message
;; edits
(data (i32.const 0) "X-Tagclean\0d\0aBcc: b@example.com")
(func $on-end (param $self i32) (param $mail i32) (result i32)
  (call $drop-mail (local.get $mail))
  (i32.store8 (i32.const 1536) (i32.const 0))
  (i32.store (i32.const 1540) (i32.const 0))
  (i32.store (i32.const 1544) (i32.const 5))
  (i32.store (i32.const 1548) (i32.const 5))
  (i32.store (i32.const 1552) (i32.const 25))
  (call $edit))
