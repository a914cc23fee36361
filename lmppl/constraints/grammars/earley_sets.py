"""Earley sets as immutable values: what a context-free grammar waits for at one place of a text.

Earley's algorithm (1970) without a chart that grows by mutation: each set is an immutable `Frame` that
points at the frames in which its items began, so that it forks for free. Empty alternatives follow
Aycock & Horspool (2002). An item whose last symbol is a nonterminal is replaced by what waits for the
item itself, as in Leo (1991), so that right recursion does not nest: on a regular, right- or left-linear
grammar the frames are finitely many.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import NamedTuple

from lmppl.constraints.grammars.numbered_rules import Rules

MAX_FRAMES = 20_000

_TOP = -1  # the owner of the item that waits for the start symbol


class Frame:
    """One Earley set: what was begun and not finished at one place of the text.

    Equal to itself only; the recogniser makes one frame for equal kernels.

    Attributes:
        kernel: The items that are not predicted from others of the frame.
        called: The nonterminals that the kernel waits for.
        resolved, waiting, expected, following: What the recogniser has worked out of it so far.
    """

    __slots__ = ("called", "expected", "following", "kernel", "resolved", "waiting")

    def __init__(self, kernel: frozenset[Item], first_nonterminal: int):
        self.kernel = kernel
        self.called = frozenset(r[0] for r, _, _ in kernel if r and r[0] >= first_nonterminal)
        self.resolved: dict[int, frozenset[Item]] = {}
        self.waiting: dict[int, set[Item]] = {}
        self.following: dict[int, Frame] = {}
        self.expected: tuple[int, ...] | None = None


class Item(NamedTuple):
    """What must still follow, the nonterminal that is then complete, and the frame that it began in."""

    rest: tuple[int, ...]
    owner: int
    parent: Frame | None


_ACCEPTED = Item((), _TOP, None)


class EarleySets:
    """The frames of one grammar, made as they are met and remembered up to a bound."""

    def __init__(self, rules: Rules):
        self._rules = rules
        self._first_nonterminal = rules.first_nonterminal
        self._left_corners = {symbol: self._left_corner(symbol) for symbol in rules.productions}
        self._frames: dict[frozenset[Item], Frame] = {}
        self.initial = self._made(self._kernel({Item((rules.start,), _TOP, None)}))

    def accepts(self, frame: Frame) -> bool:
        """Says whether the text may end at a frame."""
        return _ACCEPTED in frame.kernel

    def after(self, frame: Frame, terminal: int) -> Frame:
        """Gives the frame behind a terminal that may begin in a frame."""
        found = frame.following.get(terminal)
        if found is None:
            found = frame.following[terminal] = self._made(self._kernel(self.waiting(frame, terminal)))
        return found

    def union(self, frames: Collection[Frame]) -> Frame:
        """Gives the frame where some frames meet."""
        if len(frames) == 1:
            return next(iter(frames))
        return self._made(frozenset[Item]().union(*(frame.kernel for frame in frames)))

    def _made(self, kernel: frozenset[Item]) -> Frame:
        found = self._frames.get(kernel)
        if found is None:
            if len(self._frames) >= MAX_FRAMES:
                self._frames.clear()
            found = self._frames[kernel] = Frame(kernel, self._first_nonterminal)
        return found

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
            for item in self.waiting(frame, todo.pop()):
                if item.rest or item.parent is None:
                    found.add(item)
                elif item.owner not in seen:  # predicted here: kernels hold no such item
                    seen.add(item.owner)
                    todo.append(item.owner)
        return frame.resolved.setdefault(symbol, frozenset(found))

    def waiting(self, frame: Frame, symbol: int) -> set[Item]:
        """Gives the items of a frame that stand before a symbol, moved past it."""
        if symbol not in frame.waiting:
            found = {Item(r[1:], owner, parent) for r, owner, parent in frame.kernel if r and r[0] == symbol}
            for called in frame.called:
                corner = self._left_corners[called].get(symbol, ())
                found.update(Item(rest, owner, frame) for rest, owner in corner)
            frame.waiting[symbol] = found
        return frame.waiting[symbol]

    def expected(self, frame: Frame) -> tuple[int, ...]:
        """Gives the terminals that may begin in a frame."""
        if frame.expected is None:
            symbols = {r[0] for r, _, _ in frame.kernel if r}
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
