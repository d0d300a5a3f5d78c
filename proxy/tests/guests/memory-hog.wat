;; Takes all the memory it can get, and writes to it, then gives up.
;; phases: mail
(func $on-mail (param i32 i32 i32) (result i32)
  (local $at i32)
  (loop $more
    (local.set $at (i32.mul (memory.size) (i32.const 65536)))
    (if (i32.ne (memory.grow (i32.const 16)) (i32.const -1))
      (then
        (memory.fill (local.get $at) (i32.const 1) (i32.const 1048576))
        (br $more))))
  (unreachable))
