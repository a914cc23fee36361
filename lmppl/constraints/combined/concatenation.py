"""Constraints made of constraints: `a + b`, a text of the one and then a text of the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

from lmppl.constraints.asked_together import REFUSED, Ask, Asking
from lmppl.constraints.combined.composition import Composition
from lmppl.constraints.combined.literals import operand
from lmppl.constraints.combined.notation import Operator, infix
from lmppl.constraints.protocol import Constraint, State
from lmppl.constraints.regular import automaton_operations
from lmppl.constraints.regular.regular_language import RegularLanguage

Threads = frozenset[tuple[int, State]]
"""The ways to cut the text so far: which factor is under way, and its state over its own part."""


def followed(left: Constraint | str, right: Constraint | str) -> Constraint:
    """Allows a string that one constraint allows, and right after it one of another; written `left + right`.

    Each constraint sees its own part of the text only. Where the text may be cut in several places, all of
    them are followed until the rest refuses. Neighbours that are automata become one automaton at once, if
    that stays under 20,000 states. Anything else is asked once for each place where it may have begun, and,
    if it is not the last part, byte by byte: a check is asked at every byte whether its part may end there.
    A string stands for itself.

    Raises:
        InvalidTypeError: One of them is neither a constraint nor a string.
    """
    first, second = operand(left, "+"), operand(right, "+")
    items = (*_items(first), *_items(second))
    factors = _joined(_factors(first), _factors(second))
    if len(factors) == 1:
        machine = factors[0].automaton()
        assert machine is not None
        return RegularLanguage(machine, infix(Operator.PLUS, items), Operator.PLUS)
    return Concatenation(items, factors)


def _items(constraint: Constraint) -> tuple[Constraint, ...]:
    return constraint.items if isinstance(constraint, Concatenation) else (constraint,)


def _factors(constraint: Constraint) -> tuple[Constraint, ...]:
    return constraint.factors if isinstance(constraint, Concatenation) else (constraint,)


def _joined(left: tuple[Constraint, ...], right: tuple[Constraint, ...]) -> tuple[Constraint, ...]:
    """Puts factors after others, and joins the two that meet if both are automata and that stays small."""
    last, first = left[-1], right[0]
    before, machine = last.automaton(), first.automaton()
    if before is None or machine is None:
        return (*left, *right)
    joined = automaton_operations.concatenation(before, machine)
    if joined is None:
        return (*left, *right)
    return (
        *left[:-1],
        RegularLanguage(joined, infix(Operator.PLUS, (last, first)), Operator.PLUS),
        *right[1:],
    )


@dataclass(frozen=True, repr=False)
class Concatenation(Composition):
    """Strings of several constraints, one after the other. Made by `followed`.

    A state is the set of ways to cut the text so far (`Threads`).

    Attributes:
        items: What the user joined.
        factors: Constraints with the same strings one after the other.
    """

    items: tuple[Constraint, ...]
    factors: tuple[Constraint, ...] = field(compare=False)

    def initial(self) -> State:
        """Gives the state of the empty string."""
        return self._with_ends([(0, self.factors[0].initial())])

    def advance(self, state: State, data: bytes) -> State | None:
        """Gives the state after `data`, or None if every way to cut the text is refused."""
        threads = cast(Threads, state)
        for i in range(len(data)):
            if len(threads) == 1:
                ((number, old),) = threads
                if number == len(self.factors) - 1:  # behind it no other begins: it takes all the rest
                    new = self.factors[number].advance(old, data[i:])
                    return None if new is None else frozenset(((number, new),))
            moved = []
            for number, old in threads:
                new = self.factors[number].advance(old, data[i : i + 1])
                if new is not None:
                    moved.append((number, new))
            if not moved:
                return None
            threads = self._with_ends(moved)
        return threads

    def accepts(self, state: State) -> bool:
        """Says whether the last factor accepts its part."""
        last = self._last
        return any(
            number == last and self.factors[last].accepts(each) for number, each in cast(Threads, state)
        )

    def _advanced(self, state: State, data: bytes) -> Asking[State | None]:
        threads = cast(Threads, state)
        going = {(each, 0): None for number, each in threads if number == self._last}
        for at in range(len(data)):
            inner = [thread for thread in threads if thread[0] != self._last]
            asks = [Ask(self.factors[number], old, data[at : at + 1]) for number, old in inner]
            after = yield asks
            moved = [(n, new) for (n, _), new in zip(inner, after, strict=True) if new is not REFUSED]
            threads = yield from self._with_ends_asked(moved)
            if not moved:
                break
            going |= {(each, at + 1): None for number, each in threads if number == self._last}
        after = yield [Ask(self.factors[self._last], each, data[at:]) for each, at in going]
        return (
            frozenset(
                [thread for thread in threads if thread[0] != self._last]
                + [(self._last, new) for new in after if new is not REFUSED]
            )
            or None
        )

    def _accepted(self, state: State) -> Asking[bool]:
        for number, each in cast(Threads, state):
            if number == self._last:
                (end,) = yield [Ask(self.factors[self._last], each, ends=True)]
                if end is not REFUSED:
                    return True
        return False

    def _under_way(self, state: State) -> Iterable[tuple[Constraint, State]]:
        return ((self.factors[number], each) for number, each in cast(Threads, state))

    def describe(self) -> str:
        """Gives the items, joined by `+`."""
        return infix(self.operator, self.items)

    @property
    def operator(self) -> Operator:
        """`+`."""
        return Operator.PLUS

    @property
    def _last(self) -> int:
        return len(self.factors) - 1

    def _with_ends(self, threads: Iterable[tuple[int, State]]) -> Threads:
        """Adds the beginning of each factor whose predecessor may end here."""
        met = set(threads)
        todo = list(met)
        while todo:
            number, state = todo.pop()
            if number < self._last and self.factors[number].accepts(state):
                following = (number + 1, self.factors[number + 1].initial())
                if following not in met:
                    met.add(following)
                    todo.append(following)
        return frozenset(met)

    def _with_ends_asked(self, threads: Iterable[tuple[int, State]]) -> Asking[Threads]:
        met = set(threads)
        todo = [thread for thread in met if thread[0] < self._last]
        while todo:
            ends = yield [Ask(self.factors[number], state, ends=True) for number, state in todo]
            ended = [number + 1 for (number, _), end in zip(todo, ends, strict=True) if end is not REFUSED]
            begun = {(number, self.factors[number].initial()) for number in ended} - met
            todo = [thread for thread in begun if thread[0] < self._last]
            met |= begun
        return frozenset(met)
