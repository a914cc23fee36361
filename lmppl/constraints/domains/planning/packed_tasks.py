"""STRIPS tasks on the bits of ints: a state is an int, and so are the facts that an action needs or changes.

What must not hold is a fact of its own, so that every condition is a set of bits that must be there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from lmppl.constraints.domains.planning.strips import Goal, Task
from lmppl.constraints.domains.planning.strips import State as Facts
from lmppl.errors import PDDLError

IMPOSSIBLE = 1 << 30  # rounds
MAX_BITS = 10**9  # of the actions, one each fact: some 400 MB
MAX_TESTS = 4_000_000  # of what is worked out about a task at once: about a second
WIDE = 2_000  # facts: a test in a state of more counts as several


class OverBudget(Exception):
    """More tests would be needed than were granted."""


class Budget:
    """How many tests, of an action in a state or a pair of facts, some work may take.

    They bound the work by what is counted, so that what is found does not depend on the clock.
    """

    def __init__(self, most: int):
        self.most = most
        self.spent = 0

    def spend(self, number: int) -> None:
        """Counts tests.

        Raises:
            OverBudget: There were fewer left.
        """
        self.spent += number
        if self.spent > self.most:
            raise OverBudget


class PackedAction(NamedTuple):
    """An action. It can be taken where all of `needs` hold, and leads to `state & keeps | adds`."""

    needs: int
    keeps: int
    adds: int
    text: str


class PackedTask:
    """A task whose facts have numbers.

    Attributes:
        actions: Those that can be taken at some time, as far as pairs of facts tell; sorted by their text.
        init: The state at first.
        together: For each fact those, as bits, that may hold together with it in a state that is reached.
            All may, where telling takes more than `MAX_TESTS` tests.
        cost: The tests that it took to tell, or None if they did not suffice.

    Raises:
        PDDLError: The actions times the facts are more than `MAX_BITS`.
    """

    def __init__(self, task: Task):
        grounded = sorted(task.actions.values(), key=lambda action: action.text.encode())
        self._forbidden = frozenset().union(*(action.forbids for action in grounded))
        everything = task.init.union(
            self._forbidden, *(action.needs | action.adds | action.deletes for action in grounded)
        )
        names = [*sorted(everything), *(_absent(each) for each in sorted(self._forbidden))]
        if len(grounded) * len(names) > MAX_BITS:
            raise PDDLError(
                f"The problem has {len(grounded):,} actions over {len(names):,} facts; at most {MAX_BITS:,} "
                "pairs of both are kept. Use fewer objects, or give them types."
            )
        self._numbers = {name: number for number, name in enumerate(names)}
        self.init = self.state(task.init)
        every = (1 << len(names)) - 1
        actions = []
        for action in grounded:
            gone = (action.deletes - action.adds) & everything
            needs = self._bits(action.needs) | self._bits(map(_absent, action.forbids))
            adds = self._bits(action.adds) | self._bits(map(_absent, gone & self._forbidden))
            deletes = self._bits(gone) | self._bits(map(_absent, action.adds & self._forbidden))
            actions.append(PackedAction(needs, every & ~deletes, adds, action.text))
        self.actions: tuple[PackedAction, ...] = tuple(actions)
        budget = Budget(MAX_TESTS)
        self.together: list[int] = [every] * len(names)
        self.cost: int | None = None
        with suppress(OverBudget):
            self.together = self.pairs(self.init, budget)
            self.cost = budget.spent
        self.actions = tuple(each for each in actions if self._can_hold(each.needs, self.together))

    @staticmethod
    def of(task: Task) -> PackedTask:
        """Packs a task, once."""
        return _packed(task)

    def state(self, facts: Facts) -> int:
        """Gives the state in which these facts hold, and no others."""
        return self._bits(facts) | self._bits(map(_absent, self._forbidden - facts))

    def goal(self, goal: Goal) -> int | None:
        """Gives the bits of a goal; None if one of its facts never holds."""
        return self._bits(goal) if all(each in self._numbers for each in goal) else None

    def may_reach(self, state: int, goal: int, budget: Budget) -> bool:
        """Says False only if no actions lead from a state to the goal.

        True is over-approximate: every two facts of the goal can be made true together if what an action
        needs counts as true once every two of its facts can be (Haslum & Geffner's h2 is finite).
        It is also True if telling takes more than these tests. The state at first takes none.
        """
        if state & goal == goal:
            return True
        if state == self.init:
            return self._can_hold(goal, self.together)
        try:
            return self._can_hold(goal, self.pairs(state, budget))
        except OverBudget:
            return True

    def rounds(self, state: int, goal: int, budget: Budget) -> int:
        """Gives the sum over the goal's facts of the rounds that each takes, if nothing that holds ever ends.

        In a round every action is taken that can be. The sum grows with what must be done first, and may be
        above or below the number of steps.

        Raises:
            OverBudget: It takes more tests.
        """
        total, rest = 0, self.actions
        while missing := (goal & ~state).bit_count():
            budget.spend(len(rest) * self.width)
            total += missing
            reached, later = state, []
            for action in rest:
                if action.needs & ~state:
                    later.append(action)
                else:
                    reached |= action.adds
            if reached == state:
                return IMPOSSIBLE
            state, rest = reached, later
        return total

    @property
    def width(self) -> int:
        """The number of tests that a test in a state counts as."""
        return 1 + len(self._numbers) // WIDE

    def pairs(self, state: int, budget: Budget) -> list[int]:
        """Gives for each fact those, as bits, that may hold together with it in what follows a state.

        Raises:
            OverBudget: It takes more tests.

        Reference:
            P. Haslum & H. Geffner (2000), Admissible heuristics for optimal planning, AIPS.
        """
        together = [0] * len(self._numbers)
        for number in ones(state):
            together[number] = state
        reached = state
        steps = [(action, list(ones(action.needs)), list(ones(action.adds))) for action in self.actions]
        before: dict[str, int] = {}
        while True:
            changed = False
            budget.spend(len(steps) * self.width)
            for action, needs, adds in steps:
                if action.needs & ~reached:
                    continue
                beside = reached
                for number in needs:
                    beside &= together[number]
                if action.needs & ~beside or before.get(action.text) == beside:
                    continue
                before[action.text] = beside
                after = beside & action.keeps | action.adds
                for number in adds:
                    new = after & ~together[number]
                    if new:
                        changed = True
                        together[number] |= after
                        budget.spend(new.bit_count() * self.width)
                        for other in ones(new):
                            together[other] |= 1 << number
                reached |= action.adds
            if not changed:
                return together

    @staticmethod
    def beside(facts: int, together: list[int]) -> int:
        """Gives what may hold where some facts do, themselves included."""
        possible = -1
        for number in ones(facts):
            possible &= together[number]
        return possible

    @staticmethod
    def _can_hold(facts: int, together: list[int]) -> bool:
        return all(facts & ~together[number] == 0 for number in ones(facts))

    def _bits(self, facts: Iterable[str]) -> int:
        return sum(1 << self._numbers[each] for each in set(facts))


def ones(bits: int) -> Iterator[int]:
    """Gives the numbers of the bits that are set, the least first."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def _absent(fact: str) -> str:
    return f"not {fact}"


@lru_cache(64)
def _packed(task: Task) -> PackedTask:
    return PackedTask(task)
