; Blocks on a table, and one hand that moves them one at a time.
(define (domain blocksworld)
  (:requirements :strips :typing)
  (:types block)
  (:predicates
    (on ?above - block ?below - block)
    (on-table ?b - block)
    (clear ?b - block)          ; nothing stands on it, and it is not in the hand
    (holding ?b - block)
    (arm-empty))

  (:action pick-up
    :parameters (?b - block)
    :precondition (and (on-table ?b) (clear ?b) (arm-empty))
    :effect (and (holding ?b)
                 (not (on-table ?b)) (not (clear ?b)) (not (arm-empty))))

  (:action put-down
    :parameters (?b - block)
    :precondition (holding ?b)
    :effect (and (on-table ?b) (clear ?b) (arm-empty)
                 (not (holding ?b))))

  (:action stack
    :parameters (?b - block ?below - block)
    :precondition (and (holding ?b) (clear ?below))
    :effect (and (on ?b ?below) (clear ?b) (arm-empty)
                 (not (holding ?b)) (not (clear ?below))))

  (:action unstack
    :parameters (?b - block ?below - block)
    :precondition (and (on ?b ?below) (clear ?b) (arm-empty))
    :effect (and (holding ?b) (clear ?below)
                 (not (on ?b ?below)) (not (clear ?b)) (not (arm-empty)))))
