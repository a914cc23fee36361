"""Sets of arrays by what their items must satisfy, and how many of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lmppl.constraints.json_values.conditions import (
    ANYTHING,
    MAX_COUNTED,
    NOTHING,
    TooManyShapes,
    Wanted,
    joined,
)
from lmppl.constraints.json_values.item_tallies import Tally


@dataclass(frozen=True)
class ArrayShape:
    """Arrays, by their items and their length.

    Attributes:
        prefix: What the first items must satisfy.
        rest: What the items behind them must satisfy.
        low, high: Bounds of the length; None is no bound.
        tallies: How many items must satisfy something besides.
        is_unique: Whether no two items may be equal.
        repeats: Whether some two items must be equal.
    """

    prefix: tuple[Wanted, ...] = ()
    rest: Wanted = ANYTHING
    low: int = 0
    high: int | None = None
    tallies: tuple[Tally, ...] = ()
    is_unique: bool = False
    repeats: bool = False

    def item(self, index: int) -> Wanted:
        """Gives what the item at a place must satisfy."""
        return self.prefix[index] if index < len(self.prefix) else self.rest

    def counted_item(self, index: int, bits: int) -> Wanted:
        """Gives what the item at a place must satisfy that must satisfy some tallies too."""
        wanted = self.item(index)
        for number, tally in enumerate(self.tallies):
            if bits >> number & 1:
                wanted = joined(wanted, tally.wanted)
        return wanted

    @property
    def places(self) -> int:
        """From this number of items on all are alike."""
        if self.high is not None:
            return self.high
        return max(len(self.prefix), self.low, *(tally.start for tally in self.tallies), 0)

    def normal(self) -> ArrayShape | None:
        """Gives the shape without items that its length rules out; None if no array has it."""
        high = self.high
        for index, wanted in enumerate((*self.prefix, self.rest)):
            if wanted == NOTHING and (high is None or index < high):
                high = index
        least = [tally for tally in self.tallies if tally.is_least and tally.bound]
        low = max([self.low, 2 * self.repeats, *(tally.start + tally.bound for tally in least)])
        if self.repeats and self.is_unique:
            return None
        if (high is not None and high < low) or any(tally.wanted == NOTHING for tally in least):
            return None
        tallies = tuple(t for t in self.tallies if t in least or (not t.is_least and t.wanted != ANYTHING))
        if len(tallies) > MAX_COUNTED:
            raise TooManyShapes
        prefix = self.prefix if high is None else self.prefix[:high]
        return replace(self, low=low, high=high, prefix=prefix, tallies=tallies)

    def intersection(self, other: ArrayShape) -> ArrayShape | None:
        """Gives the arrays that have both shapes.

        Raises:
            TooManyShapes: They count too much.
        """
        places = range(max(len(self.prefix), len(other.prefix)))
        highs = [high for high in (self.high, other.high) if high is not None]
        return ArrayShape(
            tuple(joined(self.item(i), other.item(i)) for i in places),
            joined(self.rest, other.rest),
            max(self.low, other.low),
            min(highs) if highs else None,
            tuple(dict.fromkeys((*self.tallies, *other.tallies))),
            self.is_unique or other.is_unique,
            self.repeats or other.repeats,
        ).normal()


def any_array() -> ArrayShape:
    """Every array."""
    return ArrayShape()
