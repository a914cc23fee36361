"""Back-references to groups of few texts, against `re`."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import lark as lark_package
import pytest
import regex
from lark_target import MODES, compared, loaded, parses
from viable_prefixes import accepted

import lmppl as lp
from lmppl.constraints.grammars.match_automata import MatchAutomaton
from lmppl.constraints.grammars.pattern_automata import match_automaton
from lmppl.constraints.regular import back_references
from lmppl.constraints.regular.character_sets import single
from lmppl.constraints.regular.regex_syntax import Alternation, Node, Reference
from lmppl.errors import ConstraintError
from lmppl.testing import check_constraint

TEXTS = ["".join(p) for n in range(8) for p in itertools.product("ab" if n > 5 else "abA", repeat=n)]
ATOMS = ("a", "b", "[ab]", ".", "A", "(?i:a)", "(?:ab|a)", "")
QUANTIFIERS = ("*", "+", "?", "*?", "+?", "??", "{1,2}", "{2}", "{0,2}?")


class Drawn:
    """A random pattern: groups, back-references to them by number or name, and what may be around both."""

    def __init__(self, rng: random.Random):
        self._rng = rng
        self._num_groups = 0
        self._open: set[int] = set()
        self._names: dict[int, str] = {}
        self.pattern = self._part(4, True)

    def _part(self, depth: int, may_refer: bool) -> str:
        rng = self._rng
        kind = rng.randrange(12) if depth else 0
        more = depth - 1
        if kind <= 1:
            return rng.choice(ATOMS)
        if kind <= 4:
            return "".join(self._part(more, may_refer) for _ in range(rng.choice((2, 3))))
        if kind == 5:
            return f"(?:{self._part(more, may_refer)}|{self._part(more, may_refer)})"
        if kind == 6:
            return f"(?:{self._part(more, may_refer)}){rng.choice(QUANTIFIERS)}"
        if kind <= 9:
            return self._group(more, may_refer)
        if kind == 10:
            behind = rng.random() < 0.2
            return (
                f"{rng.choice(('(?<=', '(?<!'))}{rng.choice('ab')})"
                if behind
                else self._ahead(more, may_refer)
            )
        closed = [n for n in range(1, self._num_groups + 1) if n not in self._open]
        return self._reference(rng.choice(closed)) if closed and may_refer else "a"

    def _ahead(self, depth: int, may_refer: bool) -> str:
        return f"{self._rng.choice(('(?=', '(?!'))}{self._part(depth, may_refer)})"

    def _group(self, depth: int, may_refer: bool) -> str:
        rng = self._rng
        self._num_groups += 1
        number = self._num_groups
        self._open.add(number)
        if rng.random() < 0.3:
            self._names[number] = f"g{number}"
        inside = (
            rng.choice(("a|b", "a|ab", "ab|a", "[ab]", "a??|b", "b?", "(?i:a)", "a{0,2}?|b"))
            if rng.random() < 0.6
            else self._part(depth, may_refer)
        )
        self._open.discard(number)
        group = f"({f'?P<g{number}>' if number in self._names else ''}{inside})"
        if rng.random() < 0.7 and may_refer:
            group += (self._part(depth, True) if depth else "") + self._reference(number)
        return group

    def _reference(self, number: int) -> str:
        is_named = number in self._names and self._rng.random() < 0.7
        written = f"(?P=g{number})" if is_named else rf"\{number}(?:)"
        return f"(?i:{written})" if self._rng.random() < 0.1 else written


def drawn_patterns(seed: str) -> Iterator[str]:
    """Gives random patterns with back-references that `re` reads, each different."""
    rng = random.Random(seed)
    met = set()
    while True:
        pattern = Drawn(rng).pattern
        if ("\\" in pattern or "(?P=" in pattern) and pattern not in met:
            met.add(pattern)
            try:
                re.compile(pattern)
            except re.error:
                continue
            yield pattern


def disagreement(
    pattern: str,
    automaton: MatchAutomaton,
) -> str | None:
    """Gives a text on which the automaton finds something else; matches of nothing are left out."""
    program = re.compile(pattern)
    for text in TEXTS:
        found = program.match(text)
        expected = None if found is None else len(found[0])
        if expected != 0 and automaton.find(text.encode()) != expected:
            return text
    return None


def compare(
    seed: str,
    num: int,
) -> Counter[str]:
    """Compares random patterns with `re` on all short texts, and counts what it finds."""
    found: Counter[str] = Counter()
    for pattern in drawn_patterns(seed):
        try:
            automaton = match_automaton.__wrapped__(pattern)
        except ConstraintError as error:
            reason = re.search(
                "may not have matched|more than 1,000 texts|what may be empty|stands before|too large",
                str(error),
            )
            found[reason[0] if reason else "another reason"] += 1
            continue
        found["wrong"] += disagreement(pattern, automaton) is not None
        found["taken"] += 1
        if found["taken"] == num:
            break
    return found


def check_counts(found: Counter[str]) -> None:
    assert not found["wrong"] + found["another reason"]
    assert found["taken"] > 2 * (found["may not have matched"] + found["more than 1,000 texts"])


def test_random_pattern_finds_what_re_finds() -> None:
    check_counts(compare("few", 400))


@pytest.mark.slow
def test_many_random_patterns_find_what_re_finds() -> None:
    check_counts(compare("many", 10_000))


@pytest.mark.parametrize("mutant", ["order", "first text", "case of literals", "short scope"])
def test_broken_writing_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if mutant == "order":
        few = back_references._few
        monkeypatch.setattr(back_references, "_few", lambda ways: sorted(few(ways), key=lambda way: way.text))
    elif mutant == "first text":
        by_text = back_references._Writer._by_text

        def first(self: back_references._Writer, *args: Any) -> Node:
            written = by_text(self, *args)
            return written.options[0] if isinstance(written, Alternation) else written

        monkeypatch.setattr(back_references._Writer, "_by_text", first)
    elif mutant == "case of literals":
        monkeypatch.setattr(back_references, "_same_but_for_case", lambda c, flags: single(c))
    else:
        referred = back_references._Writer._referred

        def any_known(self: back_references._Writer, reference: Reference, known: dict[int, str]) -> Any:
            return referred(self, reference, dict.fromkeys(known, next(reversed(known.values()), "")))

        monkeypatch.setattr(back_references._Writer, "_referred", any_known)
    assert compare("few", 400)["wrong"]


REAL = {
    r"""(["']).*?\1""": "\"'a",
    r"""(?P<q>"{3}|'{3}|"|')(?:(?!(?P=q))(?:\\.|[^\\]))*(?P=q)""": "\"'a\\",
    r"""(?s:(r|b|)(["'])(.*?)(?<!\\)(\\\\)*\2)""": "\"'br\\\n",
    r"\[(={0,2})\[(?s:.)*?\]\1\]": "[]=a",
    r"(`{1,3})[^`]+\1(?!`)": "`a",
    r"(\*\*?|__?)(?=\S)(.+?)(?<=\S)\1": "*_a ",
    r"(?i:<(b|i)>[^<]*</\1>)": ["<b>", "<B>", "</b>", "<i>", "</I>", "a"],
    r"<<(?P<mark>EOF|END)\n(?s:.*?)^(?P=mark)$": ["<<EOF\n", "<<END\n", "EOF", "END", "\n", "é"],
}
"""Patterns, and what texts are made of."""


@pytest.mark.parametrize("pattern", REAL)
def test_pattern_of_a_real_terminal_finds_what_re_finds(pattern: str) -> None:
    rng = random.Random(pattern)
    compiled = re.compile(pattern, re.M)
    automaton = match_automaton(pattern, None, int(re.MULTILINE))
    num_found = 0
    for _ in range(4_000):
        text = "".join(rng.choices(REAL[pattern], k=rng.randint(1, 12)))
        found = compiled.match(text)
        assert automaton.find(text.encode()) == (None if found is None else len(found[0].encode())), text
        num_found += found is not None
    assert num_found > 20


def test_letters_whose_case_is_ignored_are_the_same_where_they_say_so() -> None:
    letters = "kK\u212asSſßẞµμΜiIıİσςΣǅǆǄa1"
    differ = 0
    for flags in (re.IGNORECASE, re.IGNORECASE | re.ASCII):
        for first in letters:
            pattern = rf"({first})\1"
            automaton = match_automaton(pattern, None, int(flags))
            both, literal = (re.compile(each, flags) for each in (pattern, first * 2))
            for text in map("".join, itertools.product(letters, repeat=2)):
                found = both.match(text)
                assert automaton.find(text.encode()) == (found and len(text.encode())), (pattern, text)
                differ += found is None and literal.match(text) is not None
    assert differ  # `re` takes more for a literal than for a back-reference


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"(\w)\1", "at position 4 to a group that matches more than 1,000 texts.*List what it matches"),
        (r"(a*)b\1", "at position 5 to .* or may grow without bound, which"),
        (r"([ab]{12})\1", "more than 1,000 texts"),
        (r"(?:(a)|b)\1", "at position 9 to a group that may not have matched before it"),
        (r"(a)?b\1", "may not have matched before it"),
        (r"(?:(a|b)c)+\1", "stands in a repetition"),
        (r"(a)|\1", "may not have matched"),
        (r"(?P<q>a)(?:b|(?P<r>c))(?P=r)", "at position 22"),
        (r"(a)?(?(1)b|c)", "a conditional on a group at position 4"),
        (
            "(a|b)" * 20 + "".join(rf"\{n}(?:)" for n in range(1, 21)),
            "more than 500,000 steps to write them out",
        ),
    ],
)
def test_back_reference_that_is_not_regular_or_not_sure_is_refused(pattern: str, message: str) -> None:
    for make in (match_automaton, lp.regex, lambda pattern: lp.lark(f"start: A\nA: /{pattern}x/")):
        with pytest.raises(ConstraintError, match=message):
            make(pattern)


