;; Refuses every configuration with the configuration.
(func $configure (param $text i32) (param $length i32) (result i32)
  (i32.store8 (i32.const 1024) (i32.const 1))
  (i32.store (i32.const 1032) (local.get $text))
  (i32.store (i32.const 1036) (local.get $length))
  (i32.const 1024))
