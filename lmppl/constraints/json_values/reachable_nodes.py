"""What the acceptor of JSON walks: the sets of values that can stand somewhere, by number.

Whatever no value satisfies is taken out, so that a viable beginning of a shape can always be completed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from lmppl.constraints.automaton import ByteAutomaton
from lmppl.constraints.automaton_algebra import word_counts, words
from lmppl.constraints.character_automaton import TooLarge
from lmppl.constraints.json_values.shapes import (
    NOTHING,
    ArrayShape,
    ObjectShape,
    Values,
    Wanted,
)
from lmppl.constraints.json_values.spelling import any_content, quoted
from lmppl.constraints.json_values.string_sets import NO_TEXT, Lengths

MAX_NODES = 5_000
MAX_NAMES = 1_000


@dataclass(frozen=True)
class Array:
    """One shape of arrays: the nodes of its items, and the bounds of its length."""

    prefix: tuple[int, ...]
    rest: int
    low: int
    high: int | None

    @cached_property
    def counted(self) -> int:
        """Beyond this length all places are alike."""
        return max(len(self.prefix), self.low) if self.high is None else self.high

    def item(self, index: int) -> int | None:
        """Gives the node of the item at a place, or None if an array ends before."""
        if self.high is not None and index >= self.high:
            return None
        return self.prefix[index] if index < len(self.prefix) else self.rest


@dataclass(frozen=True)
class Names:
    """A set of names, more than an object must have, and the node of what stands under them."""

    machine: ByteAutomaton
    node: int

    @cached_property
    def counts(self) -> list[int | None]:
        """How many names end from each state; None for infinitely many."""
        return word_counts(self.machine)


@dataclass(frozen=True, eq=False)
class Object:
    """One shape of objects.

    Attributes:
        named: The nodes under some names; None where the name is not allowed.
        allowed: The names that are, sorted.
        classes: Disjoint sets of further names.
        required: Those that must be there.
        low, high: Bounds of the number of names.
    """

    named: dict[bytes, int | None]
    classes: tuple[Names, ...]
    required: frozenset[bytes]
    low: int
    high: int | None

    @cached_property
    def allowed(self) -> list[bytes]:
        """The single names that are allowed, sorted."""
        return sorted(name for name, node in self.named.items() if node is not None)

    @cached_property
    def free(self) -> bool:
        """Whether any name is allowed and all mean the same, so that any spelling will do."""
        return not self.named and len(self.classes) == 1 and self.classes[0].machine == any_content()


@dataclass(frozen=True, eq=False)
class Node:
    """A set of values that can stand somewhere; none of its parts is empty.

    Attributes:
        strings: Lengths, or the texts of whole JSON strings with their quotes; None is no string.
    """

    words: frozenset[str]
    numbers: ByteAutomaton | None
    strings: Lengths | ByteAutomaton | None
    arrays: tuple[Array, ...]
    objects: tuple[Object, ...]


def plan(values: Callable[[Wanted], Values], root: Wanted) -> list[Node]:
    """Gives all nodes that can be reached; the first one is the whole text. There is none if it is empty.

    Args:
        values: What is wanted, as a set of values.
        root: What is wanted of the whole.

    Raises:
        TooLarge: There are more than 5,000 nodes, or an object that may need thousands of names.
    """
    known: dict[Wanted, Values] = {}
    todo = [root]
    for wanted in todo:  # grows while it is walked
        if wanted in known:
            continue
        if len(known) >= MAX_NODES:
            raise TooLarge
        found = values(wanted)
        known[wanted] = replace(found, objects=tuple(map(_written_out, found.objects)))
        todo.extend(each for each in _inner(known[wanted]) if each not in known)
    alive = _satisfiable(known)
    if root not in alive:
        return []
    numbers = {wanted: i for i, wanted in enumerate(each for each in known if each in alive)}
    return [_node(known[wanted], numbers) for wanted in numbers]


def _written_out(shape: ObjectShape) -> ObjectShape:
    """Gives the shape with single names for classes so small that an object may need all of one."""
    named = dict(shape.named)
    classes = []
    for machine, wanted in shape.classes:
        number = None if machine == any_content() else word_counts(machine)[machine.start]
        if number is None or number - len(shape.named) > max(MAX_NAMES, shape.low):
            classes.append((machine, wanted))
        elif number > 2 * MAX_NAMES:
            raise TooLarge
        else:
            for word in words(machine):
                named.setdefault(word.decode(), wanted)
    return replace(shape, named=tuple(sorted(named.items())), classes=tuple(classes))


def _inner(values: Values) -> list[Wanted]:
    found = [wanted for shape in values.arrays for wanted in (*shape.prefix, shape.rest)]
    for shape in values.objects:
        found.extend(wanted for _, wanted in (*shape.named, *shape.classes))
    return list(dict.fromkeys(found))


def _satisfiable(known: dict[Wanted, Values]) -> set[Wanted]:
    """Gives what some value satisfies: the least fixpoint, from scalars outwards."""
    alive: set[Wanted] = set()
    users: dict[Wanted, list[Wanted]] = {wanted: [] for wanted in known}
    for wanted, values in known.items():
        for inner in _inner(values):
            users[inner].append(wanted)
    todo = list(known)
    while todo:
        wanted = todo.pop()
        if wanted in alive:
            continue
        values = known[wanted]
        if (
            values.has_scalars
            or any(_array(shape, alive) for shape in values.arrays)
            or any(_object(shape, alive) for shape in values.objects)
        ):
            alive.add(wanted)
            todo.extend(users[wanted])
    return alive


def _array(shape: ArrayShape, alive: set[Wanted]) -> ArrayShape | None:
    """Gives the shape of those arrays whose items can be satisfied, if there is such an array."""
    items = (*shape.prefix, shape.rest)
    dead = next((i for i, wanted in enumerate(items) if wanted not in alive), None)
    highs = [high for high in (dead, shape.high) if high is not None]
    high = min(highs) if highs else None
    return None if high is not None and high < shape.low else replace(shape, high=high)


def _object(shape: ObjectShape, alive: set[Wanted]) -> ObjectShape | None:
    """Gives the shape of those objects whose values can be satisfied, if there is such an object."""
    named = tuple(
        (name, wanted if wanted in alive and _is_text(name) else NOTHING) for name, wanted in shape.named
    )
    allowed = {name for name, wanted in named if wanted != NOTHING}
    classes = tuple(pair for pair in shape.classes if pair[1] in alive)
    if not shape.required <= allowed or (not classes and len(allowed) < shape.low):
        return None
    if shape.high is not None and shape.high < max(shape.low, len(shape.required)):
        return None
    return replace(shape, named=named, classes=classes)


def _node(values: Values, numbers: dict[Wanted, int]) -> Node:
    alive = set(numbers)
    arrays = [_array(shape, alive) for shape in values.arrays]
    objects = [_object(shape, alive) for shape in values.objects]
    strings = values.strings
    if not isinstance(strings, Lengths):
        strings = quoted(strings)
    return Node(
        values.words,
        values.numbers,
        None if strings == NO_TEXT else strings,
        tuple(dict.fromkeys(_numbered(shape, numbers) for shape in arrays if shape is not None)),
        tuple(_named(shape, numbers) for shape in objects if shape is not None),
    )


def _numbered(shape: ArrayShape, numbers: dict[Wanted, int]) -> Array:
    size = len(shape.prefix) if shape.high is None else min(len(shape.prefix), shape.high)
    prefix = tuple(numbers[wanted] for wanted in shape.prefix[:size])
    return Array(prefix, numbers.get(shape.rest, -1), shape.low, shape.high)


def _named(shape: ObjectShape, numbers: dict[Wanted, int]) -> Object:
    return Object(
        {name.encode(): numbers.get(wanted) for name, wanted in shape.named if _is_text(name)},
        tuple(Names(machine, numbers[wanted]) for machine, wanted in shape.classes),
        frozenset(name.encode() for name in shape.required),
        shape.low,
        shape.high,
    )


def _is_text(name: str) -> bool:
    """Whether UTF-8 can write a name: it cannot write surrogates."""
    return not any("\ud800" <= character < "\ue000" for character in name)
