"""How what is compiled of a grammar is kept on disk: what Lark read, automata of terminals, LALR tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, pairwise

import numpy as np

from lmppl.constraints.grammars.lalr_tables import LalrTable, Rest
from lmppl.constraints.grammars.lark_readings import LarkRule, LarkSymbol, LarkTerminal, Reading
from lmppl.constraints.grammars.match_automata import Label, MatchAutomaton
from lmppl.constraints.plain_values import Kind, Kinds, fields
from lmppl.constraints.stored_compilations import by_bytes, by_classes

_Rows = tuple[np.ndarray, np.ndarray]
"""Rows of ints, one after the other, and the length of each."""


def _automaton_parts(automaton: MatchAutomaton) -> tuple:
    transitions = np.frombuffer(automaton.flat, np.int32).reshape(-1, 256)
    numbers = {label: number for number, label in enumerate(dict.fromkeys(automaton.labels))}
    label_of = np.array([numbers[label] for label in automaton.labels], np.int32)
    return (*by_classes(transitions), tuple(map(tuple, numbers)), label_of, np.array(automaton.runs, bool))


def _automaton(
    table: np.ndarray,
    class_of: np.ndarray,
    labels: Sequence[tuple],
    label_of: np.ndarray,
    runs: np.ndarray,
) -> MatchAutomaton:
    transitions = by_bytes(table, class_of)
    if not len(label_of) == len(transitions) == len(runs):
        raise ValueError
    made = [Label(*label) for label in labels]
    return MatchAutomaton(transitions, [made[number] for number in label_of.tolist()], runs.tolist())


def _table_parts(table: LalrTable) -> tuple:
    shared = {id(row): row for row in table.reductions}
    numbers = {each: number for number, each in enumerate(shared)}
    return (
        _rows(chain.from_iterable(row.items()) for row in table.shifts),
        _rows(chain.from_iterable((token, *rule) for token, rule in row.items()) for row in shared.values()),
        np.array([numbers[id(row)] for row in table.reductions], np.int32),
        _rows(chain.from_iterable(row.items()) for row in table.gotos),
        table.end,
        table.has_conflicts,
        _rows((rest.origin, rest.num_read, *rest.symbols) for rests in table.rests for rest in rests),
        np.array([len(rests) for rests in table.rests], np.int32),
    )


def _table(
    shifts: _Rows,
    reductions: _Rows,
    reductions_of: np.ndarray,
    gotos: _Rows,
    end: int,
    has_conflicts: bool,
    rests: _Rows,
    num_rests: np.ndarray,
) -> LalrTable:
    rules = [
        dict(zip(row[::3], zip(row[1::3], row[2::3], strict=True), strict=True)) for row in _lists(reductions)
    ]
    begun = [Rest(tuple(symbols), origin, num_read) for origin, num_read, *symbols in _lists(rests)]
    return LalrTable(
        list(map(_pairs, _lists(shifts))),
        [rules[number] for number in reductions_of.tolist()],
        list(map(_pairs, _lists(gotos))),
        end,
        has_conflicts,
        [tuple(begun[low:high]) for low, high in pairwise([0, *np.cumsum(num_rests).tolist()])],
    )


def _rows(rows: Iterable[Iterable[int]]) -> _Rows:
    lists = [list(row) for row in rows]
    return np.array([*chain.from_iterable(lists)], np.int32), np.array([len(row) for row in lists], np.int32)


def _lists(rows: _Rows) -> list[list[int]]:
    values, lengths = rows[0].tolist(), rows[1]
    if lengths.sum() != len(values):
        raise ValueError
    return [values[low:high] for low, high in pairwise([0, *np.cumsum(lengths).tolist()])]


def _pairs(row: list[int]) -> dict[int, int]:
    return dict(zip(row[::2], row[1::2], strict=True))


KINDS: Kinds = {
    Reading: fields("reading", Reading),
    LarkTerminal: fields("terminal", LarkTerminal),
    LarkSymbol: fields("symbol", LarkSymbol),
    LarkRule: fields("rule", LarkRule),
    MatchAutomaton: Kind("matches", _automaton_parts, _automaton),
    LalrTable: Kind("table", _table_parts, _table),
}
"""The classes that parts of a grammar consist of."""
