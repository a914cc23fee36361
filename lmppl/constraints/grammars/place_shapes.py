"""What a byte does to all places of a text that differ in their frames only.

A place is a set of branches, each with the bets that it has made and not yet won, and with terminals under
way that began in frames. Its shape is that set with the frames numbered: it recurs all the time, and how
it moves on is found once. A frame matters only by which terminals it lets begin.
"""

from __future__ import annotations

from collections.abc import Sequence

from lmppl.constraints.grammars.matchers import Bets, Matchers
from lmppl.constraints.grammars.numbered_rules import bits
from lmppl.constraints.regular.transition_tables import DEAD

Thread = tuple[int, int, int]
"""A terminal under way: matcher, state of its automaton, number of the frame in which it began."""

Begun = tuple[tuple[int, int], ...]
"""Terminals that begin: matcher, state."""

Reached = tuple[int, int | None]
"""What is behind a symbol, or behind nothing, that began in the frame of some number."""


Branch = tuple[Bets, tuple[Thread, ...], int | None]
"""One way to have read the text: what must still turn out so, terminals under way, and the number of the
frame where terminals may begin; None where none ends."""


class Shape:
    """Branches with numbered frames. Equal to itself only.

    Attributes:
        branches: In some order.
        steps: What bytes do to them, as far as it was asked for; None if nothing is left.
    """

    __slots__ = ("branches", "steps")

    def __init__(self, branches: tuple[Branch, ...]):
        self.branches = branches
        self.steps: dict[int, Plan | Fork | None] = {}


class Fork:
    """What a byte makes of a shape where it may begin terminals, but for these.

    Attributes:
        branches: As the byte has moved them; `frame` is where it may begin terminals.
        open: These frames.
        plans: What comes of it, by the terminals that begin in each of these frames; None if nothing does.
    """

    __slots__ = ("branches", "open", "plans")

    def __init__(self, branches: tuple[Branch, ...]):
        self.branches = branches
        self.open = [frame for _, _, frame in branches if frame is not None]
        self.plans: dict[tuple[Begun, ...], Plan | None] = {}


class Plan:
    """The branches after a byte, and how the frames that they need are made.

    Attributes:
        branches: With frames numbered by this plan: first those that are kept, then those that are made.
        kept: The numbers that kept frames had.
        made: For each frame that is made, what meets there.
        in_turn: The order of the frames as they are numbered.
        shapes: What comes of it, by the order of the frames.
        only: What comes of it if the frames can have no other order than this; else None.
    """

    __slots__ = ("branches", "in_turn", "kept", "made", "only", "shapes")

    def __init__(self, branches: list[Branch], kept: list[int], made: list[tuple[Reached, ...]]):
        self.branches = branches
        self.kept = kept
        self.made = made
        self.in_turn = tuple(range(len(kept) + len(made)))
        self.shapes: dict[tuple[int, ...], Shape] = {}
        self.only: Shape | None = None


_Growth = tuple[list[Thread], list[Reached]]
"""What a byte makes of the branches with some bets."""


