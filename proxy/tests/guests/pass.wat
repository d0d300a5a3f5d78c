;; Wants to be called in every phase but the body's, and has no objection.
;; phases: connect helo mail rcpt headers end-of-message abort
