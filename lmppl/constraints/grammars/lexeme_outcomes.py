"""What a lexeme under way may become for sure: tokens, each with what may be written after it.

A scanner's point leads to many matches, and one that is met may be lost to a longer one. Here only those
count that can be cut off by the text of some token, or by the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from lmppl.constraints.grammars.scanner import Point, Scanner
from lmppl.constraints.grammars.token_texts import WrittenTokens

Outcome = tuple[int, int]
"""A token, and what may come next, as bits."""


class LexemeOutcomes:
    """The outcomes of one scanner's points, as far as it has been asked for them."""

    def __init__(self, scanner: Scanner, texts: WrittenTokens[Any]):
        self._scanner = scanner
        self._texts = texts
        self._own: dict[Point, list[Outcome]] = {}
        self._known: dict[Point, dict[Outcome, None]] = {}
        self._complete: set[Point] = set()

    def lead_on(self, point: Point, wanted: Callable[[int, int], bool]) -> bool:
        """Says whether some text from a point on makes sure of an outcome that is wanted."""
        known = self._known.setdefault(point, {})
        for outcome in (*known, *self._at(point)):
            if wanted(*outcome):
                return True
        if point in self._complete:
            return False
        for outcome in self._soon(point):
            if outcome not in known and wanted(*outcome):
                known[outcome] = None
                return True
        for outcome in self._search(point):
            if outcome not in known:
                known[outcome] = None
                if wanted(*outcome):
                    return True
        self._complete.add(point)
        return False

    def _soon(self, point: Point) -> Iterator[Outcome]:
        """Gives the outcomes of the shortest texts that end a match under way."""
        for text in self._scanner.endings(point):
            after: Point | None = point
            for byte in text:
                after = None if after is None or after.settled else self._scanner.after(after, byte)
            if after is not None:
                yield from self._at(after)

    def _at(self, point: Point) -> list[Outcome]:
        """Gives the outcomes of the matches that end at a point."""
        if point not in self._own:
            self._own[point] = [
                (~slot, tokens)
                for number, slot in enumerate(point.slots)
                if slot < 0 and (tokens := self._texts.after(self._scanner, point, number))
            ]
        return self._own[point]

    def _search(self, point: Point) -> Iterator[Outcome]:
        met = {point}
        todo = [point]
        for source in todo:  # grows while it is walked
            if source.settled:
                continue
            if source in self._complete:
                yield from self._known[source]
                continue
            for target in self._scanner.targets(source):
                if target not in met:
                    met.add(target)
                    todo.append(target)
                    yield from self._at(target)
