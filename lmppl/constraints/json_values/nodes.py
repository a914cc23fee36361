"""The sets of values that can stand somewhere in a text, by number, as the acceptor walks them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from lmppl.constraints.json_values.item_tallies import Counts, Tally, is_met, ways
from lmppl.constraints.json_values.item_values import finite_domain
from lmppl.constraints.json_values.spelling import any_content
from lmppl.constraints.json_values.string_readers import Reader, Spelled
from lmppl.constraints.json_values.string_sets import Texts, spelled
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.automaton_algebra import word_counts

_NO_COUNTS: Counts = ()


@dataclass(frozen=True, eq=False)
class Array:
    """One shape of arrays: the nodes of its items, and the bounds of its length.

    Attributes:
        prefix, rest: The nodes; -1 is none.
        low, high: Bounds of the length.
        places: From this number of items on all are alike.
        tallies: How many items must satisfy something besides.
        counted: The nodes of items that must, by place (up to that of `rest`) and the tallies' bits.
        standings: Numbers of items, with counts, from which the array can be ended.
        is_unique: Whether no two items may be equal.
        repeats: Whether some two items must be equal.
    """

    prefix: tuple[int, ...]
    rest: int
    low: int
    high: int | None
    places: int
    tallies: tuple[Tally, ...]
    counted: Mapping[tuple[int, int], int]
    standings: frozenset[tuple[int, Counts]]
    is_unique: bool
    repeats: bool

    def item(self, index: int) -> int | None:
        """Gives the node of the item at a place, or None if an array ends before."""
        if self.high is not None and index >= self.high:
            return None
        return self.prefix[index] if index < len(self.prefix) else self.rest

    def items(self, index: int, counts: Counts) -> list[tuple[int, Counts]]:
        """Gives the nodes that the item at a place may be read as, with the counts after it."""
        node = self.item(index)
        if node is None:
            return []
        if not self.tallies:
            return [(node, _NO_COUNTS)]
        place, after = min(index, len(self.prefix)), min(index + 1, self.places)
        return [
            (child, counted)
            for bits, counted in ways(self.tallies, index, counts)
            if (after, counted) in self.standings and (child := self.counted.get((place, bits))) is not None
        ]

    def may_end(self, num_items: int, counts: Counts) -> bool:
        """Says whether an array may have so many items."""
        return num_items >= self.low and is_met(self.tallies, counts)


@dataclass(frozen=True, eq=False)
class Names:
    """A set of names, more than an object must have, and the node of what stands under them."""

    machine: ByteAutomaton
    node: int

    @cached_property
    def counts(self) -> list[int | None]:
        """How many names end from each state; None for infinitely many."""
        return word_counts(self.machine)


class Due(NamedTuple):
    """Properties one of which must be there.

    Attributes:
        names: What they are called.
        is_open: Whether infinitely many names will do.
    """

    names: ByteAutomaton
    is_open: bool


@dataclass(frozen=True, eq=False)
class Object:
    """One shape of objects.

    Attributes:
        named: The nodes under some names; None where the name is not allowed.
        allowed: The names that are, sorted.
        classes: Disjoint sets of further names.
        required: Those that must be there.
        low, high: Bounds of the number of names.
        dues: Properties that must be there too.
        serving: The nodes under a name, or under the names of a class by its number, of values that serve
            for the dues of some bits.
        rules: A number that objects share which allow the same names, in the same spellings.
    """

    named: dict[bytes, int | None]
    classes: tuple[Names, ...]
    required: frozenset[bytes]
    low: int
    high: int | None
    dues: tuple[Due, ...]
    serving: Mapping[tuple[bytes | int, int], int]
    rules: int

    @cached_property
    def allowed(self) -> list[bytes]:
        """The single names that are allowed, sorted."""
        return sorted(name for name, node in self.named.items() if node is not None)

    def beginning(self, content: bytes) -> Iterator[bytes]:
        """Gives the single names that are allowed and begin so, in order."""
        allowed = self.allowed
        for position in range(bisect_left(allowed, content), len(allowed)):
            if not allowed[position].startswith(content):
                break
            yield allowed[position]

    @cached_property
    def free(self) -> bool:
        """Whether any name is allowed and all mean the same, so that any spelling will do."""
        if self.named or self.dues:
            return False
        return len(self.classes) == 1 and self.classes[0].machine == any_content()


@dataclass(frozen=True, eq=False)
class Node:
    """A set of values that can stand somewhere; none of its parts is empty.

    Attributes:
        texts: What strings may stand for.
    """

    words: frozenset[str]
    numbers: ByteAutomaton | None
    texts: Texts
    arrays: tuple[Array, ...]
    objects: tuple[Object, ...]

    @cached_property
    def strings(self) -> Reader | None:
        """What reads JSON strings; None is no string."""
        return spelled(self.texts)

    @cached_property
    def domain(self) -> frozenset[bytes] | None:
        """The keys of all its values; None if there are many, or arrays or objects among them."""
        if self.arrays or self.objects:
            return None
        return finite_domain(self.words, self.numbers, self.texts)

    @cached_property
    def number_reader(self) -> Spelled | None:
        """What reads numbers, where it matters which may still come; None is no number."""
        return None if self.numbers is None else Spelled(self.numbers)
