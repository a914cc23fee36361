"""Sets of texts by their number of characters: alone, or beside an automaton that is not multiplied by it.

Both read JSON strings without an automaton of these, as `string_readers` says.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool

from lmppl.constraints.json_values.spelling import BACKSLASH, NEEDED_ESCAPES, QUOTE, character_text
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.transition_tables import DEAD

_FOLLOWING = 3  # bytes of a character behind its first one, at most


@dataclass(frozen=True)
class Lengths:
    """The texts whose number of characters lies in one of some ranges.

    A state of it is a state inside a character, 0 between two, with the number of whole characters up to
    where it matters. Any spelling will do.

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

    @property
    def start(self) -> tuple[int, int]:
        """The state behind the opening quote."""
        return 0, 0

    def closes(self, state: tuple[int, int]) -> bool:
        """Says whether a quote ends a string of the set."""
        inside, length = state
        return not inside and length in self

    def advance(self, state: tuple[int, int], data: bytes) -> tuple[int, int] | None:
        """Gives the state after one byte, or some letters; a character too many is refused at its first."""
        inside, length = state
        if not inside:
            if len(data) > 1:
                return self._counted(length + len(data))
            if self.longest is not None and length >= self.longest:
                return None
        machine = character_text()
        for position, byte in enumerate(data):
            inside = machine.flat[256 * inside + byte]
            if inside == DEAD:
                return None
            if machine.accepts(inside):  # what follows is letters, one character each
                return self._counted(length + len(data) - position)
        return inside, length

    def num_free(self, state: tuple[int, int]) -> int:
        """Gives how many characters may follow, whichever they are."""
        inside, length = state
        if inside:
            return 0
        return sys.maxsize if self.longest is None else self.longest - length

    def _counted(self, length: int) -> tuple[int, int] | None:
        if self.longest is not None and length > self.longest:
            return None
        return 0, min(length, self.last_edge)

    def num_endings(self, state: tuple[int, int]) -> int | None:
        """Gives 1 where nothing but a quote can follow."""
        return 1 if state == (0, self.longest) else None

    def endings(self, state: tuple[int, int]) -> tuple[bytes, ...]:
        """Gives the quote, where nothing else can follow."""
        return (b'"',)

    @property
    def counts_endings(self) -> bool:
        """Whether strings are endless wherever `num_endings` is not known."""
        return self.longest in (None, 0)

    @property
    def is_endless(self) -> bool:
        """Whether there are infinitely many strings."""
        return self.longest is None


@dataclass(frozen=True)
class Sized:
    """The texts of an automaton that have one of some lengths.

    A state of it is a state of the automaton with the number of whole characters up to where it matters,
    and what has been read of an escape: (state, count, escape). It is kept only while it can be completed.

    Attributes:
        machine: Of texts, not of their spellings.
        lengths: Not all lengths.
    """

    machine: ByteAutomaton
    lengths: Lengths

    @property
    def is_empty(self) -> bool:
        """True if there is no such text."""
        return not self._is_alive(self.machine.start, 0)

    @property
    def start(self) -> SizedState:
        """The state behind the opening quote; the set must not be empty."""
        return self.machine.start, 0, b""

    def closes(self, state: SizedState) -> bool:
        """Says whether a quote ends a JSON string of the set."""
        number, count, escape = state
        return not escape and self.machine.accepts(number) and count in self.lengths

    def advance(self, state: SizedState, data: bytes) -> SizedState | None:
        """Gives the state after some bytes; each text has the one spelling of `quoted`."""
        after: SizedState | None = state
        for byte in data:
            if after is None:
                break
            after = self._after(after, byte)
        return after

    def num_free(self, state: SizedState) -> int:
        """Gives 0: it is not known."""
        return 0

    def _after(self, state: SizedState, byte: int) -> SizedState | None:
        number, count, escape = state
        if not escape and byte != BACKSLASH:
            return self._moved(number, count, byte) if byte >= 0x20 and byte != QUOTE else None
        escape += bytes((byte,))
        if escape in NEEDED_ESCAPES:
            return self._moved(number, count, NEEDED_ESCAPES[escape][0])
        may_end = any(
            spelling.startswith(escape) and self._moved(number, count, content[0])
            for spelling, content in NEEDED_ESCAPES.items()
        )
        return (number, count, escape) if may_end else None

    def num_endings(self, state: SizedState) -> int | None:
        """Gives None: they are not counted."""
        return None

    def endings(self, state: SizedState) -> tuple[bytes, ...]:
        """Gives none, as they are not counted."""
        return ()

    @property
    def counts_endings(self) -> bool:
        """False."""
        return False

    @property
    def is_endless(self) -> bool:
        """False, as it is not known."""
        return False

    def _moved(self, number: int, count: int, byte: int) -> SizedState | None:
        target = self.machine.flat[256 * number + byte]
        if target == DEAD:
            return None
        if (byte & 0xC0) != 0x80:
            count = min(count + 1, self.lengths.last_edge)
        return (target, count, b"") if self._is_alive(target, count) else None

    def _is_alive(self, number: int, count: int) -> bool:
        counts, rows = self._alive
        return rows[bisect_right(counts, count) - 1][number]

    @cached_property
    def _alive(self) -> tuple[list[int], list[list[bool]]]:
        """From which states a text can still be ended, for the counts from some on, ascending.

        What is alive at a count follows from what is at the next one: where those are equal, and the same
        lengths are allowed, all counts before have the same row.
        """
        count = self.lengths.last_edge
        is_allowed = count in self.lengths
        row = np.full(self.machine.num_states, is_allowed)
        found = [(count, row)]
        while count > 0:
            before = self._row(row, count - 1 in self.lengths)
            if np.array_equal(before, row) and (count - 1 in self.lengths) == is_allowed:
                count = self._last_change(count)
                found[-1] = (count, row)
                if count == 0:
                    break
                before = self._row(row, count - 1 in self.lengths)
            count, row, is_allowed = count - 1, before, count - 1 in self.lengths
            found.append((count, row))
        found.reverse()
        return [count for count, _ in found], [row.tolist() for _, row in found]

    def _last_change(self, count: int) -> int:
        """Gives the least count from which on, up to this one, all lengths are allowed, or none is."""
        edges = [
            edge for low, high in self.lengths.ranges for edge in (low, None if high is None else high + 1)
        ]
        return max((edge for edge in edges if edge is not None and edge <= count), default=0)

    def _row(self, following: Bool[np.ndarray, " states"], is_allowed: bool) -> Bool[np.ndarray, " states"]:
        """Gives the states that are alive at a count, by those that are at the next one."""
        (source, target), (inner_source, inner_target) = self._edges
        row = self.machine.accepting & is_allowed
        row[source[following[target]]] = True
        for _ in range(_FOLLOWING):
            row[inner_source[row[inner_target]]] = True
        return row

    @cached_property
    def _edges(self) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """The transitions by bytes that begin a character, and those by others."""
        found = []
        is_inner = (np.arange(256) & 0xC0) == 0x80
        for chosen in (~is_inner, is_inner):
            states, places = np.nonzero(self.machine.transitions[:, chosen] != DEAD)
            targets = self.machine.transitions[:, chosen][states, places]
            pairs = np.unique(np.stack([states, targets]), axis=1)
            found.append((pairs[0], pairs[1]))
        return found[0], found[1]


SizedState = tuple[int, int, bytes]
