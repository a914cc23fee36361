"""`lp.regex` against Python's `re`: the same language, viable exactly where a completion exists."""

from __future__ import annotations

import csv
import inspect
import itertools
import random
import re
import warnings
from pathlib import Path

import pytest
import regex as regex_package
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from viable_prefixes import accepted

from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.character_sets import case_variants, matched_by
from lmppl.constraints.regular.regular_expression import compiled, regex
from lmppl.errors import ConstraintError, InvalidTypeError

ATOMS = (
    *("a", "b", "A", "é", " ", r"\n", ".", "[ab]", "[^a]", r"\w", r"\W", r"\s", r"[^\n]", "(?i:A)", "(?s:.)"),
    *("^", "$", r"\A", r"\Z", r"\b", r"\B", "(?m:^)", "(?m:$)", r"(?a:\b)", r"(?a:\w)", r"(?a:\B)", ""),
)
QUANTIFIERS = ("*", "+", "?", "{2}", "{1,2}", "{,2}", "{1,}", "*?", "+?", "??", "{0}")
STRINGS = ["".join(s) for n in range(4) for s in itertools.product("abA\né ", repeat=n)]


def patterns(atoms: tuple[str, ...]) -> st.SearchStrategy[str]:
    """Draws patterns of `re` out of atoms."""
    return st.recursive(
        st.sampled_from(atoms),
        lambda inner: st.one_of(
            st.tuples(inner, inner).map("".join),
            st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
            st.tuples(inner, st.sampled_from(QUANTIFIERS)).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
        ),
        max_leaves=8,
    )


def matches(machine: ByteAutomaton, text: str) -> bool:
    state = machine.advance(machine.start, text.encode())
    return state is not None and machine.accepts(state)


@settings(max_examples=60)
@given(patterns(ATOMS))
def test_language_is_that_of_fullmatch(pattern: str) -> None:
    machine = compiled(pattern)
    matcher = re.compile(pattern)
    for text in STRINGS:
        assert matches(machine, text) == bool(matcher.fullmatch(text)), text


@settings(max_examples=60)
@given(patterns(("a", "b", "[ab]", "", "$", r"\b", "^")))
def test_prefix_is_viable_exactly_when_some_completion_matches(pattern: str) -> None:
    machine = compiled(pattern)
    assume(machine.num_states <= 6)  # so that a completion of at most 5 letters exists, or none
    matcher = re.compile(pattern)
    completions = ["".join(s) for n in range(6) for s in itertools.product("ab", repeat=n)]
    for size in range(4):
        for letters in itertools.product("ab", repeat=size):
            prefix = "".join(letters)
            viable = machine.advance(machine.start, prefix.encode()) is not None and not machine.is_empty
            assert viable == any(matcher.fullmatch(prefix + rest) for rest in completions), prefix


def all_strings(machine: ByteAutomaton) -> set[bytes]:
    """Gives the whole of a finite language."""
    found = set()
    todo = [(machine.start, b"")]
    while todo:
        state, data = todo.pop()
        if machine.accepting[state]:
            found.add(data)
        row = machine.transitions[state]
        todo.extend((int(row[byte]), data + bytes((byte,))) for byte in (row >= 0).nonzero()[0].tolist())
    return found


@pytest.mark.parametrize(
    "pattern",
    [
        r"\d",
        r"\s",
        "(?i:[k-s])",
        "(?i:ß)",
        "(?i)i",
        "(?i:[^\\W\x00-\\x7f])",
        "(?i)K",
        "(?a)\\w",
        "[\\ud000-\\ue100]",
    ],
)
def test_one_character_means_what_it_means_in_re(pattern: str) -> None:
    """Over all 1,112,064 characters; the bytes that may begin one follow, as no state is without a future."""
    every = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x110000))))
    assert all_strings(compiled(pattern)) == {c.encode() for c in re.findall(pattern, every)}


def test_class_of_characters_is_that_of_re_for_every_character() -> None:
    every = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x110000))))
    rng = random.Random(0)
    sources = [r"[\ud900-\U00010010]", r"[^\N{LATIN SMALL LETTER LONG S}k]", "[à-ü]", r"[\u0100-\U0010ffff]"]
    for _ in range(20):
        parts = [r"\w", r"\W", r"\d", r"\S"]
        for most in (0x300, 0x3000, 0x110000):
            low, high = sorted(rng.choices(range(most), k=2))
            parts += [rf"\U{low:08x}-\U{high:08x}", rf"\U{low:08x}"]
        sources.append(f"[{rng.choice(('', '^'))}{''.join(rng.choices(parts, k=3))}]")
    for source, flags in itertools.product(sources, (0, re.I, re.A | re.I)):
        spans = tuple(match.span() for match in re.finditer(f"(?:{source})+", every, flags))
        assert matched_by(source, int(flags)) == spans, (source, flags)


