"""Sets of JSON values by type: scalars as automata, arrays and objects as a few shapes each.

A shape names the schemas of what it contains by literals, and does not look into them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from lmppl.constraints import automaton_algebra
from lmppl.constraints.automaton import ByteAutomaton
from lmppl.constraints.json_values import string_sets
from lmppl.constraints.json_values.spelling import any_content, number_text
from lmppl.constraints.json_values.string_sets import EVERY_TEXT, NO_TEXT, Texts

MAX_SHAPES = 64

WORDS = frozenset({"null", "true", "false"})


class Literal(NamedTuple):
    """A schema by its number, or what that schema refuses."""

    schema: int
    positive: bool


Wanted = frozenset[Literal]
"""What a value must satisfy: all of some literals."""

ANYTHING: Wanted = frozenset()
NOTHING: Wanted = frozenset({Literal(-1, True)})


class TooManyShapes(Exception):
    """A schema has more than 64 alternatives that differ."""


def joined(one: Wanted, other: Wanted) -> Wanted:
    """Gives what both want."""
    both = one | other
    if both >= NOTHING or any(Literal(schema, not positive) in both for schema, positive in both):
        return NOTHING
    return both


@dataclass(frozen=True)
class ArrayShape:
    """Arrays, by their items and their length.

    Attributes:
        prefix: What the first items must satisfy.
        rest: What the items behind them must satisfy.
        low, high: Bounds of the length; None is no bound.
    """

    prefix: tuple[Wanted, ...] = ()
    rest: Wanted = ANYTHING
    low: int = 0
    high: int | None = None

    def item(self, index: int) -> Wanted:
        """Gives what the item at a place must satisfy."""
        return self.prefix[index] if index < len(self.prefix) else self.rest

    def normal(self) -> ArrayShape | None:
        """Gives the shape without items that its length rules out; None if no array has it."""
        high = self.high
        for index, wanted in enumerate((*self.prefix, self.rest)):
            if wanted == NOTHING and (high is None or index < high):
                high = index
        if high is not None and high < self.low:
            return None
        return replace(self, high=high, prefix=self.prefix if high is None else self.prefix[:high])

    def intersection(self, other: ArrayShape) -> ArrayShape | None:
        """Gives the arrays that have both shapes."""
        places = range(max(len(self.prefix), len(other.prefix)))
        highs = [high for high in (self.high, other.high) if high is not None]
        return ArrayShape(
            tuple(joined(self.item(i), other.item(i)) for i in places),
            joined(self.rest, other.rest),
            max(self.low, other.low),
            min(highs) if highs else None,
        ).normal()


@dataclass(frozen=True)
class ObjectShape:
    """Objects, by their names and what stands under them. A name that is nowhere is not allowed.

    Attributes:
        named: What must stand under some names, sorted.
        classes: Disjoint sets of names, and what must stand under those that are not in `named`.
        required: Names that must be there; all are in `named`.
        low, high: Bounds of the number of names; None is no bound.
    """

    named: tuple[tuple[str, Wanted], ...] = ()
    classes: tuple[tuple[ByteAutomaton, Wanted], ...] = ()
    required: frozenset[str] = frozenset()
    low: int = 0
    high: int | None = None

    def under(self, name: str) -> Wanted:
        """Gives what must stand under a name."""
        for known, wanted in self.named:
            if known == name:
                return wanted
        for names, wanted in self.classes:
            if contains(names, name):
                return wanted
        return NOTHING

    def requiring(self, names: Iterable[str]) -> ObjectShape:
        """Gives the shape with further names required."""
        required = self.required | set(names)
        known = dict(self.named)
        for name in required:
            known.setdefault(name, self.under(name))
        return replace(self, named=tuple(sorted(known.items())), required=required)

    def normal(self) -> ObjectShape | None:
        """Gives the shape without classes that nothing can be under; None if no object has it."""
        known = dict(self.named)
        if any(known[name] == NOTHING for name in self.required):
            return None
        if self.high is not None and self.high < max(self.low, len(self.required)):
            return None
        return replace(self, classes=tuple(pair for pair in self.classes if pair[1] != NOTHING))

    def intersection(self, other: ObjectShape) -> ObjectShape | None:
        """Gives the objects that have both shapes.

        Raises:
            TooLarge: The names' automata have too many states.
        """
        names = {name for name, _ in (*self.named, *other.named)}
        classes: list[tuple[ByteAutomaton, Wanted]] = []
        for mine, wanted in self.classes:
            for theirs, also in other.classes:
                common = string_sets.content(string_sets.both(_texts(mine), _texts(theirs)))
                if not common.is_empty:
                    classes.append((common, joined(wanted, also)))
        highs = [high for high in (self.high, other.high) if high is not None]
        return ObjectShape(
            tuple((name, joined(self.under(name), other.under(name))) for name in sorted(names)),
            tuple(classes),
            self.required | other.required,
            max(self.low, other.low),
            min(highs) if highs else None,
        ).normal()


def contains(names: ByteAutomaton, name: str) -> bool:
    """Says whether a name is in a set; a lone surrogate is in none."""
    state = names.advance(names.start, name.encode(errors="surrogatepass"))
    return state is not None and names.accepts(state)


def _texts(names: ByteAutomaton) -> Texts:
    return EVERY_TEXT if names is any_content() else names


def any_array() -> ArrayShape:
    """Every array."""
    return ArrayShape()


def any_object() -> ObjectShape:
    """Every object."""
    return ObjectShape(classes=((any_content(), ANYTHING),))


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


def every_value() -> Values:
    """All values."""
    return Values(WORDS, number_text(), EVERY_TEXT, (any_array(),), (any_object(),))


def some_numbers(machine: ByteAutomaton) -> ByteAutomaton | None:
    """Gives None for the empty set."""
    return None if machine.is_empty else machine


def union_of(sets: Sequence[Values]) -> Values:
    """Gives the values in at least one of some sets."""
    found = Values()
    for each in sets:
        found = found.union(each)
    return found


def intersection_of(sets: Iterable[Values]) -> Values:
    """Gives the values in all of some sets."""
    found = every_value()
    for each in sets:
        found = found.intersection(each)
    return found


def _arrays_or_all(shapes: tuple[ArrayShape, ...]) -> tuple[ArrayShape, ...]:
    return (any_array(),) if any_array() in shapes else _distinct(shapes)


def _objects_or_all(shapes: tuple[ObjectShape, ...]) -> tuple[ObjectShape, ...]:
    return (any_object(),) if any_object() in shapes else _distinct(shapes)


def _distinct(shapes):
    found = tuple(dict.fromkeys(shape for shape in shapes if shape is not None))
    if len(found) > MAX_SHAPES:
        raise TooManyShapes
    return found
