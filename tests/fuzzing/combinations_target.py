"""`&`, `|`, `+`, `~` and `repeat` against the same operations on memberships, on all short strings."""

from __future__ import annotations

import functools
import itertools
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from drawn_bytes import Draws
from viable_prefixes import completion, stepped

from lmppl.constraints.functions.word_lists import words
from lmppl.constraints.protocol import Constraint
from lmppl.constraints.regular.regular_expression import regex
from lmppl.constraints.regular.text_length import length
from lmppl.errors import LmpplError

MAX_BYTES = 24
MAX_DEPTH = 3
MAX_LENGTH = 4
MAX_COMPLETED = 60  # states that the search of a completion goes through

PATTERNS = (
    "a",
    "b",
    "[ab]",
    "a*",
    "",
    "a|bb",
    "(?:ab)*",
    "a?b?",
    "b+",
    r"a\b",
    "[^a]",
    "a{2}",
    "(?s:.)",
    "b*a",
)
LETTERS = "ab "
ALPHABET = LETTERS.encode() + b"\xc3\xa9"  # one letter more, of two bytes
TEXTS = ["".join(s) for n in range(MAX_LENGTH + 1) for s in itertools.product(LETTERS, repeat=n)]
SEEDS = (bytes(range(24)), bytes((1, 4, 0, 2, 0, 3)), bytes((5, 3, 7, 1, 1)))

Expression = tuple[Any, ...]


def drawn(data: bytes) -> tuple[Expression]:
    """Draws an expression: nested tuples, the operation first."""
    return (_drawn(Draws(data), MAX_DEPTH),)


def _drawn(draws: Draws, depth: int) -> Expression:
    kind = draws.one_of(("regex", "and", "or", "then", "repeat", "not", "length", "words"))
    if kind in ("and", "or", "then") and depth:
        return kind, _drawn(draws, depth - 1), _drawn(draws, depth - 1)
    if kind == "repeat" and depth:
        least = draws.below(3)
        most = draws.one_of((None, least, least + 1, least + 2))
        return kind, _drawn(draws, depth - 1), least, most
    if kind == "not" and depth:
        return kind, _drawn(draws, depth - 1)
    if kind == "length":
        least = draws.below(3)
        return kind, least, least + draws.below(3)
    if kind == "words":
        return kind, draws.one_of("ab"), draws.below(3)
    return "regex", draws.one_of(PATTERNS)


def judged(expression: Expression) -> str:
    """Compares the constraint of an expression with its meaning, prefix by prefix."""
    try:
        constraint = built(expression)
    except Refused as refused:
        part, error = refused.args
        assert "no string" not in str(error) or not any(means(part, text) for text in TEXTS), part
        return "empty" if "no string" in str(error) else "refused"
    has = functools.cache(functools.partial(means, expression))
    texts = {text for text in TEXTS if has(text)}
    prefixes = {text[:size] for text in texts for size in range(len(text) + 1)}
    for text in TEXTS:
        states = stepped(constraint, text.encode())
        is_viable = len(states) > len(text)
        assert (is_viable and constraint.accepts(states[-1])) == (text in texts), text
        assert is_viable or text not in prefixes, f"{text!r} has a completion"
        if is_viable and len(text) <= 2 and text not in texts and constraint.viable_is_exact:
            rest = completion(constraint, states[-1], ALPHABET, MAX_COMPLETED)
            assert rest is None or has(text + rest.decode()), f"{text!r} is not completed by {rest!r}"
    return "compared"


class Refused(Exception):
    """A part of an expression was refused: the part, and the error."""


def built(expression: Expression) -> Constraint:
    """Makes the constraint of an expression."""
    kind, *given = expression
    parts = [built(part) if isinstance(part, tuple) else part for part in given]
    try:
        return MAKERS[kind](*parts)
    except LmpplError as error:
        raise Refused(expression, error) from error


MAKERS: dict[str, Callable[..., Any]] = {
    "regex": regex,
    "length": length,
    "words": lambda letter, most: words(_FewWords(letter, most), name=f"{letter}, {most}", timeout=None),
    "repeat": lambda inner, least, most: inner.repeat(least, most),
    "not": lambda inner: ~inner,
    "and": operator.and_,
    "or": operator.or_,
    "then": operator.add,
}


@dataclass(frozen=True)
class _FewWords:
    """Allows few words that hold a letter."""

    letter: str
    most: int

    def __call__(self, found: tuple[str, ...]) -> bool:
        return sum(self.letter in word for word in found) <= self.most


def means(expression: Expression, text: str) -> bool:
    """Says whether a text is in the set that an expression means, by its definition."""
    kind, *parts = expression
    if kind == "regex":
        return re.fullmatch(parts[0], text) is not None
    if kind == "length":
        return parts[0] <= len(text) <= parts[1]
    if kind == "words":
        return _FewWords(*parts)(tuple(text.split()))
    if kind == "repeat":
        return _is_repeated(*parts, text)
    if kind == "not":
        return not means(parts[0], text)
    one, other = parts
    if kind == "then":
        return any(means(one, text[:cut]) and means(other, text[cut:]) for cut in range(len(text) + 1))
    return (all if kind == "and" else any)((means(one, text), means(other, text)))


def _is_repeated(inner: Expression, least: int, most: int | None, text: str) -> bool:
    """Says whether a text can be cut into so many parts; empty ones may fill up what is missing."""
    counts: list[set[int]] = [{0}, *(set() for _ in text)]  # of parts that are not empty, by where they end
    for end in range(1, len(text) + 1):
        for start in range(end):
            if counts[start] and means(inner, text[start:end]):
                counts[end] |= {count + 1 for count in counts[start]}
    found = {count for count in counts[-1] if most is None or count <= most}
    return any(count >= least for count in found) or bool(found and means(inner, ""))
