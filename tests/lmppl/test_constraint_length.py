"""`lp.length`: texts of so many characters or bytes, inside characters too."""

from __future__ import annotations

import itertools

import pytest

from lmppl.constraints.count_bounds import Bounds
from lmppl.constraints.protocol import Constraint
from lmppl.constraints.regular import text_length
from lmppl.constraints.regular.regular_expression import regex
from lmppl.constraints.regular.text_length import Length, length
from lmppl.errors import InvalidInputError, InvalidTypeError

LETTERS = [b"a", b"\xc2\xa9", b"\xe1\xa9\xa9", b"\xf1\xa9\xa9\xa9"]  # every character of these bytes
BYTES = sorted(set(b"".join(LETTERS)))
TEXTS = [b"".join(s) for n in range(5) for s in itertools.product(LETTERS, repeat=n)]
STRINGS = [bytes(s) for n in range(5) for s in itertools.product(BYTES, repeat=n)]
BOUNDS = [(0, None), (2, None), (0, 0), (0, 2), (1, 1), (2, 3), (3, 3)]


def fits(text: bytes, least: int, most: int | None, unit: str) -> bool:
    count = len(text) if unit == "bytes" else len(text.decode())
    return least <= count and (most is None or count <= most)


def both_forms(least: int, most: int | None, unit: text_length.Unit) -> list[Constraint]:
    small = length(least, most, unit)
    assert small.automaton() is not None
    return [small, Length(Bounds(least, most), unit)]


@pytest.mark.parametrize("unit", ["characters", "bytes"])
@pytest.mark.parametrize(("least", "most"), BOUNDS)
def test_accepts_texts_of_the_length_and_is_viable_on_their_beginnings(
    least: int, most: int | None, unit: text_length.Unit
) -> None:
    allowed = {text for text in TEXTS if fits(text, least, most, unit)}
    beginnings = {text[:n] for text in allowed for n in range(len(text) + 1)}
    for constraint in both_forms(least, most, unit):
        assert constraint.viable_is_exact
        for string in STRINGS:
            state = constraint.advance(constraint.initial(), string)
            assert (state is not None) == (string in beginnings), string
            assert (state is not None and constraint.accepts(state)) == (string in allowed), string


@pytest.mark.parametrize("unit", ["characters", "bytes"])
@pytest.mark.parametrize(("least", "most"), BOUNDS)
def test_chunks_count_as_their_bytes_do(least: int, most: int | None, unit: text_length.Unit) -> None:
    for constraint in both_forms(least, most, unit):
        for text in TEXTS:
            state = constraint.initial()
            for i in range(len(text)):
                state = None if state is None else constraint.advance(state, text[i : i + 1])
            assert state == constraint.advance(constraint.initial(), text)


def test_the_automaton_is_that_of_the_regular_expression() -> None:
    assert length(2, 5) == regex("(?s:.{2,5})")
    assert length(3) == regex("(?s:.{3,})")
    assert length() == regex("(?s:.*)")


def test_counts_above_a_thousand_are_counted_by_the_state() -> None:
    constraint = length(1_001, 100_000)
    assert constraint.automaton() is None
    assert constraint.viable_is_exact
    assert not constraint.accepts(constraint.advance(constraint.initial(), b"a" * 1_000))
    assert constraint.accepts(constraint.advance(constraint.initial(), b"a" * 100_000))
    assert constraint.advance(constraint.initial(), b"a" * 100_001) is None
    endless = length(5_000)
    assert endless.advance(endless.initial(), b"a" * 5_000) == endless.advance(
        endless.initial(), b"a" * 9_000
    )


def test_length_says_what_it_is() -> None:
    assert repr(length(2, 3)) == "length(least=2, most=3)"
    assert repr(length(2, unit="bytes")) == "length(least=2, unit='bytes')"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"unit": "words"}, InvalidInputError, 'Give "characters" or "bytes"'),
        ({"least": 5, "most": 4}, InvalidInputError, "allows no count"),
        ({"least": -1}, InvalidInputError, "below 0"),
        ({"most": 1.5}, InvalidTypeError, "got 1.5"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(
    arguments: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        length(**arguments)
