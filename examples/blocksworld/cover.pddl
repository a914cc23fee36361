; Yellow stands on green.
(define (problem cover)
  (:domain blocksworld)
  (:objects red blue green yellow orange - block)
  (:init (arm-empty)
    (on-table red) (on-table blue) (on-table green) (on-table orange) (on yellow green)
    (clear red) (clear blue) (clear yellow) (clear orange)))
