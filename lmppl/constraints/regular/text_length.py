"""`lp.length`: texts of so many characters or bytes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal, cast

import numpy as np

from lmppl.constraints.count_bounds import Bounds
from lmppl.constraints.protocol import Constraint, State, require_bytes
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.regular_language import RegularLanguage
from lmppl.constraints.regular.transition_tables import DEAD
from lmppl.constraints.regular.utf8_encoding import all_texts
from lmppl.errors import InvalidInputError

Unit = Literal["characters", "bytes"]
Place = tuple[int, int]
"""How much is counted, and the state of `all_texts`, which is 0 between two characters."""

MAX_COUNTED_BY_AUTOMATON = 1_000  # 8 states each: half a second to build, 8 MB


def length(least: int = 0, most: int | None = None, unit: Unit = "characters") -> Constraint:
    """Allows the texts of at least and at most so many characters, or bytes of UTF-8.

    A prefix is viable exactly when it can be completed, inside a character too. Up to 1,000 it is an
    automaton, which other automata join at once; above, what is counted is the state.

    Args:
        least: The least length.
        most: The greatest length; None is no limit.
        unit: `"characters"` counts code points, as `len` does. `"bytes"` counts those of UTF-8.

    Raises:
        InvalidInputError: `least` is below 0 or above `most`, or there is no such unit.
        InvalidTypeError: A bound is no int.
    """
    if unit not in ("characters", "bytes"):
        raise InvalidInputError(f'length(unit={unit!r}) is no unit. Give "characters" or "bytes".')
    return _length(Bounds.of("length", least, most), unit)


@lru_cache(256)
def _length(bounds: Bounds, unit: Unit) -> Constraint:
    counter = Length(bounds, unit)
    if bounds.highest > MAX_COUNTED_BY_AUTOMATON:
        return counter
    return RegularLanguage(counter.written_out(), counter.describe())


@dataclass(frozen=True, repr=False)
class Length(Constraint):
    """The texts of so many characters or bytes. Made by `length`. A state is a `Place`.

    Attributes:
        bounds: How many.
        unit: What is counted.
    """

    bounds: Bounds
    unit: Unit

    def initial(self) -> State:
        """Gives the state of the empty string."""
        return (0, 0)

    def advance(self, state: State, data: bytes) -> State | None:
        """Gives the state after `data`, or None if no text of such a length starts so."""
        try:
            count, inside = cast(Place, state)
            following = all_texts().flat
            for byte in data:
                inside = following[256 * inside + byte]
                if inside == DEAD:
                    return None
                count += self.unit == "bytes" or inside == 0
                if self.bounds.most is not None and count + self._missing(inside) > self.bounds.most:
                    return None
            return (count if self.bounds.most is not None else min(count, self.bounds.least), inside)
        except TypeError:
            require_bytes(data)
            raise

    def accepts(self, state: State) -> bool:
        """Says whether the text is of whole characters and long enough."""
        count, inside = cast(Place, state)
        return inside == 0 and count >= self.bounds.least

    def describe(self) -> str:
        """Gives the bounds, and the unit if it is not characters."""
        unit = "" if self.unit == "characters" else f", unit={self.unit!r}"
        return f"length({self.bounds.describe()}{unit})"

    def written_out(self) -> ByteAutomaton:
        """Gives the automaton of the same texts: a copy of that of all texts for each count."""
        texts = all_texts()
        counts = np.arange(self.bounds.highest + 1)[:, None, None]
        after = counts + (True if self.unit == "bytes" else texts.transitions == 0)
        if self.bounds.most is None:
            after = np.minimum(after, self.bounds.least)
        refused = (texts.transitions == DEAD) | (after > self.bounds.highest)
        table = np.where(refused, DEAD, after * texts.num_states + texts.transitions)
        accepting = (counts[:, :, 0] >= self.bounds.least) & texts.accepting
        return ByteAutomaton.of_table(table.reshape(-1, 256).astype(np.int32), 0, accepting.reshape(-1))

    def _missing(self, inside: int) -> int:
        """Gives how much the rest of an unfinished character adds at least."""
        return _bytes_to_finish()[inside] if self.unit == "bytes" else int(inside != 0)


@cache
def _bytes_to_finish() -> list[int]:
    """Gives how many bytes each state of `all_texts` is away from the end of a character."""
    texts = all_texts()
    distances = np.where(texts.accepting, 0, 4)
    for _ in range(3):
        ahead = np.where(texts.transitions == DEAD, 4, distances[texts.transitions])
        distances = np.minimum(distances, 1 + ahead.min(1))
    return distances.tolist()
