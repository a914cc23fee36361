; Green stands on yellow.
(define (problem top)
  (:domain blocksworld)
  (:objects red blue green yellow - block)
  (:init (arm-empty)
    (on-table red) (on-table blue) (on-table yellow) (on green yellow)
    (clear red) (clear blue) (clear green)))
