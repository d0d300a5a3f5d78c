;; Adds a recipient that would be two commands.
;; phases: end-of-message
;; edits
(data (i32.const 0) "a@example.com>\0d\0aRCPT TO:<b@example.com")
(func $on-end (param $self i32) (param $mail i32) (result i32)
  (call $drop-mail (local.get $mail))
  (i32.store8 (i32.const 1536) (i32.const 4))
  (i32.store (i32.const 1540) (i32.const 0))
  (i32.store (i32.const 1544) (i32.const 38))
  (call $edit))
