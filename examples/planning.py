"""Plans for STRIPS tasks: how many steps a goal takes, and what the steps so far have come nearer to."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Mapping
from functools import lru_cache

from lmppl.constraints.domains.strips import Goal, State, Task


def shortest_plan(task: Task, goal: Goal) -> tuple[str, ...] | None:
    """Gives a shortest plan for a goal by A*, or None if no state of the task satisfies it.

    The heuristic counts the missing facts and divides by the most that one action can supply, so it
    never overestimates. Meant for tasks of up to some ten thousand states.
    """
    gain = max((len(action.adds & goal) for action in task.actions.values()), default=0)
    if goal - task.init and not gain:
        return None

    def estimate(state: State) -> int:
        missing = len(goal - state)
        return -(-missing // gain) if missing else 0

    order = itertools.count()  # equal estimates: first come, first served
    queue = [(estimate(task.init), next(order), 0, task.init)]
    came_from: dict[State, tuple[State, str] | None] = {task.init: None}
    steps = {task.init: 0}
    while queue:
        _, _, taken, state = heapq.heappop(queue)
        if goal <= state:
            return _trace_back(came_from, state)
        if taken > steps[state]:
            continue
        for action in task.actions.values():
            if action.can_be_taken(state):
                reached = action.apply(state)
                if taken + 1 < steps.get(reached, taken + 2):
                    steps[reached], came_from[reached] = taken + 1, (state, action.text)
                    heapq.heappush(queue, (taken + 1 + estimate(reached), next(order), taken + 1, reached))
    return None


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


def _trace_back(came_from: Mapping[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    steps = []
    while (link := came_from[state]) is not None:
        state, action = link
        steps.append(action)
    return tuple(reversed(steps))
