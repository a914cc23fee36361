"""`lp.smt` against all texts of a small record, whose conditions are worked out without a solver."""

from __future__ import annotations

import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from drawn_bytes import Draws
from drawn_records import NUMBERS, TEXTS, Condition, DrawnRecord, Values, drawn_record, judged_record

from lmppl.constraints.domains.records.smt_records import smt

MAX_BYTES = 48
MAX_DEPTH = 3
SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
    "==": operator.eq,
    "!=": operator.ne,
}
WORDS = ("a", "ab", "x", "é", "", "\\", "'", "aa", "n")
SEEDS = tuple(bytes(step * place % 256 for place in range(MAX_BYTES)) for step in (1, 7, 19, 43, 67))

Term = tuple[str, Callable[[Values], Any]]


def drawn(data: bytes) -> tuple[DrawnRecord, list[Condition]]:
    """Draws a record and up to three conditions."""
    draws = Draws(data)
    record = drawn_record(draws, (*NUMBERS, *TEXTS))
    return record, [_condition(draws, record, MAX_DEPTH) for _ in range(1 + draws.below(3))]


def _condition(draws: Draws, record: DrawnRecord, depth: int) -> Condition:
    kind = draws.below(8) if depth else 0
    if kind == 5:
        text, meaning = _condition(draws, record, depth - 1)
        return f"not ({text})", lambda values: not meaning(values)
    if kind in (6, 7):
        (one, is_one), (other, is_other) = (_condition(draws, record, depth - 1) for _ in range(2))
        if kind == 6:
            return f"(({one}) and ({other}))", lambda values: is_one(values) and is_other(values)
        return f"(({one}) or ({other}))", lambda values: is_one(values) or is_other(values)
    names = sorted(record.fields)
    name = draws.one_of(names)
    make = _number if record.fields[name] in NUMBERS else _word
    one = make(draws, record, name, 2)
    signs = [draws.one_of(tuple(SIGNS)) for _ in range(2)]
    if kind == 4:
        options = [make(draws, record, "", 0) for _ in range(1 + draws.below(3))]
        word = draws.one_of(("in", "not in"))
        text = f"{one[0]} {word} ({', '.join(option for option, _ in options)},)"
        return (
            text,
            lambda values: any(one[1](values) == option(values) for _, option in options) == (word == "in"),
        )
    others = [make(draws, record, draws.one_of(("", name)), 1) for _ in range(2)]
    text = f"{one[0]} {signs[0]} {others[0][0]}"
    if kind < 3:
        return text, lambda values: SIGNS[signs[0]](one[1](values), others[0][1](values))
    return (
        f"{text} {signs[1]} {others[1][0]}",
        lambda values: (
            SIGNS[signs[0]](one[1](values), others[0][1](values))
            and SIGNS[signs[1]](others[0][1](values), others[1][1](values))
        ),
    )


def _number(draws: Draws, record: DrawnRecord, name: str, depth: int) -> Term:
    """Draws a term of numbers; without a name, a literal."""
    numbers = [each for each, pattern in record.fields.items() if pattern in NUMBERS]
    if not name:
        literal = draws.one_of(("0", "1", "2", "5", "0.5", "12", "7", "-1"))
        return literal, lambda values: Fraction(literal)
    kind = draws.below(9) if depth else 0
    if kind == 1:
        divisor = draws.one_of(("2", "0.5", "3"))
        return f"{name}/{divisor}", lambda values: values[name] / Fraction(divisor)
    if kind in (2, 3) and "." not in record.fields[name]:
        sign, work = (("//", operator.floordiv), ("%", operator.mod))[kind - 2]
        divisor = draws.one_of((2, 3, 7))
        return f"({name} {sign} {divisor})", lambda values: Fraction(work(values[name], divisor))
    if kind == 4:
        power = draws.one_of((2, 3, 1))
        return f"{name}**{power}", lambda values: values[name] ** power
    if kind in (5, 6):
        other, value = _number(draws, record, draws.one_of((*numbers, "")), depth - 1)
        sign, work = draws.one_of((("+", operator.add), ("-", operator.sub), ("*", operator.mul)))
        return f"({name} {sign} {other})", lambda values: work(values[name], value(values))
    if kind == 7:
        condition, holds = _condition(draws, record, 0)
        other, value = _number(draws, record, "", 0)
        return (
            f"({name} if {condition} else {other})",
            lambda values: values[name] if holds(values) else value(values),
        )
    if kind == 8:
        return f"-{name}", lambda values: -values[name]
    return name, lambda values: values[name]


def _word(draws: Draws, record: DrawnRecord, name: str, depth: int) -> Term:
    """Draws a term of texts; without a name, a literal."""
    word = draws.one_of(WORDS)
    if not name:
        return repr(word), lambda values: word
    if depth and draws.below(4) == 1:
        return f"({name} + {word!r})", lambda values: values[name] + word
    return name, lambda values: values[name]


def judged(record: DrawnRecord, conditions: list[Condition]) -> str:
    """Compares the constraint with all texts."""
    return judged_record(record, conditions, smt, core_is_least=False)
