"""`lp.pattern` against `regex`: the same short strings, and no prefix of one refused."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import regex
from viable_prefixes import stepped

from lmppl.constraints.functions.partial_matching import pattern
from lmppl.constraints.functions.remembered_answers import CheckTimedOut
from lmppl.errors import ConstraintError

MAX_BYTES = 14
MAX_LENGTH = 4
SECONDS = 0.3  # for one match

PIECES = (
    *(
        "a",
        "b",
        "a",
        "b",
        ".",
        "(",
        ")",
        "|",
        "*",
        "+",
        "?",
        "(?:",
        "(?>",
        "(?=",
        "(?!",
        "(?<=",
        "(?<!",
        "(?|",
    ),
    *(
        r"\1",
        r"\2",
        "(a|b)",
        "(a)?",
        "(?(1)a|b)",
        "(?(1)b)",
        "(?:a(?R)?b)",
        "(?P<x>",
        "(?P=x)",
        "(?P<z>a(?&z)?b)",
        "*+",
    ),
    *("++", "?+", "*?", "+?", "??", "{2}", "{1,2}", "{,2}", "{2}+", "{1,2}?", "^", "$", r"\b", r"\B", r"\A"),
    *(
        r"\Z",
        r"\z",
        r"\m",
        r"\M",
        r"\G",
        r"\K",
        r"\X",
        r"\R",
        r"\n",
        "\n",
        " ",
        "[ab]",
        "[^a]",
        "[",
        "]",
        "-",
    ),
    *(
        r"\p{L}",
        r"\P{L}",
        r"\p{Lu}",
        r"\w",
        r"\W",
        r"\s",
        r"\S",
        r"\d",
        "(?i:",
        "(?m:",
        "(?s:",
        "(?x:",
        "(?-i:",
    ),
    *("(?i)", "(?m)", "(?s)", "(?V1)", "(?f)", "(?w)", "(?p)", "(?e)", "(?b)", "(?r)", "[a--b]", "[ab&&a]"),
    *("(*FAIL)", "(*PRUNE)", "(*SKIP)", r"\N{LATIN SMALL LETTER A}", "A", "ß", "é", r"\h", "(?#a)", r"\L<x>"),
    *(
        "(?(?=a)a|b)",
        "(?(?!a)b|a)",
        "(?<y>a)",
        r"\g<y>",
        "aa",
        "ab",
        "ba",
        ".*",
        "(?=.*a)",
        "(?!.*bb)",
        "(?<=a.?)",
    ),
)
ALPHABETS = ("ab\n", "ab ", "aA\n", "ab", "ßsS", "aé ", "a\r\n")
SEEDS = tuple(
    bytes((letters, closes, *map(PIECES.index, pieces)))
    for letters, closes, pieces in (
        (0, 0, ("(a|b)", "*", r"\1", "$")),
        (1, 0, ("(?!.*bb)", "(?:", "a", "|", "b", r"\b", ")", "+")),
        (2, 0, ("(?i)", "(?=", "a", "$", ")", ".", "+")),
        (3, 0, ("(?:a(?R)?b)",)),
        (3, 0, ("(?>", "a", "|", "ab", ")", "b", "?")),
    )
)


def drawn(data: bytes) -> tuple[str, str]:
    """Draws an expression and its letters."""
    letters = ALPHABETS[data[0] % len(ALPHABETS)] if data else "ab"
    pieces = [PIECES[byte % len(PIECES)] for byte in data[2:MAX_BYTES]]
    is_raw = len(data) > 1 and data[1] % 4 == 3
    return "".join(pieces if is_raw else _mended(pieces)), letters


def _mended(pieces: list[str]) -> list[str]:
    """Leaves out what cannot stand where it does, and closes the groups."""
    kept: list[str] = []
    num_open = 0
    for piece in pieces:
        before = kept[-1] if kept else "("
        begins = before == "|" or (before[0] == "(" and before[-1] not in ")")
        is_repeat = piece[0] in "*+?" or (piece[0] == "{" and piece[-1] in "}+?")
        refers = piece in (r"\1", "(?(1)a|b)", "(?(1)b)")
        if is_repeat and (begins or before[0] in "*+?{^$" or before in (r"\b", r"\B", r"\A", r"\K", r"\G")):
            continue
        if (piece == ")" and not num_open) or piece in ("[", r"\2") or (refers and "(a|b)" not in kept):
            continue
        num_open += (piece[0] == "(" and piece[-1] not in ")") - (piece == ")")
        kept.append(piece)
    return [*kept, ")" * num_open]


def judged(expression: str, letters: str) -> str:
    """Compares the language on all short strings, and asks for the prefixes of those that match."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `regex` warns of sets that will mean something else
        try:
            matcher = regex.compile(expression)
        except (regex.error, RecursionError, OverflowError, ValueError):
            matcher = None
        try:
            constraint = pattern(expression, timeout=SECONDS)
        except ConstraintError as error:
            return _refused(str(error), matcher, letters)
    assert matcher is not None, "`regex` takes it for no expression"
    texts = strings(letters)
    try:
        matching = {text for text in texts if matcher.fullmatch(text, timeout=SECONDS)}
    except (TimeoutError, MemoryError):
        return "too long"
    prefixes = {text[:size] for text in matching for size in range(len(text) + 1)}
    for text in texts:
        try:
            states = stepped(constraint, text.encode())
        except CheckTimedOut:
            return "too long"
        is_viable = len(states) > len(text.encode())
        assert is_viable or text not in prefixes, f"{text!r} has a completion"
        assert (is_viable and constraint.accepts(states[-1])) == (text in matching), text
    return "compared"


def _refused(reason: str, matcher: Any, letters: str) -> str:
    """Says what was refused, if the reason is true."""
    if matcher is None:
        assert "cannot be used" in reason, reason
        return "no expression"
    if "matches no string" in reason:
        assert not any(matcher.fullmatch(text, timeout=SECONDS) for text in strings(letters)), (
            "it matches some"
        )
        return "empty"
    return "refused"


def strings(letters: str) -> list[str]:
    """Gives all strings of up to four letters."""
    return ["".join(s) for size in range(MAX_LENGTH + 1) for s in itertools.product(letters, repeat=size)]
