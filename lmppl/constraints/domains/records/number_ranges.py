"""Which numbers a half-written number can still become."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property

from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.automaton_algebra import word_counts
from lmppl.constraints.regular.transition_tables import DEAD
from lmppl.errors import ConstraintError

Ranges = tuple[tuple[int, int], ...]
"""Whole numbers as ascending, disjoint ranges, both ends included."""

Rests = tuple[tuple[int, Ranges], ...]
"""What can follow some digits: by how many places they move, and what is added to them."""

MAX_RANGES = 1_000
MAX_DIGITS = 40

_NUMBER = re.compile(rb"(-?)([0-9]*)(?:(\.)([0-9]*))?")
_BEGINNING, _SIGNED, _WHOLE, _POINT, _DECIMALS = range(5)  # what has been read of a number


class NumberField:
    """The numbers that an automaton accepts, in units of the smallest decimal place that occurs.

    Numbers are written as `-?[0-9]+(\\.[0-9]+)?`; the automaton may accept any finite set of them. What
    a beginning can become is exact.

    Attributes:
        name: Of the field, for errors.
        decimals: How many decimal places numbers have at most: units are `10 ** -decimals`.
    """

    def __init__(self, name: str, machine: ByteAutomaton):
        """Raises `ConstraintError` if there are infinitely many numbers, or too many separate ranges."""
        self.name = name
        self._machine = machine
        self._known: dict[tuple[int, int | None, bool], Rests] = {}
        if word_counts(machine)[machine.start] is None:
            raise ConstraintError(
                f"The field {name!r} may be arbitrarily long. Bound its digits, as in [0-9]{{1,9}}."
            )
        self.decimals = self._most_decimals()

    @staticmethod
    def holds_numbers(machine: ByteAutomaton) -> bool:
        """Says whether an automaton accepts nothing but numbers."""
        met = {(machine.start, _BEGINNING)}
        todo = list(met)
        while todo:
            state, phase = todo.pop()
            if machine.accepting[state] and phase not in (_WHOLE, _DECIMALS):
                return False
            for byte, target in _ways_out(machine, state):
                after = _phase_after(phase, byte)
                if after is None:
                    return False
                if (target, after) not in met:
                    met.add((target, after))
                    todo.append((target, after))
        return True

    @cached_property
    def all_values(self) -> Ranges:
        """What the field can become before it is begun."""
        return self.values(self._machine.start, b"")

    def value(self, text: bytes) -> int:
        """Gives a number in units."""
        sign, whole, _, decimals = _read(text)
        return sign * int(whole + decimals) * 10 ** (self.decimals - len(decimals))

    def values(self, state: int, text: bytes) -> Ranges:
        """Gives the numbers, in units, of which a text is the beginning that leads to a state."""
        sign, whole, point, decimals = _read(text)
        head = int(whole + decimals or b"0")
        found: list[tuple[int, int]] = []
        for signs, after in self._signs(state, text):
            rests = self._rests(after, len(decimals) if point else None, bool(whole))
            for power, ranges in rests:
                first = head * 10**power
                ends = ((sign * signs * (first + low), sign * signs * (first + high)) for low, high in ranges)
                found += [(min(pair), max(pair)) for pair in ends]
        return self._merged(found)

    def _signs(self, state: int, text: bytes) -> Iterable[tuple[int, int]]:
        """Gives the signs that may still come, and the state after each."""
        yield 1, state
        minus = int(self._machine.transitions[state, ord("-")])
        if not text and minus != DEAD:
            yield -1, minus

    def _rests(self, state: int, places: int | None, may_end: bool) -> Rests:
        """Gives what can follow some digits.

        Args:
            state: After the digits.
            places: How many decimal places have been read; None before the point.
            may_end: Whether digits stand before.
        """
        key = (state, places, may_end)
        if key not in self._known:
            self._known[key] = self._rests_worked_out(*key)
        return self._known[key]

    def _rests_worked_out(self, state: int, places: int | None, may_end: bool) -> Rests:
        found: dict[int, list[tuple[int, int]]] = {}
        if self._machine.accepting[state] and may_end:
            found.setdefault(self.decimals - (places or 0), []).append((0, 0))
        for byte, target in _ways_out(self._machine, state):
            if byte == ord("-"):
                continue
            if byte == ord("."):
                for power, ranges in self._rests(target, 0, True):
                    found.setdefault(power, []).extend(ranges)
                continue
            digit = byte - ord("0")
            for power, ranges in self._rests(target, None if places is None else places + 1, True):
                moved = digit * 10**power
                found.setdefault(power + 1, []).extend((moved + low, moved + high) for low, high in ranges)
        return tuple((power, self._merged(ranges)) for power, ranges in sorted(found.items()))

    def _merged(self, ranges: list[tuple[int, int]]) -> Ranges:
        merged: list[tuple[int, int]] = []
        for low, high in sorted(ranges):
            if merged and low <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
            else:
                merged.append((low, high))
        if len(merged) > MAX_RANGES:
            raise ConstraintError(
                f"The numbers of the field {self.name!r} fall into more than {MAX_RANGES:,} separate ranges. "
                "Use a simpler pattern, such as [0-9]{1,9}."
            )
        return tuple(merged)

    def _most_decimals(self) -> int:
        """Gives the most decimal places, walking all (finitely many) ways through the automaton."""
        most = 0
        todo = {(self._machine.start, -1)}  # decimal places, -1 before the point
        for _ in range(MAX_DIGITS):
            todo = {
                (target, 0 if byte == ord(".") else places + (places >= 0))
                for state, places in todo
                for byte, target in _ways_out(self._machine, state)
            }
            if not todo:
                return most
            most = max(most, *(places for _, places in todo))
        raise ConstraintError(f"The field {self.name!r} may have {MAX_DIGITS} digits or more. Allow fewer.")


def _read(text: bytes) -> tuple[int, bytes, bytes, bytes]:
    match = _NUMBER.fullmatch(text)
    assert match is not None
    sign, whole, point, decimals = match.groups(b"")
    return -1 if sign else 1, whole, point, decimals


def _ways_out(machine: ByteAutomaton, state: int) -> list[tuple[int, int]]:
    row = machine.transitions[state].tolist()
    return [(byte, target) for byte, target in enumerate(row) if target != DEAD]


def _phase_after(phase: int, byte: int) -> int | None:
    if ord("0") <= byte <= ord("9"):
        return _DECIMALS if phase in (_POINT, _DECIMALS) else _WHOLE
    if byte == ord("-") and phase == _BEGINNING:
        return _SIGNED
    if byte == ord(".") and phase == _WHOLE:
        return _POINT
    return None
