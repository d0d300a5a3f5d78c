;; Refuses every configuration, and says why in a line and a half.
(data (i32.const 0) "zones: expected a list\0d\0aof names")
(func $configure (param i32 i32) (result i32)
  (i32.store8 (i32.const 1024) (i32.const 1))
  (i32.store (i32.const 1032) (i32.const 0))
  (i32.store (i32.const 1036) (i32.const 32))
  (i32.const 1024))
