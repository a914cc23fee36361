"""Input that is made to hurt ends in an answer or a clear error, in bounded time and memory."""

from __future__ import annotations

import itertools
import json
import random
import re
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lark import Lark
from viable_prefixes import accepted

import lmppl as lp
from lmppl.constraints.combined import repetition
from lmppl.constraints.grammars import (
    earley_exactness,
    numbered_rules,
    sure_completions,
    template_uses,
    token_neighbours,
)
from lmppl.constraints.protocol import Constraint
from lmppl.constraints.regular import automaton_operations
from lmppl.errors import ConstraintError

pytestmark = pytest.mark.once

MAX_SECONDS = 30.0  # of this process's time; the slowest take some 5 s
MAX_MEGABYTES = 2_000  # of address space, Python and NumPy included

IDEOGRAPHS = [chr(0x4E00 + i) for i in range(20_000)]
MANY_CLASSES = "".join(f"[{first}-{chr(ord(first) + 64)}]" for first in IDEOGRAPHS[:5_000])
WORDS = [f"option {i}" for i in range(100_000)]  # 1.2 MB
NUMBERS = [format(i * 2_654_435_761 % 2**32, "08x") for i in range(100_000)]  # 0.8 MB with little in common


@contextmanager
def within_seconds() -> Iterator[None]:
    started = time.process_time()
    yield
    assert time.process_time() - started < MAX_SECONDS


@pytest.fixture(autouse=True)
def each_within_seconds(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("slow"):  # of many inputs, timed one by one
        yield
        return
    with within_seconds():
        yield


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a{1,100000}", r"repetition \{1,100000\} at position 1"),
        ("((a{100}){100}){100}", r"repetition \{100\} at position 15"),
        ("((a{0}){100000}){100000}", r"repetition \{100000\} at position 16"),
        (r"\b(a|b)*a(a|b){16}", r"repetition \{16\} at position 14"),
        ("(?:" * 40 + "a" + "){2}" * 40, r"repetition \{2\} at position 278"),
        ("(?:" * 12 + "a?b?" + "){0,2}" * 12, r"repetition \{0,2\}"),
        ("(" * 10_000 + ")" * 10_000, "nested too deeply"),
        ("a" * 199_000, "has 199,000 characters"),
        ("a" * 5_000_000, "5,000,000 characters; at most 200,000"),
        ("|".join(WORDS), "at most 200,000 are read. Give a long list of strings to lp.choices"),
        ("".join(IDEOGRAPHS), "has 20,000 characters"),
        (MANY_CLASSES, "more than 300 different classes of characters, that at position 1500"),
        ("[\ud800-\udfff]", "matches no string"),
    ],
    ids=lambda value: value[:20].encode("ascii", "replace").decode(),
)
def test_large_patterns_are_refused_by_what_is_large(pattern: str, message: str) -> None:
    with pytest.raises(ConstraintError, match=message):
        lp.regex(pattern)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("a{20000}", "a" * 20_000, "a" * 19_999),
        (r"\w{1000}", "é" * 1_000, "é" * 999),
        ("(a|b)*a(a|b){40}", "ba" + "b" * 40, "bb" + "a" * 40),
        ("(x+x+)+y", "x" * 5_000 + "y", "x" * 5_000),
        ("(?:a?){100}a{100}", "a" * 200, "a" * 201),
        ("(){60000}", "", "a"),
        ("(?:" * 80 + "a" + ")*" * 80, "a" * 500, "b"),
        ("|".join(IDEOGRAPHS), "一", "一一"),
        ("".join(IDEOGRAPHS[:3_000]), "".join(IDEOGRAPHS[:3_000]), "一"),
        (r"(?i)\w{1,50}", "É" * 50, "É" * 51),
        (r"(\b\w+\b\W*){20}", "é " * 20, "é " * 19),
        ("(?x)" + " " * 100_000 + "a", "a", " a"),
        ("a\0[\0-\2]*", "a\0\0\1", "a"),
    ],
    ids=lambda value: value[:20].encode("ascii", "replace").decode(),
)
def test_patterns_that_hurt_other_engines_are_exact(pattern: str, yes: str, no: str) -> None:
    constraint = lp.regex(pattern)
    assert accepted(constraint, yes.encode())
    assert not accepted(constraint, no.encode())


