"""Sets of objects by their names, what must stand under them, and what must stand under some of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from lmppl.constraints.json_values import string_sets
from lmppl.constraints.json_values.conditions import (
    ANYTHING,
    MAX_COUNTED,
    NOTHING,
    TooManyShapes,
    Wanted,
    joined,
)
from lmppl.constraints.json_values.spelling import any_content
from lmppl.constraints.json_values.string_sets import EVERY_TEXT, Texts
from lmppl.constraints.regular.automaton import ByteAutomaton


class Some(NamedTuple):
    """A property must be there whose name is one of some, and whose value satisfies something."""

    names: ByteAutomaton
    wanted: Wanted


@dataclass(frozen=True)
class ObjectShape:
    """Objects, by their names and what stands under them. A name that is nowhere is not allowed.

    Attributes:
        named: What must stand under some names, sorted.
        classes: Disjoint sets of names, and what must stand under those that are not in `named`.
        required: Names that must be there; all are in `named`.
        low, high: Bounds of the number of names; None is no bound.
        somes: Properties that must be there, of each kind at least one. One may serve for several.
    """

    named: tuple[tuple[str, Wanted], ...] = ()
    classes: tuple[tuple[ByteAutomaton, Wanted], ...] = ()
    required: frozenset[str] = frozenset()
    low: int = 0
    high: int | None = None
    somes: tuple[Some, ...] = ()

    @cached_property
    def _wanted_under(self) -> dict[str, Wanted]:
        return dict(self.named)

    @cached_property
    def refused(self) -> frozenset[str]:
        """The single names that are not allowed."""
        return frozenset(name for name, wanted in self.named if wanted == NOTHING)

    @cached_property
    def _has_ascii_names(self) -> bool:
        return all(name.isascii() for name, _ in self.named)

    def under(self, name: str) -> Wanted:
        """Gives what must stand under a name."""
        known = self._wanted_under.get(name)
        if known is not None:
            return known
        for names, wanted in self.classes:
            if (names is any_content() and name.isascii()) or contains(names, name):
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
        """Gives the shape without classes that nothing can be under; None if no object has it.

        A property that one name alone can be is required under that name.
        """
        known = self._wanted_under
        if not self.refused.isdisjoint(self.required):
            return None
        for some in self.somes:
            names = self._names_for(some)
            if names is None:
                continue
            if not names:
                return None
            rest = replace(self, somes=tuple(other for other in self.somes if other is not some))
            if any(name in self.required and known[name] >= some.wanted for name in names):
                return rest.normal()
            if len(names) == 1:
                return rest._with_property(names[0], some.wanted).normal()
        low = max(self.low, bool(self.somes))
        if self.high is not None and self.high < max(low, len(self.required)):
            return None
        if any(some.wanted == NOTHING or some.names.is_empty for some in self.somes):
            return None
        if len(self.somes) > MAX_COUNTED:
            raise TooManyShapes
        classes = tuple(pair for pair in self.classes if pair[1] != NOTHING)
        return self if (low, classes) == (self.low, self.classes) else replace(self, low=low, classes=classes)

    def _names_for(self, some: Some) -> list[str] | None:
        """Gives the names that such a property can have; None if a class has some, so that nobody counts."""
        if any(
            not _in_both(names, some.names).is_empty for names, wanted in self.classes if wanted != NOTHING
        ):
            return None
        return [
            name
            for name, wanted in self.named
            if contains(some.names, name) and joined(wanted, some.wanted) != NOTHING
        ]

    def _with_property(self, name: str, wanted: Wanted) -> ObjectShape:
        """Gives the shape with a property required that satisfies something besides."""
        named = {**self._wanted_under, name: joined(self.under(name), wanted)}
        return replace(self, named=tuple(sorted(named.items())), required=self.required | {name})

    def intersection(self, other: ObjectShape) -> ObjectShape | None:
        """Gives the objects that have both shapes.

        Raises:
            TooLarge: The names' automata have too many states.
            TooManyShapes: They ask for too many further properties.
        """
        if other == _EVERY_OBJECT or self == _EVERY_OBJECT:
            return (self if other == _EVERY_OBJECT else other).normal()
        if not (self.refused.isdisjoint(other.required) and other.refused.isdisjoint(self.required)):
            return None
        classes: list[tuple[ByteAutomaton, Wanted]] = []
        for mine, wanted in self.classes:
            for theirs, also in other.classes:
                common = _in_both(mine, theirs)
                if not common.is_empty:
                    classes.append((common, joined(wanted, also)))
        highs = [high for high in (self.high, other.high) if high is not None]
        return ObjectShape(
            self._named_with(other),
            tuple(classes),
            self.required | other.required,
            max(self.low, other.low),
            min(highs) if highs else None,
            tuple(dict.fromkeys((*self.somes, *other.somes))),
        ).normal()

    def _named_with(self, other: ObjectShape) -> tuple[tuple[str, Wanted], ...]:
        """Gives what must stand under the names of both shapes."""
        few, many = (self, other) if len(self.named) <= len(other.named) else (other, self)
        found = dict(many.named)
        if few.classes != _EVERY_OBJECT.classes or not many._has_ascii_names:
            for name in found:
                found[name] = joined(found[name], few.under(name))
        for name, wanted in few.named:
            found[name] = joined(many.under(name), wanted)
        return tuple(sorted(found.items()))


def contains(names: ByteAutomaton, name: str) -> bool:
    """Says whether a name is in a set; a lone surrogate is in none."""
    return string_sets.holds(names, name)


def _in_both(one: ByteAutomaton, other: ByteAutomaton) -> ByteAutomaton:
    return string_sets.content(string_sets.both(_texts(one), _texts(other)))


def _texts(names: ByteAutomaton) -> Texts:
    return EVERY_TEXT if names is any_content() else names


def any_object() -> ObjectShape:
    """Every object."""
    return _EVERY_OBJECT


_EVERY_OBJECT = ObjectShape(classes=((any_content(), ANYTHING),))
