"""An incremental recogniser for context-free grammars over bytes, whose states are values.

Earley's algorithm (1970) without a chart that grows by mutation: each Earley set is an immutable
`Frame` that points at the frames in which its items began, so that a state is a value and forks for
free. Terminals are byte automata that run side by side, so a state may lie inside several of them.
Empty alternatives follow Aycock & Horspool (2002). An item whose last symbol is a nonterminal is
replaced by what waits for the item itself, as in Leo (1991), so that right recursion does not nest:
on a regular, right- or left-linear grammar the states are finitely many.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from lmppl.constraints.lark_rules import Rules
from lmppl.constraints.transition_tables import DEAD

MAX_FRAMES = 20_000
MAX_STEPS = 200_000

_TOP = -1  # the owner of the item that waits for the start symbol


class Frame:
    """One Earley set: what was begun and not finished at one place of the text.

    Equal to itself only; the recogniser makes one frame for equal kernels.

    Attributes:
        kernel: The items that are not predicted from others of the frame.
        called: The nonterminals that the kernel waits for.
        resolved, waiting, expected: What the recogniser has worked out of it so far.
    """

    __slots__ = ("called", "expected", "kernel", "resolved", "waiting")

    def __init__(self, kernel: frozenset[Item], first_nonterminal: int):
        self.kernel = kernel
        self.called = frozenset(r[0] for r, _, _ in kernel if r and r[0] >= first_nonterminal)
        self.resolved: dict[int, frozenset[Item]] = {}
        self.waiting: dict[int, set[Item]] = {}
        self.expected: tuple[int, ...] | None = None


class Item(NamedTuple):
    """What must still follow, the nonterminal that is then complete, and the frame that it began in."""

    rest: tuple[int, ...]
    owner: int
    parent: Frame | None


class Place(NamedTuple):
    """A state: the terminals under way with the frame before each, and the frame between terminals.

    Attributes:
        threads: (terminal, state of its automaton, frame in which it began).
        frame: None where no terminal ends.
    """

    threads: frozenset[tuple[int, int, Frame]]
    frame: Frame | None


_ACCEPTED = Item((), _TOP, None)


class Recogniser:
    """The states of one grammar, made as they are met and remembered up to a bound."""

    def __init__(self, rules: Rules):
        assert rules.start is not None
        self._rules = rules
        self._first_nonterminal = len(rules.terminals)
        self._left_corners = {symbol: self._left_corner(symbol) for symbol in rules.productions}
        self._tables = [automaton.flat for automaton in rules.terminals]
        self._ends = [automaton.accepting.tolist() for automaton in rules.terminals]
        self._goes_on = [(automaton.transitions != DEAD).any(1).tolist() for automaton in rules.terminals]
        self._frames: dict[frozenset[Item], Frame] = {}
        self._steps: dict[tuple[Place, int], Place | None] = {}
        self.initial = Place(frozenset(), self._frame({Item((rules.start,), _TOP, None)}, ()))

    def advance(self, place: Place, byte: int) -> Place | None:
        """Gives the state after one byte, or None if nothing that starts so is in the language."""
        key = (place, byte)
        if key in self._steps:
            return self._steps[key]
        if len(self._steps) >= MAX_STEPS:
            self._steps.clear()
        after = self._steps[key] = self._step(place, byte)
        return after

    def accepts(self, place: Place) -> bool:
        """Says whether the text so far is in the language."""
        return place.frame is not None and _ACCEPTED in place.frame.kernel

    def _step(self, place: Place, byte: int) -> Place | None:
        threads = list(place.threads)
        if place.frame is not None:
            threads += [(terminal, 0, place.frame) for terminal in self._expected(place.frame)]
        under_way: set[tuple[int, int, Frame]] = set()
        advanced: set[Item] = set()
        resumed: list[Frame] = []
        for terminal, state, frame in threads:
            after = self._tables[terminal][256 * state + byte]
            if after == DEAD:
                continue
            if self._goes_on[terminal][after]:
                under_way.add((terminal, after, frame))
            if self._ends[terminal][after]:
                advanced |= self._waiting(frame, terminal)
                if terminal in self._rules.ignored:
                    resumed.append(frame)
        new = self._frame(advanced, resumed) if advanced or resumed else None
        return Place(frozenset(under_way), new) if under_way or new else None

    def _frame(self, items: Iterable[Item], resumed: Iterable[Frame]) -> Frame:
        """Gives the frame of the items that a terminal brought here, and of frames that go on here."""
        kernel = self._kernel(items).union(*(frame.kernel for frame in resumed))
        if len(self._frames) >= MAX_FRAMES:
            self._frames.clear()
        return self._frames.setdefault(kernel, Frame(kernel, self._first_nonterminal))

    def _kernel(self, items: Iterable[Item]) -> frozenset[Item]:
        """Completes what is complete, skips what may be empty, and elides what ends in a nonterminal."""
        kernel: set[Item] = set()
        seen: set[Item] = set()
        todo = list(items)
        while todo:
            item = todo.pop()
            if item in seen:
                continue
            seen.add(item)
            rest, owner, parent = item
            if not rest and parent is not None:
                todo.extend(self._resolved(parent, owner))
                continue
            if rest and rest[0] in self._rules.nullable:
                todo.append(Item(rest[1:], owner, parent))
            if len(rest) == 1 and rest[0] >= self._first_nonterminal and parent is not None:
                kernel.update(Item(rest + r, o, p) for r, o, p in self._resolved(parent, owner))
            else:
                kernel.add(item)
        return frozenset(kernel)

    def _resolved(self, frame: Frame, symbol: int) -> frozenset[Item]:
        """Gives what waits in a frame for a nonterminal, through items that end with it.

        Each has something left, or is the whole text.
        """
        if symbol in frame.resolved:
            return frame.resolved[symbol]
        found: set[Item] = set()
        seen = {symbol}
        todo = [symbol]
        while todo:
            for item in self._waiting(frame, todo.pop()):
                if item.rest or item.parent is None:
                    found.add(item)
                elif item.owner not in seen:  # predicted here: kernels hold no such item
                    seen.add(item.owner)
                    todo.append(item.owner)
        return frame.resolved.setdefault(symbol, frozenset(found))

    def _waiting(self, frame: Frame, symbol: int) -> set[Item]:
        """Gives the items of a frame that stand before a symbol, moved past it."""
        if symbol not in frame.waiting:
            found = {Item(r[1:], owner, parent) for r, owner, parent in frame.kernel if r and r[0] == symbol}
            for called in frame.called:
                corner = self._left_corners[called].get(symbol, ())
                found.update(Item(rest, owner, frame) for rest, owner in corner)
            frame.waiting[symbol] = found
        return frame.waiting[symbol]

    def _expected(self, frame: Frame) -> tuple[int, ...]:
        """Gives the terminals that may begin in a frame, ignored ones included."""
        if frame.expected is None:
            symbols = {r[0] for r, _, _ in frame.kernel if r} | self._rules.ignored
            for called in frame.called:
                symbols.update(self._left_corners[called])
            frame.expected = tuple(sorted(s for s in symbols if s < self._first_nonterminal))
        return frame.expected

    def _left_corner(self, symbol: int) -> dict[int, set[tuple[tuple[int, ...], int]]]:
        """Gives, for each symbol that may come first in `symbol`, the rests after it and their owners."""
        corner: dict[int, set[tuple[tuple[int, ...], int]]] = defaultdict(set)
        seen = {symbol}
        todo = [symbol]
        while todo:
            owner = todo.pop()
            for side in self._rules.productions[owner]:
                for i, first in enumerate(side):
                    corner[first].add((side[i + 1 :], owner))
                    if first >= self._first_nonterminal and first not in seen:
                        seen.add(first)
                        todo.append(first)
                    if first not in self._rules.nullable:
                        break
        return dict(corner)
