"""`lp.pattern` against `regex`: the same strings, and no prefix of one refused."""

from __future__ import annotations

import csv
import itertools
import random
import re
import time
from pathlib import Path
from typing import Any

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from viable_prefixes import accepted, stepped

import lmppl as lp
from lmppl.constraints.functions import partial_matching
from lmppl.constraints.functions.partial_matching import compiled, pattern
from lmppl.constraints.functions.remembered_answers import CheckTimedOut
from lmppl.constraints.protocol import Constraint
from lmppl.errors import ConstraintError, InvalidInputError, InvalidTypeError
from lmppl.testing import check_constraint

ATOMS = (
    *("a", "b", ".", r"\n", "[^a]", r"(a|b)\1", r"(?=a)", r"(?!b)", r"(?<=a)", r"(?<!b)", "(?>a|ab)", "a*+"),
    *("$", r"\b", r"\B", r"\Z", r"\m", r"\M", "^", "(?=a$)", r"(?!a\b)", r"(?<=a\B)", "(?(?=a)a|b)"),
)
STRINGS = ["".join(s) for n in range(5) for s in itertools.product("ab\n ", repeat=n)]

expressions = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: re.sub(r"\(a\|b\)\\1", "(?:aa|bb)", pair[0]) + pair[1]),
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})".replace(r"\1", "a")),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "+?", "?+"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=6,
)


def refused_prefixes(whole: Any, prefix: Any, texts: list[str]) -> list[tuple[str, str]]:
    """Gives matching texts with a prefix that partial matching says no to."""
    return [
        (text, text[:cut])
        for text in texts
        if whole.fullmatch(text, timeout=2.0)
        for cut in range(len(text) + 1)
        if not prefix.fullmatch(text[:cut], partial=True, timeout=2.0)
    ]


@settings(max_examples=150)
@given(expressions, st.booleans())
def test_every_prefix_of_a_match_is_viable(expression: str, by_lines: bool):
    whole, prefix = compiled("(?m)" * by_lines + expression)
    assert not refused_prefixes(whole, prefix, STRINGS)


@pytest.mark.parametrize(
    ("expression", "text"), [(r"a\Bb", "ab"), ("(?m)a(?!$)b", "ab"), (r"a(?!\b)b", "ab"), ("a(?!$)b", "ab")]
)
def test_without_the_rewriting_prefixes_of_matches_are_refused(expression: str, text: str):
    plain = regex.compile(expression)
    assert refused_prefixes(plain, plain, [text])
    assert not refused_prefixes(*compiled(expression), [text])


@settings(max_examples=100)
@given(expressions, st.booleans())
def test_the_rewritten_expression_has_the_same_matches(expression: str, by_lines: bool):
    whole, prefix = compiled("(?m)" * by_lines + expression)
    for text in STRINGS:
        assert bool(whole.fullmatch(text)) == bool(prefix.fullmatch(text)), text


@pytest.mark.parametrize(
    ("expression", "inside", "outside"),
    [
        (r"(\w+) \1", ["ab ab"], ["ab a", "ab abc"]),
        (r"\((?R)*\)", ["()", "(()())"], ["(", "())"]),
        (r"(?!.*aa)[a-z]+", ["aba"], ["baab"]),
        (r"(?V1)[\p{Greek}&&\p{Lu}]+", ["ΑΒ"], ["α", "Αβ"]),
        (r"(?>a|ab)c", ["ac"], ["abc"]),
        (r"[]$\]]{2}\$$", ["$]$"], ["$$", "a]$"]),
        (r'(?=.){"side": \d}', ['{"side": 1}'], ['{"side": a}']),
    ],
)
def test_the_laws_hold_and_the_language_is_that_of_fullmatch(
    expression: str, inside: list[str], outside: list[str]
):
    constraint = lp.pattern(expression)
    check_constraint(constraint, [*inside, *outside])
    assert all(accepted(constraint, text) for text in inside)
    assert not any(accepted(constraint, text) for text in outside)
    assert not constraint.viable_is_exact
    assert constraint == lp.pattern(expression) != lp.pattern(expression + "?")


def test_what_follows_a_refused_prefix_is_refused():
    expression = r"(?:a(?R)?b)*+\A\A$"
    assert not compiled(expression)[1].fullmatch("ab", partial=True)
    assert compiled(expression)[1].fullmatch("aba", partial=True)  # where the recursion begins anew
    constraint = lp.pattern(expression)
    for text in ("ab", "aba", "abab"):
        assert constraint.advance(constraint.initial(), text.encode()) is None