def test_variants_of_a_letter_are_those_of_re_for_every_cased_letter() -> None:
    every = [chr(c) for c in range(0x20000) if not 0xD800 <= c < 0xE000]
    cased = [c for c in every if c.lower() != c or c.upper() != c]
    for character in [*cased[::23], *"iIkKsSµſßẞΩ\u0130\u0131\u0345\ufb05", "1", "漢"]:
        assert case_variants(character, re.I) == matched_by(re.escape(character), re.I), character


@pytest.mark.parametrize("text", ["é", "漢字", "🙂", "aé漢🙂"])
def test_characters_may_be_split_anywhere(text: str) -> None:
    constraint = regex(r"[^x]+")
    data = text.encode()
    for cut in range(len(data) + 1):
        state = constraint.advance(constraint.initial(), data[:cut])
        assert state is not None
        assert constraint.accepts(state) == (cut > 0 and data[:cut].decode(errors="replace") in text)
        assert constraint.advance(state, data[cut:]) == constraint.advance(constraint.initial(), data)


@pytest.mark.parametrize(
    "data", [b"\x80", b"\xff", b"\xc0\x80", b"\xe0\x80", b"\xed\xa0\x80", b"\xf4\x90", b"\xf8"]
)
def test_bytes_that_are_no_utf8_are_refused(data: bytes) -> None:
    constraint = regex("(?s:.)*")
    assert constraint.advance(constraint.initial(), data) is None


@pytest.mark.parametrize(
    ("pattern", "feature", "position"),
    [
        (r"(a+)\1", "back-reference", 4),
        (r"(?P<x>a)?(?P=x)", "back-reference", 9),
        (r"ab(?=c)", "look-ahead", 2),
        (r"(?!c)", "negative look-ahead", 0),
        (r"(?<=c)a", "look-behind", 0),
        (r"(?<!c)a", "negative look-behind", 0),
        (r"(a)(?(1)b|c)", "conditional on a group", 3),
        (r"(?>ab)", "atomic group", 0),
        (r"ab*+", "possessive quantifier", 2),
        (r"a{1,2}+", "possessive quantifier", 1),
    ],
)
def test_what_is_not_regular_is_refused_by_name_and_position(
    pattern: str, feature: str, position: int
) -> None:
    with pytest.raises(ConstraintError, match=rf"{feature} at position {position}\b"):
        regex(pattern)


@pytest.mark.parametrize(
    "pattern", ["(", "a**", "[b-a]", r"\q", "a{3,2}", "x{99999999999}", "(?P<a>x)(?P<a>y)"]
)
def test_what_re_refuses_is_refused_with_its_reason(pattern: str) -> None:
    with pytest.raises(ConstraintError, match=r"is no regular expression|too large"):
        regex(pattern)


@pytest.mark.parametrize("pattern", ["(?t)a", "(?t)(?:a|b)"])
def test_a_flag_without_meaning_is_read_as_this_python_reads_it(pattern: str) -> None:
    try:
        re.compile(pattern)  # until Python 3.12
    except re.error:
        with pytest.raises(ConstraintError, match="is no regular expression"):
            regex(pattern)
    else:
        assert regex(pattern) == regex(pattern.removeprefix("(?t)"))


@pytest.mark.parametrize("pattern", [r"[^\s\S]", r"a\bb", "b^", r"\d\Z\d", r"\ud800"])
def test_pattern_that_matches_nothing_is_refused_at_once(pattern: str) -> None:
    with pytest.raises(ConstraintError, match="matches no string"):
        regex(pattern)


@pytest.mark.parametrize(
    "pattern", ["[a-z]{1,100000}", r"(a|b)*a(a|b){40}\b", "(.{0,99}){0,999}", "((a?){99}){99}"]
)
def test_pattern_that_is_too_large_names_the_largest_repetition(pattern: str) -> None:
    with pytest.raises(ConstraintError, match=r"repetition \{[0-9,]+\} at position \d+"):
        regex(pattern)


@pytest.mark.parametrize("pattern", ["(" * 10_000 + ")" * 10_000, "(?:a|" * 3_000 + ")" * 3_000])
def test_pattern_that_is_nested_too_deeply_is_refused(pattern: str) -> None:
    with pytest.raises(ConstraintError, match="nested too deeply"):
        regex(pattern)


