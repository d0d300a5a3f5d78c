;; A component, but not a filter.
(component)
