;; Never ends, before it has begun.
;; phases: mail
(func $spin (loop $again (br $again)))
(start $spin)
