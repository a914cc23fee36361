"""Automata of strings *and how they end*: a constraint, the stop string and EOS as one byte table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Int32, Integer

from lmppl.constraints.protocol import Constraint
from lmppl.constraints.regular.automaton import MAX_STATES
from lmppl.constraints.regular.transition_tables import DEAD as NO_EXIT

DEAD = 0
ENDED = 1
FIRST_LIVE = 2

_MAX_PAIRS = 2**24  # pairs of a state and a held length that are looked at, reachable or not
_MAX_ENTRIES = 2**26  # entries of the table before unreachable states are taken away


@dataclass(frozen=True, eq=False)
class EndedAutomaton:
    """A deterministic automaton over the bytes of tokens that knows when the string has ended.

    The text is what stands before the first occurrence of the stop. A live state is a pair: the
    constraint's state over the bytes that are settled, and how many bytes of the stop's beginning are
    held back. State 0 is `DEAD`, state 1 is `ENDED`, and neither is ever left, so what stands behind
    the stop in the same token does not matter.

    Attributes:
        table: The next state for each class of bytes that act alike. Read-only.
        class_of: The class of each byte. Read-only.
        may_end: True where EOS is allowed: what is held back counts as text. Read-only.
        start: The state of the empty string; `DEAD` if no string is accepted.
    """

    table: Int32[np.ndarray, "states classes"]
    class_of: Int32[np.ndarray, " 256"]
    may_end: Bool[np.ndarray, " states"]
    start: int

    def __post_init__(self) -> None:
        for array in (self.table, self.class_of, self.may_end):
            array.setflags(write=False)

    @property
    def num_states(self) -> int:
        """The number of states, `DEAD` and `ENDED` included."""
        return len(self.may_end)

    @property
    def transitions(self) -> Int32[np.ndarray, "states 256"]:
        """The next state for each byte; made on demand, 1 KiB a state."""
        return self.table[:, self.class_of]

    def advance(self, state: int, data: bytes) -> int:
        """Gives the state after some bytes."""
        for byte in data:
            state = int(self.table[state, self.class_of[byte]])
        return state

    def __repr__(self) -> str:
        return f"<EndedAutomaton, {self.num_states:,} states>"


@lru_cache(maxsize=64)
def ended_automaton_of(
    constraint: Constraint | None,
    stop: bytes | None,
    *,
    has_eos: bool = True,
    trim: bool = True,
    max_states: int = MAX_STATES,
) -> EndedAutomaton | None:
    """Gives the automaton of a constraint together with how its strings end, or None.

    It takes the same complete strings as `lmppl.acceptance.Acceptor`. With `trim` it is stricter on the
    way: a state from which no end can be reached is `DEAD`, where `Acceptor` only asks whether the
    *constraint* can be completed, not whether it can be before the stop or without EOS. Without `trim`
    it is `Acceptor`'s equal token by token. So trim where a mask is a proposal, and do not where it
    renormalises (`lp.local`), since a different mask is then a different distribution.

    Equal for equal arguments, numbers included; remembered. Takes milliseconds for hundreds of states,
    under a second for 20,000.

    Args:
        constraint: None allows every text.
        stop: Not empty; None if only EOS ends a string.
        has_eos: Whether the vocabulary has an EOS. Used by `trim` alone.
        trim: Whether states from which nothing can be finished are `DEAD`.
        max_states: How many live states there may be.

    Returns:
        None if the constraint has no byte automaton, or there are too many states.
    """
    if constraint is None:
        table, class_of, accepting = np.zeros((1, 1), np.int32), np.zeros(256, np.int32), np.ones(1, bool)
    else:
        machine = constraint.automaton()
        if machine is None:
            return None
        table, class_of = _distinct_columns(machine.transitions, stop or b"")
        accepting = machine.accepting
    if stop is None:
        if len(table) > max_states:
            return None
        live = np.where(table == NO_EXIT, DEAD, table + FIRST_LIVE)
        return _finished(live, accepting, FIRST_LIVE, class_of, has_eos, trim)
    if constraint is None:
        table, class_of = _distinct_columns(np.zeros((1, 256), np.int32), stop)
    if len(table) * len(stop) > _MAX_PAIRS:
        return None
    product = _product(table, accepting, [int(class_of[byte]) for byte in stop])
    if product is None:
        return None
    live, may_end, start = product
    reached = _reachable(live, start, max_states)
    if reached is None:
        return None
    live, may_end, start = _kept(live, may_end, start, reached)
    return _finished(live, may_end, start, class_of, has_eos, trim)


def _distinct_columns(
    table: Int32[np.ndarray, "states 256"], stop: bytes
) -> tuple[Int32[np.ndarray, "states classes"], Int32[np.ndarray, " 256"]]:
    """Merges bytes with the same column; each byte of the stop has a class of its own."""
    columns = np.ascontiguousarray(table.T)
    numbers: dict[tuple[bytes, int], int] = {}
    keys = [(columns[byte].tobytes(), byte if byte in stop else -1) for byte in range(256)]
    class_of = np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int32)
    first = np.unique(class_of, return_index=True)[1]
    return np.ascontiguousarray(table[:, first]), class_of


def _product(
    table: Int32[np.ndarray, "states classes"], accepting: Bool[np.ndarray, " states"], stop: list[int]
) -> tuple[Int32[np.ndarray, "live classes"], Bool[np.ndarray, " live"], int] | None:
    """Gives targets and ends of all pairs from which the constraint can still be obeyed.

    Row `i` is state `i + FIRST_LIVE`. None if the table would be too large.
    """
    num_states, num_classes = table.shape
    lost = num_states  # the constraint's dead state, as a row of its own
    table = np.vstack([np.where(table == NO_EXIT, lost, table), np.full(num_classes, lost)])
    accepting = np.append(accepting, False)
    borders = _borders(stop)
    after_held = np.empty((num_states + 1, len(stop)), np.int64)  # the held bytes taken as text
    after_held[:, 0] = np.arange(num_states + 1)
    for length in range(1, len(stop)):
        after_held[:, length] = table[after_held[:, length - 1], stop[length - 1]]
    viable = after_held != lost
    for length in range(1, len(stop)):
        for border in borders[length]:  # the stop may begin there, if the text may end there
            viable[:, length] |= accepting[after_held[:, length - border]]
    viable[lost] = False
    states, held = np.nonzero(viable)
    if len(states) * num_classes > _MAX_ENTRIES:
        return None
    numbers = np.full(viable.shape, DEAD, np.int32)
    numbers[states, held] = np.arange(FIRST_LIVE, FIRST_LIVE + len(states))
    live = np.empty((len(states), num_classes), np.int32)
    following = _following(stop, num_classes, borders)
    for length in range(len(stop)):
        rows = np.flatnonzero(held == length)
        origins = states[rows]
        for symbol, border in enumerate(following[length]):
            if border == len(stop):
                targets = np.where(accepting[origins], ENDED, DEAD)
            elif border == 0:
                targets = numbers[table[after_held[origins, length], symbol], 0]
            else:
                targets = numbers[after_held[origins, length + 1 - border], border]
            live[rows, symbol] = targets
    return live, accepting[after_held[states, held]], int(numbers[0, 0])


def _borders(stop: list[int]) -> list[list[int]]:
    """Gives, for each length, which tails of that beginning of the stop begin the stop, itself included."""
    return [
        [border for border in range(length, 0, -1) if stop[length - border : length] == stop[:border]]
        for length in range(len(stop))
    ]


def _following(stop: list[int], num_classes: int, borders: list[list[int]]) -> list[list[int]]:
    """Gives how much is held after each held length and class (Knuth, Morris & Pratt 1977)."""
    return [
        [
            next((border + 1 for border in [*borders[length], 0] if stop[border] == symbol), 0)
            for symbol in range(num_classes)
        ]
        for length in range(len(stop))
    ]


def _reachable(live: np.ndarray, start: int, max_states: int) -> Integer[np.ndarray, " reached"] | None:
    """Gives the reachable rows in order, or None if there are too many."""
    if start == DEAD:
        return np.zeros(0, np.int64)
    met = bytearray(FIRST_LIVE + len(live))
    met[DEAD] = met[ENDED] = met[start] = 1
    todo = [start]
    num_met = 1
    while todo:
        for target in live[todo.pop() - FIRST_LIVE].tolist():
            if not met[target]:
                met[target] = 1
                num_met += 1
                todo.append(target)
        if num_met > max_states:
            return None
    return np.flatnonzero(np.frombuffer(met, np.uint8)[FIRST_LIVE:])


def _kept(
    live: np.ndarray, may_end: np.ndarray, start: int, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Keeps some rows and renumbers; what led to the others leads to `DEAD`."""
    numbers = np.full(FIRST_LIVE + len(live), DEAD, np.int32)
    numbers[ENDED] = ENDED
    numbers[rows + FIRST_LIVE] = np.arange(FIRST_LIVE, FIRST_LIVE + len(rows))
    return numbers[live[rows]], may_end[rows], int(numbers[start])


