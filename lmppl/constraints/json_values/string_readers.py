"""Reading a JSON string behind its opening quote, by length or by an automaton.

A reader has a state `start`, `advance(state, data)` for one byte or some letters that stand for themselves,
which is None if nothing begins so, and `closes(state)` for the closing quote. Where few strings may still
come, `num_endings(state)` counts them, and `endings(state)` gives what is missing of each.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from lmppl.constraints.json_values.sized_texts import Lengths, Sized
from lmppl.constraints.json_values.spelling import QUOTE
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.automaton_algebra import word_counts, words
from lmppl.constraints.regular.free_characters import leads_back
from lmppl.constraints.regular.transition_tables import DEAD


@dataclass(frozen=True)
class Spelled:
    """The JSON strings of an automaton; or numbers, of which nothing is asked but what may still come.

    Attributes:
        machine: Of whole strings, with both quotes; it is not empty.
    """

    machine: ByteAutomaton

    @cached_property
    def start(self) -> int:
        """The state behind the opening quote."""
        return self.machine.flat[256 * self.machine.start + QUOTE]

    def closes(self, state: int) -> bool:
        """Says whether a quote ends a string of the set."""
        target = self.machine.flat[256 * state + QUOTE]
        return target != DEAD and self.machine.accepts(target)

    def advance(self, state: int, data: bytes) -> int | None:
        """Gives the state after some bytes, or None if nothing begins so."""
        return self.machine.advance(state, data)

    def num_free(self, state: int) -> int:
        """Gives how many characters may follow, whichever they are, or fewer."""
        return sys.maxsize if leads_back(self.machine, state) else 0

    def num_endings(self, state: int) -> int | None:
        """Gives how many strings may still come; None for infinitely many."""
        return self._counts[state]

    def endings(self, state: int) -> Iterable[bytes]:
        """Gives what is missing of each; there must be finitely many."""
        return words(self.machine, state)

    @property
    def counts_endings(self) -> bool:
        """True."""
        return True

    @property
    def is_endless(self) -> bool:
        """Whether there are infinitely many."""
        return self._counts[self.machine.start] is None

    @cached_property
    def _counts(self) -> list[int | None]:
        return word_counts(self.machine)


Reader = Lengths | Sized | Spelled
