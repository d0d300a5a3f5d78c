;; Looks up a name for as long as that takes.
;; phases: mail
(import "mailweir:filter/dns@0.1.0" "txt" (func $txt (param i32 i32 i32)))
(data (i32.const 0) "slow.example.com")
(func $on-mail (param i32 i32 i32) (result i32)
  (call $txt (i32.const 0) (i32.const 16) (i32.const 512))
  (call $pass))