class Shapes:
    """The shapes of one grammar, made as they are met."""

    def __init__(self, matchers: Matchers):
        self._matchers = matchers
        self._shapes: dict[Branch | frozenset[Branch], Shape] = {}
        self._steps: dict[tuple[Branch, ...], Plan | Fork | None] = {(): None}
        self.num_known = 0

    def shape(self, branches: Sequence[Branch]) -> Shape:
        """Gives the shape of some branches, each with its threads in order."""
        key = branches[0] if len(branches) == 1 else frozenset(branches)
        found = self._shapes.get(key)
        if found is None:
            self.num_known += 1
            found = self._shapes[key] = Shape(tuple(branches))
        return found

    def step(self, shape: Shape, byte: int) -> Plan | Fork | None:
        """Gives what a byte makes of a shape."""
        steps = shape.steps
        if byte not in steps:
            self.num_known += 1
            branches = self._branches_after(shape, byte)
            if branches not in self._steps:
                fork = Fork(branches)
                self._steps[branches] = fork if fork.open else self._planned(branches, ())
            steps[byte] = self._steps[branches]
        return steps[byte]

    def plan(self, fork: Fork, begun: tuple[Begun, ...]) -> Plan | None:
        """Gives what comes of it if terminals begin in each of its open frames."""
        if begun not in fork.plans:
            self.num_known += 1
            fork.plans[begun] = self._planned(fork.branches, begun)
        return fork.plans[begun]

    def ordered(self, plan: Plan, order: tuple[int, ...]) -> Shape:
        """Gives the shape after a plan, for the new number of each of its frames."""
        branches = plan.branches
        if order != plan.in_turn:
            branches = [
                (
                    bets,
                    _sorted([(m, s, order[f]) for m, s, f in threads]),
                    None if frame is None else order[frame],
                )
                for bets, threads, frame in branches
            ]
        found = plan.shapes[order] = self.shape(branches)
        return found

    def forget(self) -> None:
        """Drops all shapes. Those that somebody holds can be gone on with."""
        for shape in self._shapes.values():
            shape.steps.clear()
        self._shapes.clear()
        self._steps = {(): None}
        self.num_known = 0

    def _branches_after(self, shape: Shape, byte: int) -> tuple[Branch, ...]:
        flats = self._matchers.flats
        branches: list[Branch] = []
        for bets, threads, frame in shape.branches:
            if bets:
                bets = self._matchers.kept(bets, byte)
                if bets is None:
                    continue
            if len(threads) == 1:
                m, s, f = threads[0]
                s = flats[m][256 * s + byte]
                threads = () if s == DEAD else ((m, s, f),)
            elif threads:
                moved = [(m, flats[m][256 * s + byte], f) for m, s, f in threads]
                threads = tuple([thread for thread in moved if thread[1] != DEAD])
            if threads or frame is not None:
                branches.append((bets, threads, frame))
        return tuple(branches)

    def _planned(self, branches: tuple[Branch, ...], begun: tuple[Begun, ...]) -> Plan | None:
        grown, kept = self._grown(branches, begun)
        if not grown:
            return None
        made: dict[tuple[Reached, ...], int] = {}
        num_kept = kept.bit_count()
        planned: list[Branch] = []
        for bets, (threads, reached) in grown.items():
            frame = None
            if reached:
                number, symbol = reached[0]
                if symbol is None and len(reached) == 1:
                    frame = _rank(kept, number)
                else:
                    frame = num_kept + made.setdefault(tuple(reached), len(made))
            if kept & (kept + 1):  # else the numbers stay as they are
                threads = [(m, s, _rank(kept, f)) for m, s, f in threads]
            planned.append((bets, _sorted(threads), frame))
        plan = Plan(planned, list(bits(kept)), list(made))
        if not made or num_kept + len(made) == 1:
            plan.only = self.shape(planned)
        return plan

    def _grown(
        self, branches: tuple[Branch, ...], begun: tuple[Begun, ...]
    ) -> tuple[dict[Bets, _Growth], int]:
        """Gives what terminals under way come to that a byte has moved or begun.

        Returns:
            That, and the numbers of the frames that are kept for it, as bits.
        """
        grown: dict[Bets, _Growth] = {}
        kept = 0
        fresh = iter(begun)
        effects, effect = self._matchers.effects, self._matchers.effect
        for bets, threads, frame in branches:
            if frame is not None and (new := next(fresh)):
                threads = [*threads, *[(m, s, frame) for m, s in new]]
            running: list[Thread] = []
            for thread in threads:
                number, state, at = thread
                runs, ways, symbol = effects[number].get(state) or effect(number, state)
                if runs:
                    running.append(thread)
                    kept |= 1 << at
                for more in ways:
                    then = bets | more if more else bets
                    if then not in grown:
                        grown[then] = ([], [])
                    grown[then][1].append((at, symbol))
            if bets in grown:
                grown[bets][0].extend(running)
            elif running:
                grown[bets] = (running, [])
        for _, reached in grown.values():
            if len(reached) == 1 and reached[0][1] is None:
                kept |= 1 << reached[0][0]
        return grown, kept


def _sorted(threads: Sequence[Thread]) -> tuple[Thread, ...]:
    """Gives threads in order, each once."""
    return tuple(threads if len(threads) < 2 else sorted(set(threads)))


def _rank(kept: int, number: int) -> int:
    """Gives the number of a frame among those that are kept, which stay in their order."""
    return (kept & ((1 << number) - 1)).bit_count()