def test_a_prefix_that_no_text_continues_is_refused_at_once():
    constraint = lp.pattern(r"(\w)\1(?=!)!")
    assert constraint.advance(constraint.initial(), b"aa") is not None
    assert constraint.advance(constraint.initial(), b"ab") is None


def test_a_catastrophic_expression_is_lost_mass_and_does_not_hang():
    constraint = lp.pattern(r"(?:(a+)+\1)+b", timeout=0.1)
    start = time.monotonic()
    with pytest.raises(CheckTimedOut):
        accepted(constraint, "a" * 60 + "c")
    assert time.monotonic() - start < 2.0


def test_a_recursion_without_end_is_lost_mass(monkeypatch: pytest.MonkeyPatch):
    constraint = lp.pattern("a|(?R)b")

    class Endless:
        def fullmatch(self, text: str, **options: object) -> None:
            raise MemoryError  # as `regex` does after 1 GB

    monkeypatch.setattr(partial_matching, "compiled", lambda expression, flags: (Endless(), Endless()))
    with pytest.raises(CheckTimedOut):
        accepted(constraint, "b")


def test_an_expression_that_matches_no_string_is_refused():
    for empty in (r"\1(a)", "a(*FAIL)", "(?!)", r"b\Ba\bc"):
        assert not any(regex.fullmatch(empty, text) for text in STRINGS)
    for empty in (r"\1(a)", "(?!)"):
        with pytest.raises(ConstraintError, match="matches no string"):
            lp.pattern(empty)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("(a", "missing"),
        ("(?r)abc", "from its end"),
        ("(?:abc){e<=1}", "approximate"),
        ("(?:abc){1<=e<=3}", "approximate"),
        ("(?:abc){i<=1,2i+2d+1s<=4}", "approximate"),
        (r"[\w--\d]", r"\(\?V1\)"),
        (r"(?x) a \b b", "verbose"),
        (r"(?m:^a$)b", "sets `m`"),
        (r"(?w)a\b", r"\(\?w\)"),
    ],
)
def test_what_cannot_be_followed_is_refused_with_its_reason(expression: str, reason: str):
    with pytest.raises(ConstraintError, match=reason):
        pattern(expression)


def test_wrong_input_is_refused():
    with pytest.raises(InvalidTypeError, match="str"):
        pattern(b"a")
    with pytest.raises(InvalidInputError, match="timeout"):
        pattern("a", timeout=0.0)


def recorded(test_data: Path) -> list[str]:
    with (test_data / "patterns" / "patterns.csv").open(newline="") as file:
        return [row["regex"] for row in csv.DictReader(file)]


def test_every_recorded_pattern_is_enforced(test_data: Path):
    """334 of the wild: what Python's `re` cannot say is enforced here, set operations by `(?V1)`."""
    counts = dict.fromkeys(("automaton", "pattern", "version 1"), 0)
    for expression in recorded(test_data):
        for kind, make in (
            ("automaton", lambda: lp.regex(expression)),  # noqa: B023 (called at once)
            ("pattern", lambda: pattern(expression)),  # noqa: B023
            ("version 1", lambda: pattern("(?V1)" + expression)),  # noqa: B023
        ):
            try:
                make()
            except (ConstraintError, FutureWarning):  # `re` warns of what may be a set operation
                continue
            counts[kind] += 1
            break
    assert sum(counts.values()) == 334
    assert counts["pattern"] + counts["version 1"] > 200


def test_no_prefix_of_a_match_of_a_recorded_pattern_is_refused(test_data: Path):
    matched = set()
    for expression in recorded(test_data):
        try:
            whole, prefix = compiled(expression)
        except ConstraintError:
            whole, prefix = compiled("(?V1)" + expression)
        texts = [text for text in (*short(expression), *drawn(expression)) if whole.fullmatch(text)]
        matched.update([expression] if texts else [])
        assert not refused_prefixes(whole, prefix, texts), expression
    assert len(matched) >= 240


def test_recorded_patterns_that_are_regular_agree_with_fullmatch(test_data: Path):
    """Of drawn texts, most of which match, and of the same with one or two changes."""
    counts = dict.fromkeys((True, False), 0)
    num_regular = 0
    for expression in recorded(test_data):
        try:
            constraint = lp.regex(expression)
        except (ConstraintError, FutureWarning):
            continue
        num_regular += 1
        assert disagreements(constraint, expression, counts) == []
    assert num_regular >= 33
    assert min(counts.values()) > 1_000


