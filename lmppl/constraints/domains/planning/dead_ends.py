"""From which states of a planning task its goal can still be reached."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from lmppl.constraints.domains.planning.packed_tasks import (
    MAX_TESTS,
    Budget,
    OverBudget,
    PackedAction,
    PackedTask,
    ones,
)
from lmppl.constraints.domains.planning.shortest_plans import some_plan
from lmppl.constraints.domains.planning.strips import Goal, Task
from lmppl.errors import PlanSearchLimit

ASKED_TESTS = 400_000  # for one question of which step leads to no dead end: about 0.1 s
FEW_STATES = 1_000  # in which a plan is looked for before all states are listed: 0.1 to 1 ms each
MAX_REMEMBERED = 4_096  # states that were asked about


class Outlook:
    """Tells dead ends: states from which no actions lead to the goal.

    It is exact if each action can be undone by another and some plan is found: then the goal can be reached
    from wherever one gets to; or if all states can be listed. Otherwise a state counts as open unless
    `PackedTask.may_reach` excludes it. That is asked within a number of tests which depends on the task
    alone, so that a state is always told alike.

    Attributes:
        is_exact: Whether `is_open` is True only where the goal can be reached.
    """

    def __init__(self, packed: PackedTask, goal: int | None, max_states: int):
        self.is_exact = True
        self._packed = packed
        self._goal = goal or 0
        self._answers: dict[int, bool] = {}
        self._open: frozenset[int] | None = None
        self._is_reversible = False
        cost = packed.cost
        self._most_asked = 0 if cost is None else ASKED_TESTS // max(1, 2 * cost)
        if goal is None or not packed.may_reach(packed.init, goal, Budget(0)):
            self._open = frozenset()
            return
        most = min(max_states, MAX_TESTS // max(1, len(packed.actions) * packed.width))
        self._is_reversible = is_reversible(packed, Budget(MAX_TESTS))
        if self._is_reversible and _has_plan(packed, goal, min(most, FEW_STATES)):
            return
        self._open = _leading_to(packed, goal, most)
        self.is_exact = self._open is not None

    @staticmethod
    def of(task: Task, goal: Goal, max_states: int) -> Outlook:
        """Gives what can be told within a number of states, once."""
        return _outlook(task, goal, max_states)

    def is_open(self, state: int) -> bool:
        """Says whether the goal can be reached from a state; if that is not known, True."""
        if self._open is not None:
            return state in self._open
        if self._is_reversible or not self._most_asked:
            return True
        known = self._answers.get(state)
        if known is None:
            if len(self._answers) >= MAX_REMEMBERED:
                del self._answers[next(iter(self._answers))]
            budget = Budget(ASKED_TESTS // self._most_asked)
            known = self._answers[state] = self._packed.may_reach(state, self._goal, budget)
        return known

    def first_open(self, states: Iterable[int]) -> int | None:
        """Gives the first state that is open, or None.

        Where that has to be asked of each, it is asked of some only, remembered or not, and the next one
        counts as open.
        """
        is_known = self._open is not None or self._is_reversible
        for number, state in enumerate(states, start=1):
            if (not is_known and number > self._most_asked) or self.is_open(state):
                return state
        return None


def is_reversible(packed: PackedTask, budget: Budget) -> bool:
    """Says True only if whatever an action changes, another one changes back at once, and few tests tell."""
    try:
        return _can_be_undone(packed, budget)
    except OverBudget:
        return False


def _can_be_undone(packed: PackedTask, budget: Budget) -> bool:
    always = packed.init
    for action in packed.actions:
        always &= action.keeps
    adding: dict[int, list[PackedAction]] = {}
    for action in packed.actions:
        for number in ones(action.adds):
            adding.setdefault(number, []).append(action)
    for action in packed.actions:
        lost = action.needs & ~action.keeps
        candidates: Sequence[PackedAction] = (
            adding.get(next(ones(lost)), []) if lost else packed.actions  # it must add what was lost
        )
        possible = packed.beside(action.needs, packed.together)
        known = action.needs | always
        for other in candidates:
            budget.spend(packed.width)
            if _undoes(other, action, known, possible):
                break
        else:
            return False
    return True


def _undoes(other: PackedAction, action: PackedAction, known: int, possible: int) -> bool:
    """Says whether `other` after `action` leaves every state as it was that has what is known, and no more
    than what is possible.
    """
    if other.needs & ~(known & action.keeps | action.adds):
        return False
    holds_after = other.adds | action.adds & other.keeps
    fails_after = ~other.adds & (~other.keeps | ~action.keeps & ~action.adds)
    return not holds_after & ~known and not fails_after & possible


def _leading_to(packed: PackedTask, goal: int, most: int) -> frozenset[int] | None:
    """Gives the states that are reached and from which the goal is; None if more than `most` are reached."""
    before: dict[int, list[int]] = {packed.init: []}
    todo = [packed.init]
    while todo:
        state = todo.pop()
        for needs, keeps, adds, _ in packed.actions:
            if state & needs == needs:
                reached = state & keeps | adds
                if reached not in before:
                    before[reached] = []
                    todo.append(reached)
                before[reached].append(state)
        if len(before) > most:
            return None
    todo = [state for state in before if state & goal == goal]
    found = set(todo)
    while todo:
        for state in before[todo.pop()]:
            if state not in found:
                found.add(state)
                todo.append(state)
    return frozenset(found)


def _has_plan(packed: PackedTask, goal: int, most: int) -> bool:
    try:
        return some_plan(packed, goal, most, Budget(MAX_TESTS)) is not None
    except (PlanSearchLimit, OverBudget):
        return False


@lru_cache(64)
def _outlook(task: Task, goal: Goal, max_states: int) -> Outlook:
    packed = PackedTask.of(task)
    return Outlook(packed, packed.goal(goal), max_states)
