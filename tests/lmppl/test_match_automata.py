"""What `re.match` finds, against `re.match`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmppl.constraints.grammars import match_program, match_threads
from lmppl.constraints.grammars.listed_words import word_automaton
from lmppl.constraints.grammars.match_automata import MatchAutomaton
from lmppl.constraints.grammars.match_threads import SURE, Past, Thread
from lmppl.constraints.grammars.pattern_automata import match_automaton, ordered_subsets
from lmppl.constraints.regular.regex_syntax import parse
from lmppl.errors import ConstraintError

TEXTS = ["".join(p) for n in range(6) for p in itertools.product("abé" if n > 3 else 'ab"\\\n', repeat=n)]

ATOMS = ("a", "b", "é", "[ab]", ".", "[^a]", '"', r"\\")
QUANTIFIERS = ("*", "+", "?", "{1,2}", "*?", "+?", "??", "{0,2}?")
LOOKS = ("(?=", "(?!", "(?<=", "(?<!")
ANCHORS = (r"\b", r"\B", "$", "^", r"\A", r"\Z", "(?m:$)", "(?m:^)")


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


@st.composite
def looking_patterns(draw: st.DrawFn, depth: int = 4) -> str:
    """Draws patterns with anchors, and look-ahead that has anchors and look-around in it."""
    kind = draw(st.integers(0, 9)) if depth else 0
    if kind <= 1:
        return draw(st.sampled_from((*ATOMS, r"\n", r"\w", r"\W")))
    if kind <= 4:
        return draw(looking_patterns(depth - 1)) + draw(looking_patterns(depth - 1))
    if kind == 5:
        return f"(?:{draw(looking_patterns(depth - 1))}|{draw(looking_patterns(depth - 1))})"
    if kind == 6:
        return f"(?:{draw(looking_patterns(depth - 1))}){draw(st.sampled_from(QUANTIFIERS))}"
    if kind == 7:
        return draw(st.sampled_from(ANCHORS))
    if kind == 8:
        return draw(st.sampled_from(LOOKS[2:])) + draw(st.sampled_from(("a", "b", r"\w", "ab"))) + ")"
    return draw(st.sampled_from(LOOKS[:2])) + draw(looking_patterns(depth - 1)) + ")"


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(patterns(), looking_patterns()))
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
    r"(?!(ab|b)\b)[a-zé]+",
    r"(?!ab$)[a-z]+",
    r"(?!a\B)\w+",
    r"(?!\w+\b)(?s:.)+?(?=\Z|b)",
    r"a(?=b(?!a))",
    r"a(?!b(?!b(?!$)))\w*",
    r"(?:(?!b\b)\w)+",
    r'"(?:(?!(?<!\\)").)*"',
    r"a(?!.*(?<=é)b)",
    r"[ab]{4,5}?(?<=abba)b?",
    r"a[ab](?:a|b(?<!aab)|é(?<=[ab]{2}é))+",
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
            automaton = ordered_subsets(pattern, parse(pattern))
        caught += disagreement(pattern, automaton) is not None
    assert caught == 3


@pytest.mark.parametrize(
    ("mutant", "pattern"),
    [
        ("nothing asked later", "a(?!bb)b?"),
        ("nothing asked later", r"(?!a\b)[ab]+"),
        ("nothing asked at the end", r"(?!ab$)[ab]+"),
        ("nothing asked within", r"(?!(a|ba)\b)[ab]+"),
        ("nothing asked within", "a(?=b(?!a))"),
        ("nothing behind", r"(?!ab+\b)(?s:.)+?"),
        ("nothing behind", r"a(?!.*(?<=é)b)"),
        ("one thread a place", "(?=a(?=b)|a(?=é))a"),
    ],
)
def test_broken_look_ahead_is_caught(mutant: str, pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cls = match_threads.Threads
    if mutant == "nothing asked later":
        monkeypatch.setattr(cls, "conditions_after", lambda *_: frozenset())
    elif mutant == "nothing asked at the end":
        monkeypatch.setattr(cls, "hold_at_end", lambda *_: True)
    elif mutant == "nothing asked within":
        closed = cls._closed

        def forgetful(
            self: match_threads.Threads, threads: Iterable[Thread], past: Past
        ) -> frozenset[Thread]:
            bare = frozenset(Thread(place, frozenset()) for place, _ in closed(self, threads, past))
            return frozenset((SURE,)) if SURE in bare else bare

        monkeypatch.setattr(cls, "_closed", forgetful)
    elif mutant == "nothing behind":
        monkeypatch.setattr(cls, "_is_behind", lambda *_: False)
    else:
        monkeypatch.setattr(
            match_threads,
            "_undominated",
            lambda threads: frozenset({thread.place: thread for thread in threads}.values()),
        )
    assert disagreement(pattern, match_automaton.__wrapped__(pattern)) is not None


def test_matches_that_hang_on_the_same_condition_are_kept_once() -> None:
    """The longest one is found if any is; all of them would be more than there are states."""
    for pattern in (r"(?!\d+\b)\w+", "(?!.*x)a+", r"(?!\w*b\b)\w+"):
        automaton = match_automaton(pattern)
        assert disagreement(pattern, automaton) is None
        assert max(len(label.slots or ()) for label in automaton.labels) <= 2


@pytest.mark.parametrize("word", ["select", "ß", "K", "é1", "*"])
@pytest.mark.parametrize("ignore_case", [False, True])
def test_word_is_the_pattern_of_its_letters(word: str, ignore_case: bool) -> None:
    pattern = f"(?i:{re.escape(word)})" if ignore_case else re.escape(word)
    one, other = word_automaton(word, re.IGNORECASE if ignore_case else 0), match_automaton(pattern)
    for text in {word, word.upper(), word.lower(), word + "x", word[:-1], "ſelect", "\u212a"}:
        assert one.find(text.encode()) == other.find(text.encode()), text


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"\bif", "depends on what stands before it at position 0"),
        (r"(?<=a)b", "depends on what stands before it at position 0"),
        (r"(a+)\1", "a back-reference"),
        (r"(?:|a)*b", "repeats what may be empty"),
        (r"ab(?<=b(?!c))", "inside look-behind"),
        (r"ab(?<=\bab)", "inside look-behind"),
        (r"(?!\bif)\w+", "depends on what stands before it"),
        (r"(?=(?:.*(?=a.{8}\b))(?:.*(?!b.{8}$))*)[ab ]*", "takes too many steps"),
        (r"a(?<=a{1001})", "looks back for more than 1,000"),
        (r"(?:[ab]*a[ab]{14})", "too large"),
        (r"a{300000}", "more than 100,000 steps"),
    ],
)
def test_pattern_that_is_not_supported_is_refused_with_its_reason(pattern: str, message: str) -> None:
    with pytest.raises(ConstraintError, match=message):
        match_automaton(pattern)
