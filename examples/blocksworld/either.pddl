; Yellow stands on blue.
(define (problem either)
  (:domain blocksworld)
  (:objects red blue green yellow - block)
  (:init (arm-empty)
    (on-table red) (on-table blue) (on-table green) (on yellow blue)
    (clear red) (clear green) (clear yellow)))
