"""Sets of numbers that JSON Schema's keywords describe, as automata over their decimal texts.

The texts are plain decimals, without exponent: whether `1234e-56` lies below a bound is no question
for a finite automaton.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from decimal import Decimal
from functools import cache, lru_cache

from lmppl.constraints.regular.alternatives import choices
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.automaton_algebra import built, difference, intersection, union
from lmppl.constraints.regular.character_automaton import TooLarge
from lmppl.constraints.regular.regular_expression import compiled

MAX_DIGITS = 400  # every finite float has fewer
MAX_RESIDUES = 1_000

_ALPHABET = b"-.0123456789"


@cache
def plain() -> ByteAutomaton:
    """Every number without exponent."""
    return compiled(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")


@cache
def shortest() -> ByteAutomaton:
    """Plain numbers without needless zeros, but that an integer may end in `.0`."""
    return compiled(r"-?(?:0|[1-9][0-9]*)(?:\.(?:0|[0-9]*[1-9]))?")


@cache
def integers() -> ByteAutomaton:
    """Plain numbers whose value is an integer, with any number of zeros behind the point."""
    return compiled(r"-?(?:0|[1-9][0-9]*)(?:\.0+)?")


@cache
def whole() -> ByteAutomaton:
    """Integers without a point."""
    return compiled("-?(?:0|[1-9][0-9]*)")


def short(machine: ByteAutomaton) -> ByteAutomaton:
    """Gives those texts of a set that have no needless zeros."""
    return intersection(machine, shortest())


def others(machine: ByteAutomaton) -> ByteAutomaton:
    """Gives the plain numbers outside a set."""
    return difference(plain(), machine)


def exactly(values: Iterable[Decimal]) -> ByteAutomaton:
    """Gives the texts of some numbers that have no needless zeros, but that an integer may end in `.0`.

    Raises:
        TooLarge: A number has more than 400 digits.
    """
    texts: list[str] = []
    for value in values:
        whole, fraction = _digits(value.copy_abs())
        signs = ("", "-") if value == 0 else ("-" if value < 0 else "",)
        endings = (f".{fraction}",) if fraction else ("", ".0")
        texts += [sign + whole + ending for sign in signs for ending in endings]
    machine = choices(list(dict.fromkeys(texts))).automaton()
    assert machine is not None
    return machine


def either(one: ByteAutomaton, other: ByteAutomaton) -> ByteAutomaton:
    """Gives the numbers in at least one of two sets."""
    return union(one, other)


@lru_cache(1024)
def compared(bound: Decimal, relations: str) -> ByteAutomaton:
    """Gives the plain numbers that lie below (`<`), at (`=`) or above (`>`) a bound.

    Args:
        bound: Finite.
        relations: Some of `<=>`.

    Raises:
        TooLarge: The bound has more than 400 digits.
    """
    whole, fraction = _digits(bound.copy_abs())

    def step(state: Hashable, byte: int) -> Hashable | None:
        return _compare(whole, fraction, state, chr(byte))

    def accepts(state: tuple[str, bool, int, int]) -> bool:
        phase, negative, position, sign = state
        if phase not in ("zero", "whole", "fraction"):
            return False
        if phase != "fraction":
            sign = _end_of_whole(whole, position, sign)
            position = 0
        if sign == 0 and position < len(fraction):
            sign = -1
        if negative and (bound > 0 or (bound == 0 and sign != 0)):
            relation = -1
        elif bound < 0:
            relation = -sign if negative else 1
        else:
            relation = sign
        return "=><"[relation] in relations

    return built(("start", False, 0, 0), _ALPHABET, step, accepts)


def _digits(value: Decimal) -> tuple[str, str]:
    """Gives the digits before and behind the point."""
    if value.adjusted() > MAX_DIGITS or value.as_tuple().exponent < -MAX_DIGITS:  # type: ignore[operator]
        raise TooLarge
    whole, _, fraction = f"{value:f}".partition(".")
    return whole.lstrip("0") or "0", fraction.rstrip("0")


def _compare(whole: str, fraction: str, state: Hashable, character: str) -> Hashable | None:
    """Moves by one character: (phase, negative, digits read, sign so far of magnitude minus bound's)."""
    assert isinstance(state, tuple)
    phase, negative, position, sign = state
    if character == "-":
        return ("start", True, 0, 0) if phase == "start" and not negative else None
    if character == ".":
        if phase not in ("zero", "whole"):
            return None
        return ("point", negative, 0, _end_of_whole(whole, position, sign))
    if phase in ("point", "fraction"):
        other = fraction[position] if position < len(fraction) else "0"
        return ("fraction", negative, min(position + 1, len(fraction)), sign or _sign(character, other))
    if phase == "zero":
        return None
    if position < len(whole):
        sign = sign or _sign(character, whole[position])
    after = "zero" if phase == "start" and character == "0" else "whole"
    return (after, negative, min(position + 1, len(whole) + 1), sign)


def _end_of_whole(whole: str, position: int, sign: int) -> int:
    if position < len(whole):
        return -1
    return 1 if position > len(whole) else sign


def _sign(one: str, other: str) -> int:
    return (one > other) - (one < other)


@lru_cache(1024)
def multiples(divisor: Decimal) -> ByteAutomaton:
    """Gives the plain numbers that are a multiple of a positive number.

    Raises:
        TooLarge: The divisor has more than three digits that matter, or more than 400 zeros.
    """
    whole, fraction = _digits(divisor)
    places = len(fraction)
    modulus = int(whole + fraction)
    if modulus * (places + 1) > MAX_RESIDUES:
        raise TooLarge

    def step(state: Hashable, byte: int) -> Hashable | None:
        assert isinstance(state, tuple)
        phase, residue, position = state
        character = chr(byte)
        if character == "-":
            return ("signed", 0, 0) if phase == "start" else None
        if character == ".":
            return ("point", residue, 0) if phase in ("zero", "whole") else None
        if phase == "zero":
            return None
        if phase in ("point", "fraction"):
            if position == places:
                return ("fraction", residue, position) if character == "0" else None
            return ("fraction", (10 * residue + int(character)) % modulus, position + 1)
        first = phase in ("start", "signed") and character == "0"
        return ("zero" if first else "whole", (10 * residue + int(character)) % modulus, 0)

    def accepts(state: tuple[str, int, int]) -> bool:
        phase, residue, position = state
        missing = places - position
        return phase in ("zero", "whole", "fraction") and residue * 10**missing % modulus == 0

    return built(("start", 0, 0), _ALPHABET, step, accepts)
