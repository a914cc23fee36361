"""Plans for STRIPS tasks: how many steps a goal takes, and what the steps so far have come nearer to."""

from __future__ import annotations

from collections import deque
from functools import lru_cache

# `lp.plan` reads a problem from PDDL; these tasks are made and gone on with in the program, as values.
from lmppl.constraints.domains.planning.shortest_plans import shortest_plan
from lmppl.constraints.domains.planning.strips import Goal, State, Task


def plan_length(task: Task, goal: Goal) -> int | None:
    """Gives the number of steps of a shortest plan for a goal, or None if there is no plan."""
    plan = shortest_plan(task, goal)
    return None if plan is None else len(plan)


def distances(task: Task, max_states: int = 100_000) -> dict[State, int]:
    """Gives every state that can be reached, with the number of steps it takes, nearest first."""
    steps = {task.init: 0}
    queue = deque([task.init])
    while queue:
        state = queue.popleft()
        for action in task.actions.values():
            if action.can_be_taken(state) and (reached := action.apply(state)) not in steps:
                steps[reached] = steps[state] + 1
                queue.append(reached)
        if len(steps) > max_states:
            raise ValueError(
                f"This task has more than {max_states:,} states, too many to list. Use fewer objects."
            )
    return steps


@lru_cache(maxsize=256)
def states_ahead(task: Task, plan: tuple[str, ...]) -> tuple[State, ...]:
    """Gives the states that the plan has come nearer to with all it has done, nearest first.

    They are the states to which some shortest way from the start leads through where the plan has got,
    so that nothing need be undone to reach them.
    """
    here = task.final(plan)
    from_start, from_here = distances(task), distances(task.after(plan))
    return tuple(state for state, steps in from_here.items() if from_start[here] + steps == from_start[state])
