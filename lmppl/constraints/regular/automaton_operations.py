"""Concatenation and repetition of byte automata, which are byte automata again.

Both put automata side by side as one nondeterministic automaton without epsilon edges: what a
run may enter besides a state is kept with the state. Subsets of its states are then the new states.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32

from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.transition_tables import DEAD, distinct_columns

MAX_JOINED_STATES = 20_000
MAX_STEPS = 1_000_000  # about half a second

Edge = tuple[int, int]
"""A class of bytes, and the state that it leads to."""


def concatenation(left: ByteAutomaton, right: ByteAutomaton) -> ByteAutomaton | None:
    """Gives the automaton of a string of the one and then one of the other, or None if it grows too large."""
    both = _SideBySide.of((left, right))
    second = both.start(1)
    for state in range(left.num_states):
        if both.accepting[state]:
            both.entered[state].add(second)
            both.accepting[state] = False
    return both.determinised(both.entered[both.start(0)])


def repetition(machine: ByteAutomaton, least: int, most: int | None) -> ByteAutomaton | None:
    """Gives the automaton of some strings of one language in a row, or None if it grows too large.

    Args:
        machine: The language.
        least: The least number of strings.
        most: The greatest, None for any.
    """
    if machine.accepts(machine.start):
        least = 0  # what is missing may be empty
    num_copies = max(1, least) if most is None else most
    if num_copies * machine.num_states > MAX_JOINED_STATES:
        return None
    row = _SideBySide.of((machine,) * num_copies)
    ends = [state for state in range(len(row.accepting)) if row.accepting[state]]
    for state in ends:
        copy = state // machine.num_states
        row.accepting[state] = copy + 1 >= least
        if copy + 1 < num_copies:
            row.entered[state].add(row.start(copy + 1))
        elif most is None:
            row.entered[state].add(row.start(copy))
    first = row.edges[row.start(0)] if num_copies else []
    return row.determinised({row.add(list(first), least == 0)})  # a string may come back to the old start


@dataclass
class _SideBySide:
    """Automata as one nondeterministic automaton over the classes of bytes that act alike in all.

    Attributes:
        class_of: The class of each byte.
        edges: The ways out of each state.
        entered: The states that a run which enters a state is in, itself included.
        accepting: Whether a string may end in a state.
        offsets: Where the states of each automaton begin.
    """

    class_of: Int32[np.ndarray, " 256"]
    edges: list[list[Edge]]
    entered: list[set[int]]
    accepting: list[bool]
    offsets: list[int]

    @staticmethod
    def of(machines: Sequence[ByteAutomaton]) -> _SideBySide:
        """Puts automata side by side, with no way from one to another yet."""
        distinct = list(dict.fromkeys(machines))
        stacked = np.concatenate([np.zeros((0, 256), np.int32), *(each.transitions for each in distinct)])
        table, class_of = distinct_columns(stacked)
        sides = np.split(table, np.cumsum([each.num_states for each in distinct]))
        rows_of = {each: side.tolist() for each, side in zip(distinct, sides, strict=False)}
        joined = _SideBySide(class_of, [], [], [], [])
        for machine in machines:
            offset = len(joined.edges)
            joined.offsets.append(offset)
            for row, accepts in zip(rows_of[machine], machine.accepting.tolist(), strict=True):
                joined.add([(c, offset + t) for c, t in enumerate(row) if t != DEAD], accepts)
        return joined

    def start(self, number: int) -> int:
        """Gives the start of one of the automata."""
        return self.offsets[number]

    def add(self, edges: list[Edge], accepts: bool) -> int:
        """Adds a state and gives its number."""
        self.edges.append(edges)
        self.entered.append({len(self.entered)})
        self.accepting.append(accepts)
        return len(self.entered) - 1

    def determinised(self, start: set[int]) -> ByteAutomaton | None:
        """Gives the smallest deterministic automaton, or None if there are too many subsets or steps."""
        numbers = {frozenset(start): 0}
        todo = list(numbers)
        rows: list[list[Edge]] = []
        steps = 0
        for subset in todo:  # grows while it is walked
            targets: dict[int, set[int]] = defaultdict(set)
            for state in subset:
                for symbol, target in self.edges[state]:
                    targets[symbol] |= self.entered[target]
            row = []
            for symbol, states in targets.items():
                steps += len(states)
                frozen = frozenset(states)
                if frozen not in numbers:
                    numbers[frozen] = len(todo)
                    todo.append(frozen)
                row.append((symbol, numbers[frozen]))
            rows.append(row)
            if len(todo) > MAX_JOINED_STATES or steps > MAX_STEPS:
                return None
        ends = np.array([any(self.accepting[state] for state in subset) for subset in todo])
        return ByteAutomaton.of_table(self._table(rows), 0, ends)

    def _table(self, rows: list[list[Edge]]) -> Int32[np.ndarray, "states 256"]:
        table = np.full((len(rows), int(self.class_of.max()) + 1), DEAD, np.int32)
        for state, row in enumerate(rows):
            for symbol, target in row:
                table[state, symbol] = target
        return np.ascontiguousarray(table[:, self.class_of])