def test_group_in_look_around_that_is_referred_to_from_outside_is_refused() -> None:
    for pattern in (r"(?=(a|b))\1", r"(?!(a|b))b\1", r"a(?<=(a|b))\1"):
        with pytest.raises(ConstraintError, match="or in look-around that the back-reference is not in"):
            match_automaton(pattern)


def test_octal_escapes_and_numbers_of_two_digits_are_what_re_takes_them_for() -> None:
    many = "".join(f"(a{n})" for n in range(10, 22))
    for pattern, text in (
        (many + r"\12", "".join(f"a{n}" for n in range(10, 22)) + "a21"),
        (many + r"\11[1]", "".join(f"a{n}" for n in range(10, 22)) + "a201"),
        (r"(a)\1012", "aA2"),
        (r"(a)[\1]\1", "a\x01a"),
        (r"(?x)(a) \1 0", "aa0"),
    ):
        assert re.fullmatch(pattern, text)
        assert match_automaton(pattern).find(text.encode()) == len(text)
        assert match_automaton(pattern).find(text[:-1].encode()) is None


LANGUAGES = (r"(a|b)\1", r"([ab]?)b\1", r"(?:(a|bb)a?\1)*", r"(?i:(a)b\1)", r"((a)|b)\1", r"(a|ab)(b|)\2\1")


