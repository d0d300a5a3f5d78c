;; Never comes back.
;; phases: mail
(func $on-mail (param i32 i32 i32) (result i32)
  (loop $forever (br $forever))
  (unreachable))
