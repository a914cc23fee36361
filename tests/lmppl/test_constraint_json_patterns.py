"""Look-around, classes and properties in patterns mean what they mean to `re` and `unicodedata`."""

from __future__ import annotations

import itertools
import json
import random
import re
import unicodedata

import numpy as np
import pytest

import lmppl as lp
from lmppl.constraints.json_values.ecma_patterns import containing
from lmppl.constraints.json_values.object_shapes import contains
from lmppl.constraints.regular import look_around
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.character_sets import NUM_CHARACTERS, Partition, every_character, matched_by
from lmppl.constraints.regular.regular_expression import compiled
from lmppl.constraints.regular.utf8_encoding import byte_automaton
from lmppl.errors import ConstraintError, UnsupportedSchema

STRINGS = ["".join(s) for n in range(5) for s in itertools.product("abc\n", repeat=n)]


def drawn(draw: random.Random, depth: int) -> str:
    """Gives a pattern with look-around here and there."""
    kind = draw.random()
    if depth == 0 or kind < 0.3:
        return draw.choice(["a", "b", ".", "[ab]", "[^a]", "$", r"\Z", "^", r"\b", r"\n"])
    inner = drawn(draw, depth - 1)
    if kind < 0.5:
        return inner + drawn(draw, depth - 1)
    if kind < 0.6:
        return f"(?:{inner}|{drawn(draw, depth - 1)})"
    if kind < 0.75:
        return f"(?:{inner}){draw.choice(['*', '+', '?', '{2}'])}"
    return f"({draw.choice(['?=', '?!', '?<=', '?<!'])}{inner})"


def accepted(machine: ByteAutomaton, text: str) -> bool:
    state = machine.advance(machine.start, text.encode())
    return state is not None and machine.accepts(state)


def judged(patterns: int) -> tuple[int, int]:
    """Gives how many of some patterns with look-around differ from `re`, and how many were judged."""
    draw = random.Random(3)
    wrong = tried = 0
    while tried < patterns:
        pattern = drawn(draw, 4)
        if not re.search(r"\(\?<?[=!]", pattern):
            continue
        try:
            expected = re.compile(pattern)
            machine = compiled(f"(?s:.*)(?:{pattern})(?s:.*)", 0, True)
        except (re.error, ConstraintError):
            continue
        tried += 1
        wrong += any(accepted(machine, text) != bool(expected.search(text)) for text in STRINGS)
    return wrong, tried


def test_look_around_finds_what_re_finds() -> None:
    assert judged(80) == (0, 80)


@pytest.mark.slow
def test_look_around_of_many_patterns_finds_what_re_finds() -> None:
    assert judged(2_000) == (0, 2_000)


def test_a_look_ahead_forgotten_at_the_end_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_around.LookArounds, "may_end", lambda self, pending: True)
    compiled.cache_clear()
    try:
        assert judged(80)[0] > 4
    finally:
        compiled.cache_clear()


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"a(?=\bb)", "word edge"),
        (r"(?<=^a)b", "assertion"),
        (r"(?<!(?=a)b)c", "assertion"),
        (r"x(?!(?<=x)y)", "look-behind"),
    ],
)
def test_look_around_that_looks_the_other_way_is_refused_by_name(pattern: str, reason: str) -> None:
    with pytest.raises(ConstraintError, match=reason):
        containing(pattern)


LITERALS = ["a", "z", "0", " ", "é", r"\n", r"\x41", r"\ud7ff", r"\ue000", r"\U0010ffff", r"\]", r"\-", "."]
LITERALS += [r"\.", "\U0001f600", r"\udfff", r"\\", "{"]


def test_classes_that_are_read_as_they_stand_hold_what_re_matches() -> None:
    draw = random.Random(0)
    tried = 0
    for _ in range(40):
        parts = []
        for _ in range(draw.randint(1, 4)):
            one, other = draw.sample(LITERALS, 2)
            parts.append(draw.choice([one, f"{one}-{other}", draw.choice([r"\d", r"\D", r"\w", r"\S"])]))
        edges = draw.choice(["", "-"]), draw.choice(["", "-"])
        source = f"[{draw.choice(['', '^'])}{edges[0]}{''.join(parts)}{edges[1]}]"
        flags = draw.choice([0, re.ASCII])
        try:
            expected = tuple(m.span() for m in re.finditer(f"{source}+", every_character(), flags))
        except re.error:  # a range from a later character to an earlier one
            continue
        tried += 1
        assert matched_by(source, flags) == expected, (source, flags)
    assert tried > 15