@pytest.mark.parametrize("pattern", LANGUAGES)
def test_regex_takes_exactly_what_re_takes(pattern: str) -> None:
    constraint = lp.regex(pattern)
    taken = [text for text in TEXTS if re.fullmatch(pattern, text)]
    assert [text for text in TEXTS if accepted(constraint, text)] == taken
    viable = {text[:size] for text in taken for size in range(len(text) + 1)}
    for text in TEXTS[: len(TEXTS) // 8]:  # short enough for their completions
        state = constraint.advance(constraint.initial(), text.encode())
        assert (state is not None) == (text in viable), text


SYMBOLS = ("A", "B", "C", '"a"', '"b"', '"ab"', "x", "y")
TERMINALS = (
    *("/(?P<Q>a|b)(?P=Q)/", "/(?P<Q>a|b).*?(?P=Q)/", "/(?P<Q>a|b).*(?P=Q)/", "/(?P<Q>a|aa)b(?P=Q)/"),
    *("/(?P<Q>b?)a(?P=Q)/", "/(?P<Q>a|b)(?:(?!(?P=Q)).)*(?P=Q)/", "/(?P<Q>a|b)(?P=Q)?b/"),
    *("/(?P<Q>a)(?i:(?P=Q))/", "/(?:(?P<Q>a|b)(?P=Q))+/", r"/(?P<Q>a|b)\B(?P=Q)/", "/(?P<Q>a|b)(?P=Q)/i"),
    *("/a+/", "/[ab]/", "/b(?!a)/", "/ab?/"),
)
IGNORED = ("", '" "', "/ +/", "/(?P<Q> |b)(?P=Q)/", "A")


def random_grammar(rng: random.Random) -> str:
    """Gives a grammar of terminals with back-references, and others that overlap with those."""
    lines = []
    for name in ("start", "x", "y"):
        sides = {" ".join(rng.choices(SYMBOLS, k=rng.choice((0, 1, 1, 2, 2, 3)))) for _ in range(3)}
        lines.append(f"{name}: " + " | ".join(sorted(sides)))
    lines += [f"{name}: {rng.choice(TERMINALS).replace('Q', f'in_{name}')}" for name in "ABC"]
    if ignored := rng.choice(IGNORED):
        lines.append(f"%ignore {ignored.replace('Q', 'ignored')}")
    return "\n".join(lines)


def compare_grammars(mode: tuple[str, str], seed: int, num: int) -> Counter[str]:
    """Compares random grammars with Lark on all short strings, and counts what it finds."""
    rng = random.Random(f"{mode} {seed}")
    strings = ["".join(p) for n in range(6) for p in itertools.product("ab ", repeat=n)]
    found: Counter[str] = Counter()
    while found["compared"] < num:
        grammar = random_grammar(rng)
        try:
            parser = loaded(grammar, *mode)
            expected = {text: parses(parser, text) for text in strings}
        except lark_package.exceptions.LarkError:
            continue
        try:
            constraint = lp.lark(grammar, parser=mode[0], lexer=mode[1])
            constraint.initial()
        except ConstraintError as error:
            said = re.search(
                "LR\\(k\\) for no k|'dynamic_complete' cannot|No string is in the language", str(error)
            )
            found["refused"] += 1
            found["wrong"] += said is None or (said[0].startswith("No") and any(expected.values()))
            continue
        found["compared"] += 1
        found["refers"] += "(?P=" in grammar
        found.update(compared(constraint, expected, b"abAB ", 5_000))
    return found


@pytest.mark.parametrize("mode", MODES, ids="-".join)
def test_random_grammar_agrees_with_lark_on_every_string(mode: tuple[str, str]) -> None:
    found = compare_grammars(mode, seed=0, num=15)
    assert found["accepted"] > 100
    assert found["refers"] > 10
    assert not found["wrong"] + found["dead too early"] + found["not exact"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES, ids="-".join)
def test_many_random_grammars_agree_with_lark_on_every_string(mode: tuple[str, str]) -> None:
    found = compare_grammars(mode, seed=1, num=500)
    assert found["accepted"] > 1_000
    assert not found["wrong"] + found["dead too early"] + found["not exact"]


LEXERS = MODES[:3]
STRINGS = r"""
start: (STRING | NAME | ",")*
STRING: /(?P<quote>\"{3}|'{3}|\"|')(?s:\\.|[^\\])*?(?P=quote)/
NAME: /\w+/
%ignore " "
"""


@pytest.mark.parametrize("mode", MODES, ids="-".join)
def test_strings_that_end_as_they_begin_agree_with_lark(mode: tuple[str, str]) -> None:
    parser, constraint = loaded(STRINGS, *mode), lp.lark(STRINGS, parser=mode[0], lexer=mode[1])
    rng = random.Random(0)
    found: Counter[bool | None] = Counter()
    for _ in range(600):
        text = "".join(
            rng.choices(('"', "'", '"' * 3, "'" * 3, "a", "é", "\\", " ", ","), k=rng.randint(1, 8))
        )
        expected = parses(parser, text)
        assert accepted(constraint, text) == expected, text
        found[expected] += 1
    assert min(found[True], found[False]) > 50
    check_constraint(constraint, ['a \'b"c\', """d"e"""', '"', "'a\\''"])


def test_package_regex_is_not_asked_for_it_misses_matches() -> None:
    pattern, text = r"(?P<g>ab|a)(?:(?:b)+)*(ab|a).(?P=g)", "abbbaaa"
    assert re.match(pattern, text)
    assert regex.match(pattern, text) is None
    for mode in MODES:
        with pytest.raises(
            ConstraintError, match="a back-reference at position 29, with which the package `regex`"
        ):
            lp.lark(f"start: A\nA: /{pattern}/", parser=mode[0], lexer=mode[1], regex=True)


@pytest.mark.parametrize("mode", LEXERS, ids="-".join)
def test_group_that_lark_takes_for_another_one_is_refused(mode: tuple[str, str]) -> None:
    """Lark itself makes a parser of these, which fails on every text."""
    for grammar, text, message in (
        ("start: S\nS: /(a|b)\\1/", "aa", "Terminal S .* by number at position 5.*Give the group a name"),
        ("start: S | T\nS: /(?P<q>a)/\nT: /b(?P<q>c)/", "bc", "'q', and so has terminal"),
        ("start: S | T\nS: /(?P<T>a)(?P=T)/\nT: /b/", "aa", "a terminal is called 'T'"),
        ("start: S\nS: /(?P<S>a)(?P=S)/", "aa", "a terminal is called 'S'"),
    ):
        parser = loaded(grammar, *mode)
        with pytest.raises(re.error, match="open group|redefinition"):
            parser.parse(text)
        with pytest.raises(ConstraintError, match=message):
            lp.lark(grammar, parser=mode[0], lexer=mode[1])
        assert accepted(lp.lark(grammar), text)
    with pytest.raises(ConstraintError, match="'q', and so has terminal"):  # `regex` names the wrong terminal
        lp.lark("start: S | T\nS: /(?P<q>a)/\nT: /b(?P<q>c)/", parser=mode[0], lexer=mode[1], regex=True)


def test_groups_of_one_name_that_never_stand_in_one_place_are_taken() -> None:
    grammar = 'start: S ";" T\nS: /(?P<q>a|b)(?P=q)/\nT: /c(?P<q>a|b)(?P=q)/'
    parser, constraint = loaded(grammar, *MODES[0]), lp.lark(grammar, parser="lalr")
    for text in ("aa;cbb", "bb;caa"):
        assert accepted(constraint, text)
        assert parses(parser, text)
    for text in ("aa;cab", "ab;caa"):
        assert not accepted(constraint, text)
        with pytest.raises(re.error):  # where Lark wants to say what else it would have been
            parser.parse(text)
    with pytest.raises(ConstraintError, match="so has terminal"):
        lp.lark(grammar, parser="lalr", lexer="basic")
