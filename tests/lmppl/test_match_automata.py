"""What `re.match` finds, against `re.match`."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmppl.constraints.grammars import match_program
from lmppl.constraints.grammars.match_automata import MatchAutomaton, match_automaton, word_automaton
from lmppl.errors import ConstraintError

TEXTS = ["".join(p) for n in range(6) for p in itertools.product("abé" if n > 3 else 'ab"\\\n', repeat=n)]

ATOMS = ("a", "b", "é", "[ab]", ".", "[^a]", '"', r"\\")
QUANTIFIERS = ("*", "+", "?", "{1,2}", "*?", "+?", "??", "{0,2}?")
LOOKS = ("(?=", "(?!", "(?<=", "(?<!")


@st.composite
def patterns(draw: st.DrawFn, depth: int = 3) -> str:
    kind = draw(st.integers(0, 9)) if depth else 0
    if kind <= 2:
        return draw(st.sampled_from(ATOMS))
    if kind <= 5:
        return draw(patterns(depth - 1)) + draw(patterns(depth - 1))
    if kind == 6:
        return f"(?:{draw(patterns(depth - 1))}|{draw(patterns(depth - 1))})"
    if kind <= 8:
        return f"(?:{draw(patterns(depth - 1))}){draw(st.sampled_from(QUANTIFIERS))}"
    return draw(st.sampled_from(LOOKS)) + draw(st.sampled_from(("a", "b", "[ab]", "ab"))) + ")"


def disagreement(pattern: str, automaton: MatchAutomaton) -> str | None:
    """Gives a text on which the automaton finds something else; matches of nothing are left out."""
    program = re.compile(pattern)
    for text in TEXTS:
        found = program.match(text)
        expected = None if found is None else len(found[0].encode())
        if expected != 0 and automaton.find(text.encode()) != expected:
            return text
    return None


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(patterns())
def test_random_pattern_finds_what_re_finds(pattern: str) -> None:
    try:
        automaton = match_automaton(pattern)
    except ConstraintError:
        return
    assert disagreement(pattern, automaton) is None


REAL = (
    r'".*?(?<!\\)(\\\\)*?"',  # ESCAPED_STRING of Lark
    r'("(?!"").*?(?<!\\)(\\\\)*?"|b)',
    r"a(?!bb)",
    r"a(?!.*b)",
    r"a|ab|abb",
    r"(?:a|ab)(?:b|é)??",
    r"a*?b",
    r"(?i:A)\b",
    r"a$",
    r"(?m:a+$)",
    r"(?s:a.*?b)",
    r"[^\W\d]\w*",
)


@pytest.mark.parametrize("pattern", REAL)
def test_pattern_of_a_real_terminal_finds_what_re_finds(pattern: str) -> None:
    assert disagreement(pattern, match_automaton(pattern)) is None


def test_wrong_order_of_choices_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    class Reversed(match_program.Choice):
        def __init__(self, options: tuple[int, ...]):
            object.__setattr__(self, "options", options[::-1])

    caught = 0
    for pattern in ("a|ab|abb", "a*?b?", "(?:a|ab)(?:b|é)??"):
        with monkeypatch.context() as patch:
            patch.setattr(match_program, "Choice", Reversed)
            automaton = match_automaton.__wrapped__(pattern)
        caught += disagreement(pattern, automaton) is not None
    assert caught == 3


def test_dropped_condition_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "lmppl.constraints.grammars.match_automata._Construction._conditions_after", lambda *_: frozenset()
    )
    assert disagreement("a(?!bb)b?", match_automaton.__wrapped__("a(?!bb)b?")) is not None


@pytest.mark.parametrize("word", ["select", "ß", "K", "é1", "*"])
@pytest.mark.parametrize("ignore_case", [False, True])
def test_word_is_the_pattern_of_its_letters(word: str, ignore_case: bool) -> None:
    pattern = f"(?i:{re.escape(word)})" if ignore_case else re.escape(word)
    one, other = word_automaton(word, ignore_case), match_automaton(pattern)
    for text in {word, word.upper(), word.lower(), word + "x", word[:-1], "ſelect", "\u212a"}:
        assert one.find(text.encode()) == other.find(text.encode()), text


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"\bif", "depends on what stands before it at position 0"),
        (r"(?<=a)b", "depends on what stands before it at position 0"),
        (r"(a)\1", "a back-reference"),
        (r"(?:|a)*b", "repeats what may be empty"),
        (r"a(?=b(?!c))", "inside look-around"),
        (r"abcdef(?<=abcdef)", "looks back more than 4"),
        (r"(?:[ab]*a[ab]{14})", "too large"),
        (r"a{30000}", "more than 20,000 steps"),
    ],
)
def test_pattern_that_is_not_supported_is_refused_with_its_reason(pattern: str, message: str) -> None:
    with pytest.raises(ConstraintError, match=message):
        match_automaton(pattern)
