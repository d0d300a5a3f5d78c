;; Wants what no filter gets.
(component
  (import "wasi:sockets/tcp@0.2.3" (instance)))
