"""Unions, differences and other Boolean combinations of byte automata."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from functools import lru_cache

import numpy as np

from lmppl.constraints.automaton import ByteAutomaton
from lmppl.constraints.character_automaton import TooLarge
from lmppl.constraints.transition_tables import DEAD, distinct_columns

MAX_PAIRS = 20_000
MAX_REMEMBERED_STATES = 200  # of both sides: at most 10,000 pairs, most often some hundred


def intersection(left: ByteAutomaton, right: ByteAutomaton) -> ByteAutomaton:
    """Gives what both accept.

    Raises:
        TooLarge: More than 20,000 pairs of states.
    """
    return _combined(left, right, np.logical_and)


def union(left: ByteAutomaton, right: ByteAutomaton) -> ByteAutomaton:
    """Gives what at least one accepts; raises as `intersection`."""
    return _combined(left, right, np.logical_or)


def difference(left: ByteAutomaton, right: ByteAutomaton) -> ByteAutomaton:
    """Gives what the first accepts and the second does not; raises as `intersection`."""
    return _combined(left, right, np.greater)


def _combined(left: ByteAutomaton, right: ByteAutomaton, keep: np.ufunc) -> ByteAutomaton:
    small = left.num_states + right.num_states <= MAX_REMEMBERED_STATES
    return _remembered(left, right, keep) if small else _product(left, right, keep)


def _product(left: ByteAutomaton, right: ByteAutomaton, keep: np.ufunc) -> ByteAutomaton:
    """Walks the pairs of states, each automaton completed by one state that accepts nothing.

    Args:
        left: The first language.
        right: The second.
        keep: Whether a string is accepted, from whether each accepts it; not if neither does.
    """
    (first, first_ends), (second, second_ends) = _completed(left), _completed(right)
    width = len(second)
    numbers = {left.start * width + right.start: 0}
    pairs = np.array(list(numbers), np.int64)
    rows: list[np.ndarray] = []
    while len(pairs):
        one, other = first[pairs // width].astype(np.int64), second[pairs % width]
        left_lives, right_lives = one < len(first) - 1, other < width - 1
        # What lives may be accepted or not; what does not live is not.
        lives = keep(left_lives, right_lives) | keep(left_lives, False) | keep(False, right_lives)
        targets = np.where(lives, one * width + other, DEAD)
        rows.append(targets)
        new = [pair for pair in np.unique(targets).tolist() if pair not in numbers and pair != DEAD]
        if len(numbers) + len(new) > MAX_PAIRS:
            raise TooLarge
        numbers.update((pair, len(numbers) + i) for i, pair in enumerate(new))
        pairs = np.array(new, np.int64)
    known = np.array(list(numbers), np.int64)
    order = np.argsort(known)
    targets = np.concatenate(rows)
    places = np.minimum(np.searchsorted(known[order], targets), len(known) - 1)
    table = np.where(targets == DEAD, DEAD, order[places]).astype(np.int32)
    return ByteAutomaton.of_table(table, 0, keep(first_ends[known // width], second_ends[known % width]))


_remembered = lru_cache(1024)(_product)


def _completed(machine: ByteAutomaton) -> tuple[np.ndarray, np.ndarray]:
    sink = machine.num_states
    table = np.where(machine.transitions == DEAD, sink, machine.transitions)
    return np.vstack([table, np.full((1, 256), sink, np.int32)]), np.append(machine.accepting, False)


def built(
    start: Hashable,
    alphabet: bytes,
    step: Callable[..., Hashable | None],
    accepts: Callable[..., bool],
) -> ByteAutomaton:
    """Makes the automaton of a function.

    Args:
        start: The first state, any hashable value.
        alphabet: The bytes that `step` is asked about.
        step: (state, byte) -> the next state, or None.
        accepts: Whether a string may end in a state.
    """
    numbers = {start: 0}
    todo = [start]
    rows: list[np.ndarray] = []
    for state in todo:  # grows while it is walked
        row = np.full(256, DEAD, np.int32)
        for byte in alphabet:
            target = step(state, byte)
            if target is None:
                continue
            if target not in numbers:
                numbers[target] = len(todo)
                todo.append(target)
            row[byte] = numbers[target]
        rows.append(row)
    return ByteAutomaton.of_table(np.stack(rows), 0, np.array([accepts(state) for state in todo]))


def word_counts(machine: ByteAutomaton) -> list[int | None]:
    """Gives how many strings are accepted from each state; None where infinitely many are."""
    columns, class_of = distinct_columns(machine.transitions)
    sizes = np.bincount(class_of).tolist()
    targets = [
        [(target, size) for target, size in zip(row, sizes, strict=True) if target != DEAD]
        for row in columns.tolist()
    ]
    waiting = [len(row) for row in targets]
    sources: list[list[int]] = [[] for _ in targets]
    for state, row in enumerate(targets):
        for target, _ in row:
            sources[target].append(state)
    counts: list[int | None] = [None] * len(targets)
    todo = [state for state, number in enumerate(waiting) if number == 0]
    for state in todo:  # those from which no cycle is reachable, last ones first
        inner = sum(size * (counts[target] or 0) for target, size in targets[state])
        counts[state] = inner + bool(machine.accepting[state])
        for source in sources[state]:
            waiting[source] -= 1
            if waiting[source] == 0:
                todo.append(source)
    return counts


def words(machine: ByteAutomaton, start: int | None = None) -> Iterable[bytes]:
    """Gives all strings that are accepted from a state, by default the first; there must be finitely many."""
    todo = [(machine.start if start is None else start, b"")]
    while todo:
        state, text = todo.pop()
        if machine.accepting[state]:
            yield text
        row = machine.transitions[state]
        todo.extend((int(row[byte]), text + bytes((byte,))) for byte in np.flatnonzero(row != DEAD).tolist())
