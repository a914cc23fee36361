"""`lp.lark` with anchors and look-around inside look-ahead, against Lark with the same options."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import lark as lark_package
import pytest
from lark_target import MODES, compared, loaded, parses

from lmppl.constraints.grammars import match_threads, matchers
from lmppl.constraints.grammars.grammar import _lark, lark
from lmppl.constraints.grammars.pattern_automata import match_automaton
from lmppl.errors import ConstraintError
from lmppl.testing import check_constraint

ALPHABET = "ab -\n"
FOR_COMPLETIONS = b"ab -\nABcz9_."
INSIDE = (
    *(r"a\b", r"(a|bb)\b", r"ab$", "a$", r"b\Z", r"(?m:a$)", r"\w+\b", r"\w*b\B", r"a\B", r"[ab]+-\b"),
    *(r"a(?=b)", r"a(?!b)", r"a(?!b\b)", r"\w+ (?!a\b)", r"b(?!a(?!$))", r".*(?<=b)a\b", r".*(?<!\w)b\b"),
    *(r".\A", r"-^", r"(?m:.^)", r"(?s:.)*\bb$", r"-\ba", r"(a|b\b)*-"),
)
AFTER = (
    r"\w+",
    "[ab]+",
    "[ab]+?",
    "a*b?",
    r"\w+-?",
    ".+",
    "a|ab",
    r"\w",
    "[ab]{1,2}",
    r"(?s:.)+?b",
    r"a[^\w]?",
)
BESIDE = ("/a/", "/b+/", '"ab"', "/-/", '"a"i', "/[ab]+/", r"/\w/", "/a(?!b)/", "/-|--/", r"/\n/")


def random_terminal(rng: random.Random) -> str:
    """Gives one with look-ahead before, after or amid what it matches."""
    look = rng.choice(("(?!", "(?!", "(?=")) + rng.choice(INSIDE) + ")"
    first, second = rng.choices(AFTER, k=2)
    return rng.choice((f"{look}(?:{first})", f"(?:{first}){look}", f"(?:{first}){look}(?:{second})"))


def random_grammar(rng: random.Random) -> str:
    lines = []
    for name in ("start", "x"):
        sides = {" ".join(rng.choices(("A", "B", "C", "x"), k=rng.choice((1, 2, 2, 3)))) for _ in range(3)}
        lines.append(f"{name}: " + " | ".join(sorted(sides)))
    lines += [f"x: {lines.pop()[3:]} | B", f"A: /{random_terminal(rng)}/"]
    lines.append(f"B: {rng.choice(BESIDE)}")
    lines.append(f"C: {rng.choice((rng.choice(BESIDE), f'/{random_terminal(rng)}/'))}")
    if rng.random() < 0.6:
        lines.append("%ignore " + rng.choice(('" "', "/ +/", "/-/", r"/\s+/", r"/ (?!a\b)/")))
    return "\n".join(lines)


def compare(mode: tuple[str, str], seed: int, num: int, length: int) -> Counter[str]:
    """Compares random grammars with Lark on every string up to a length, and counts what it finds."""
    rng = random.Random(f"{mode} {seed}")
    found: Counter[str] = Counter()
    strings = ["".join(p) for n in range(length + 1) for p in itertools.product(ALPHABET, repeat=n)]
    while found["grammars"] < num:
        grammar = random_grammar(rng)
        try:
            parser = loaded(grammar, *mode)
        except lark_package.exceptions.LarkError:
            continue
        found["loaded"] += 1
        try:
            constraint = lark(grammar, parser=mode[0], lexer=mode[1])
            constraint.initial()
        except ConstraintError as error:
            found["refused"] += "No string" not in str(error)
            found["wrong"] += "No string" in str(error) and any(parses(parser, text) for text in strings)
            continue
        found["grammars"] += 1
        expected = {text: parses(parser, text) for text in strings}
        found.update(compared(constraint, expected, FOR_COMPLETIONS, 4_000))
    return found


LOOK_AHEAD_MODES = [mode for mode in MODES if mode[1] != "dynamic_complete"]


@pytest.mark.parametrize("mode", LOOK_AHEAD_MODES, ids="-".join)
def test_random_look_ahead_agrees_with_lark_on_every_string(mode: tuple[str, str]) -> None:
    found = compare(mode, seed=0, num=12, length=4)
    assert found["accepted"] > 100
    assert not found["wrong"] + found["dead too early"] + found["not exact"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", LOOK_AHEAD_MODES, ids="-".join)
def test_much_random_look_ahead_agrees_with_lark_on_every_string(mode: tuple[str, str]) -> None:
    found = compare(mode, seed=1, num=60, length=5)
    assert not found["wrong"] + found["dead too early"] + found["not exact"]


def test_complete_lexer_refuses_what_looks_ahead_or_agrees_with_lark() -> None:
    found = compare(("earley", "dynamic_complete"), seed=0, num=8, length=4)
    assert found["loaded"] > found["grammars"]
    assert not found["wrong"] + found["dead too early"] + found["not exact"]


@pytest.mark.parametrize("mutant", ["nothing behind", "nothing at the end", "first way only"])
def test_broken_look_ahead_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    threads, effect = match_threads.Threads, matchers._effect
    if mutant == "nothing behind":
        monkeypatch.setattr(threads, "_is_behind", lambda *_: False)
    elif mutant == "nothing at the end":
        monkeypatch.setattr(threads, "hold_at_end", lambda *_: True)
    else:

        def first(matcher: matchers.Matcher, number: int, state: int) -> matchers.Effect:
            runs, ways, symbol = effect(matcher, number, state)
            return runs, ways[:1], symbol

        monkeypatch.setattr(matchers, "_effect", first)
    monkeypatch.setattr("lmppl.constraints.grammars.grammar._lark", _lark.__wrapped__)
    monkeypatch.setattr(
        "lmppl.constraints.grammars.grammar_terminals.match_automaton", match_automaton.__wrapped__
    )
    if mutant == "first way only":
        assert compare_two_ways("(?:a(?!ac)|aa?)a", ("earley", "dynamic"))["wrong"]
    else:
        assert compare(("earley", "dynamic"), seed=0, num=12, length=4)["wrong"]


@pytest.mark.parametrize("mode", LOOK_AHEAD_MODES, ids="-".join)
@pytest.mark.parametrize("pattern", ["(?:a(?!ac)|aa?)a", r"(?:a|ab)(?!b(?!a\b))[ab]+"])
def test_match_that_two_ways_lead_to_is_found_if_either_is_open(pattern: str, mode: tuple[str, str]) -> None:
    found = compare_two_ways(pattern, mode)
    assert found["accepted"] > 1
    assert not found["wrong"] + found["dead too early"]


def compare_two_ways(pattern: str, mode: tuple[str, str]) -> Counter[str]:
    grammar = f'start: A "c"?\nA: /{pattern}/'
    texts = ["".join(p) for n in range(1, 7) for p in itertools.product("abc", repeat=n)]
    parser = loaded(grammar, *mode)
    constraint = lark(grammar, parser=mode[0], lexer=mode[1])
    expected = {text: parses(parser, text) for text in texts}
    return compared(constraint, expected, FOR_COMPLETIONS, 4_000)


KEYWORDS = r"""
start: statement (";" statement)*
statement: "if" " " NAME " then " statement | NAME "=" NAME
NAME: /(?!(if|then)\b)[a-z]+/
"""


@pytest.mark.parametrize("mode", LOOK_AHEAD_MODES, ids="-".join)
def test_keywords_that_names_leave_out_are_no_names(mode: tuple[str, str]) -> None:
    constraint = lark(KEYWORDS, parser=mode[0], lexer=mode[1])
    parser = loaded(KEYWORDS, *mode)
    texts = {
        "if a then b=c": True,
        "iffy=thens": True,
        "a=if": False,
        "if=a": False,
        "if if then a=b": False,
        "if ifs then a=b;c=d": True,
        "a=then;b=c": False,
        "a=thené": None,
    }
    for text, expected in texts.items():
        assert parses(parser, text) is bool(expected)
        state = constraint.advance(constraint.initial(), text.encode())
        assert (state is not None and constraint.accepts(state)) is bool(expected), text
    assert constraint.advance(constraint.initial(), b"a=if;") is None
    assert constraint.advance(constraint.initial(), b"a=if") is not None


@pytest.mark.parametrize("mode", LOOK_AHEAD_MODES, ids="-".join)
def test_grammar_with_anchors_in_look_ahead_keeps_the_laws(mode: tuple[str, str]) -> None:
    grammar = "start: (NAME | END)+\nNAME: /(?!(if|é)\\b)\\w+/\nEND: /;(?=\\s*$)/\n%ignore /\\s+/"
    samples = ["a iff;", "if", "éé if", "é ; \n", "a;a", "a;", "a b\xa0"]
    check_constraint(lark(grammar, parser=mode[0], lexer=mode[1]), samples)


@pytest.mark.parametrize("pattern", [r"(?<=a{1001})c", r"(?!(?<=\ba)if)\w+", r"ab(?<=\bab)"])
def test_look_behind_for_long_texts_or_with_anchors_is_refused(pattern: str) -> None:
    with pytest.raises(ConstraintError, match=r"Terminal A of the grammar.*not supported in a terminal"):
        lark(f"start: A\nA: /{pattern}/")
