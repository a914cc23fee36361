"""From automata over characters to automata over the bytes of UTF-8."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from lmppl.constraints.regular.automaton import MAX_STATES, ByteAutomaton
from lmppl.constraints.regular.character_automaton import TooLarge
from lmppl.constraints.regular.character_sets import Partition
from lmppl.constraints.regular.transition_tables import DEAD, Accepting, Table

_ASCII = 0x80  # characters below are one byte
_FORMS = (  # lead byte of the first code point, bits after the lead, code points: RFC 3629
    (0xC0, 6, range(0x80, 0x800)),
    (0xE0, 12, range(0x800, 0x10000)),
    (0xF0, 18, range(0x10000, 0x110000)),
)


def byte_automaton(partition: Partition, table: Table, accepting: Accepting) -> ByteAutomaton:
    """Writes every character of a deterministic automaton out as its one to four bytes.

    Between two characters there is one state for each distinct map from the bytes that are left to
    where they lead, shared over the whole automaton. Cost: 5 ms, and 64 steps a byte state.

    Raises:
        TooLarge: More than 50,000 byte states.
    """
    rows = byte_rows(partition, table)
    ends = np.zeros(len(rows), bool)
    ends[: len(accepting)] = accepting
    return ByteAutomaton.of_table(rows, 0, ends)


def byte_rows(partition: Partition, table: Table) -> Int32[np.ndarray, "byte_states 256"]:
    """Gives the transitions over bytes: first the states of the table, then those inside characters.

    Raises:
        TooLarge: More than 50,000 byte states.
    """
    return np.stack(_Builder(Encoding.of(partition), table).rows())


@cache
def all_texts() -> ByteAutomaton:
    """Gives the automaton of every string of whole characters; its start stands between two of them."""
    return byte_automaton(Partition.of(()), np.zeros((1, 1), np.int32), np.ones(1, bool))


class ContinuationTrees:
    """The classes of all code points beyond ASCII as trees of 64 branches, equal subtrees shared.

    A node is the number of an entry of `children`; at depth 0 the children are classes, -1 for what
    is no character. Most patterns tell apart the same ones there, so that the trees are remembered.

    Args:
        runs: The code points from which on each class follows, with its number; -1 is no character.
    """

    def __init__(self, runs: tuple[tuple[int, int], ...]):
        self.children: list[tuple[int, ...]] = []
        self.depths: list[int] = []
        self.classes: list[np.ndarray] = []  # all classes under a node
        self._numbers: dict[tuple[int, tuple[int, ...]], int] = {}
        self._uniforms: dict[tuple[int, int], int] = {}
        self._starts = [start for start, _ in runs]
        self._run_classes = [number for _, number in runs]
        self.leads_of: dict[int, list[int]] = defaultdict(list)
        for lead, bits, codes in _FORMS:
            for block in range(codes.start >> bits, -(-codes.stop >> bits)):
                node = self._tree(block << bits, bits // 6 - 1, codes)
                self.leads_of[node].append(lead + block)

    def _run(self, code: int) -> int:
        return bisect_right(self._starts, code) - 1

    def _tree(self, low: int, depth: int, codes: range) -> int:
        """Gives the node of a block of code points; those outside of `codes` are no characters here."""
        if not (high := low + (64 << 6 * depth)) > codes.start or low >= codes.stop:
            return self._node((-1,) * 64 if depth == 0 else (self._tree(low, depth - 1, codes),) * 64, depth)
        run = self._run(low)
        if low >= codes.start and high <= codes.stop and self._run(high - 1) == run:
            return self._uniform(self._run_classes[run], depth)
        size = 1 << 6 * depth
        if depth:
            inner = (self._tree(code, depth - 1, codes) for code in range(low, high, size))
            return self._node(tuple(inner), depth)
        numbers = (self._run_classes[self._run(c)] if c in codes else -1 for c in range(low, high))
        return self._node(tuple(numbers), 0)

    def _uniform(self, number: int, depth: int) -> int:
        """Gives the node of a block whose code points all have one class."""
        if (number, depth) not in self._uniforms:
            child = number if depth == 0 else self._uniform(number, depth - 1)
            self._uniforms[number, depth] = self._node((child,) * 64, depth)
        return self._uniforms[number, depth]

    def _node(self, children: tuple[int, ...], depth: int) -> int:
        key = (depth, children)
        if key not in self._numbers:
            self._numbers[key] = len(self.children)
            self.children.append(children)
            self.depths.append(depth)
            self.classes.append(self._classes_under(children, depth))
        return self._numbers[key]

    def _classes_under(self, children: tuple[int, ...], depth: int) -> np.ndarray:
        if depth == 0:
            return np.array(sorted(set(children) - {-1}), np.int64)
        return np.unique(np.concatenate([self.classes[child] for child in set(children)]))


_trees = lru_cache(64)(ContinuationTrees)


class Encoding(NamedTuple):
    """How the characters of each class are written.

    Attributes:
        ascii_classes: The class of each character that is one byte; -1 is no character.
        trees: Of the others.
        beyond: The classes that the numbers in the trees stand for.
    """

    ascii_classes: list[int]
    trees: ContinuationTrees
    beyond: list[int]

    @staticmethod
    def of(partition: Partition) -> Encoding:
        """Gives that of the classes of a partition."""
        runs = partition.code_point_runs
        starts = [start for start, _ in runs]
        ascii_classes = [runs[bisect_right(starts, code) - 1][1] for code in range(_ASCII)]
        beyond = runs[bisect_right(starts, _ASCII) - 1 :]
        names = list(dict.fromkeys(number for _, number in beyond if number != -1))
        numbers = {-1: -1} | {number: i for i, number in enumerate(names)}
        trees = _trees(tuple((max(start, _ASCII), numbers[number]) for start, number in beyond))
        return Encoding(ascii_classes, trees, names)


class _Builder:
    """Byte states: first those of the characters' automaton, then those inside characters.

    Args:
        encoding: Of the classes of characters.
        table: Over these classes.
    """

    def __init__(self, encoding: Encoding, table: Table):
        self.ascii_classes, self.trees, self.beyond = encoding
        self.table = table
        self.known: dict[tuple[int, bytes], int] = {}
        self.inner: dict[tuple[int, bytes], int] = {}
        self.inner_rows: list[np.ndarray] = []

    def rows(self) -> list[np.ndarray]:
        outer = [self.outer_row(targets) for targets in self.table]
        return outer + self.inner_rows

    def outer_row(self, targets: np.ndarray) -> np.ndarray:
        row = np.full(256, DEAD, np.int32)
        row[:_ASCII] = targets[self.ascii_classes]
        beyond = targets[self.beyond]
        if (beyond == DEAD).all():
            return row
        for node, leads in self.trees.leads_of.items():
            row[leads] = self.state(node, beyond)
        return row

    def state(self, node: int, targets: np.ndarray) -> int:
        """Gives the byte state of a tree whose classes lead to `targets`; -1 if all of it is dead."""
        reached = targets[self.trees.classes[node]]
        key = (node, reached.tobytes())
        if key not in self.known:
            self.known[key] = DEAD if (reached == DEAD).all() else self.branches(node, targets)
        return self.known[key]

    def branches(self, node: int, targets: np.ndarray) -> int:
        children = self.trees.children[node]
        depth = self.trees.depths[node]
        if depth == 0:
            after = {child: DEAD if child == -1 else int(targets[child]) for child in set(children)}
        else:
            after = {child: self.state(child, targets) for child in set(children)}
        return self.intern(np.array([after[child] for child in children], np.int32), depth)

    def intern(self, after: np.ndarray, depth: int) -> int:
        key = (depth, after.tobytes())
        if key not in self.inner:
            self.inner[key] = len(self.table) + len(self.inner)
            row = np.full(256, DEAD, np.int32)
            row[0x80:0xC0] = after
            self.inner_rows.append(row)
            if len(self.inner) + len(self.table) > MAX_STATES:
                raise TooLarge
        return self.inner[key]
