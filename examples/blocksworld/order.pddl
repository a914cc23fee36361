; Green stands on blue.
(define (problem order)
  (:domain blocksworld)
  (:objects red blue green yellow - block)
  (:init (arm-empty)
    (on-table red) (on-table blue) (on-table yellow) (on green blue)
    (clear red) (clear green) (clear yellow)))
