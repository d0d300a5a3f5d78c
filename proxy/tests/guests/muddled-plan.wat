;; Wants the body pushed but not to be called with it.
;; phases: mail
;; body: push-raw
