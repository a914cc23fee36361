"""Constraints made of constraints: `a | b`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

from lmppl.constraints.asked_together import REFUSED, Ask, Asking
from lmppl.constraints.combined.composition import Composition
from lmppl.constraints.combined.literals import operand
from lmppl.constraints.combined.notation import Operator, infix
from lmppl.constraints.protocol import Constraint, State
from lmppl.constraints.regular import automaton_algebra
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.character_automaton import TooLarge
from lmppl.constraints.regular.regular_language import RegularLanguage


def either(left: Constraint | str, right: Constraint | str) -> Constraint:
    """Allows the strings that one of two constraints allows, or both; written `left | right`.

    Automata become one automaton at once, if that stays under 20,000 states. What is no automaton is asked
    beside it, as long as it has not refused. A string stands for itself.

    Raises:
        InvalidTypeError: One of them is neither a constraint nor a string.
    """
    sides = (operand(left, "|"), operand(right, "|"))
    options = tuple(dict.fromkeys(option for side in sides for option in _options(side)))
    if len(options) == 1:
        return options[0]
    factors = _united(options)
    if len(factors) == 1:
        machine = factors[0].automaton()
        assert machine is not None
        return RegularLanguage(machine, infix(Operator.OR, options), Operator.OR)
    return Union(options, factors)


def _options(constraint: Constraint) -> tuple[Constraint, ...]:
    return constraint.options if isinstance(constraint, Union) else (constraint,)


def _united(options: tuple[Constraint, ...]) -> tuple[Constraint, ...]:
    """Gives constraints with the same strings in all, automata first and as few as stay small."""
    merged: list[RegularLanguage] = []
    for option in options:
        machine = option.automaton()
        if machine is None:
            continue
        new = RegularLanguage(machine, option.describe(), option.operator)
        for i, old in enumerate(merged):
            joined = _joined(old.machine, machine)
            if joined is not None:
                merged[i] = RegularLanguage(joined, infix(Operator.OR, (old, option)), Operator.OR)
                break
        else:
            merged.append(new)
    return (*merged, *(option for option in options if option.automaton() is None))


def _joined(left: ByteAutomaton, right: ByteAutomaton) -> ByteAutomaton | None:
    try:
        return automaton_algebra.union(left, right)
    except TooLarge:
        return None


@dataclass(frozen=True, repr=False)
class Union(Composition):
    """The strings that any of several constraints allows. Made by `either`.

    A state is the tuple of the factors' states, None for those that have refused.

    Attributes:
        options: What the user joined.
        factors: Constraints with the same strings in all, the cheap ones first.
    """

    options: tuple[Constraint, ...]
    factors: tuple[Constraint, ...] = field(compare=False)

    def initial(self) -> State:
        """Gives the state of the empty string."""
        return tuple(factor.initial() for factor in self.factors)

    def advance(self, state: State, data: bytes) -> State | None:
        """Gives the state after `data`, or None once every factor has refused."""
        states = tuple(
            None if old is None else factor.advance(old, data)
            for factor, old in zip(self.factors, cast(tuple[State | None, ...], state), strict=True)
        )
        return None if all(each is None for each in states) else states

    def accepts(self, state: State) -> bool:
        """Says whether a factor accepts."""
        states = cast(tuple[State | None, ...], state)
        return any(
            each is not None and factor.accepts(each)
            for factor, each in zip(self.factors, states, strict=True)
        )

    def _advanced(self, state: State, data: bytes) -> Asking[State | None]:
        states = cast(tuple[State | None, ...], state)
        alive = [number for number, each in enumerate(states) if each is not None]
        moved = yield [Ask(self.factors[number], states[number], data) for number in alive]
        after: list[State | None] = [None] * len(states)
        for number, new in zip(alive, moved, strict=True):
            after[number] = None if new is REFUSED else new
        return None if all(each is None for each in after) else tuple(after)

    def _accepted(self, state: State) -> Asking[bool]:
        for factor, each in zip(self.factors, cast(tuple[State | None, ...], state), strict=True):
            if each is not None:
                (end,) = yield [Ask(factor, each, ends=True)]
                if end is not REFUSED:
                    return True
        return False

    def _under_way(self, state: State) -> Iterable[tuple[Constraint, State]]:
        states = cast(tuple[State | None, ...], state)
        return (pair for pair in zip(self.factors, states, strict=True) if pair[1] is not None)

    def describe(self) -> str:
        """Gives the options, joined by `|`."""
        return infix(self.operator, self.options)

    @property
    def operator(self) -> Operator:
        """`|`."""
        return Operator.OR
