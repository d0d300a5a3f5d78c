;; Was made for a later contract.
(component
  (import "mailweir:filter/message@0.2.0" (instance)))
