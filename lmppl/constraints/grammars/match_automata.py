"""What `re.match` finds at the beginning of a text, byte by byte: the ends of matches as they are met.

`re` looks ahead without bound: whether it takes a match that ends here depends on whether one that it
likes better comes later. So a state keeps a list of **slots**, one for each match that has been met and
may be the one, best first; whoever follows the automaton keeps for each what comes of ending there.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np

from lmppl.constraints.regular.transition_tables import DEAD, distinct_columns

NEW = -1
MAX_STATES = 50_000


class Label(NamedTuple):
    """What entering a state says.

    Attributes:
        slots: For each slot, the one before this character that it was, or NEW for a match that ends
            here. None within a character: all slots stay as they are.
        certain: Whether the last slot is a match in any case, so that there is one.
        end: The slot that is found if the text ends here, or -1.
    """

    slots: tuple[int, ...] | None
    certain: bool
    end: int


class MatchAutomaton:
    """The states of one pattern; 0 is the start.

    Args:
        table: The next state by state and byte.
        labels: By state.
        runs: By state, if it is known.

    Attributes:
        flat: The next state of `state` is at `256 * state + byte`, -1 if nothing is found that way.
        labels: By state.
        settled: By state, whether nothing but its only slot can be found any more. It has no next one.
        runs: By state, whether more matches may be met.
    """

    def __init__(self, table: np.ndarray, labels: list[Label], runs: list[bool] | None = None):
        self.flat = np.ascontiguousarray(table, np.int32).reshape(-1).data
        self.labels = labels
        self.settled = [
            label.certain and label.slots is not None and len(label.slots) == 1 and not goes_on
            for label, goes_on in zip(labels, (table != DEAD).any(1).tolist(), strict=True)
        ]
        self.runs = running(table, labels).tolist() if runs is None else runs
        self._representatives: dict[int, list[int]] = {}
        self._endings: dict[int, bytes | None] = {}

    @property
    def has_conditions(self) -> bool:
        """Whether a match may depend on what follows it, by look-ahead."""
        return any(label.slots and not (label.certain and len(label.slots) == 1) for label in self.labels)

    @cached_property
    def shortest(self) -> bytes:
        """A shortest text with a match that ends with it; empty if there is none."""
        return self.ending(0) or b""

    def ending(self, state: int) -> bytes | None:
        """Gives a shortest text after which a match ends that has come to a state; None if there is none."""
        if state not in self._endings:
            self._endings[state] = self._ending(state)
        return self._endings[state]

    def _ending(self, start: int) -> bytes | None:
        before = {start: (start, 0)}  # and the byte from there
        todo = [start]
        for state in todo:  # grows while it is walked
            for byte in self.representatives(state):
                after = self.flat[256 * state + byte]
                if NEW in (self.labels[after].slots or ()):
                    text = bytearray((byte,))
                    while state != start:
                        state, byte = before[state]
                        text.append(byte)
                    return bytes(reversed(text))
                if after not in before:
                    before[after] = state, byte
                    todo.append(after)
        return None

    def representatives(self, state: int) -> list[int]:
        """Gives one byte for each next state."""
        if state not in self._representatives:
            row = np.array(self.flat[256 * state : 256 * state + 256])
            targets, first = np.unique(row, return_index=True)
            self._representatives[state] = first[targets != DEAD].tolist()
        return self._representatives[state]

    def find(self, data: bytes) -> int | None:
        """Gives the length of the match at the beginning of a whole text, None if there is none."""
        slots: list[int] = []
        state = 0
        for position, byte in enumerate(data, 1):
            state = self.flat[256 * state + byte]
            if state == DEAD:
                return None
            label = self.labels[state]
            if label.slots is not None:
                slots = [position if slot == NEW else slots[slot] for slot in label.slots]
            if self.settled[state]:
                return slots[0]
        end = self.labels[state].end
        return slots[end] if end >= 0 else None


def running(table: np.ndarray, labels: list[Label]) -> np.ndarray:
    """Gives the states from which a match can be met that is not there yet."""
    classes = distinct_columns(table)[0] if len(table) > 100 else table  # which takes less time for a word
    sources, symbols = np.nonzero(classes != DEAD)
    edges = np.unique(classes[sources, symbols].astype(np.int64) * len(table) + sources)
    sources_of = (edges % len(table)).tolist()
    starts = np.searchsorted(edges, np.arange(len(table) + 1) * len(table)).tolist()
    runs = np.zeros(len(labels), bool)
    todo = [state for state, label in enumerate(labels) if NEW in (label.slots or ())]
    for state in todo:  # grows while it is walked
        for source in sources_of[starts[state] : starts[state + 1]]:
            if not runs[source]:
                runs[source] = True
                todo.append(source)
    return runs
