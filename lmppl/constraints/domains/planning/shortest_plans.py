"""`lp.plan`: a shortest plan of a planning problem, by A* search."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lmppl.constraints.domains.planning.packed_tasks import Budget, PackedTask
from lmppl.constraints.domains.planning.pddl_files import read_goal, read_task
from lmppl.constraints.domains.planning.strips import Goal, Task
from lmppl.errors import InvalidInputError, InvalidTypeError, PlanSearchLimit

GREED = 1_000


def plan(
    domain: str | Path,
    problem: str | Path,
    goal: str | Path | None = None,
    *,
    after: Sequence[str] = (),
    max_states: int = 500_000,
    timeout: float | None = None,
) -> tuple[str, ...] | None:
    """Gives a shortest plan for a planning problem, or None if there is none.

    `lp.plan(domain, problem)` may give `("(pick-up red)", "(stack red blue)")`. For a goal that a program
    draws, call it as `lp.cached(lp.plan, domain, problem, goal, timeout=10)`: out of the process, once for
    each goal, and a particle whose search takes longer is lost.

    The search is exact (A* over the states that can be reached), and meant for problems of up to some
    hundred thousand states, such as eight blocks on a table: a second or two. That there is no plan is
    found out at once where two facts of the goal exclude each other and 4,000,000 tests tell that, as with
    up to some 40 blocks; otherwise when all states were looked at.

    Args:
        domain: The PDDL text of a domain, or a `pathlib.Path` to it: STRIPS with types,
            negative preconditions and equality.
        problem: The text of a problem of that domain, or a path to it.
        goal: `(and ...)`, one fact, or a problem with a `(:goal ...)`; as text or path. None is the
            problem's own goal.
        after: Steps that were taken already: the plan goes on from there.
        max_states: The most states that are kept.
        timeout: The most seconds, reading included; None is no limit. The clock is looked at when the texts
            are read, when the actions are known and which pairs of facts exclude each other (at most
            4,000,000 tests), and at each state. What is between two looks is not interrupted.

    Raises:
        PDDLError: One of the texts cannot be read, the problem is too large, or the goal names what is not
            there.
        PlanError: A step of `after` cannot be taken.
        PlanSearchLimit: The search would have to look at more states, or take longer.
    """
    started = time.monotonic()
    if isinstance(after, str):
        raise InvalidTypeError(
            f"`after=` of plan() is a sequence of steps such as ['(go a b)'], not {after!r}."
        )
    if isinstance(max_states, bool) or not isinstance(max_states, int) or max_states < 1:
        raise InvalidInputError(f"plan() needs an int max_states >= 1, not {max_states!r}.")
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float)):
        raise InvalidTypeError(f"plan() needs seconds for `timeout=`, or None, not {timeout!r}.")
    if timeout is not None and not timeout > 0:
        raise InvalidInputError(f"plan() needs seconds > 0 for `timeout=`, or None, not {timeout!r}.")
    task = read_task(domain, problem)
    wanted = read_goal(problem if goal is None else goal, task)
    limit = None if timeout is None else TimeLimit(timeout, started)
    if limit is not None:
        limit.look(0)
    return shortest_plan(task.after(after) if after else task, wanted, max_states, limit)


class TimeLimit(NamedTuple):
    """How long a plan may be looked for, from when it was asked for."""

    seconds: float
    started: float

    def look(self, num_states: int) -> None:
        """Looks at the clock.

        Raises:
            PlanSearchLimit: The time is over.
        """
        if time.monotonic() - self.started > self.seconds:
            raise PlanSearchLimit(
                f"No plan was found in {self.seconds:g} s, and {num_states:,} states. There may be one: give "
                "more time by `timeout=`, or use fewer objects."
            )


def shortest_plan(
    task: Task, goal: Goal, max_states: int = 500_000, limit: TimeLimit | None = None
) -> tuple[str, ...] | None:
    """Gives a shortest plan for a goal of a task, or None; the arguments are those of `plan`.

    Raises:
        PlanSearchLimit: As `plan`.
    """
    packed = PackedTask.of(task)
    if limit is not None:
        limit.look(0)
    wanted = packed.goal(goal)
    if wanted is None or not packed.may_reach(packed.init, wanted, Budget(0)):
        return None
    gain = max(((action.adds & wanted).bit_count() for action in packed.actions), default=0) or 1

    def least(state: int) -> int:
        """Gives what is missing, divided by the most that one action supplies: no plan has fewer steps."""
        return -(-(wanted & ~state).bit_count() // gain)

    return searched(packed, wanted, least, max_states, limit)


def some_plan(packed: PackedTask, goal: int, max_states: int, budget: Budget) -> tuple[str, ...] | None:
    """Gives a plan, which need not be a shortest one, or None; the state that seems nearest comes first.

    Raises:
        PlanSearchLimit: As `plan`.
        OverBudget: Telling what seems nearest takes more tests.
    """
    return searched(packed, goal, lambda state: GREED * packed.rounds(state, goal, budget), max_states)


def searched(
    packed: PackedTask,
    goal: int,
    estimate: Callable[[int], int],
    max_states: int,
    limit: TimeLimit | None = None,
) -> tuple[str, ...] | None:
    """Searches by A*. The plan is a shortest one if no plan takes fewer steps than what is estimated.

    The estimate may fall by 1 a step at most for that, since states are not opened twice.
    """
    order = itertools.count()  # equal estimates: the deeper one first, then the earlier one
    came_from: dict[int, tuple[int, str] | None] = {packed.init: None}
    steps = {packed.init: 0}
    queue = [(0, 0, next(order), packed.init)]
    while queue:
        _, depth, _, state = heapq.heappop(queue)
        if state & goal == goal:
            return _trace_back(came_from, state)
        taken = -depth
        if taken > steps[state]:
            continue
        if limit is not None:
            limit.look(len(steps))
        for needs, keeps, adds, text in packed.actions:
            if state & needs == needs:
                reached = state & keeps | adds
                if taken + 1 < steps.get(reached, taken + 2):
                    steps[reached], came_from[reached] = taken + 1, (state, text)
                    sure = taken + 1 + estimate(reached)
                    heapq.heappush(queue, (sure, -taken - 1, next(order), reached))
        if len(steps) > max_states:
            raise PlanSearchLimit(
                f"No plan was found among {max_states:,} states. There may be one: allow more by "
                "`max_states=`, or use fewer objects."
            )
    return None


def _trace_back(came_from: Mapping[int, tuple[int, str] | None], state: int) -> tuple[str, ...]:
    steps = []
    while (link := came_from[state]) is not None:
        state, action = link
        steps.append(action)
    return tuple(reversed(steps))
