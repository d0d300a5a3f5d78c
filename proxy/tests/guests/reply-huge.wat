;; A reply of 10 MB.
;; phases: mail
(func $on-mail (param i32 i32 i32) (result i32)
  (drop (memory.grow (i32.const 200)))
  (memory.fill (i32.const 4096) (i32.const 120) (i32.const 10485760))
  (call $reply (i32.const 2) (i32.const 550) (i32.const 4096) (i32.const 10485760)))