@pytest.mark.parametrize(
    "data", [b"\xff", b"\x80", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\xc3a"]
)
@pytest.mark.parametrize(
    "constraint",
    [
        lp.regex("(?s:.)*"),
        lp.length(0, 9),
        lp.length(0, 10**9),
        lp.words(lambda words: True, name="any"),
        lp.check("any", prefix=lambda text: True),
        ~lp.regex("a"),
        "a" + lp.length(0, 10**9) | lp.length(0, 10**9),
    ],
    ids=repr,
)
def test_bytes_that_are_no_utf8_are_refused_by_all(constraint: Constraint, data: bytes) -> None:
    assert constraint.advance(constraint.initial(), data) is None


def test_nul_bytes_are_characters_like_others() -> None:
    words = lp.words(lambda words: words[-1] == "\0", name="nul")
    for constraint in (lp.regex("\0+"), lp.choices(["\0", "a\0"]), lp.length(1, 2), words, "" + lp.length(1)):
        assert accepted(constraint, b"\0")
    assert accepted(~lp.choices(["a"]), b"a\0")


def test_large_lists_are_answered_or_refused() -> None:
    few_states = lp.choices(WORDS)
    assert accepted(few_states, b"option 99999")
    assert not accepted(few_states, b"option 100000")
    assert repr(few_states) == "choices(['option 0', 'option 1', 'option 2', 'option 3', ...])"
    with pytest.raises(
        ConstraintError, match=r"the longest, '0{8}'\.\.\., has 8 bytes|more than 50,000 states"
    ):
        lp.choices(NUMBERS)
    with pytest.raises(ConstraintError, match=r"the longest, 'x{20}'\.\.\., has 5,000,000 bytes"):
        lp.choices(["x" * 5_000_000])
    with pytest.raises(ConstraintError, match="needs more than 50,000 states"):
        repr("x" * 5_000_000 + lp.regex("a"))


def test_large_counts_are_answered() -> None:
    for constraint in (
        lp.length(0, 10**30),
        lp.regex("[ab]").repeat(3, 10**9),
        lp.regex("a?b?").repeat(10**9),
    ):
        state = constraint.advance(constraint.initial(), b"ab" * 100)
        assert state is not None
        assert constraint.accepts(state)
    most = lp.regex("a").repeat(0, 10**9)
    assert most.advance(most.initial(), b"b") is None


def test_items_that_may_end_anywhere_are_repeated_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    item = lp.words(lambda words: len(words) < 50, name="few")
    text = (b"the cat sat on a mat. " * 20)[:400]
    for least, most, size in ((0, 10**9, 400), (3, 10**9, 150), (10**9, None, 150)):
        many = item.repeat(least, most)
        state = many.advance(many.initial(), text[:size])
        assert state is not None
        assert many.accepts(state)
    monkeypatch.setattr(repetition, "MAX_WAYS", 50)
    few = item.repeat(0, 10**9)
    message = r"words\('few'\)\.repeat\(least=0, most=1000000000\) can cut a text .* more than 50 ways"
    with pytest.raises(ConstraintError, match=message):
        few.advance(few.initial(), text)
    lines = (lp.words(lambda words: True, name="any") & lp.regex("[^\n]*")) + "\n"
    assert accepted(lines.repeat(0, 10**9), text + b"\n" + text + b"\n")


def test_combinations_that_explode_keep_their_strings() -> None:
    one, other = lp.regex("[ab]*a[ab]{12}"), lp.regex("[ab]*b[ab]{13}")
    text = b"ba" + b"b" * 12
    for joined in (one & other, one | other):
        assert joined.automaton() is None
        assert accepted(joined, text)
    assert accepted(one + other, text + text)
    assert not accepted(~one, text)
    with pytest.raises(ConstraintError, match=r"needs more than 20,000 states: .* has 20,001\."):
        repr(~lp.regex("a{20000}"))
    many = reduce(lambda a, b: a | b, [lp.regex(f"{i}x*") for i in range(100)])
    assert many == lp.regex("[1-9]?[0-9]x*")


def test_a_grammar_of_many_rules_that_call_each_other_is_compiled() -> None:
    names = [f"r{i}" for i in range(1_500)]
    rules = [f'{name}: "k{i}" {names[(i + 1) % len(names)]}?' for i, name in enumerate(names)]
    constraint = lp.lark("\n".join(["start: " + " | ".join(names), *rules]))
    assert accepted(constraint, b"k1499k0k1")
    assert not accepted(constraint, b"k1k3")


def test_a_grammar_that_is_a_long_chain_of_rules_is_compiled() -> None:
    rules = [f"r{i}: r{i + 1}" for i in range(1_000)]
    constraint = lp.lark("\n".join(["start: r0", *rules, 'r1000: "(" r500? ")"']))
    assert constraint.viable_is_exact
    assert accepted(constraint, b"((()))")
    assert not accepted(constraint, b"(()")


NEVER_ENDING = 'start: t{"a"}\nt{x}: "q" t{_u{x}} | "a"\n_u{x}: x "b"'
DOUBLING = "\n".join(
    ['start: p0{"a"}', *(f"p{i}{{x}}: p{i + 1}{{q{{x,x}}}}" for i in range(40)), "p40{x}: x", "q{x,y}: x y"]
)
LISTED = "start: " + " | ".join(f'"{number}"' for number in NUMBERS[:20_000])
NAMED = "start: " + " | ".join(f"T{i}" for i in range(11_000))
NAMED += "".join(f'\nT{i}: "{number}"' for i, number in enumerate(NUMBERS[:11_000]))


@pytest.mark.parametrize("parser", ["earley", "lalr"])
@pytest.mark.parametrize(
    ("grammar", "message"),
    [
        (NEVER_ENDING, "Template 't' of the grammar, .* at most 5,000, .* arguments that grow"),
        (DOUBLING, "Template 'q' of the grammar, .* names of at most 5,000,000 characters"),
        (LISTED, "20,000 terminals, most of them strings in rule 'start'; .* Make one terminal"),
        (NAMED, r"11,000 (terminals; .* Make one terminal|alternatives .* may be one terminal)"),
    ],
    ids=["a template without end", "names that double", "a list of strings", "a list of terminals"],
)
def test_large_grammars_are_refused_by_what_is_large(grammar: str, message: str, parser: str) -> None:
    with pytest.raises(ConstraintError, match=message):
        lp.lark(grammar, parser=parser)


def template_grammar(rng: random.Random) -> str:
    """Gives a random grammar of templates that use later ones, whose every rule is used."""
    parameters = {f"t{i}": ["x", "y"][: rng.randint(1, 2)] for i in range(4)}

    def argument(first: int, known: list[str]) -> str:
        if first < 4 and rng.random() < 0.4:
            return use(first, known)
        return rng.choice([*known, *known, "A", '"b"', '"c"i', "r"])

    def use(first: int, known: list[str]) -> str:
        number = rng.randrange(first, 4)
        arguments = [argument(number + 1, known) for _ in parameters[f"t{number}"]]
        return f"t{number}{{{', '.join(arguments)}}}"

    lines = ["start: " + " ".join(use(0, []) for _ in range(3)) + " r", 'r: "r"', 'A: "a"']
    for i, (name, known) in enumerate(parameters.items()):
        sides = [f'"{name}" ' + " ".join(known)]
        sides += [f'"{name}{j}" {use(i + 1, known)}' for j in range(2) if i < 3]
        lines.append(f"{name}{{{','.join(known)}}}: " + " | ".join(sides))
    return "\n".join(lines)


def test_uses_of_templates_are_counted_as_lark_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    met = []
    original = template_uses._Uses.follow

    def follow(uses: template_uses._Uses) -> None:
        original(uses)
        met.append(len(uses._met))

    monkeypatch.setattr(template_uses._Uses, "follow", follow)
    rng = random.Random(0)
    expected = []
    for _ in range(60):
        grammar = template_grammar(rng)
        names = {str(rule.origin.name) for rule in Lark(grammar).rules}
        expected.append(sum("{" in name for name in names))
        lp.lark(grammar)
    assert met == expected
    assert max(met) > 15


def test_a_sum_of_many_literals_is_built_at_linear_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work is counted: automata that are joined."""
    calls = []
    original = automaton_operations.concatenation
    monkeypatch.setattr(
        automaton_operations, "concatenation", lambda *both: calls.append(both) or original(*both)
    )
    constraint = lp.lark('start: "a"')
    for _ in range(200):
        constraint = "c" + constraint + "b"
    assert len(calls) == 2 * 199
    assert accepted(constraint, b"c" * 200 + b"a" + b"b" * 200)
    assert not accepted(constraint, b"c" * 200 + b"a" + b"b" * 199)


@pytest.mark.parametrize("lexer", ["dynamic", "basic"])
def test_strings_that_may_follow_one_another_cost_their_number(
    lexer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work is counted: followers that are looked at, of which all strings have the same."""
    looked_at = []

    def bits(symbols: int) -> Iterator[int]:
        for symbol in numbered_rules.bits(symbols):
            looked_at.append(symbol)
            yield symbol

    for module in (earley_exactness, sure_completions, token_neighbours):
        monkeypatch.setattr(module, "bits", bits)
    words = [f"{'abc'[i % 3]}{i}x" for i in range(300)]
    listed = f"start: item+\nitem: {' | '.join(map(json.dumps, words))}\n%ignore /#.*/"
    constraint = lp.lark(listed, lexer=lexer)
    assert accepted(constraint, "".join(words).encode())
    assert 300 <= len(looked_at) < 10 * 300


def test_memory_is_bounded_too() -> None:
    """Each of these runs in one process whose address space ends at 2 GB."""
    program = textwrap.dedent(
        """
        import resource
        import lmppl as lp
        limit = MEGABYTES * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        wide = "|".join(chr(0x4e00 + i) for i in range(20_000))
        long = "".join(chr(0x4e00 + i) for i in range(3_000))
        for make in (
            lambda: lp.regex("a{49990}"), lambda: lp.regex(wide), lambda: lp.regex(long),
            lambda: lp.regex("a" * 199_000), lambda: lp.regex(r"\\\\w{1000}"),
            lambda: lp.choices(["x" * 5_000_000]), lambda: lp.length(0, 1_000) & lp.regex(r"\\\\w+ \\\\w+"),
        ):
            try:
                make()
            except lp.errors.ConstraintError:
                pass
        print("done")
        """
    ).replace("MEGABYTES", str(MAX_MEGABYTES))
    done = subprocess.run(
        [sys.executable, "-c", program.replace("\\\\\\\\", "\\\\")], capture_output=True, text=True
    )
    assert done.stdout == "done\n", done.stderr


# Against `re`: any text at all as a pattern, and all short strings.

PIECES = [
    *"aab(|)*+?^$.-[]\\\n",
    "{2}",
    "{1,2}",
    "{,1}",
    "[^a]",
    "(?:",
    "\\b",
    "\\w",
    "(?i:",
    "(?m:",
    "(?s:",
    "|",
]
LETTERS = "ab\n"
STRINGS = ["".join(letters) for size in range(5) for letters in itertools.product(LETTERS, repeat=size)]


def agrees_with_re(pattern: str, judged: Callable[[str], Constraint] = lp.regex) -> bool:
    """Compares a pattern's language and prefixes with those of `re`; False if both refuse it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `re` warns of "[[" and the like
        try:
            matcher = re.compile(pattern)
        except (re.error, OverflowError):
            with pytest.raises(ConstraintError, match="is no regular expression|too large"):
                judged(pattern)
            return False
        try:
            constraint = judged(pattern)
        except ConstraintError as error:
            if "matches no string" in str(error):
                assert not any(map(matcher.fullmatch, STRINGS))
                return True
            assert "has no automaton here" in str(error)  # noqa: PT017
            return False
    matching = set(filter(matcher.fullmatch, STRINGS))
    viable = {text[:size] for text in matching for size in range(len(text) + 1)}
    for text in STRINGS:
        state = constraint.advance(constraint.initial(), text.encode())
        assert (text in matching) == (state is not None and constraint.accepts(state)), text
        assert text not in viable or state is not None, text
    machine = constraint.automaton()
    if machine is not None and machine.num_states <= 3:  # a completion has at most two bytes
        for text in STRINGS:
            if len(text) <= 2 and not any(text + rest in matching for rest in STRINGS if len(rest) <= 2):
                state = constraint.advance(constraint.initial(), text.encode())
                assert state is None or needs_other_letters(constraint, state), text
    return True


def needs_other_letters(constraint: Constraint, state: object) -> bool:
    """Says whether all completions of at most two characters hold some that are none of ours."""
    rests = [*LETTERS, *map("".join, itertools.product(LETTERS, repeat=2)), ""]
    after = [constraint.advance(state, rest.encode()) for rest in rests]
    return not any(each is not None and constraint.accepts(each) for each in after)


@settings(max_examples=150)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_any_text_as_a_pattern_agrees_with_re(pattern: str) -> None:
    agrees_with_re(pattern)


@pytest.mark.slow
def test_many_texts_as_patterns_agree_with_re(record_property: Callable) -> None:
    num_inputs = num_compared = 0

    @settings(max_examples=20_000, database=None)
    @given(st.lists(st.sampled_from(PIECES), max_size=16).map("".join))
    def fuzz(pattern: str) -> None:
        nonlocal num_inputs, num_compared
        num_inputs += 1
        with within_seconds():
            num_compared += agrees_with_re(pattern)

    fuzz()
    record_property("inputs", num_inputs)
    record_property("compared string by string", num_compared)
    assert num_inputs >= 20_000
    assert num_compared >= 2_000


def test_the_comparison_with_re_catches_a_wrong_language() -> None:
    with pytest.raises(AssertionError):
        agrees_with_re("a?", lambda pattern: lp.regex("a"))
    with pytest.raises(AssertionError):
        agrees_with_re("a", lambda pattern: lp.length(1, 1))
