"""How the cost of a byte grows with a text's length: in executed lines of Python, and in time."""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from lmppl.constraints.functions.remembered_answers import CheckTimedOut
from lmppl.constraints.protocol import Constraint, State
from lmppl.errors import ConstraintError

TIMES = 8
_LEAST_BYTES = 32
_NUM_MEASURED = 8  # bytes at the end of a text, of each kind of cost; the median counts
_LONGEST_PIECE = 8
_MOST_PIECES = 4
_MOST_TRIED = 400


@dataclass(frozen=True)
class CostGrowth:
    """What a byte costs at the end of a text and of one that is 8 times as long.

    Attributes:
        text: The shorter text.
        piece: What is repeated at its end to make the other.
        lines: Executed lines of Python, a median of some bytes; what C does in one line is not seen.
        seconds: The same of the time, which says little on a busy machine.
    """

    text: bytes
    piece: bytes
    lines: tuple[float, float]
    seconds: tuple[float, float]

    @property
    def in_lines(self) -> float:
        """How much more a byte costs in the longer text: 1 if that is flat, 8 if all is read again."""
        return self.lines[1] / max(self.lines[0], 1.0)

    @property
    def in_time(self) -> float:
        """The same in time."""
        return self.seconds[1] / max(self.seconds[0], 1e-9)


def cost_growth_of(constraint: Constraint, strings: Sequence[bytes]) -> CostGrowth | None:
    """Gives the greatest growth where a piece of a string is repeated; None where none can be.

    A byte is asked about for the first time when its cost is taken: answers may be remembered.

    Args:
        constraint: What to measure. One that `takes_long` is not.
        strings: In the language; the longest two are lengthened.
    """
    if constraint.takes_long:
        return None
    longest = sorted(strings, key=len, reverse=True)[:2]
    pieces = itertools.chain.from_iterable(_pieces(constraint, string) for string in longest)
    grown = (_measured(constraint, head, piece) for head, piece in itertools.islice(pieces, _MOST_PIECES))
    return max((each for each in grown if each is not None), key=lambda each: each.in_lines, default=None)


def _pieces(constraint: Constraint, string: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Gives beginnings of a string, with what follows that can be repeated some times; one of each size."""
    num_tried = 0
    for size in range(1, 1 + min(_LONGEST_PIECE, len(string))):
        for at in range(len(string) - size + 1):
            num_tried += 1
            if num_tried > _MOST_TRIED:
                return
            head, piece = string[:at], string[at : at + size]
            if _advanced(constraint, constraint.initial(), head + piece * 4) is not None:
                yield head, piece
                break


def _measured(constraint: Constraint, head: bytes, piece: bytes) -> CostGrowth | None:
    length = max(_LEAST_BYTES, len(head) + len(piece))
    costs = []
    for most in (length, TIMES * length):
        num_pieces = 1 + (most - len(head)) // len(piece)
        cost = _cost(constraint, head + piece * num_pieces, piece * -(-_NUM_MEASURED // len(piece)))
        if cost is None:
            return None
        costs.append(cost)
    (lines, seconds), (more_lines, more_seconds) = costs
    text = head + piece * (1 + (length - len(head)) // len(piece))
    return CostGrowth(text, piece, (lines, more_lines), (seconds, more_seconds))


def _cost(constraint: Constraint, text: bytes, more: bytes) -> tuple[float, float] | None:
    """Gives the median lines, and the median seconds, of bytes that follow a text; None if they may not."""
    state = _advanced(constraint, constraint.initial(), text)
    medians = []
    for measure in (_lines, _seconds):
        costs = []
        for byte in more:
            if state is None:
                return None
            cost, state = measure(lambda at=state, data=bytes((byte,)): _asked(constraint, at, data))
            costs.append(cost)
        medians.append(statistics.median(costs))
    return None if state is None else (medians[0], medians[1])


def _asked(constraint: Constraint, state: State, data: bytes) -> State | None:
    after = _advanced(constraint, state, data)
    try:
        if after is not None:
            constraint.accepts(after)
    except (ConstraintError, CheckTimedOut):
        return None
    return after


def _advanced(constraint: Constraint, state: State, data: bytes) -> State | None:
    try:
        return constraint.advance(state, data)
    except (ConstraintError, CheckTimedOut):  # too much to be followed
        return None


def _lines(ask: Callable[[], State | None]) -> tuple[float, State | None]:
    num = 0

    def count(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal num
        num += 1
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        after = ask()
    finally:
        sys.settrace(before)
    return float(num), after


def _seconds(ask: Callable[[], State | None]) -> tuple[float, State | None]:
    start = time.perf_counter()
    after = ask()
    return time.perf_counter() - start, after
