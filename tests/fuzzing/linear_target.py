"""`lp.linear` against all texts of a small record: those whose numbers satisfy it, and their prefixes."""

from __future__ import annotations

import operator
from collections.abc import Callable
from fractions import Fraction

from drawn_bytes import Draws
from drawn_records import NUMBERS, Condition, DrawnRecord, Values, drawn_record, judged_record

from lmppl.constraints.domains.records.linear_records import linear

MAX_BYTES = 40
SIGNS: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
    "==": operator.eq,
}
FACTORS = ("1", "2", "3", "-1", "-2", "0.5", "0.1", "10", "0")
BOUNDS = ("0", "1", "3", "5", "12", "-1", "0.5", "2.25", "100", "-7", "1e1")
SEEDS = tuple(bytes(step * place % 256 for place in range(MAX_BYTES)) for step in (1, 7, 19, 43, 67))

Sum = tuple[str, Callable[[Values], Fraction]]


def drawn(data: bytes) -> tuple[DrawnRecord, list[Condition]]:
    """Draws a record and up to three conditions."""
    draws = Draws(data)
    record = drawn_record(draws, NUMBERS)
    return record, [_condition(draws, sorted(record.fields)) for _ in range(1 + draws.below(3))]


def _condition(draws: Draws, names: list[str]) -> Condition:
    """Draws a comparison, a chain of two, or two joined by `and`."""
    sides = [_sum(draws, names) for _ in range(3)]
    signs = [draws.one_of(tuple(SIGNS)) for _ in range(2)]
    kind = draws.below(5)
    first = f"{sides[0][0]} {signs[0]} {sides[1][0]}"

    def holds(number: int, values: Values) -> bool:
        return SIGNS[signs[number]](sides[number][1](values), sides[number + 1][1](values))

    if kind < 3:
        return first, lambda values: holds(0, values)
    joined = f"{first} {signs[1]} " if kind == 3 else f"{first} and {sides[1][0]} {signs[1]} "
    return f"{joined}{sides[2][0]}", lambda values: holds(0, values) and holds(1, values)


def _sum(draws: Draws, names: list[str]) -> Sum:
    """Draws a sum of products, or a number."""
    if draws.below(3) == 2:
        bound = draws.one_of(BOUNDS)
        return bound, lambda values: Fraction(bound)
    text, meaning = _product(draws, names)
    for _ in range(draws.below(3)):
        more, added = _product(draws, names)
        sign = draws.one_of("+-")
        factor = 1 if sign == "+" else -1
        before = meaning
        text = f"{text} {sign} {more}"
        meaning = lambda values, before=before, added=added, factor=factor: (  # noqa: E731
            before(values) + factor * added(values)
        )
    return text, meaning


def _product(draws: Draws, names: list[str]) -> Sum:
    """Draws a field, its product with a number, or a quotient."""
    name, factor = draws.one_of(names), draws.one_of(FACTORS)
    kind = draws.below(5)
    if kind == 1:
        return f"{factor}*{name}", lambda values: Fraction(factor) * values[name]
    if kind == 2 and Fraction(factor):
        return f"{name}/{factor}", lambda values: values[name] / Fraction(factor)
    if kind == 3:
        return f"-({name} - {factor})", lambda values: Fraction(factor) - values[name]
    return name, lambda values: values[name]


def judged(record: DrawnRecord, conditions: list[Condition]) -> str:
    """Compares the constraint with all texts."""
    return judged_record(record, conditions, linear, core_is_least=True)
