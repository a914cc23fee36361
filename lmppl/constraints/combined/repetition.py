"""Constraints made of constraints: `a.repeat(least, most)`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from lmppl.constraints.asked_together import REFUSED, Ask, Asking
from lmppl.constraints.combined.composition import Composition
from lmppl.constraints.combined.notation import Operator, grouped
from lmppl.constraints.count_bounds import Bounds
from lmppl.constraints.protocol import Constraint, State
from lmppl.constraints.regular import automaton_operations
from lmppl.constraints.regular.regular_language import RegularLanguage
from lmppl.errors import ConstraintError

MAX_WAYS = 1_000

Threads = frozenset[tuple[State | None, int]]
"""The ways to cut the text so far: the state of the item under way, and how many items may be complete.

None instead of a state is the place between two items. Bit `n` of the number says that it may be `n` items.
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


def _num_complete(threads: Threads) -> int:
    """Gives how many items there may be if the text ends here, as bits."""
    return next((counts for each, counts in threads if each is None), 0)


def _description(item: Constraint, bounds: Bounds) -> str:
    return f"{grouped(item, Operator.CALL)}.repeat({bounds.describe()})"


@dataclass(frozen=True, repr=False)
class Repetition(Composition):
    """Strings of one constraint in a row. Made by `repeated`.

    A state is the set of ways to cut the text so far (`Threads`). Numbers of items that can do no more than
    another are left out, so that states come back.

    Attributes:
        item: What is repeated.
        bounds: How often.
    """

    item: Constraint
    bounds: Bounds

    @property
    def factors(self) -> tuple[Constraint, ...]:  # type: ignore[override]
        """The item."""
        return (self.item,)

    def initial(self) -> State:
        """Gives the state of the empty string."""
        return self._with_ends({}, ends=1)

    def advance(self, state: State, data: bytes) -> State | None:
        """Gives the state after `data`, or None if every way to cut the text is refused.

        Raises:
            ConstraintError: There are more than 1,000 ways.
        """
        threads = cast(Threads, state)
        for i in range(len(data)):
            moved: dict[State, int] = {}
            ends = 0
            for old, counts in threads:
                new = None if old is None else self.item.advance(old, data[i : i + 1])
                if new is not None:
                    moved[new] = moved.get(new, 0) | counts
                    if self.item.accepts(new):
                        ends |= counts << 1
            if not moved:
                return None
            threads = self._with_ends(moved, ends)
        return threads

    def accepts(self, state: State) -> bool:
        """Says whether the text so far ends with an item, and there are enough of them."""
        ends = _num_complete(cast(Threads, state))
        if ends >> self.bounds.least:
            return True
        return ends != 0 and self.item.accepts(self.item.initial())  # the missing ones may be empty

    def _advanced(self, state: State, data: bytes) -> Asking[State | None]:
        threads = cast(Threads, state)
        for i in range(len(data)):
            items = [(old, counts) for old, counts in threads if old is not None]
            after = yield [Ask(self.item, old, data[i : i + 1]) for old, _ in items]
            moved: dict[State, int] = {}
            for (_, counts), new in zip(items, after, strict=True):
                if new is not REFUSED:
                    moved[new] = moved.get(new, 0) | counts
            if not moved:
                return None
            said = yield [Ask(self.item, new, ends=True) for new in moved]
            ends = 0
            for counts, end in zip(moved.values(), said, strict=True):
                ends |= 0 if end is REFUSED else counts << 1
            threads = self._with_ends(moved, ends)
        return threads

    def _accepted(self, state: State) -> Asking[bool]:
        ends = _num_complete(cast(Threads, state))
        if ends >> self.bounds.least or not ends:
            return ends != 0
        (end,) = yield [Ask(self.item, self.item.initial(), ends=True)]
        return end is not REFUSED

    def _under_way(self, state: State) -> Iterable[tuple[Constraint, State]]:
        return ((self.item, each) for each, _ in cast(Threads, state) if each is not None)

    def describe(self) -> str:
        """Gives the item and the bounds."""
        return _description(self.item, self.bounds)

    def _with_ends(self, moved: dict[State, int], ends: int) -> Threads:
        """Adds the place between items, and the items that begin there.

        Raises:
            ConstraintError: There are more than 1,000 ways.
        """
        threads: dict[State | None, int] = {**moved}
        if ends:
            threads[None] = ends
            begun = self._with_room(ends)
            if begun:
                start = self.item.initial()
                threads[start] = threads.get(start, 0) | begun
        found = frozenset((each, self._telling(counts)) for each, counts in threads.items())
        if len(found) > MAX_WAYS:
            raise self._too_many_ways()
        return found

    def _with_room(self, counts: int) -> int:
        """Leaves out the numbers of items that no other one may follow."""
        most = self.bounds.most
        return counts if most is None or counts.bit_length() <= most else counts & ((1 << most) - 1)

    def _telling(self, counts: int) -> int:
        """Leaves out the numbers of items that can do no more than another one.

        Of those that are enough, the least has the most room. Without `most`, the greatest of all needs the
        fewest others, and beyond `least` none.
        """
        least = self.bounds.least
        if self.bounds.most is None:
            return 1 << min(counts.bit_length() - 1, least)
        enough = counts >> least
        return counts & ((1 << least) - 1) | (enough & -enough) << least if enough else counts

    def _too_many_ways(self) -> ConstraintError:
        return ConstraintError(
            f"{self.describe()} can cut a text into items in more than {MAX_WAYS:,} ways, because "
            f"{self.item.describe()} may end nearly everywhere. Say where an item ends: put something behind "
            'it that is not in it, as (item + "\\n").repeat() does for lines, or limit the text.'
        )
