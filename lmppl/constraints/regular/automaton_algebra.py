"""Unions, differences and other Boolean combinations of byte automata."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from functools import lru_cache

import numpy as np

from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.character_automaton import TooLarge
from lmppl.constraints.regular.transition_tables import DEAD, distinct_columns

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
    """Walks the pairs of states, where -1 is a state that accepts nothing.

    Args:
        left: The first language.
        right: The second.
        keep: Whether a string is accepted, from whether each accepts it; not if neither does.
    """
    bytes_apart, class_of = _told_apart(left, right)
    first, second = _rows(left, bytes_apart), _rows(right, bytes_apart)
    # Where both live a string may be accepted or not; where one does not it is not.
    left_alone, right_alone = bool(keep(True, False)), bool(keep(False, True))
    numbers, dead = {(left.start, right.start): 0}, (DEAD, DEAD)
    rows: list[list[int]] = []
    todo = list(numbers)
    for one, other in todo:  # grows while it is walked
        row = []
        for pair in zip(first[one], second[other], strict=True):
            if pair == dead or (pair[0] == DEAD and not right_alone) or (pair[1] == DEAD and not left_alone):
                row.append(DEAD)
                continue
            number = numbers.setdefault(pair, len(numbers))
            if number == len(todo):
                todo.append(pair)
            row.append(number)
        rows.append(row)
        if len(todo) > MAX_PAIRS:
            raise TooLarge
    known = np.array(todo)
    ends = keep(np.append(left.accepting, False)[known[:, 0]], np.append(right.accepting, False)[known[:, 1]])
    return ByteAutomaton.of_classes(np.array(rows, np.int32), class_of, 0, ends)


def _told_apart(left: ByteAutomaton, right: ByteAutomaton) -> tuple[np.ndarray, np.ndarray]:
    """Gives the least byte of each class that neither tells apart, ascending; and the class of each byte."""
    columns = [distinct_columns(machine.transitions)[1].astype(np.int64) for machine in (left, right)]
    _, least, class_of = np.unique(256 * columns[0] + columns[1], return_index=True, return_inverse=True)
    order = np.argsort(least)
    return least[order], np.argsort(order)[class_of]


def _rows(machine: ByteAutomaton, chosen: np.ndarray) -> list[list[int]]:
    """Gives the transitions by some bytes, the last row being that of -1."""
    return [*machine.transitions[:, chosen].tolist(), [DEAD] * len(chosen)]


_remembered = lru_cache(1024)(_product)


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
