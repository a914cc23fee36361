"""Texts that Lark's Earley parser reads without a lexer, byte by byte.

At every place of the text, each terminal that a rule wants there is matched on its own, by `re`. Terminals
are automata that run side by side, so a state may lie inside several of them. Where Lark takes the one
match that `re` finds, ending a terminal here is a bet on what follows: `[a-z]+` ends before something
that is no letter. A state is a set of branches, each with the bets that it has made and not yet won.
"""

from __future__ import annotations

from lmppl.constraints.grammars.earley_sets import EarleySets, Frame
from lmppl.constraints.grammars.left_contexts import START, LeftContexts
from lmppl.constraints.grammars.matchers import Matcher, Matchers
from lmppl.constraints.grammars.numbered_rules import Rules
from lmppl.constraints.grammars.place_shapes import Fork, Plan, Reached, Shape, Shapes

MAX_STEPS = 200_000


class Place:
    """A state: a shape, and the frames in it. Equal to itself only; the recogniser makes one for each.

    Attributes:
        shape: The branches.
        frames: By number: those that were made first come first.
        context: What stands before what may begin here: see `LeftContexts`.
        after: The place after a byte, as far as it was asked for; None if it is refused.
        planned: Those that were made last, by what the byte makes of the shape.
    """

    __slots__ = ("after", "context", "frames", "planned", "shape")

    def __init__(self, shape: Shape, frames: tuple[Frame, ...], context: int):
        self.shape = shape
        self.frames = frames
        self.context = context
        self.after: dict[int, Place | None] = {}
        self.planned: dict[Plan, Place] = {}


class Recogniser:
    """The states of one grammar, made as they are met and remembered up to a bound.

    Args:
        rules: Of the grammar.
        matchers: The terminals that occur in them, and those that are left out.
        is_exact: Whether every state can be completed.
        contexts: What stands before terminals, if it matters.
    """

    def __init__(
        self, rules: Rules, matchers: list[Matcher], is_exact: bool, contexts: LeftContexts | None = None
    ):
        self.is_exact = is_exact
        self._contexts = contexts
        self._sets = EarleySets(rules)
        self._matchers = Matchers(matchers, 1 if contexts is None else len(contexts.numbers))
        self._shapes = Shapes(self._matchers)
        self._places: dict[tuple[int | Shape | Frame, ...], Place] = {}
        self._num_steps = 0
        self.initial = Place(self._shapes.shape([(frozenset(), (), 0)]), (self._sets.initial,), START)
        self._remember_initial()

    def advance(self, place: Place | None, data: bytes) -> Place | None:
        """Gives the state after some bytes, or None if nothing that starts so is in the language."""
        for byte in data:
            if place is None:
                return None
            after = place.after
            place = after[byte] if byte in after else self._step(place, byte)
        return place

    @property
    def num_planned(self) -> int:
        """How much was worked out so far of how places move, whatever their frames."""
        return self._shapes.num_known

    def accepts(self, place: Place) -> bool:
        """Says whether the text so far is in the language."""
        return any(
            frame is not None and self._sets.accepts(place.frames[frame]) and self._matchers.are_won(bets)
            for bets, _, frame in place.shape.branches
        )

    def _step(self, place: Place, byte: int) -> Place | None:
        if self._num_steps + self._shapes.num_known >= MAX_STEPS:
            self._forget()
        self._num_steps += 1
        shape = place.shape
        steps = shape.steps
        plan = steps[byte] if byte in steps else self._shapes.step(shape, byte)
        if isinstance(plan, Fork):
            plan = self._planned(plan, place, byte)
        found = None
        if plan is not None:
            context = START if self._contexts is None else self._contexts.after(place.context, byte)
            found = place.planned.get(plan)
            if found is None or found.context != context:
                found = place.planned[plan] = self._followed(plan, place.frames, context)
        place.after[byte] = found
        return found

    def _planned(self, fork: Fork, place: Place, byte: int) -> Plan | None:
        """Gives what comes of a byte that may begin terminals."""
        begun = []
        frames, context = place.frames, place.context
        for number in fork.open:
            terminals = frames[number].terminals
            if terminals < 0:
                terminals = self._sets.terminals(frames[number])
            begun.append(self._matchers.begun(terminals, byte, context))
        plans = fork.plans
        key = tuple(begun)
        return plans[key] if key in plans else self._shapes.plan(fork, key)

    def _followed(self, plan: Plan, frames: tuple[Frame, ...], context: int) -> Place:
        """Gives the place after a plan."""
        found = [frames[number] for number in plan.kept]
        for reached in plan.made:
            if len(reached) != 1:
                found.append(self._union(reached, frames))
                continue
            number, symbol = reached[0]
            frame = frames[number]
            assert symbol is not None  # else it is kept
            found.append(frame.following.get(symbol) or self._sets.after(frame, symbol))
        shape = plan.only
        if shape is None:
            order, found = _ordered(found)
            shape = plan.shapes.get(order) or self._shapes.ordered(plan, order)
        key = (context, shape, *found)
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = Place(shape, tuple(found), context)
        return place

    def _union(self, reached: tuple[Reached, ...], frames: tuple[Frame, ...]) -> Frame:
        return self._sets.union(
            {
                frames[number] if symbol is None else self._sets.after(frames[number], symbol)
                for number, symbol in reached
            }
        )

    def _forget(self) -> None:
        """Drops all places. Those that somebody holds can be gone on with."""
        for place in self._places.values():
            place.after.clear()
            place.planned.clear()
        self._places.clear()
        self._shapes.forget()
        self._num_steps = 0
        self._remember_initial()

    def _remember_initial(self) -> None:
        self._places[START, self.initial.shape, self._sets.initial] = self.initial


def _ordered(frames: list[Frame]) -> tuple[tuple[int, ...], list[Frame]]:
    """Gives the place of each frame among the distinct ones, those first that were made first, and these."""
    if len(frames) == 2:  # nearly always
        first, second = frames
        if first.serial < second.serial:
            return (0, 1), frames
        if first is not second:
            return (1, 0), [second, first]
    distinct = sorted(set(frames), key=_serial)
    numbers = {frame: number for number, frame in enumerate(distinct)}
    return tuple([numbers[frame] for frame in frames]), distinct


def _serial(frame: Frame) -> int:
    return frame.serial
