; Four blocks side by side.
(define (problem tower)
  (:domain blocksworld)
  (:objects red blue green yellow - block)
  (:init (arm-empty)
    (on-table red) (on-table blue) (on-table green) (on-table yellow)
    (clear red) (clear blue) (clear green) (clear yellow)))
