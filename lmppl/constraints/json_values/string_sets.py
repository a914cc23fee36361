"""Sets of texts that JSON Schema's keywords describe: by length alone, or by an automaton."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from lmppl.constraints import automaton_algebra
from lmppl.constraints.automaton import ByteAutomaton
from lmppl.constraints.character_automaton import TooLarge
from lmppl.constraints.json_values.spelling import any_content
from lmppl.constraints.regular_expression import compiled

MAX_WRITTEN_LENGTH = 300  # a bound that is joined with a pattern takes some ten states a character


@dataclass(frozen=True)
class Lengths:
    """The texts whose number of characters lies in one of some ranges.

    Attributes:
        ranges: Ascending, disjoint and not adjacent; both ends belong to them. None is no limit.
    """

    ranges: tuple[tuple[int, int | None], ...]

    def __contains__(self, length: int) -> bool:
        return any(low <= length and (high is None or length <= high) for low, high in self.ranges)

    @cached_property
    def longest(self) -> int | None:
        """The greatest length; None where there is none."""
        return self.ranges[-1][1] if self.ranges else -1

    @cached_property
    def last_edge(self) -> int:
        """From here on all lengths are in the set, or none is."""
        if not self.ranges:
            return 0
        low, high = self.ranges[-1]
        return low if high is None else high + 1


Texts = Lengths | ByteAutomaton

EVERY_TEXT = Lengths(((0, None),))
NO_TEXT = Lengths(())


def longer_than(length: int) -> Lengths:
    """Gives the texts of more than so many characters."""
    return Lengths(((length + 1, None),))


def up_to(length: int) -> Lengths:
    """Gives the texts of at most so many characters; below 0 there is none."""
    return Lengths(((0, length),)) if length >= 0 else NO_TEXT


def both(one: Texts, other: Texts) -> Texts:
    """Gives the texts that are in both sets.

    Raises:
        TooLarge: The automaton has too many states.
    """
    if isinstance(one, Lengths) and isinstance(other, Lengths):
        return complement(either(complement(one), complement(other)))
    if EVERY_TEXT in (one, other):
        return other if one == EVERY_TEXT else one
    if NO_TEXT in (one, other):
        return NO_TEXT
    return named(automaton_algebra.intersection(content(one), content(other)))


def either(one: Texts, other: Texts) -> Texts:
    """Gives the texts that are in at least one set; raises as `both`."""
    if EVERY_TEXT in (one, other):
        return EVERY_TEXT
    if NO_TEXT in (one, other):
        return other if one == NO_TEXT else one
    if isinstance(one, Lengths) and isinstance(other, Lengths):
        merged: list[tuple[int, int | None]] = []
        for low, high in sorted(one.ranges + other.ranges, key=lambda bounds: bounds[0]):
            if merged and (merged[-1][1] is None or low <= merged[-1][1] + 1):
                before, end = merged.pop()
                merged.append((before, None if end is None or high is None else max(end, high)))
            else:
                merged.append((low, high))
        return Lengths(tuple(merged))
    return named(automaton_algebra.union(content(one), content(other)))


def complement(texts: Texts) -> Texts:
    """Gives the texts outside a set; raises as `both`."""
    if not isinstance(texts, Lengths):
        return named(automaton_algebra.difference(any_content(), texts))
    gaps: list[tuple[int, int | None]] = []
    start: int | None = 0
    for low, high in texts.ranges:
        if start is not None and low > start:
            gaps.append((start, low - 1))
        start = None if high is None else high + 1
    if start is not None:
        gaps.append((start, None))
    return Lengths(tuple(gaps))


@lru_cache(256)
def content(texts: Texts) -> ByteAutomaton:
    """Gives the automaton of a set; raises as `both`."""
    if not isinstance(texts, Lengths):
        return texts
    if texts == EVERY_TEXT:
        return any_content()
    if texts == NO_TEXT:
        return automaton_algebra.difference(any_content(), any_content())
    if texts.last_edge > MAX_WRITTEN_LENGTH:
        raise TooLarge
    options = "|".join(f".{{{low},{'' if high is None else high}}}" for low, high in texts.ranges)
    return compiled(f"(?s:{options})")


def named(machine: ByteAutomaton) -> Texts:
    """Gives the plain form of the sets that have one, so that equal ones are found equal."""
    if machine.is_empty:
        return NO_TEXT
    return EVERY_TEXT if machine == any_content() else machine
