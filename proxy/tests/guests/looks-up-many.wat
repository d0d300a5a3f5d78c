;; Asks for as many blocklist entries in one call as it may make calls, and then some.
;; phases: mail
(import "mailweir:filter/dns@0.1.0" "dnsbl" (func $dnsbl (param i32 i32 i32)))
(data (i32.const 0) "2.0.0.127.bl.test")
(func $on-mail (param i32 i32 i32) (result i32)
  (local $left i32)
  (local $at i32)
  (local.set $left (i32.const 300))
  (local.set $at (i32.const 4096))
  (global.set $heap (i32.const 8192))
  (loop $again
    (i32.store (local.get $at) (i32.const 0))
    (i32.store offset=4 (local.get $at) (i32.const 17))
    (local.set $at (i32.add (local.get $at) (i32.const 8)))
    (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
  (call $dnsbl (i32.const 4096) (i32.const 300) (i32.const 512))
  (call $score (i32.load (i32.const 516))))
