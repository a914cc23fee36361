"""Drawn texts with a few small fields: their template and patterns, and every text that they allow."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from drawn_bytes import Draws
from viable_prefixes import stepped

from lmppl.constraints.protocol import Constraint
from lmppl.errors import ConstraintError

NUMBERS = (
    "[0-9]",
    "-?[0-2]",
    "[01]{1,2}",
    "1?[05]",
    "[0-2](\\.[05])?",
    "7|12|120",
    "0?[1-3]",
    "-?1(\\.2)?",
    "3",
)
TEXTS = ("a|ab|b", "x|é|", "\\\\|n", "a{1,3}", "'|\"")
TEMPLATES = {
    1: ("{a}", "a={a};", "{{{a}}}"),
    2: ("{a},{b}", "{a}{b}", "{b} {a}", "x{a}y{b}z", "{a}0{b}"),
    3: ("{a},{b},{c}", "{a}{b}{c}", "{c}.{a}.{b}", "{a}-{b}{c}"),
}
MAX_LISTED = 60  # texts whose prefixes are tried
ODD = b"0125-.,;a \\\xc3"

Values = Mapping[str, Any]
Meaning = Callable[[Values], bool]
Condition = tuple[str, Meaning]  # its text, and whether values satisfy it


@dataclass(frozen=True)
class DrawnRecord:
    """A template with fields.

    Attributes:
        template: Names each field in braces.
        fields: Their patterns.
    """

    template: str
    fields: dict[str, str]

    def all_texts(self) -> Iterable[tuple[str, Values]]:
        """Gives every text with the values of its fields; an ambiguous one comes more than once."""
        for chosen in itertools.product(*(matching(pattern) for pattern in self.fields.values())):
            texts = dict(zip(self.fields, chosen, strict=True))
            values = {
                name: Fraction(text) if self.fields[name] in NUMBERS else text for name, text in texts.items()
            }
            yield self.template.format(**texts), values


@functools.cache
def matching(pattern: str) -> tuple[str, ...]:
    """Gives the texts of up to three characters that match."""
    letters = sorted({"0", "1", "2", "3", "5", "7", *re.sub(r"[][()?{}|]", "", pattern)})
    letters += [letter for letter in "4689" if pattern == "[0-9]"]
    texts = ("".join(s) for size in range(5) for s in itertools.product(letters, repeat=size))
    return tuple(text for text in texts if re.fullmatch(pattern, text))


def drawn_record(draws: Draws, patterns: Sequence[str]) -> DrawnRecord:
    """Draws a template and its fields."""
    number = 1 + draws.below(3)
    fields = {name: draws.one_of(patterns) for name in "abc"[:number]}
    return DrawnRecord(draws.one_of(TEMPLATES[number]), fields)


def judged_record(
    record: DrawnRecord,
    conditions: Sequence[Condition],
    make: Callable[..., Constraint],
    *,
    core_is_least: bool,
) -> str:
    """Compares a constraint with all texts: which are accepted, and which prefixes are viable."""
    everything = list(record.all_texts())
    try:
        constraint = make(*(text for text, _ in conditions), over=record.template, fields=record.fields)
    except ConstraintError as error:
        return _refused(str(error), everything, conditions, core_is_least)
    meanings = [meaning for _, meaning in conditions]
    allowed = {text for text, values in everything if all(meaning(values) for meaning in meanings)}
    assert allowed, "no values satisfy the conditions"
    data = {text.encode() for text in allowed}
    prefixes = {text[:size] for text in data for size in range(len(text) + 1)}
    for text in _some(sorted({text.encode() for text, _ in everything})):
        states = stepped(constraint, text)
        for size in range(len(text) + 1):
            _compare(constraint, text[:size], states[size] if size < len(states) else None, data, prefixes)
        at = len(text) // 2
        if at < len(states):
            for odd in ODD:
                more = constraint.advance(states[at], bytes((odd,)))
                _compare(constraint, text[:at] + bytes((odd,)), more, data, prefixes)
    return "compared" if constraint.viable_is_exact else "compared one way"


def _compare(
    constraint: Constraint, text: bytes, state: Any, allowed: set[bytes], prefixes: set[bytes]
) -> None:
    assert state is not None or text not in prefixes, f"{text!r} can be completed"
    assert (state is not None and constraint.accepts(state)) == (text in allowed), text
    if constraint.viable_is_exact:
        assert state is None or text in prefixes, f"{text!r} cannot be completed"


def _some(texts: list[bytes]) -> list[bytes]:
    return texts[:: 1 + len(texts) // MAX_LISTED]


def _refused(
    reason: str, everything: list[tuple[str, Values]], conditions: Sequence[Condition], core_is_least: bool
) -> str:
    """Says that nothing satisfies the conditions, if that is the reason and true of those that are named."""
    assert "values satisfy" in reason or "numbers satisfy" in reason, reason
    named = {text: meaning for text, meaning in conditions if repr(text) in reason}
    assert named, reason
    assert not _have_a_model(named.values(), everything), f"values satisfy {list(named)}"
    for text in named if core_is_least else ():
        others = [meaning for other, meaning in named.items() if other != text]
        assert _have_a_model(others, everything), f"{text!r} need not be named"
    return "empty"


def _have_a_model(meanings: Iterable[Meaning], everything: list[tuple[str, Values]]) -> bool:
    each = list(meanings)
    return any(all(meaning(values) for meaning in each) for _, values in everything)
