"""Patterns with too large an automaton: as `re` judges them, and state by state as an automaton does."""

from __future__ import annotations

import random
import re

import pytest
from viable_prefixes import accepted, stepped

import lmppl as lp
from lmppl.constraints.regular import character_language, regular_expression
from lmppl.constraints.regular.character_automaton import CharacterAutomaton, determinised
from lmppl.constraints.regular.character_language import CharacterLanguage
from lmppl.constraints.regular.regex_syntax import Node, parse
from lmppl.constraints.regular.regular_expression import compiled
from lmppl.constraints.regular.regular_language import RegularLanguage
from lmppl.errors import ConstraintError
from lmppl.testing import check_constraint

SMALL = [
    "",
    "a",
    "[a-cé]+",
    "(a|ab)(c|bcd)?",
    r"\w{2,4}",
    r"(?i)straße|[^\W\d]{3}",
    "é{2}|e\u0301|😀?😁",
    ".{3}",
    "(?s:.)a*",
    "[^a]*b{0}c?",
    r"(\S+ ?){1,3}",
]
WITH_ASSERTIONS = ["^a$", r"\b\w+\b", r"a\Z|\Bé", "(?m:^é$\n?)+"]
LARGE = [
    (r"\w{1,200}", "aé_9"),
    (r"^\w{1,200}$", "aé "),
    (r"\S{1,100}@\S{1,100}", "a@é"),
    (r".*(a.{14}|b.{14})", "abé"),
    (r"(?i)[^\W\d]{1,200}x", "aXé_"),
]
FORCED = ("table", "subsets")
BYTES = [*b"ab c_9@\n", *"é😀ß".encode(), 0x80, 0xFF]


def forced(pattern: str, how: str) -> CharacterLanguage | None:
    """Makes the language of a pattern by its table of characters, or by sets of places."""
    tree = parse(pattern)
    return CharacterLanguage.of(pattern, 0, tree, determinised(tree) if how == "table" else None)


@pytest.mark.parametrize("how", FORCED)
@pytest.mark.parametrize("pattern", [*SMALL, *WITH_ASSERTIONS])
def test_states_are_those_of_the_automaton(pattern: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = compiled(pattern)
    found = forced(pattern, how)
    if how == "subsets" and pattern in WITH_ASSERTIONS:
        assert found is None
        return
    assert found is not None
    pairs = {(found.initial(), machine.start)}
    for state, number in (todo := list(pairs)):  # grows while it is walked
        assert found.accepts(state) == machine.accepts(number)
        for byte in range(256):
            data = bytes((byte,))
            after, expected = found.advance(state, data), machine.advance(number, data)
            assert (after is None) == (expected is None), data
            pair = (after, expected)
            if after is not None and pair not in pairs:
                pairs.add(pair)
                todo.append(pair)


@pytest.mark.parametrize(("pattern", "letters"), LARGE)
def test_texts_are_judged_as_by_re(pattern: str, letters: str) -> None:
    constraint = lp.regex(pattern)
    assert isinstance(constraint, CharacterLanguage)
    assert constraint.viable_is_exact
    matcher = re.compile(pattern)
    rng = random.Random(0)
    found = []
    for length in [*range(20), *range(95, 105), *range(195, 205)] * 3:
        text = "".join(rng.choices(letters, (5, 2, 1, 1)[: len(letters)], k=length))
        found.append(matcher.fullmatch(text) is not None)
        states = stepped(constraint, text.encode())
        assert (len(states) > len(text.encode()) and constraint.accepts(states[-1])) == found[-1], text
    assert any(found)
    assert not all(found)


@pytest.mark.parametrize("mutant", ["dead characters", "first class"])
def test_a_broken_machine_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = character_language.CharacterMachine
    if mutant == "dead characters":  # any beginning of a character is let through

        def inside(self: object, base: character_language.Point, node: int) -> character_language.Point:
            return character_language.Point({}, base=base, node=node)

        monkeypatch.setattr(machine, "_inside", inside)
    else:
        behind = machine._behind
        monkeypatch.setattr(machine, "_behind", lambda self, base, symbol: behind(self, base, 0))
    with pytest.raises(AssertionError):
        test_states_are_those_of_the_automaton("[a-cé]+", "table", monkeypatch)


def test_it_keeps_the_laws_of_constraints() -> None:
    for pattern, text in ((r"\w{1,200}", "naïve_9"), (r".*(a.{14}|b.{14})", "xa😀bcdefghijklmn")):
        check_constraint(lp.regex(pattern), [text, "é" * 14 + "b", "!" * 3])


def test_it_takes_part_in_combinations() -> None:
    word = lp.regex(r"\w{1,200}")
    assert accepted("<" + word + ">", "<" + "é" * 200 + ">")
    assert not accepted("<" + word + ">", "<" + "é" * 201 + ">")
    assert accepted(word & lp.regex("a+"), "aaa")
    assert accepted(word | lp.regex("!"), "!")
    assert lp.regex(r"\w{1,200}") == word
    assert lp.regex(r"\w{1,199}") != word
    with pytest.raises(ConstraintError, match="automaton"):
        _ = ~word


def test_a_program_that_uses_it_has_the_posterior_of_an_equal_one() -> None:
    tokens = ["a", "b", "!", "é", "<end>"]
    lm = lp.TableLM(tokens, [0.3, 0.2, 0.2, 0.2, 0.1], [[0.3, 0.2, 0.2, 0.2, 0.1]] * 5)
    large, small = lp.regex(r"\w{1,200}"), lp.regex(r"\w{1,3}")
    assert isinstance(small, RegularLanguage)
    exact = [
        lp.infer(lambda c=c: lp.sample("x", lm("a", max_tokens=3) & c), method=lp.Enumerate())
        for c in (large, small)
    ]
    assert dict(exact[0].answers().items()) == pytest.approx(dict(exact[1].answers().items()))
    drawn = [
        lp.infer(lambda c=c: lp.sample("x", lm("a", max_tokens=3) & c), method=lp.SMC(8), key=0)
        for c in (large, small)
    ]
    assert drawn[0].values == drawn[1].values  # on the host, and on the device
    assert drawn[0].log_evidence == pytest.approx(drawn[1].log_evidence, abs=1e-5)


def test_what_is_too_large_even_so_is_refused() -> None:
    for pattern in ("(.{0,99}){0,999}", r"\b\w*(a|b)*a(a|b){30}", r"(a|b)*a(a|b){16}$[^\s\S]?"):
        with pytest.raises(ConstraintError, match="needs more than 50,000 states"):
            lp.regex(pattern)


@pytest.mark.parametrize("pattern", [r"(a|b)*a(a|b){19}", r"^\w{1,200}é$"])
def test_what_is_too_large_is_made_deterministic_once(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(tree: Node) -> CharacterAutomaton:
        calls.append(tree)
        return determinised(tree)

    monkeypatch.setattr(regular_expression, "determinised", counted)
    assert isinstance(lp.regex(pattern), CharacterLanguage)
    assert len(calls) == 1
    assert not hasattr(character_language, "determinised")


def test_states_are_forgotten_and_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(character_language, "MAX_KNOWN", 3)
    language = CharacterLanguage.of(r"\w{1,9}", 0, parse(r"\w{1,9}"), None)
    assert language is not None
    assert accepted(language, "aéaéaéaéa")
    assert not accepted(language, "aéaéaéaéaé")
