;; Making room for what it is handed takes room that has to be made first.
;; phases: mail
(func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
  (call $realloc (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