def _finished(
    live: np.ndarray, may_end: np.ndarray, start: int, class_of: np.ndarray, has_eos: bool, trim: bool
) -> EndedAutomaton:
    if trim:
        live, may_end, start = _kept(live, may_end, start, _finishable(live, may_end, has_eos))
    table = np.empty((FIRST_LIVE + len(live), live.shape[1]), np.int32)
    table[DEAD], table[ENDED], table[FIRST_LIVE:] = DEAD, ENDED, live
    return EndedAutomaton(table, class_of, np.concatenate([np.zeros(FIRST_LIVE, bool), may_end]), start)


def _finishable(live: np.ndarray, may_end: np.ndarray, has_eos: bool) -> Integer[np.ndarray, " rows"]:
    """Gives the rows from which EOS or the stop can be reached, in order."""
    targets = np.sort(live, axis=1)
    first = np.ones(targets.shape, bool)  # an edge for each pair of states, not for each class
    first[:, 1:] = targets[:, 1:] != targets[:, :-1]
    sources, columns = np.nonzero(first & (targets != DEAD))
    ends = targets[sources, columns]
    order = np.argsort(ends, kind="stable")
    sources = (sources[order] + FIRST_LIVE).tolist()
    offsets = np.searchsorted(ends[order], np.arange(FIRST_LIVE + len(live) + 1)).tolist()
    met = bytearray(FIRST_LIVE + len(live))
    todo = [ENDED]
    if has_eos:
        todo += (np.flatnonzero(may_end) + FIRST_LIVE).tolist()
    for state in todo:
        met[state] = 1
    while todo:
        state = todo.pop()
        for source in sources[offsets[state] : offsets[state + 1]]:
            if not met[source]:
                met[source] = 1
                todo.append(source)
    return np.flatnonzero(np.frombuffer(met, np.uint8)[FIRST_LIVE:])
