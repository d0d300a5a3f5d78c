;; A table that grows for as long as it can.
;; phases: mail
(table $t 1 funcref)
(func $on-mail (param i32 i32 i32) (result i32)
  (loop $again
    (br_if $again (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
  (call $score (table.size $t)))
