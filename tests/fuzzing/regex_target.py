"""`lp.regex` against `re`: any text as a pattern, all short strings, a completion of each viable prefix."""

from __future__ import annotations

import itertools
import re
import warnings

from drawn_bytes import Draws
from viable_prefixes import shortest_completions, stepped

from lmppl.constraints.regular.regular_expression import regex
from lmppl.errors import ConstraintError

MAX_BYTES = 16
MAX_LENGTH = 4

PIECES = (
    *("a", "b", "a", "b", "(", ")", "|", "*", "+", "?", "[", "]", "^", "$", ".", "-", "\\", "\n", "é", "K"),
    *("{2}", "{1,2}", "{,1}", "{0}", "{1,}", "{", "}", "*?", "+?", "??", "(?:", "(?i:", "(?m:", "(?s:"),
    *("(?a:", "(?x: ", "(?-i:", "[^a]", "[ab]", "[^", r"\b", r"\B", r"\w", r"\W", r"\d", r"\D", r"\s", r"\S"),
    *(r"\A", r"\Z", r"\n", "ſ", "\u212a", "٣", "İ", "ß", "🔔", "\0", r"\x41", r"\u00e9", r"\1", "#", ","),
    *("(?P<x>", "(?=", "(?!", "(?<=", "*+", "(?>", "1", "_", "A", ":", "&&", "||", "~~", "--", "[["),
    *("(?i)", "(?#"),
)
ALPHABETS = ("ab\n", "aA ", "a_é", "kK\u212a", "sSſ", "1٣a", "iIİ", "\0🔔b", "ßẞ-", "a#1", "],^")
SEEDS = tuple(
    bytes((0, 0, *map(PIECES.index, pieces))) for pieces in ("a*b|", ["(?:", "a", "b", ")", "{2}"], "(a|b)+$")
)


def drawn(data: bytes) -> tuple[str, str]:
    """Draws a pattern and three letters."""
    draws = Draws(data)
    letters = draws.one_of(ALPHABETS)
    closes = draws.one_of((True, False))
    pattern = "".join(PIECES[byte % len(PIECES)] for byte in data[2:MAX_BYTES])
    return pattern + ")" * (closes * max(0, pattern.count("(") - pattern.count(")"))), letters


def judged(pattern: str, letters: str) -> str:
    """Compares the language with `re` on all short strings, and completes the viable ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `re` warns of "[[" and the like
        try:
            matcher = re.compile(pattern)
        except (re.error, OverflowError):
            matcher = None
        try:
            constraint = regex(pattern)
        except ConstraintError as error:
            return _refused(str(error), matcher, letters)
    assert matcher is not None, "`re` takes it for no pattern"
    machine = constraint.automaton()
    assert machine is not None
    ways = shortest_completions(machine)
    assert None not in ways, "a state has no completion"
    texts = strings(letters)
    matching = {text for text in texts if matcher.fullmatch(text)}
    prefixes = {text[:size] for text in matching for size in range(len(text) + 1)}
    for text in texts:
        data = text.encode()
        states = stepped(constraint, data)
        is_viable = len(states) > len(data)
        assert (is_viable and constraint.accepts(states[-1])) == (text in matching), text
        assert is_viable or text not in prefixes, f"{text!r} has a completion"
        if is_viable:
            whole = (data + (ways[states[-1]] or b"")).decode()
            assert matcher.fullmatch(whole), f"{text!r} is viable, but {whole!r} does not match"
    return "compared"


def strings(letters: str) -> list[str]:
    """Gives all strings of up to four letters."""
    return ["".join(s) for size in range(MAX_LENGTH + 1) for s in itertools.product(letters, repeat=size)]


def _refused(reason: str, matcher: re.Pattern[str] | None, letters: str) -> str:
    """Says what was refused, if the reason is true."""
    if matcher is None:
        assert "no regular expression" in reason or "too large" in reason, reason
        return "no pattern"
    if "matches no string" in reason:
        assert not any(map(matcher.fullmatch, strings(letters))), "it matches some"
        return "empty"
    assert "has no automaton here" in reason, reason
    return "no automaton"
