"""Deterministic automata as dense tables over any small alphabet: trimmed, minimised, numbered.

A table is `Int32[states, symbols]`; -1 means that nothing viable follows.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Int32

Table = Int32[np.ndarray, "states symbols"]
Accepting = Bool[np.ndarray, " states"]

DEAD = -1


def canonical(
    table: Table, start: int, accepting: Accepting
) -> tuple[Int32[np.ndarray, "new_states symbols"], Bool[np.ndarray, " new_states"]]:
    """Gives the one smallest table of a language, with its start as state 0.

    States are trimmed to those that are reachable and can still accept, merged where no string tells
    them apart, and numbered breadth first in the order of the symbols. Two tables over one alphabet
    have the same language exactly when the results are equal.

    Args:
        table: Any deterministic table, with dead and unreachable states or without.
        start: The state of the empty string.
        accepting: True where a string may end.

    Returns:
        The new table and its accepting states. An empty language gives one state with no way out.
    """
    classes, class_of = distinct_columns(table)
    rows = [_edges(row) for row in classes.tolist()]
    keep = _viable(rows, start, accepting.tolist())
    if start not in keep:
        return np.full((1, table.shape[1]), DEAD, np.int32), np.zeros(1, bool)
    rows = [{c: t for c, t in row.items() if t in keep} if s in keep else {} for s, row in enumerate(rows)]
    block_of = _merged(rows, keep, accepting.tolist()) or _hopcroft(rows, keep, accepting.tolist())
    order = _breadth_first(rows, start, block_of)
    small = np.full((len(order), classes.shape[1]), DEAD, np.int32)
    ends = np.zeros(len(order), bool)
    for block, (number, state) in order.items():
        ends[number] = accepting[state]
        for symbol, target in rows[state].items():
            small[number, symbol] = order[block_of[target]][0]
        assert block == block_of[state]
    return np.ascontiguousarray(small[:, class_of]), ends


def distinct_columns(table: Table) -> tuple[np.ndarray, Int32[np.ndarray, " symbols"]]:
    """Gives the columns that differ, in order of first appearance, and which of them each symbol has."""
    numbers: dict[bytes, int] = {}
    columns = np.ascontiguousarray(table.T)
    class_of = np.array([numbers.setdefault(column.tobytes(), len(numbers)) for column in columns], np.int32)
    first = np.unique(class_of, return_index=True)[1]
    return np.ascontiguousarray(table[:, first]), class_of


def _edges(row: list[int]) -> dict[int, int]:
    return {symbol: target for symbol, target in enumerate(row) if target != DEAD}


def _viable(rows: list[dict[int, int]], start: int, accepting: list[bool]) -> set[int]:
    """Gives the states that are reachable from the start and can reach an accepting one."""
    reachable = _closure([start], lambda state: rows[state].values())
    sources: dict[int, list[int]] = defaultdict(list)
    for state in reachable:
        for target in rows[state].values():
            sources[target].append(state)
    return _closure([s for s in reachable if accepting[s]], lambda state: sources.get(state, ()))


def _closure(seeds: Iterable[int], neighbours) -> set[int]:
    found = set(seeds)
    todo = list(found)
    while todo:
        for state in neighbours(todo.pop()):
            if state not in found:
                found.add(state)
                todo.append(state)
    return found


def _merged(rows: list[dict[int, int]], keep: set[int], accepting: list[bool]) -> list[int] | None:
    """Gives what `_hopcroft` does, in one pass from the last states to the first; None if there is a cycle.

    States are equal where all that they lead to is (Revuz 1992, Theor. Comput. Sci. 92(1)).
    """
    sources: dict[int, list[int]] = defaultdict(list)
    waiting = [0] * len(rows)
    for state in keep:
        waiting[state] = len(rows[state])
        for target in rows[state].values():
            sources[target].append(state)
    todo = [state for state in keep if not waiting[state]]
    block_of = [DEAD] * len(rows)
    blocks: dict[tuple, int] = {}
    for state in todo:  # grows while it is walked
        after = tuple([(symbol, block_of[target]) for symbol, target in rows[state].items()])
        block_of[state] = blocks.setdefault((accepting[state], after), len(blocks))
        for source in sources[state]:
            waiting[source] -= 1
            if not waiting[source]:
                todo.append(source)
    return block_of if len(todo) == len(keep) else None


def _hopcroft(rows: list[dict[int, int]], keep: set[int], accepting: list[bool]) -> list[int]:
    """Gives each kept state its block in the coarsest partition that no symbol splits.

    Hopcroft (1971), with the lesser half as the next splitter. Dead transitions are left out, so the
    functions are partial and both first blocks are splitters (Valmari & Lehtinen 2008,
    arXiv:0802.2826). `m log n` steps, where Moore's algorithm takes `m n` on a long counted repeat.
    """
    incoming: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for state in keep:
        for symbol, target in rows[state].items():
            incoming[target].append((symbol, state))
    ends = {state for state in keep if accepting[state]}
    blocks = [block for block in (ends, keep - ends) if block]
    block_of = [DEAD] * len(rows)
    for number, block in enumerate(blocks):
        for state in block:
            block_of[state] = number
    pending = set(range(len(blocks)))
    while pending:
        by_symbol: dict[int, list[int]] = defaultdict(list)
        for state in blocks[pending.pop()]:
            for symbol, source in incoming[state]:
                by_symbol[symbol].append(source)
        for sources in by_symbol.values():
            _split(sources, blocks, block_of, pending)
    return block_of


def _split(sources: list[int], blocks: list[set[int]], block_of: list[int], pending: set[int]) -> None:
    touched: dict[int, list[int]] = defaultdict(list)
    for source in sources:
        touched[block_of[source]].append(source)
    for number, members in touched.items():
        if len(members) == len(blocks[number]):
            continue
        inside = set(members)
        blocks[number] -= inside
        if len(inside) > len(blocks[number]):
            inside, blocks[number] = blocks[number], inside
        for state in inside:
            block_of[state] = len(blocks)
        pending.add(len(blocks))
        blocks.append(inside)


def _breadth_first(rows: list[dict[int, int]], start: int, block_of: list[int]) -> dict[int, tuple[int, int]]:
    """Gives each block its number and one of its states, in the order in which they are first met."""
    order = {block_of[start]: (0, start)}
    todo = deque([start])
    while todo:
        for _, target in sorted(rows[todo.popleft()].items()):
            if block_of[target] not in order:
                order[block_of[target]] = (len(order), target)
                todo.append(target)
    return order
