;; Asks for no phase at all.
