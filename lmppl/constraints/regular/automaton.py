"""Deterministic byte automata: the form of a constraint that a device can walk."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int32, Integer, UInt8

from lmppl.constraints.regular.transition_tables import DEAD, canonical

MAX_STATES = 50_000  # 1 KiB a state, so at most 51 MB


@dataclass(frozen=True, eq=False)
class ByteAutomaton:
    """The smallest deterministic automaton of a set of byte strings. Build it with `of_table`.

    Every state is reachable and can still accept, and numbers follow from the language alone, so equal
    languages give equal automata. The one exception is the empty language: one state without exit.

    Attributes:
        transitions: The next state, -1 where nothing viable follows. Read-only.
        accepting: True where a string may end. Read-only.
        start: The state of the empty string; always 0.
    """

    transitions: Int32[np.ndarray, "states 256"]
    accepting: Bool[np.ndarray, " states"]
    start: int = 0

    @staticmethod
    def of_table(
        table: Int32[np.ndarray, "states 256"], start: int, accepting: Bool[np.ndarray, " states"]
    ) -> ByteAutomaton:
        """Makes the automaton of any deterministic table: trims, minimises and numbers it."""
        return ByteAutomaton.of_classes(table, np.arange(256), start, accepting)

    @staticmethod
    def of_classes(
        table: Int32[np.ndarray, "states classes"],
        class_of: Integer[np.ndarray, "256"],
        start: int,
        accepting: Bool[np.ndarray, " states"],
    ) -> ByteAutomaton:
        """Makes the automaton of a table over classes of bytes, in the order of their least bytes."""
        small, ends = canonical(table, start, accepting)
        transitions = np.ascontiguousarray(small[:, class_of])
        transitions.setflags(write=False)
        ends.setflags(write=False)
        return ByteAutomaton(transitions, ends)

    @property
    def num_states(self) -> int:
        """The number of states."""
        return len(self.accepting)

    @property
    def is_empty(self) -> bool:
        """True if no string is accepted."""
        return not self.accepting.any()

    def advance(self, state: int, data: bytes) -> int | None:
        """Gives the state after `data`, or None if nothing that starts so is accepted."""
        flat = self.flat
        for byte in data:
            state = flat[256 * state + byte]
            if state == DEAD:
                return None
        return state

    def accepts(self, state: int) -> bool:
        """Says whether a string may end in `state`."""
        return self._ends[state]

    def walk(
        self, states: Integer[np.ndarray, " rows"], data: UInt8[np.ndarray, " rows"]
    ) -> Int32[np.ndarray, " rows"]:
        """Moves many states by one byte each. -1 stays -1."""
        return np.where(states == DEAD, DEAD, self.transitions[states, data]).astype(np.int32)

    @cached_property
    def flat(self) -> memoryview:
        """The transitions in one row, quick to index: the next of `state` is at `256 * state + byte`."""
        return self.transitions.reshape(-1).data

    @cached_property
    def _ends(self) -> list[bool]:
        return self.accepting.tolist()

    @cached_property
    def _hash(self) -> int:
        return hash((self.transitions.tobytes(), self.accepting.tobytes()))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ByteAutomaton):
            return NotImplemented
        return self is other or (
            hash(self) == hash(other)
            and np.array_equal(self.accepting, other.accepting)
            and np.array_equal(self.transitions, other.transitions)
        )

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self):
        return ByteAutomaton, (self.transitions, self.accepting, self.start)

    def __repr__(self) -> str:
        return f"<ByteAutomaton, {self.num_states:,} states>"
