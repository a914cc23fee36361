"""The states of texts that a lexer cuts into tokens.

The lexer cuts off what its scanner finds, which may be known only later: after `1` of `1.5` or `1..2` the
number may be `1`, `1.5` or `1.`. So a state follows the lexeme under way, and beside it, for each slot of
the scanner, what comes of the text if the lexeme ended there. That is a state again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from lmppl.constraints.grammars.scanner import Point, Scanner, first_of_each

Stack = TypeVar("Stack")


@dataclass(eq=False)
class Reading(Generic[Stack]):
    """A state. Equal to itself only; made once, while known.

    Attributes:
        stack: Of the parser, before the lexeme under way.
        scanner: Of that place.
        point: In the lexeme.
        slots: What has come of the text if the lexeme ended where the slot says; None is refused.
    """

    stack: Stack
    scanner: Scanner
    point: Point
    slots: tuple[Reading[Stack] | None, ...]

    @property
    def is_between(self) -> bool:
        """Whether no lexeme is under way."""
        return self.point is self.scanner.start

    def __repr__(self) -> str:
        return f"<Reading after {self.stack!r}>"


def parts(reading: Reading[Stack]) -> list[Reading[Stack]]:
    """Gives a state and all that are beside it."""
    found = {reading: None}
    todo = [reading]
    for each in todo:  # grows while it is walked
        for slot in each.slots:
            if slot is not None and slot not in found:
                found[slot] = None
                todo.append(slot)
    return todo


def ways(readings: list[Reading[Stack]]) -> list[int]:
    """Gives one byte out of each class of bytes that lead a state and those beside it to the same ones."""
    if len(readings) == 1:
        return readings[0].scanner.representatives(readings[0].point)
    scanners = {each.point: each.scanner for each in readings}
    return first_of_each([row for point, scanner in scanners.items() for row in scanner.rows(point)])
