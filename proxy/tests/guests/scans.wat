;; Tells what the virus scanner says: 0 for clean, 1 and the name for infected, 2 and the reason for failed.
;; phases: end-of-message
(import "mailweir:filter/antivirus@0.1.0" "scan" (func $scan (param i32 i32)))
(func $on-end (param $self i32) (param $mail i32) (result i32)
  (call $scan (local.get $mail) (i32.const 512))
  (call $drop-mail (local.get $mail))
  (drop (call $score (i32.load8_u (i32.const 512))))
  (if (i32.load8_u (i32.const 512))
    (then
      (i32.store (i32.const 1056) (i32.load (i32.const 516)))
      (i32.store (i32.const 1060) (i32.load (i32.const 520)))))
  (i32.const 1024))
