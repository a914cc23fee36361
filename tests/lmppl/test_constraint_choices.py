"""`lp.choices`: exactly the given strings."""

from __future__ import annotations

import enum
import inspect
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmppl.constraints.regular import alternatives
from lmppl.constraints.regular.alternatives import choices
from lmppl.constraints.regular.regular_expression import regex
from lmppl.errors import ConstraintError, InvalidTypeError

texts = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Z")), max_size=6)


@given(st.lists(st.text("ab", max_size=4), min_size=1, max_size=8), st.text("ab", max_size=5))
def test_accepts_the_options_and_is_viable_on_their_prefixes(options: list[str], text: str) -> None:
    constraint = choices(options)
    state = constraint.advance(constraint.initial(), text.encode())
    assert (state is not None) == any(option.startswith(text) for option in options)
    assert (state is not None and constraint.accepts(state)) == (text in options)


@given(st.lists(texts, min_size=1, max_size=8))
def test_characters_of_any_script_may_be_split(options: list[str]) -> None:
    constraint = choices(options)
    for option in options:
        state = constraint.initial()
        for byte in option.encode():
            state = constraint.advance(state, bytes((byte,)))
            assert state is not None
        assert constraint.accepts(state)


def test_order_and_duplicates_do_not_matter() -> None:
    assert choices(["red", "blue", "red"]) == choices(["blue", "red"])
    assert choices(["a", "b"]) == regex("[ab]")
    assert repr(choices(list("abcde"))) == "choices(['a', 'b', 'c', 'd', ...])"


def test_common_endings_are_shared() -> None:
    machine = choices([f"{i:03}-and-a-long-ending" for i in range(1000)]).automaton()
    assert machine is not None
    assert machine.num_states == 4 + len("-and-a-long-ending")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"
    AZURE = "blue"  # noqa: PIE796 - an alias is meant


class Size(enum.StrEnum):
    SMALL = "small"


class Number(enum.Enum):
    ONE = 1


class Nothing(enum.Enum):
    pass


def test_enumerations_stand_for_their_values() -> None:
    assert choices(Colour) == choices(["red", "blue"])
    assert repr(choices(Colour)) == "choices(['red', 'blue'])"
    assert choices(Size) == choices(["small"])
    assert repr(choices([Colour.RED, Size.SMALL, "x"])) == "choices(['red', 'small', 'x'])"


def test_literal_types_stand_for_their_values() -> None:
    assert choices(Literal["red", "blue"]) == choices(["red", "blue"])
    assert choices(Literal["red", Colour.BLUE]) == choices(["red", "blue"])


@pytest.mark.parametrize("options", [[], Nothing])
def test_no_option_is_refused(options: object) -> None:
    with pytest.raises(ConstraintError, match="no option"):
        choices(options)


def test_lone_surrogate_is_refused() -> None:
    with pytest.raises(ConstraintError, match="lone surrogate"):
        choices(["\ud800"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("red", r"Write \['red'\]"),
        (["red", 3], "one of them is 3"),
        (3, "a class of enum.Enum or a typing.Literal, but was given 3"),
        (Literal["red", 3], "one of them is 3"),
        (Number, "one of them is <Number.ONE: 1>, whose value is 1"),
        (str, "was given <class 'str'>"),
    ],
)
def test_what_is_no_list_of_strings_is_refused(options: object, message: str) -> None:
    with pytest.raises(InvalidTypeError, match=message):
        inspect.unwrap(choices)(options)  # past the type checks that tests run under


def test_too_much_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alternatives, "MAX_STATES", 50)
    with pytest.raises(ConstraintError, match="more than 50 states"):
        choices([f"{i * 7919:b}" for i in range(200)])
