"""Sets of JSON values by type: scalars as automata, arrays and objects as a few shapes each.

A shape names the schemas of what it contains by literals, and does not look into them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from lmppl.constraints.json_values import string_sets
from lmppl.constraints.json_values.array_shapes import ArrayShape, any_array
from lmppl.constraints.json_values.conditions import TooManyShapes
from lmppl.constraints.json_values.object_shapes import ObjectShape, any_object
from lmppl.constraints.json_values.spelling import number_text
from lmppl.constraints.json_values.string_sets import EVERY_TEXT, NO_TEXT, Texts
from lmppl.constraints.regular import automaton_algebra
from lmppl.constraints.regular.automaton import ByteAutomaton

MAX_SHAPES = 512

WORDS = frozenset({"null", "true", "false"})


@dataclass(frozen=True)
class Values:
    """A set of JSON values.

    Attributes:
        words: Some of `null`, `true`, `false`.
        numbers: Texts of numbers; None is no number. All are `number_text()` itself; any other set is one
            of plain decimals.
        strings: What strings may stand for.
        arrays, objects: An array or object has at least one of the shapes.
    """

    words: frozenset[str] = frozenset()
    numbers: ByteAutomaton | None = None
    strings: Texts = NO_TEXT
    arrays: tuple[ArrayShape, ...] = ()
    objects: tuple[ObjectShape, ...] = ()

    @property
    def has_scalars(self) -> bool:
        """Whether there is a value that is neither an array nor an object."""
        return bool(self.words) or self.numbers is not None or self.strings != NO_TEXT

    @property
    def is_empty(self) -> bool:
        """Whether there is certainly no value; what shapes contain is not looked at."""
        return not (self.has_scalars or self.arrays or self.objects)

    def intersection(self, other: Values) -> Values:
        """Gives the values in both sets.

        Raises:
            TooLarge, TooManyShapes: The result is too large.
        """
        numbers = other.numbers if self.numbers is number_text() else self.numbers
        if number_text() not in (self.numbers, other.numbers) and self.numbers and other.numbers:
            numbers = some_numbers(automaton_algebra.intersection(self.numbers, other.numbers))
        return Values(
            self.words & other.words,
            None if None in (self.numbers, other.numbers) else numbers,
            string_sets.both(self.strings, other.strings),
            _distinct(a.intersection(b) for a in self.arrays for b in other.arrays),
            _distinct(a.intersection(b) for a in self.objects for b in other.objects),
        )

    def union(self, other: Values) -> Values:
        """Gives the values in at least one set; raises as `intersection`."""
        numbers = self.numbers or other.numbers
        if number_text() in (self.numbers, other.numbers):
            numbers = number_text()
        elif self.numbers and other.numbers:
            numbers = automaton_algebra.union(self.numbers, other.numbers)
        return Values(
            self.words | other.words,
            numbers,
            string_sets.either(self.strings, other.strings),
            _arrays_or_all((*self.arrays, *other.arrays)),
            _objects_or_all((*self.objects, *other.objects)),
        )


@cache
def every_value() -> Values:
    """All values."""
    return Values(WORDS, number_text(), EVERY_TEXT, (any_array(),), (any_object(),))


def some_numbers(machine: ByteAutomaton) -> ByteAutomaton | None:
    """Gives None for the empty set."""
    return None if machine.is_empty else machine


def union_of(sets: Iterable[Values]) -> Values:
    """Gives the values in at least one of some sets."""
    found = Values()
    for each in sets:
        found = found.union(each)
    return found


def _arrays_or_all(shapes: tuple[ArrayShape, ...]) -> tuple[ArrayShape, ...]:
    return (any_array(),) if any_array() in shapes else _distinct(shapes)


def _objects_or_all(shapes: tuple[ObjectShape, ...]) -> tuple[ObjectShape, ...]:
    return (any_object(),) if any_object() in shapes else _distinct(shapes)


def _distinct(shapes):
    found = {}
    for shape in shapes:
        if shape is not None:
            found[shape] = None
            if len(found) > MAX_SHAPES:
                raise TooManyShapes
    return tuple(found)
