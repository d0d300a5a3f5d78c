;; What all guests share. Addresses below 1024 are free for a guest's own data, 1024 to 2047 hold what it returns, the heap
;; begins at 4096.
(import "mailweir:filter/message@0.1.0" "[resource-drop]mail" (func $drop-mail (param i32)))
(import "[export]mailweir:filter/handler@0.1.0" "[resource-new]transaction" (func $transaction-new (param i32) (result i32)))

(export "mailweir:filter/handler@0.1.0#configure" (func $configure))
(export "mailweir:filter/handler@0.1.0#[constructor]transaction" (func $constructor))
(export "mailweir:filter/handler@0.1.0#[method]transaction.on-connect" (func $on-connect))
(export "mailweir:filter/handler@0.1.0#[method]transaction.on-helo" (func $on-helo))
(export "mailweir:filter/handler@0.1.0#[method]transaction.on-mail" (func $on-mail))
(export "mailweir:filter/handler@0.1.0#[method]transaction.on-rcpt" (func $on-rcpt))
(export "mailweir:filter/handler@0.1.0#[method]transaction.on-headers" (func $on-headers))
(export "mailweir:filter/handler@0.1.0#[method]transaction.on-body" (func $on-body))
(export "mailweir:filter/handler@0.1.0#[method]transaction.on-end" (func $on-end))
(export "mailweir:filter/handler@0.1.0#[method]transaction.on-abort" (func $on-abort))

(global $heap (mut i32) (i32.const 4096))

;; Nothing is ever freed: a sandbox serves one transaction.
(func $realloc (export "cabi_realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
  (local $at i32)
  (local.set $at
    (i32.and
      (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get $align))))
  (global.set $heap (i32.add (local.get $at) (local.get $size)))
  (block $enough
    (loop $grow
      (br_if $enough (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
      (br_if $grow (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))
      (unreachable)))
  (memory.copy (local.get $at) (local.get $old) (local.get $old-size))
  (local.get $at))

;; ok(plan)
(func $plan (result i32)
  (i32.store8 (i32.const 1024) (i32.const 0))
  (i32.store8 (i32.const 1032) (global.get $phases))
  (i32.store8 (i32.const 1033) (global.get $body))
  (i64.store (i32.const 1040) (global.get $max-body))
  (i32.store8 (i32.const 1048) (global.get $edits))
  (i32.const 1024))

;; A decision, and for on-end no edits after it: verdict at 0 (its payload at 4), score at 24 and 28, reason at 32 and 36,
;; tags at 40 and 44, edits at 48 and 52.
(func $pass (result i32)
  (memory.fill (i32.const 1024) (i32.const 0) (i32.const 64))
  (i32.const 1024))

;; none
(func $no-decision (result i32)
  (i32.store8 (i32.const 1024) (i32.const 0))
  (i32.const 1024))

;; A decision with a reply: 2 reject, 3 tempfail, 5 disconnect; the enhanced status code is left to the host.
(func $reply (param $verdict i32) (param $code i32) (param $text i32) (param $length i32) (result i32)
  (drop (call $pass))
  (i32.store8 (i32.const 1024) (local.get $verdict))
  (i32.store16 (i32.const 1028) (local.get $code))
  (i32.store (i32.const 1040) (local.get $text))
  (i32.store (i32.const 1044) (local.get $length))
  (i32.const 1024))

;; pass with a score, for guests that want to tell a number.
(func $score (param $number i32) (result i32)
  (drop (call $pass))
  (i32.store8 (i32.const 1048) (i32.const 1))
  (f32.store (i32.const 1052) (f32.convert_i32_u (local.get $number)))
  (i32.const 1024))

;; pass with a reason.
(func $reason (param $text i32) (param $length i32) (result i32)
  (drop (call $pass))
  (i32.store (i32.const 1056) (local.get $text))
  (i32.store (i32.const 1060) (local.get $length))
  (i32.const 1024))

;; pass, from on-end, with one edit that stands at 1536.
(func $edit (result i32)
  (drop (call $pass))
  (i32.store (i32.const 1072) (i32.const 1536))
  (i32.store (i32.const 1076) (i32.const 1))
  (i32.const 1024))
