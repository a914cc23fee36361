"""Byte automata: minimal, canonical, and closed under intersection."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmppl.constraints.automaton import ByteAutomaton

ALPHABET = b"ab"
Table = tuple[np.ndarray, int, np.ndarray]


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Draws deterministic tables of up to six states over two bytes, dead ends included."""
    size = draw(st.integers(1, 6))
    table = np.full((size, 256), -1, np.int32)
    for state, byte in itertools.product(range(size), ALPHABET):
        table[state, byte] = draw(st.integers(-1, size - 1))
    accepting = np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    return table, draw(st.integers(0, size - 1)), accepting


def language(table: np.ndarray, start: int, accepting: np.ndarray, length: int) -> set[bytes]:
    """Runs a table on every string up to a length."""
    found = set()
    for size in range(length + 1):
        for letters in itertools.product(ALPHABET, repeat=size):
            state = start
            for byte in letters:
                state = int(table[state, byte]) if state >= 0 else -1
            if state >= 0 and accepting[state]:
                found.add(bytes(letters))
    return found


def strings_of(machine: ByteAutomaton, length: int) -> set[bytes]:
    return language(machine.transitions, machine.start, machine.accepting, length)


@given(tables())
def test_minimisation_keeps_the_language(drawn: Table) -> None:
    assert strings_of(ByteAutomaton.of_table(*drawn), 7) == language(*drawn, 7)


@given(tables(), tables())
def test_automata_are_equal_exactly_when_their_languages_are(left: Table, right: Table) -> None:
    one, other = ByteAutomaton.of_table(*left), ByteAutomaton.of_table(*right)
    # two automata of m and n states differ, if at all, on a string shorter than m + n
    same = language(*left, 11) == language(*right, 11)
    assert (one == other) == same
    assert not same or hash(one) == hash(other)


@given(tables())
def test_every_state_is_reachable_viable_and_distinct(drawn: Table) -> None:
    machine = ByteAutomaton.of_table(*drawn)
    if machine.is_empty:
        assert machine.num_states == 1
        return
    futures = [
        frozenset(language(machine.transitions, state, machine.accepting, 7))
        for state in range(machine.num_states)
    ]
    assert all(futures)
    assert len(set(futures)) == machine.num_states
    targets = set(machine.transitions[machine.transitions >= 0].tolist())
    assert targets | {machine.start} == set(range(machine.num_states))


@given(tables(), tables())
def test_intersection_holds_the_strings_of_both(left: Table, right: Table) -> None:
    product = ByteAutomaton.of_table(*left).intersection(ByteAutomaton.of_table(*right))
    assert product is not None
    assert strings_of(product, 6) == language(*left, 6) & language(*right, 6)


def test_intersection_that_grows_too_large_is_none() -> None:
    cycles = []
    for size in (7, 11):
        table = np.full((size, 256), -1, np.int32)
        table[:, ord("a")] = (np.arange(size) + 1) % size
        cycles.append(ByteAutomaton.of_table(table, 0, np.arange(size) == 0))
    left, right = cycles
    assert left.intersection(right, max_states=76) is None
    product = left.intersection(right, max_states=77)
    assert product is not None
    assert product.num_states == 77


@given(tables(), st.binary(max_size=6))
def test_walk_moves_rows_as_advance_does(drawn: Table, data: bytes) -> None:
    machine = ByteAutomaton.of_table(*drawn)
    states = np.arange(-1, machine.num_states, dtype=np.int32)
    expected = [None if s < 0 else machine.advance(int(s), data) for s in states]
    for byte in data:
        states = machine.walk(states, np.full(len(states), byte, np.uint8))
    assert [None if s < 0 else int(s) for s in states] == expected


def test_arrays_are_read_only_and_survive_pickling() -> None:
    machine = ByteAutomaton.of_table(np.zeros((1, 256), np.int32), 0, np.array([True]))
    with pytest.raises(ValueError, match="read-only"):
        machine.transitions[0, 0] = 5
    assert machine.advance(0, b"abc") == 0
    assert pickle.loads(pickle.dumps(machine)) == machine


def test_long_chain_is_minimised_in_bounded_time() -> None:
    """Moore's algorithm would take n rounds here; a chain of counted repeats is common."""
    size = 5_000
    table = np.full((size, 256), -1, np.int32)
    table[:-1, ord("a")] = np.arange(1, size)
    machine = ByteAutomaton.of_table(table, 0, np.arange(size) % 1_000 == 999)
    assert machine.num_states == size
