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

from lmppl.constraints.grammars.numbered_rules import Rules, bits
from lmppl.constraints.grammars.rule_tails import Outcome, Prediction, Tails

MAX_FRAMES = 20_000


class Frame:
    """One Earley set: what was begun and not finished at one place of the text.

    Equal to itself only; the recogniser makes one frame for equal kernels.

    Attributes:
        kernel: The items that are not predicted from others of the frame.
        serial: Frames that were made later have greater ones.
        index: The kernel by its next symbols, once it was asked for.
        terminals: The terminals that may begin here, as bits; -1 before they were asked for.
        expected: The same as numbers, once they were asked for.
        following: The frames behind terminals, as far as they were asked for.
        completed, replaced: What the recogniser has worked out of it so far.
    """

    __slots__ = ("completed", "expected", "following", "index", "kernel", "replaced", "serial", "terminals")

    def __init__(self, kernel: frozenset[Item], serial: int):
        self.kernel = kernel
        self.serial = serial
        self.index: Index | None = None
        self.terminals = -1
        self.expected: tuple[int, ...] | None = None
        self.following: dict[int, Frame] = {}
        self.completed: dict[int, frozenset[Item]] = {}
        self.replaced: dict[tuple[int, int], frozenset[Item]] = {}

    def forget(self) -> None:
        """Drops what leads to other frames, and can be found again."""
        self.index = None
        self.following.clear()
        self.completed.clear()
        self.replaced.clear()


Item = tuple[int, Frame | None]
"""What must still follow, a tail of a rule, and the frame in which the rule began; None for the text."""

Index = tuple[dict[int, list[Item]], Prediction]
"""The items of a kernel by their next symbols, and what else begins."""

Complete = tuple[Frame, int]
"""Where a nonterminal began that is complete, and the nonterminal."""


class EarleySets:
    """The frames of one grammar, made as they are met and remembered up to a bound."""

    def __init__(self, rules: Rules):
        self._tails = Tails(rules)
        self._first_nonterminal = rules.first_nonterminal
        self._frames: dict[frozenset[Item], Frame] = {}
        self._num_made = 0
        self._accepted: Item = (self._tails.accepted, None)
        self.initial = self._made(
            frozenset({(tail, None) for tail in self._tails.outcome(self._tails.whole).keeps})
        )

    def accepts(self, frame: Frame) -> bool:
        """Says whether the text may end at a frame."""
        return self._accepted in frame.kernel

    def after(self, frame: Frame, terminal: int) -> Frame:
        """Gives the frame behind a terminal that may begin in a frame."""
        found = frame.following.get(terminal)
        if found is None:
            waiting, prediction = frame.index or self._index(frame)
            kernel: set[Item] = set()
            complete: list[Complete] = []
            self._add(prediction.shifted(terminal), frame, kernel, complete)
            self._add_all(waiting.get(terminal, ()), kernel, complete)
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
            waiting, prediction = frame.index or self._index(frame)
            frame.terminals = prediction.terminals
            for symbol in waiting:
                if 0 <= symbol < self._first_nonterminal:
                    frame.terminals |= 1 << symbol
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
        waiting: defaultdict[int, list[Item]] = defaultdict(list)
        firsts = self._tails.firsts
        for item in frame.kernel:
            waiting[firsts[item[0]]].append(item)
        called = frozenset([symbol for symbol in waiting if symbol >= self._first_nonterminal])
        frame.index = waiting, self._tails.prediction(called)
        return frame.index

    def _add_all(self, items: Iterable[Item], kernel: set[Item], complete: list[Complete]) -> None:
        """Adds what becomes of items when they are moved past their next symbols."""
        stays, nexts = self._tails.stays, self._tails.nexts
        for tail, parent in items:
            after = nexts[tail]
            if stays[after]:
                kernel.add((after, parent))
            elif parent is None:
                kernel.update((tail, None) for tail in self._tails.outcome(after).keeps)
            else:
                self._add(self._tails.outcome(after), parent, kernel, complete)

    def _add(self, outcome: Outcome, parent: Frame, kernel: set[Item], complete: list[Complete]) -> None:
        """Adds what becomes of tails; what is complete is left to do."""
        keeps, elides, completes = outcome
        for tail in keeps:
            kernel.add((tail, parent))
        for key in elides:
            kernel |= parent.replaced.get(key) or self._replaced(parent, *key)
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
                waiting, prediction = at.index or self._index(at)
                reached, _, outcome = prediction.ended(owner)
                self._add(outcome, at, kernel, todo)
                for moved in waiting.keys() & reached:
                    self._add_all(waiting[moved], kernel, todo)
        return frame.completed.setdefault(symbol, frozenset(kernel))

    def _replaced(self, frame: Frame, last: int, owner: int) -> frozenset[Item]:
        """Gives what waits in a frame for `owner`, which ends with `last`, as waiting for that."""
        waiting, prediction = frame.index or self._index(frame)
        reached, tails, _ = prediction.ended(owner)
        before, nexts = self._tails.all_before(last), self._tails.nexts
        found: list[Item] = [(before[tail], frame) for tail in tails]
        for moved in waiting.keys() & reached:
            found += [(before[nexts[tail]], parent) for tail, parent in waiting[moved]]
        return frame.replaced.setdefault((last, owner), frozenset(found))
