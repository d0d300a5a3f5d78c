;; A reply that lies outside of its memory.
;; phases: mail
(func $on-mail (param i32 i32 i32) (result i32)
  (call $reply (i32.const 2) (i32.const 550) (i32.const -16) (i32.const 15)))
