"""Times of RFC 3339. A leap second is the last one of a day of UTC, so what zone may follow depends on it."""

from __future__ import annotations

from functools import cache

import numpy as np

from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.transition_tables import DEAD

_DAY = 24 * 60


class _Rows:
    """A table of transitions that grows."""

    def __init__(self):
        self.rows: list[np.ndarray] = []

    def new(self) -> int:
        self.rows.append(np.full(256, DEAD, np.int32))
        return len(self.rows) - 1

    def edge(self, source: int, characters: str, target: int) -> None:
        for character in characters:
            self.rows[source][ord(character)] = target

    def after(self, source: int, text: str) -> int:
        """Gives the state behind a text, of one's own as far as there is none."""
        for character in text:
            target = int(self.rows[source][ord(character)])
            if target == DEAD:
                target = self.new()
                self.edge(source, character, target)
            source = target
        return source


@cache
def time_text() -> ByteAutomaton:
    """Gives the times of day with their zone."""
    return _table(None)


@cache
def date_time_text(date: ByteAutomaton) -> ByteAutomaton:
    """Gives the moments: a date, `T`, and a time."""
    return _table(date)


def _table(date: ByteAutomaton | None) -> ByteAutomaton:
    rows = _Rows()
    start, end = rows.new(), rows.new()
    _add_times(rows, start, end)
    first = start
    if date is not None:
        shift = len(rows.rows)
        rows.rows.extend(
            np.where(row == DEAD, DEAD, row + shift).astype(np.int32) for row in date.transitions
        )
        for state in np.flatnonzero(date.accepting).tolist():
            rows.edge(shift + state, "Tt", start)
        first = shift + date.start
    accepting = np.zeros(len(rows.rows), bool)
    accepting[end] = True
    return ByteAutomaton.of_table(np.stack(rows.rows), first, accepting)


def _add_times(rows: _Rows, start: int, end: int) -> None:
    zone = rows.new()  # behind the seconds
    rows.edge(zone, "Zz", end)
    sign = rows.new()
    rows.edge(zone, "+-", sign)
    _add_offsets(rows, sign, end)
    _add_fraction(rows, zone)
    tails = {target: _fixed(rows, target, end) for target in range(_DAY)}
    for minute in range(_DAY):
        colon = rows.after(start, f"{minute // 60:02}:{minute % 60:02}:")
        tens = rows.new()
        rows.edge(colon, "012345", tens)
        rows.edge(tens, "0123456789", zone)
        leap = rows.after(colon, "60")
        _add_leap_zone(rows, leap, minute, tails, end)


def _add_fraction(rows: _Rows, state: int) -> None:
    """Lets a point and digits follow, and then what may follow without them."""
    point, digits = rows.new(), rows.new()
    rows.edge(state, ".", point)
    rows.edge(point, "0123456789", digits)
    before = rows.rows[state].copy()
    before[ord(".")] = DEAD
    rows.rows[digits] = before
    rows.edge(digits, "0123456789", digits)


def _add_offsets(rows: _Rows, state: int, end: int) -> None:
    for hour in range(24):
        colon = rows.after(state, f"{hour:02}:")
        tens = rows.new()
        rows.edge(colon, "012345", tens)
        rows.edge(tens, "0123456789", end)


def _fixed(rows: _Rows, offset: int, end: int) -> int:
    """Gives a state behind which just one offset may follow."""
    start = rows.new()
    text = f"{offset // 60:02}:{offset % 60:02}"
    rows.edge(rows.after(start, text[:-1]), text[-1], end)
    return start


def _add_leap_zone(rows: _Rows, state: int, minute: int, tails: dict[int, int], end: int) -> None:
    """Lets the zone follow in which a minute of the local day is the last one of UTC's day."""
    ahead = (minute + 1) % _DAY
    if ahead == 0:
        rows.edge(state, "Zz", end)
    rows.edge(state, "+", tails[ahead])
    rows.edge(state, "-", tails[-ahead % _DAY])
    _add_fraction(rows, state)
