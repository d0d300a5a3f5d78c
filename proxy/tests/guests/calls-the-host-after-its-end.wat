;; Calls the host from the function that frees what a phase returned.
;; phases: mail
(import "mailweir:filter/observe@0.1.0" "count" (func $count (param i32 i32 i32)))
(data (i32.const 0) "event")
(func (export "cabi_post_mailweir:filter/handler@0.1.0#[method]transaction.on-mail") (param i32)
  (call $count (i32.const 0) (i32.const 5) (i32.const 1)))
