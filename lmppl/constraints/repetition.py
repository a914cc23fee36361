"""Constraints made of constraints: `a.repeat(least, most)`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from lmppl.constraints import automaton_operations
from lmppl.constraints.count_bounds import Bounds
from lmppl.constraints.notation import Operator, grouped
from lmppl.constraints.protocol import Constraint, State
from lmppl.constraints.regular_language import RegularLanguage

Threads = frozenset[tuple[int, State | None]]
"""The ways to cut the text so far: how many items are complete, and the state of the one under way.

None instead of a state is the place between two items.
"""


def repeated(item: Constraint, least: int, most: int | None) -> Constraint:
    """Allows strings of one constraint in a row; written `item.repeat(least, most)`.

    Raises:
        InvalidInputError: `least` is below 0 or above `most`.
        InvalidTypeError: A bound is no int.
    """
    bounds = Bounds.of("repeat", least, most)
    if bounds == Bounds(1, 1):
        return item
    machine = item.automaton()
    if machine is not None:
        many = automaton_operations.repetition(machine, least, most)
        if many is not None:
            return RegularLanguage(many, _description(item, bounds))
    return Repetition(item, bounds)


def _description(item: Constraint, bounds: Bounds) -> str:
    return f"{grouped(item, Operator.CALL)}.repeat({bounds.describe()})"


@dataclass(frozen=True, repr=False)
class Repetition(Constraint):
    """Strings of one constraint in a row. Made by `repeated`.

    A state is the set of ways to cut the text so far (`Threads`). Without `most`, items beyond `least` are
    not counted, so that states come back.

    Attributes:
        item: What is repeated.
        bounds: How often.
    """

    item: Constraint
    bounds: Bounds

    @property
    def viable_is_exact(self) -> bool:
        """True where the item is exact."""
        return self.item.viable_is_exact

    @property
    def revisits_states(self) -> bool:
        """True where the item does."""
        return self.item.revisits_states

    def initial(self) -> State:
        """Gives the state of the empty string."""
        return self._with_ends([], ends={0})

    def advance(self, state: State, data: bytes) -> State | None:
        """Gives the state after `data`, or None if every way to cut the text is refused."""
        threads = cast(Threads, state)
        for i in range(len(data)):
            moved = []
            ends = set()
            for count, old in threads:
                new = None if old is None else self.item.advance(old, data[i : i + 1])
                if new is not None:
                    moved.append((count, new))
                    if self.item.accepts(new):
                        ends.add(count + 1)
            if not moved:
                return None
            threads = self._with_ends(moved, ends)
        return threads

    def accepts(self, state: State) -> bool:
        """Says whether the text so far ends with an item, and there are enough of them."""
        threads = cast(Threads, state)
        least = max((count for count, each in threads if each is None), default=-1)
        if least >= self.bounds.least:
            return True
        return least >= 0 and self.item.accepts(self.item.initial())  # the missing ones may be empty

    def describe(self) -> str:
        """Gives the item and the bounds."""
        return _description(self.item, self.bounds)

    def _with_ends(self, moved: Iterable[tuple[int, State]], ends: set[int]) -> Threads:
        """Adds the places between items, and the items that begin there."""
        threads: set[tuple[int, State | None]] = set(moved)
        most = self.bounds.most
        for count in ends:
            count = count if most is not None else min(count, self.bounds.least)
            threads.add((count, None))
            if most is None or count < most:
                threads.add((count, self.item.initial()))
        return frozenset(threads)