@pytest.mark.parametrize(
    "sets",
    [(), ("[a-z]",), (r"\w", "[^é]"), (r"[\ud700-\ue001]", r"[\U0001f600-\U0010ffff]", r"[\u0700-\u0802]")],
)
def test_every_character_has_its_bytes_and_nothing_else_does(sets: tuple[str, ...]) -> None:
    """One state for each class, over all code points; what is no character is no text."""
    partition = Partition.of([matched_by(each, 0) for each in sets])
    lengths = np.diff((*partition.starts, NUM_CHARACTERS))
    classes = np.repeat(partition.classes, lengths)
    every = every_character()
    for chosen in range(partition.num_classes):
        table = np.full((2, partition.num_classes), -1, np.int32)
        table[0, chosen] = 1
        machine = byte_automaton(partition, table, np.array([False, True]))
        inside = [every[i] for i in np.flatnonzero(classes == chosen)[:: 1 + len(every) // 20_000]]
        outside = [every[i] for i in np.flatnonzero(classes != chosen)[:: 1 + len(every) // 20_000]]
        assert all(accepted(machine, character) for character in inside)
        assert not any(accepted(machine, character) for character in outside)
        for wrong in (
            b"\xed\xa0\x80",
            b"\xc1\xbf",
            b"\xe0\x9f\xbf",
            b"\xf0\x8f\xbf\xbf",
            b"\xf4\x90\x80\x80",
        ):
            assert machine.advance(machine.start, wrong) is None


@pytest.mark.parametrize(
    ("name", "categories"),
    [("Lu", {"Lu"}), ("Cc", {"Cc"}), ("Nd", {"Nd"}), ("Zs", {"Zs"}), ("Sc", {"Sc"}), ("gc=Punctuation", "P")],
)
def test_general_categories_are_those_of_unicode(name: str, categories: set[str] | str) -> None:
    """Below U+0500, where characters are not renamed by new versions of Unicode."""
    machine = containing(rf"^\p{{{name}}}$")
    for character in map(chr, range(0x500)):
        category = unicodedata.category(character)
        expected = category in categories if isinstance(categories, set) else category[0] in categories
        assert contains(machine, character) == expected, character


@pytest.mark.parametrize("text", ["", "a", "a b", "PowerShell@2", "x-y/z:1,2", "a='<\"&%#!~;>'"])
def test_a_pattern_of_one_text_is_that_text(text: str) -> None:
    pattern = f"^{text}$"
    constraint = lp.json({"type": "string", "pattern": pattern}, whitespace="compact")
    others = lp.json({"type": "string", "not": {"pattern": pattern}}, whitespace="compact")
    for other in (text, text + "a", text[:-1], "a", "b", text + "\n", text.upper(), ""):
        matches = contains(containing(pattern), other)
        assert matches == (other == text)
        for each, expected in ((constraint, matches), (others, not matches)):
            data = json.dumps(other).encode()
            state = each.advance(each.initial(), data)
            assert (state is not None and each.accepts(state)) == expected


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(a", "a group without end, at position 0"),
        ("a)", "a '\\)' that ends no group, at position 1"),
        ("a)|(b", "a '\\)' that ends no group, at position 1"),  # balanced inside other parentheses
        (r"[\w-.]", "a range between classes"),
        (r"[\s-\uffff]", "a range between classes"),  # a range from the last character of \s otherwise
        (r"[a-\d]", "a range between classes"),
        ("[z-a]", r"'\[z-a\]' is no regular expression: bad character range z-a at position 0\. Change"),
        ("a|*", r"'a\|\*' is no regular expression: nothing to repeat at position 2\. Change"),
    ],
)
def test_what_is_no_pattern_of_javascript_is_refused_in_its_own_words(pattern: str, reason: str) -> None:
    with pytest.raises(UnsupportedSchema, match=reason):
        lp.json({"pattern": pattern})


@pytest.mark.parametrize(
    "pattern", ["[a-c-e]", "[-a]", "[a-]", "[--/]", r"[+-\-]", r"[\x2b-\x2d]", r"[\d-]", r"[\t-\n]"]
)
def test_hyphens_in_classes_mean_what_they_mean_to_re(pattern: str) -> None:
    machine, expected = containing(f"^{pattern}$"), re.compile(pattern)
    for character in map(chr, range(128)):
        assert contains(machine, character) == bool(expected.fullmatch(character)), character
