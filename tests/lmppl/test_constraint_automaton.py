"""Byte automata: minimal, canonical, and closed under Boolean combinations."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmppl.constraints.regular import automaton_algebra
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.character_automaton import TooLarge
from lmppl.constraints.regular.regular_expression import regex

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


@pytest.mark.parametrize(
    ("combined", "expected"),
    [
        (automaton_algebra.intersection, set.__and__),
        (automaton_algebra.union, set.__or__),
        (automaton_algebra.difference, set.__sub__),
    ],
)
@given(left=tables(), right=tables())
def test_combinations_hold_the_strings_that_those_of_sets_hold(
    combined: Callable, expected: Callable, left: Table, right: Table
) -> None:
    product = combined(ByteAutomaton.of_table(*left), ByteAutomaton.of_table(*right))
    assert strings_of(product, 6) == expected(language(*left, 6), language(*right, 6))


def test_combination_that_grows_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cycles = []
    for size in (7, 11):
        table = np.full((size, 256), -1, np.int32)
        table[:, ord("a")] = (np.arange(size) + 1) % size
        cycles.append(ByteAutomaton.of_table(table, 0, np.arange(size) == 0))
    monkeypatch.setattr(automaton_algebra, "MAX_PAIRS", 76)
    with pytest.raises(TooLarge):
        automaton_algebra.intersection(*cycles)
    monkeypatch.setattr(automaton_algebra, "MAX_PAIRS", 77)
    assert automaton_algebra.intersection(*cycles).num_states == 77


def test_pairs_that_can_accept_nothing_are_not_met(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one side has ended, an intersection has, and a difference if that is the left one."""
    monkeypatch.setattr(automaton_algebra, "MAX_PAIRS", 6)
    short, long = regex("abcde").automaton(), regex("abcd[a-z]{7}").automaton()
    assert short is not None
    assert long is not None
    assert automaton_algebra.intersection(short, regex("ab.*").automaton()) == short
    assert automaton_algebra.difference(short, long) == short
    with pytest.raises(TooLarge):
        automaton_algebra.difference(long, short)


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
