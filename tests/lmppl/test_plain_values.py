"""Plain values are read as they were written, and bytes that are something else are told apart."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmppl.constraints.plain_values import Damaged, Kind, NotPlain, fields, read, written


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclass(frozen=True)
class Box:
    inside: Any


def even(number: int) -> int:
    if number % 2:
        raise ValueError
    return number


class Even(int):
    pass


KINDS = {
    Pair: fields("pair", Pair),
    Box: fields("box", Box),
    Even: Kind("even", lambda value: (int(value),), lambda number: Even(even(number))),
}

scalars = st.none() | st.booleans() | st.integers() | st.text(st.characters()) | st.binary()
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.frozensets(scalars),
        st.dictionaries(scalars, inner),
        st.builds(Pair, inner, inner),
        st.builds(Box, inner),
    ),
)


def types(value: Any) -> Any:
    """Gives the classes of a value and of all in it; True is not 1 then."""
    if isinstance(value, dict):
        return dict, {(type(key), key): types(each) for key, each in value.items()}
    if isinstance(value, frozenset):
        return frozenset, {(type(each), each) for each in value}
    if isinstance(value, Box):
        return Box, types(value.inside)
    return (type(value), [types(each) for each in value]) if isinstance(value, list | tuple) else type(value)


@given(values)
def test_what_is_read_is_what_was_written(value: Any) -> None:
    found = read(written(value, KINDS), KINDS)
    assert found == value
    assert types(found) == types(value)


@pytest.mark.parametrize("number", [0, -1, 1 << 999, -(1 << 1_000), 1 << 100_000], ids=int.bit_length)
def test_ints_of_any_size_are_read(number: int) -> None:
    assert read(written((number, Box(number)), KINDS), KINDS) == (number, Box(number))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.int64])
@pytest.mark.parametrize("shape", [(0,), (5,), (2, 3), (0, 4)])
def test_arrays_keep_shape_and_class_and_are_read_only(dtype: type, shape: tuple[int, ...]) -> None:
    made = (np.arange(np.prod(shape)).reshape(shape) - (dtype is not np.uint8)).astype(dtype)
    found, last = read(written((made, made[:1].T), KINDS), KINDS)
    assert found.dtype == made.dtype
    assert np.array_equal(found, made)
    assert np.array_equal(last, made[:1].T)
    assert found.shape == shape
    assert not found.flags.writeable


def test_an_object_in_several_places_is_one() -> None:
    inner = Box((1, 2))
    first, others = read(written((inner, [inner, inner]), KINDS), KINDS)
    assert all(each is first for each in others)


@pytest.mark.parametrize("value", [1.5, {1, 2}, object(), np.zeros(2), [np.array(["a"])], Box(1j), Pair])
def test_what_is_of_no_known_class_is_not_written(value: Any) -> None:
    with pytest.raises(NotPlain):
        written(value, KINDS)


def test_what_is_nested_too_deeply_is_not_written() -> None:
    value: Any = ()
    for _ in range(100_000):
        value = (value,)
    with pytest.raises(NotPlain):
        written(value, KINDS)


def test_a_changed_byte_is_noticed_wherever_it_is() -> None:
    data = written({"a": [Pair(1, "b"), np.arange(3)]}, KINDS, b"purpose")
    rng = random.Random(0)
    for place in range(len(data)):
        changed = bytes((*data[:place], data[place] ^ rng.randrange(1, 256), *data[place + 1 :]))
        for damaged in (data[:place], changed):
            with pytest.raises(Damaged):
                read(damaged, KINDS, b"purpose")
    with pytest.raises(Damaged):
        read(data + b"\0", KINDS, b"purpose")


def test_what_was_written_for_something_else_is_noticed() -> None:
    data = written(1, KINDS, b"one")
    assert read(data, KINDS, b"one") == 1
    with pytest.raises(Damaged):
        read(data, KINDS, b"another")


def test_parts_that_a_class_refuses_or_that_nobody_knows_are_noticed() -> None:
    careless = {**KINDS, Even: Kind("even", lambda value: (int(value),), Even)}
    for data, kinds in ((written(Even(3), careless), KINDS), (written(Box(1), KINDS), {})):
        with pytest.raises(Damaged):
            read(data, kinds)
