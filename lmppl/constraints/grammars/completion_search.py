"""Whether states of lexed texts have completions, where it takes more bytes to be sure of one.

A state that is sure or accepted is searched for, byte by byte. All states that a state leads to are
searched, so if there are only finitely many, and none is sure, there is no completion. There may be more;
so a search is given up after a bound.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic

from lmppl.constraints.grammars.lexed_readings import Reading, Stack, parts

MAX_KNOWN = 200_000
MAX_SEARCHED = 5_000
MAX_UNSURE = 400
"""States that a search goes through if it may have no end."""

MAX_MORE = 40
"""Bytes that it goes on for: each may leave one more lexeme open."""

MAX_MOVES = 100_000
"""Moves by a byte of all searches together, those beside others included: they take about a second."""

MORE_MOVES = 300
"""Moves that each new state adds to what has been left, up to that."""


class CompletionSearch(Generic[Stack]):
    """The searches in the states of one parser and its scanners.

    Args:
        step: Gives the state after a byte.
        is_settled: Says whether it needs no more bytes to be sure that a state has a completion.
        ways: Gives one byte out of each class of bytes that lead a state and its parts to the same ones.
        ends: Whether each search comes to an end by itself.

    Attributes:
        known: Whether states have completions, as far as it has been found.
        has_given_up: Whether a search was given up, and its state taken for one that has.
    """

    def __init__(
        self,
        step: Callable[[Reading[Stack], int], Reading[Stack] | None],
        is_settled: Callable[[Reading[Stack]], bool],
        ways: Callable[[list[Reading[Stack]]], list[int]],
        ends: bool,
    ):
        self._step = step
        self._is_settled = is_settled
        self._ways = ways
        self._ends = ends
        self._left = MAX_MOVES
        self.known: dict[Reading[Stack], bool] = {}
        self.has_given_up = False

    def has_completion(self, reading: Reading[Stack]) -> bool:
        """Says whether a state has a completion, or a search was given up, for it or before."""
        if self.has_given_up:
            return True
        if reading not in self.known:
            if len(self.known) >= MAX_KNOWN:
                self.known.clear()
            self._left = min(MAX_MOVES, self._left + MORE_MOVES)
            self.known[reading] = self._is_settled(reading) or self._search(reading)
        return self.known[reading]

    def _search(self, reading: Reading[Stack]) -> bool:
        """Looks for bytes after which it is sure that there is a completion."""
        most, longest = (MAX_SEARCHED, MAX_SEARCHED) if self._ends else (MAX_UNSURE, MAX_MORE)
        seen = {reading: 0}  # and how many bytes lead there
        todo = [reading]
        for state in todo:  # grows while it is walked
            if len(todo) > most or seen[state] == longest or self._left < 0:
                self.has_given_up = True
                return True
            together = parts(state)
            some_bytes = self._ways(together)
            self._left -= len(together) * len(some_bytes)
            for byte in some_bytes:
                after = self._step(state, byte)
                if after is None or after in seen:
                    continue
                if self.known.get(after) or self._is_settled(after):
                    return True
                seen[after] = seen[state] + 1
                todo.append(after)
        self.known.update(dict.fromkeys(todo, False))
        return False
