"""`lp.choices`: exactly the given strings."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmppl.constraints import alternatives
from lmppl.constraints.alternatives import choices
from lmppl.constraints.regular_expression import regex
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


def test_no_option_is_refused() -> None:
    with pytest.raises(ConstraintError, match="no option"):
        choices([])


def test_lone_surrogate_is_refused() -> None:
    with pytest.raises(ConstraintError, match="lone surrogate"):
        choices(["\ud800"])


@pytest.mark.parametrize(
    ("options", "message"), [("red", r"Write \['red'\]"), (["red", 3], "one of them is 3")]
)
def test_what_is_no_list_of_strings_is_refused(options: object, message: str) -> None:
    with pytest.raises(InvalidTypeError, match=message):
        inspect.unwrap(choices)(options)  # past the type checks that tests run under


def test_too_much_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alternatives, "MAX_STATES", 50)
    with pytest.raises(ConstraintError, match="more than 50 states"):
        choices([f"{i * 7919:b}" for i in range(200)])