@pytest.mark.parametrize("pattern", ["(x+x+)+y", "(a*)*b", "(?:a|a|a)*c", "(?:a?){50}a{50}"])
def test_patterns_on_which_backtracking_explodes_are_small_automata(pattern: str) -> None:
    machine = regex(pattern).automaton()
    assert machine is not None
    assert machine.num_states <= 102


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("(?x) a b # comment\n [ ] c", "ab c", "a b c"),
        ("(?x)a {2}", "aa", "a"),
        ("a{,}", "aaa", "b"),
        ("a{}", "a{}", "a"),
        ("a{x", "a{x", "a"),
        (r"\0\07\101\x41\u00e9\U0001F642\N{DIGIT ONE}", "\0\7AAé🙂1", "x"),
        (r"[]a]+", "]a", "b"),
        (r"[^]a]", "b", "]"),
        (r"[\]\-^]+", "]-^", "a"),
        ("(?P<year>19|20)(?#here)x", "19x", "1x"),
        ("(?i:a(?-i:b))c", "Abc", "ABc"),
        ("a$\n", "a\n", "a"),
        ("", "", "a"),
    ],
)
def test_syntax_is_that_of_re(pattern: str, yes: str, no: str) -> None:
    machine = compiled(pattern)
    assert matches(machine, yes)
    assert re.fullmatch(pattern, yes)
    assert not matches(machine, no)
    assert not re.fullmatch(pattern, no)


def test_equal_languages_are_equal_constraints() -> None:
    assert regex("a|b|c") == regex("[a-c]")
    assert hash(regex("(?:ab)*")) == hash(regex("(?:(?:ab)*)*"))
    assert regex("a") is regex("a")
    assert repr(regex("[a-z]+")) == "regex('[a-z]+')"


def test_pattern_of_another_type_is_refused() -> None:
    with pytest.raises(InvalidTypeError, match="A pattern is a str"):
        inspect.unwrap(regex)(None)  # past the type checks that tests run under
    with pytest.raises(InvalidTypeError, match="UTF-8: decode it"):
        inspect.unwrap(regex)(b"a")
    with pytest.raises(InvalidTypeError, match="UTF-8: decode it"):
        inspect.unwrap(regex)(re.compile(b"a"))
    with pytest.raises(InvalidTypeError, match=r"package `regex` are for lp\.pattern"):
        inspect.unwrap(regex)(regex_package.compile("a"))


@pytest.mark.parametrize("letters", ["", "i", "a", "ia", "s", "m", "x", "isx", "u"])
@pytest.mark.parametrize("pattern", ["a k.B", r"\w+\.", "^[^ab]$", "(?-i:a)K", "(?i)ab", "é+ #\n"])
def test_a_compiled_pattern_keeps_its_flags(pattern: str, letters: str) -> None:
    flags = sum(getattr(re, letter.upper()) for letter in letters)
    compiled_pattern = re.compile(pattern, flags)
    constraint = regex(compiled_pattern)
    letters = "aAkK\u212a Bbé.\n"
    for text in ["".join(s) for n in range(5) for s in itertools.product(letters, repeat=n)]:
        expected = compiled_pattern.fullmatch(text) is not None
        assert accepted(constraint, text) == expected, text
    assert regex(re.compile(pattern)) == regex(pattern)


def test_a_compiled_pattern_that_is_too_large_keeps_its_flags() -> None:
    small, large = regex(r"\w{1,200}x"), regex(re.compile(r"\w{1,200}x", re.I))
    assert small != large
    assert not accepted(small, "aX")
    assert accepted(large, "aX")
    assert repr(large) == "regex(re.compile('\\\\w{1,200}x', re.IGNORECASE))"


def test_patterns_from_the_wild_are_exact_or_refused_with_a_reason(test_data: Path) -> None:
    with (test_data / "patterns" / "patterns.csv").open(newline="", encoding="utf-8") as file:
        found = [row[0] for row in csv.reader(file)][1:]
    texts = [
        "",
        "abc",
        "aaa",
        "2024-01-31",
        "foo@bar.com",
        "12:30",
        "a1_B",
        "\n",
        "192.168.0.1",
        "$5.00",
        "é",
    ]
    num_compiled = 0
    reasons = []
    for pattern in found:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `re` warns of "[[" and the like
            try:
                machine = compiled(pattern)
            except ConstraintError as error:
                reasons.append(str(error))
                continue
            matcher = re.compile(pattern)
        num_compiled += 1
        for text in {*texts, *(pattern[:i] for i in range(0, len(pattern), 5))}:
            assert matches(machine, text) == bool(matcher.fullmatch(text)), (pattern, text)
    assert num_compiled >= 30
    assert all(re.search(r"at position \d+|too large|states|look-behind", reason) for reason in reasons)
