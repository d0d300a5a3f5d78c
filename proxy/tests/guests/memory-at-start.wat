;; Needs 256 MiB before it does anything.
;; phases: mail
(memory (export "memory") 4096)
