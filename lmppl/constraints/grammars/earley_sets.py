"""Earley sets as immutable values: what a context-free grammar waits for at one place of a text.

Earley's algorithm (1970) without a chart that grows by mutation: each set is an immutable `Frame` that
points at the frames in which its rules began, so that it forks for free. Empty alternatives follow
Aycock & Horspool (2002). A rule whose last symbol is a nonterminal is left at once for that, and what waits
for the rule, as in Leo (1991), so that right recursion does not nest: on a regular, right- or left-linear
grammar the frames are finitely many.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from lmppl.constraints.grammars.numbered_rules import Rules, bits
from lmppl.constraints.grammars.predictions import Prediction, Predictions
from lmppl.constraints.grammars.rule_tails import Bundle, Outcome, Tails

MAX_FRAMES = 20_000


class Frame:
    """One Earley set: what was begun and not finished at one place of the text.

    Equal to itself only; the recogniser makes one frame for equal kernels.

    Attributes:
        kernel: The items that are not predicted from others of the frame.
        serial: Frames that were made later have greater ones.
        index: The kernel by its kinds, once it was asked for.
        terminals: The terminals that may begin here, as bits; -1 before they were asked for.
        expected: The same as numbers, once they were asked for.
        following: The frames behind terminals, as far as they were asked for.
        completed, behind: What the recogniser has worked out of it so far, by nonterminal.
    """

    __slots__ = ("behind", "completed", "expected", "following", "index", "kernel", "serial", "terminals")

    def __init__(self, kernel: frozenset[Item], serial: int):
        self.kernel = kernel
        self.serial = serial
        self.index: Index | None = None
        self.terminals = -1
        self.expected: tuple[int, ...] | None = None
        self.following: dict[int, Frame] = {}
        self.completed: dict[int, frozenset[Item]] = {}
        self.behind: dict[int, frozenset[Begun]] = {}

    def forget(self) -> None:
        """Drops what leads to other frames, and can be found again."""
        self.index = None
        self.following.clear()
        self.completed.clear()
        self.behind.clear()


Begun = tuple[Bundle, Frame | None]
"""What must still follow, tails of rules, and the frame in which the rules began; None for the text."""


class Awaited(NamedTuple):
    """A nonterminal that is waited for in place of rules that end with it.

    Attributes:
        symbol: The nonterminal.
        behind: What waits for these rules, each moved on past them.
    """

    symbol: int
    behind: frozenset[Begun]


Item = Begun | Awaited

Index = tuple[list[Begun], dict[int, frozenset[Begun]], Prediction]
"""The rules under way, what comes behind nonterminals, and what else begins."""

Complete = tuple[Frame, int]
"""Where a nonterminal began that is complete, and the nonterminal."""


class EarleySets:
    """The frames of one grammar, made as they are met and remembered up to a bound."""

    def __init__(self, rules: Rules):
        self._tails = Tails(rules)
        self._predictions = Predictions(self._tails, rules)
        self._terminals = (1 << rules.first_nonterminal) - 1
        self._frames: dict[frozenset[Item], Frame] = {}
        self._num_made = 0
        begun = self._tails.merged([self._tails.whole]).keeps
        assert begun is not None
        self.initial = self._made(frozenset[Item]({(begun, None)}))

    def accepts(self, frame: Frame) -> bool:
        """Says whether the text may end at a frame."""
        accepted = self._tails.accepted
        begun = (frame.index or self._index(frame))[0]
        return any(parent is None and accepted in bundle.tails for bundle, parent in begun)

    def after(self, frame: Frame, terminal: int) -> Frame:
        """Gives the frame behind a terminal that may begin in a frame."""
        found = frame.following.get(terminal)
        if found is None:
            begun, _, prediction = frame.index or self._index(frame)
            kernel: set[Item] = set()
            complete: list[Complete] = []
            bit = 1 << terminal
            if prediction.terminals & bit:
                self._add(prediction.shifted(terminal), frame, kernel, complete)
            for bundle, parent in begun:
                if bundle.wants & bit:
                    self._add(bundle.moved(bit), parent, kernel, complete)
            for parent, owner in complete:
                kernel |= parent.completed.get(owner) or self._completed(parent, owner)
            found = frame.following[terminal] = self._made(frozenset(kernel))
        return found

    def union(self, frames: Collection[Frame]) -> Frame:
        """Gives the frame where some frames meet."""
        if len(frames) == 1:
            return next(iter(frames))
        return self._made(frozenset[Item]().union(*(frame.kernel for frame in frames)))

    def terminals(self, frame: Frame) -> int:
        """Gives the terminals that may begin in a frame, as bits."""
        if frame.terminals < 0:
            self._index(frame)
        return frame.terminals

    def expected(self, frame: Frame) -> tuple[int, ...]:
        """Gives the terminals that may begin in a frame."""
        if frame.expected is None:
            frame.expected = tuple(bits(self.terminals(frame)))
        return frame.expected

    def _made(self, kernel: frozenset[Item]) -> Frame:
        found = self._frames.get(kernel)
        if found is None:
            if len(self._frames) >= MAX_FRAMES:
                self._forget()
            self._num_made += 1
            found = self._frames[kernel] = Frame(kernel, self._num_made)
        return found

    def _forget(self) -> None:
        for frame in self._frames.values():
            frame.forget()
        self._frames.clear()
        self._frames[self.initial.kernel] = self.initial

    def _index(self, frame: Frame) -> Index:
        begun: list[Begun] = []
        behind: dict[int, frozenset[Begun]] = {}
        wants = 0
        for item in frame.kernel:
            if isinstance(item, Awaited):
                symbol, rest = item
                wants |= 1 << symbol
                behind[symbol] = behind[symbol] | rest if symbol in behind else rest
            else:
                begun.append(item)
                wants |= item[0].wants
        prediction = self._predictions.of(wants & ~self._terminals)
        frame.terminals = wants & self._terminals | prediction.terminals
        frame.index = begun, behind, prediction
        return frame.index

    def _add(
        self, outcome: Outcome, parent: Frame | None, kernel: set[Item], complete: list[Complete]
    ) -> None:
        """Adds what becomes of tails; what is complete is left to do."""
        keeps, elides, completes = outcome
        if keeps is not None:
            kernel.add((keeps, parent))
        if parent is None:
            return  # what the text waits for is kept as it is
        for last, owner in elides:
            kernel.add(Awaited(last, parent.behind.get(owner) or self._behind(parent, owner)))
        if completes:
            complete += [(parent, owner) for owner in completes]

    def _completed(self, frame: Frame, symbol: int) -> frozenset[Item]:
        """Gives the kernel behind a nonterminal that began in a frame and is complete."""
        kernel: set[Item] = set()
        seen: set[Complete] = set()
        todo = [(frame, symbol)]
        for each in todo:  # grows while it is walked
            at, owner = each
            if owner in at.completed:
                kernel |= at.completed[owner]
            elif each not in seen:
                seen.add(each)
                begun, behind, prediction = at.index or self._index(at)
                reached, _, outcome = prediction.ended(owner)
                self._add(outcome, at, kernel, todo)
                for bundle, parent in begun:
                    if found := bundle.wants & reached:
                        self._add(bundle.moved(found), parent, kernel, todo)
                for awaited, rest in behind.items():
                    if reached >> awaited & 1:
                        for bundle, parent in rest:
                            self._add(bundle.outcome, parent, kernel, todo)
        return frame.completed.setdefault(symbol, frozenset(kernel))

    def _behind(self, frame: Frame, owner: int) -> frozenset[Begun]:
        """Gives what waits in a frame for a nonterminal, moved on past that."""
        begun, behind, prediction = frame.index or self._index(frame)
        reached, rest, _ = prediction.ended(owner)
        found: set[Begun] = set() if rest is None else {(rest, frame)}
        for bundle, parent in begun:
            if symbols := bundle.wants & reached:
                found.add((bundle.rest(symbols), parent))
        for awaited, waiting in behind.items():
            if reached >> awaited & 1:
                found |= waiting
        return frame.behind.setdefault(owner, frozenset(found))
