"""Regular expressions whose byte automaton is too large: followed character by character, as texts need it.

Between characters a state is one of the automaton of characters, where that has been made, or a set of places
in the pattern, as the subset construction meets them. Inside a character it is that and a node of the tree of
UTF-8. States are made when first met.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from lmppl.constraints.protocol import Constraint, State, require_bytes
from lmppl.constraints.regular.character_automaton import CharacterAutomaton, Subsets, size
from lmppl.constraints.regular.character_sets import Partition
from lmppl.constraints.regular.regex_syntax import Assertion, Character, Look, Node, walk
from lmppl.constraints.regular.transition_tables import DEAD, Accepting, Table
from lmppl.constraints.regular.utf8_encoding import Encoding

MAX_FOLLOWED = 10_000  # NFA states: a step may go through all of them, some 10 ms
MAX_KNOWN = 50_000

_NUM_ASCII = 128


class Steps(Protocol):
    """States of a language by characters. Each can be completed."""

    first: Any

    def step(self, state: Any, /) -> Mapping[int, Hashable]:
        """Gives the state after a character of each class, where there is one."""
        ...

    def accepts(self, state: Any, /) -> bool:
        """Says whether the text may end."""
        ...


class _TableSteps:
    """The rows of a table."""

    first = 0

    def __init__(self, table: Table, accepting: Accepting):
        self._table = table
        self._accepting = accepting

    def step(self, state: int) -> dict[int, int]:
        return {symbol: after for symbol, after in enumerate(self._table[state].tolist()) if after != DEAD}

    def accepts(self, state: int) -> bool:
        return bool(self._accepting[state])


@dataclass(eq=False, repr=False)
class Point:
    """A state. Equal to itself only; made once, while known.

    Attributes:
        after: What follows a character of each class; a state of the language by characters.
        accepts: Whether the text may end here.
        base: Inside a character, the state before it.
        node: Of the tree of UTF-8, where the character stands.
        by_byte: Points by byte, as far as they are known.
        inside: Points by node, as far as they are known.
    """

    after: Mapping[int, Hashable]
    accepts: bool = False
    base: Point | None = None
    node: int = -1
    by_byte: dict[int, Point | None] = field(default_factory=dict)
    inside: dict[int, Point | None] = field(default_factory=dict)


class CharacterMachine:
    """The states of one language.

    Args:
        partition: Classes of characters.
        steps: Over these.
    """

    def __init__(self, partition: Partition, steps: Steps):
        self._steps = steps
        self._encoding = Encoding.of(partition)
        self._nodes = {lead: node for node, leads in self._encoding.trees.leads_of.items() for lead in leads}
        self._known: dict[Hashable, Point] = {}
        self.initial = self._point(steps.first)

    def advance(self, point: Point, byte: int) -> Point | None:
        """Gives the state after a byte, or None if no text of the language starts so."""
        try:
            return point.by_byte[byte]
        except KeyError:
            found = point.by_byte[byte] = self._advanced(point, byte)
            return found

    def _advanced(self, point: Point, byte: int) -> Point | None:
        if point.base is None:
            if byte < _NUM_ASCII:
                return self._behind(point, self._encoding.ascii_classes[byte])
            return self._inside(point, self._nodes[byte]) if byte in self._nodes else None
        if not 0x80 <= byte < 0xC0:
            return None
        trees = self._encoding.trees
        child = trees.children[point.node][byte - 0x80]
        if trees.depths[point.node]:
            return self._inside(point.base, child)
        return None if child == -1 else self._behind(point.base, self._encoding.beyond[child])

    def _behind(self, base: Point, symbol: int) -> Point | None:
        state = base.after.get(symbol)
        return None if state is None else self._point(state)

    def _inside(self, base: Point, node: int) -> Point | None:
        if node not in base.inside:
            classes = self._encoding.trees.classes[node].tolist()
            is_viable = any(self._encoding.beyond[number] in base.after for number in classes)
            base.inside[node] = Point({}, base=base, node=node) if is_viable else None
        return base.inside[node]

    def _point(self, state: Hashable) -> Point:
        if state not in self._known:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[state] = Point(self._steps.step(state), self._steps.accepts(state))
        return self._known[state]


@dataclass(frozen=True, repr=False)
class CharacterLanguage(Constraint):
    """The strings that match a pattern whose automaton is too large. Made by `regex`.

    Attributes:
        pattern: In the syntax of `re`.
        flags: Of `re`.
        machine: Its states.
    """

    pattern: str
    flags: int
    machine: CharacterMachine = field(compare=False)

    @staticmethod
    def of(
        pattern: str, flags: int, tree: Node, characters: CharacterAutomaton | None
    ) -> CharacterLanguage | None:
        """Makes that of a pattern; None where it is too large for this too.

        Assertions need the whole automaton of characters: only there it is known what can be completed.

        Args:
            pattern: As it is written.
            flags: Of `re`.
            tree: What it means.
            characters: Its automaton of characters; None if that is too large.
        """
        if size(tree) > MAX_FOLLOWED:
            return None
        if characters is not None:
            partition, table, accepting = characters
            machine = CharacterMachine(partition, _TableSteps(table, accepting))
            return CharacterLanguage(pattern, flags, machine)
        for node in walk(tree):
            if isinstance(node, Assertion | Look) or (isinstance(node, Character) and not node.options):
                return None
        subsets = Subsets.of(tree)
        subsets.most_work = None
        return CharacterLanguage(pattern, flags, CharacterMachine(subsets.partition, subsets))

    @property
    def revisits_states(self) -> bool:
        """True."""
        return True

    def initial(self) -> State:
        """Gives the state of the empty string."""
        return self.machine.initial

    def advance(self, state: State, data: bytes) -> State | None:
        """Gives the state after `data`, or None if no accepted string starts so."""
        try:
            point: Point | None = cast(Point, state)
            for byte in data:
                point = self.machine.advance(point, byte)
                if point is None:
                    return None
            return point
        except TypeError:
            require_bytes(data)
            raise

    def accepts(self, state: State) -> bool:
        """Says whether the string that led to `state` is in the language."""
        return cast(Point, state).accepts

    def describe(self) -> str:
        """Gives the text that the user wrote."""
        return description(self.pattern, self.flags)


def description(pattern: str, flags: int) -> str:
    """Gives what a user may have written."""
    return f"regex({re.compile(pattern, flags) if flags else pattern!r})"