@pytest.mark.parametrize(
    ("expression", "mutant"),
    [(r"\d{4}-\d{2}", r"\d{4}-\d{2,3}"), ("[ab]+c", "[ab]*c"), (r"\w+ ?\w", r"\w+\w"), ("a.b", "(?s:a.b)")],
)
def test_automaton_of_another_expression_is_caught(expression: str, mutant: str):
    counts = dict.fromkeys((True, False), 0)
    assert disagreements(lp.regex(expression), expression, counts) == []
    assert disagreements(lp.regex(mutant), expression, counts) != []


def disagreements(constraint: Constraint, expression: str, counts: dict[bool, int]) -> list[str]:
    """Gives texts that are judged otherwise than `re` does, and counts how it judges."""
    rng = random.Random(expression)
    whole = drawn(expression)[:60]
    found = []
    for text in dict.fromkeys(whole + [changed(text, rng) for text in whole for _ in range(3)]):
        expected = re.fullmatch(expression, text) is not None
        counts[expected] += 1
        states = stepped(constraint, text.encode())
        is_viable = len(states) > len(text.encode())
        if (is_viable and constraint.accepts(states[-1])) != expected:
            found.append(text)
    return found


def changed(text: str, rng: random.Random) -> str:
    """Deletes, doubles, replaces or inserts one or two characters."""
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(len(text) + 1)
        new = rng.choice(
            ("", text[at : at + 1] * 2, rng.choice(text or "a"), rng.choice("aZ09 -_.:\né٣\U0001d7d9"))
        )
        text = text[:at] + new + text[at + rng.choice((0, 1)) :]
    return text


def short(expression: str) -> list[str]:
    """Gives all texts of up to four of the expression's own characters and some others."""
    rng = random.Random(expression)
    own = sorted({letter for letter in expression if letter.isalnum() or letter in ' -_.@/:"\n'})
    rng.shuffle(own)
    letters = (own[:4] + list("\na1 A-α("))[:7]
    return ["".join(text) for n in range(5) for text in itertools.product(letters, repeat=n)]


def drawn(expression: str) -> list[str]:
    """Draws texts that Python's parser of `re` reads the expression as; few of them need match it."""
    try:
        tree = re._parser.parse(expression)
    except (re.error, OverflowError, FutureWarning):
        return []
    rng = random.Random(expression)
    return [spelled(tree, rng, {}) for _ in range(200)]


CATEGORIES = {"CATEGORY_DIGIT": "0379", "CATEGORY_WORD": "aZ0_é", "CATEGORY_SPACE": " \n"}


def spelled(tree: Any, rng: random.Random, groups: dict[int, str]) -> str:
    """Draws a text from a tree of `re`, without its look-around."""
    return "".join(spelled_part(str(name), value, rng, groups) for name, value in tree)


def spelled_part(name: str, value: Any, rng: random.Random, groups: dict[int, str]) -> str:
    if name == "LITERAL":
        return chr(value)
    if name == "IN":
        kind, inner = rng.choice(value)
        if str(kind) == "RANGE":
            return chr(rng.randint(*inner))
        return chr(inner) if str(kind) == "LITERAL" else rng.choice(CATEGORIES.get(str(inner), "aZ0 -_é"))
    if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        low, high, inner = value
        count = rng.randint(low, min(int(high), low + 2))
        return "".join(spelled(inner, rng, groups) for _ in range(count))
    if name == "SUBPATTERN":
        groups[value[0]] = text = spelled(value[-1], rng, groups)
        return text
    if name == "BRANCH":
        return spelled(rng.choice(value[1]), rng, groups)
    if name == "ATOMIC_GROUP":
        return spelled(value, rng, groups)
    if name == "GROUPREF":
        return groups.get(value, "")
    return "" if name in ("AT", "ASSERT", "ASSERT_NOT", "GROUPREF_EXISTS") else rng.choice("aZ0 -_é")


def test_a_timeout_of_the_matcher_is_raised_as_a_time_limit():
    whole = partial_matching.Whole(r"(?:(a+)+\1)+b", 0.05)
    with pytest.raises(partial_matching.TimeLimitReached):
        whole("a" * 60 + "c")
