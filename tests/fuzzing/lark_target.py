"""`lp.lark` against Lark: grammars with overlapping terminals, all short strings, all parsers and lexers."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from typing import Any

import lark as lark_package
from drawn_bytes import Draws
from viable_prefixes import completion, stepped

from lmppl.constraints.grammars.grammar import lark
from lmppl.constraints.protocol import Constraint, State
from lmppl.errors import ConstraintError

MAX_BYTES = 48
MAX_LENGTH = 4
MAX_COMPLETED = 150  # states that the search of a completion goes through
ALPHABET = b"ab AB"

MODES = (
    ("lalr", "contextual"),
    ("lalr", "basic"),
    ("earley", "basic"),
    ("earley", "dynamic"),
    ("earley", "dynamic_complete"),
)
SYMBOLS = ('"a"', '"b"', "x", "y", "A", "B", "C", '"ab"', '"ba"', '"a"i', "start")
AFTER = ("", "", "", "", "?", "*", "+", "~2", "~0..2")
PATTERNS = (
    *("/a+/", "/a|ab/", "/[ab]/", "/b+?a/", "/a*b/", "/ab?/", "/(?i:a)b/", "/b(?!a)/", "/a(?=b)/", "/[ab]+/"),
    *("/aab/", "/a*?b/", "/b{1,2}/", "/ab(?!b)/", "/a(?!bb)/", "/a(?!.*bb)/", "/a(?<!b)b/", '"a".."b"'),
    *('"a" "b"?', '("a" | "ba")+', "/a/i", "/b/ /a/", '"bb"', '"ab"i', "/b$/", "/(a|b)b/", "/a b/x"),
    *(r"/(?!ab?\b)[ab]+/", r"/a(?!b\B)/", "/a(?=b(?!a))/", "/(?:a(?!ab)|aa?)a/", "/(?!a+$)[ab]+/"),
    *(r"/\bb/", r"/\B[ab]/", "/(?<!a)b+/", "/^a/"),
)
FLAGS = (0, 0, 0, 0, re.I, re.X, re.S | re.M, re.A)
IGNORED = ("", "", "A", '" "', "/ +/", "/ab+/", "/a.*?b/", "/ (?=a)/")
SEEDS = (bytes(range(48)), bytes(range(200, 152, -1)), bytes(range(0, 144, 3)))


def drawn(data: bytes) -> tuple[str, str, str, int]:
    """Draws a parser, a lexer, a grammar of three rules and three terminals, and flags of all terminals."""
    draws = Draws(data)
    parser, lexer = draws.one_of(MODES)
    lines = []
    for name in ("start", "x", "y"):
        sides = [_side(draws) for _ in range(1 + draws.below(3))]
        lines.append(f"{name}: " + " | ".join(dict.fromkeys(sides)))
    for name in "ABC":
        priority = draws.one_of(("", "", "", "", ".1", ".2", ".-1"))
        lines.append(f"{name}{priority}: {draws.one_of(PATTERNS)}")
    ignored = draws.one_of(IGNORED)
    grammar = "\n".join([*lines, f"%ignore {ignored}"] if ignored else lines)
    return parser, lexer, grammar, draws.one_of(FLAGS)


def _side(draws: Draws) -> str:
    return " ".join(draws.one_of(SYMBOLS) + draws.one_of(AFTER) for _ in range(draws.below(4)))


def compared(
    constraint: Constraint, expected: dict[str, bool | None], alphabet: bytes, most: int
) -> Counter[str]:
    """Counts how a constraint judges strings, of which Lark says that; None where it says nothing.

    Args:
        constraint: Of a grammar.
        expected: All strings up to some length.
        alphabet: What completions are searched with where the constraint is exact.
        most: States that a search goes through; then there is none.
    """
    found: Counter[str] = Counter()
    viable = {text[:i] for text, yes in expected.items() if yes for i in range(len(text) + 1)}
    for text, yes in expected.items():
        state = constraint.advance(constraint.initial(), text.encode())
        found["accepted"] += bool(yes)
        found["wrong"] += yes is not None and (state is not None and constraint.accepts(state)) != yes
        found["dead too early"] += state is None and text in viable
        if constraint.viable_is_exact and state is not None and text not in viable and len(text) <= 2:
            found["exact"] += 1
            found["not exact"] += not _can_be_completed(constraint, state, alphabet, most)
    return found


def _can_be_completed(constraint: Constraint, state: State, alphabet: bytes, most: int) -> bool:
    try:
        return completion(constraint, state, alphabet, most) is not None
    except AssertionError:
        return False


def judged(parser: str, lexer: str, grammar: str, flags: int = 0) -> str:
    """Compares a grammar with Lark on all short strings, and completes viable ones."""
    try:
        constraint = lark(grammar, parser=parser, lexer=lexer, g_regex_flags=flags)
        constraint.initial()
    except ConstraintError as error:
        if "No string is in the language" not in str(error):
            return "refused"
        theirs = loaded(grammar, parser, lexer, g_regex_flags=flags)
        assert not any(parses(theirs, text) for text in strings()), "Lark parses some string"
        return "empty"
    theirs = loaded(grammar, parser, lexer, g_regex_flags=flags)
    expected = {text: parses(theirs, text) for text in strings()}
    prefixes = {text[:size] for text, yes in expected.items() if yes for size in range(len(text) + 1)}
    for text, yes in expected.items():
        states = stepped(constraint, text.encode())
        is_viable = len(states) > len(text)
        ours = is_viable and constraint.accepts(states[-1])
        assert yes is None or ours == yes, text
        assert is_viable or text not in prefixes, f"{text!r} has a completion"
        if is_viable and not ours and len(text) <= 2 and constraint.viable_is_exact:
            rest = completion(constraint, states[-1], ALPHABET, MAX_COMPLETED)
            assert rest is None or parses(theirs, text + rest.decode()) is not False, (
                f"{text!r} is not completed by {rest!r}"
            )
    return "compared"


def strings() -> list[str]:
    """Gives all strings of up to four letters."""
    return ["".join(s) for size in range(MAX_LENGTH + 1) for s in itertools.product("ab ", repeat=size)]


def keywords(num: int) -> list[str]:
    """Gives so many different words, always the same."""
    rng = random.Random(num)
    words: dict[str, None] = {}
    while len(words) < num:
        words["".join(rng.choices("abcdefghij_", k=rng.randint(2, 9)))] = None
    return list(words)


def loaded(grammar: str, parser: str, lexer: str, **options: Any) -> lark_package.Lark:
    """Gives Lark's parser; Earley's forest takes less time than its trees."""
    more = {"ambiguity": "forest"} if parser == "earley" else {}
    return lark_package.Lark(grammar, parser=parser, lexer=lexer, **more, **options)


def parses(parser: lark_package.Lark, text: str) -> bool | None:
    """Says whether Lark takes a text; None where Lark itself fails ("Please report this bug")."""
    try:
        parser.parse(text)
    except (
        lark_package.exceptions.UnexpectedInput,
        EOFError,
    ):  # this one where it looks for what else may be
        return False
    except RuntimeError:
        return None
    return True
