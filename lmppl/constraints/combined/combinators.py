"""Constraints made of constraints: `a & b`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from lmppl.constraints.asked_together import REFUSED, Ask, Asking
from lmppl.constraints.combined.composition import Composition
from lmppl.constraints.combined.literals import operand
from lmppl.constraints.combined.notation import Operator, infix
from lmppl.constraints.protocol import Constraint, State
from lmppl.constraints.regular import automaton_algebra
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.character_automaton import TooLarge
from lmppl.constraints.regular.regular_language import RegularLanguage
from lmppl.errors import ConstraintError, InvalidInputError


def both(left: Constraint | str, right: Constraint | str) -> Constraint:
    """Allows the strings that two constraints both allow; written `left & right`.

    Automata are intersected to one automaton at once, if that stays under 20,000 states. What is no
    automaton is asked after them, exact constraints before checks.

    Raises:
        ConstraintError: Both are automata, and they have no string in common.
    """
    left, right = operand(left, "&"), operand(right, "&")
    conjuncts = tuple(dict.fromkeys((*left.parts(), *right.parts())))
    if len(conjuncts) == 1:
        return conjuncts[0]
    regular = [part for part in conjuncts if part.automaton() is not None]
    others = sorted(
        (part for part in conjuncts if part.automaton() is None), key=lambda c: not c.viable_is_exact
    )
    return Conjunction(conjuncts, (*_intersected(regular), *others))


def _intersected(regular: list[Constraint]) -> list[Constraint]:
    """Gives automata with the same strings in common, as few as stay small."""
    merged: list[RegularLanguage] = []
    for part in regular:
        machine = part.automaton()
        assert machine is not None
        new = RegularLanguage(machine, part.describe(), part.operator)
        for i, old in enumerate(merged):
            try:
                product = automaton_algebra.intersection(old.machine, new.machine)
            except TooLarge:
                continue
            if product.is_empty:
                raise ConstraintError(
                    f"{old.describe()} and {new.describe()} have no string in common, so that nothing can "
                    "satisfy both. Change one of them."
                )
            merged[i] = RegularLanguage(product, infix(Operator.AND, (old, new)), Operator.AND)
            break
        else:
            merged.append(new)
    return list(merged)


@dataclass(frozen=True, repr=False)
class Conjunction(Composition):
    """The strings that all of several constraints allow. Made by `both`.

    A state is the tuple of the factors' states, or the one factor's state if there is one.

    Attributes:
        conjuncts: What the user joined.
        factors: Constraints with the same strings in common, the cheap ones first.
    """

    conjuncts: tuple[Constraint, ...]
    factors: tuple[Constraint, ...] = field(compare=False)

    @property
    def viable_is_exact(self) -> bool:
        """True where all is one automaton: two viable prefixes may have no completion in common."""
        return len(self.factors) == 1 and self.factors[0].viable_is_exact

    def num_free(self, state: State) -> int:
        """Gives how many characters may follow, whichever they are, or fewer: what every factor allows."""
        return min(factor.num_free(each) for factor, each in self._under_way(state))

    def initial(self) -> State:
        """Gives the state of the empty string."""
        if len(self.factors) == 1:
            return self.factors[0].initial()
        return tuple(factor.initial() for factor in self.factors)

    def advance(self, state: State, data: bytes) -> State | None:
        """Gives the state after `data`; the factors are asked in turn until one refuses."""
        if len(self.factors) == 1:
            return self.factors[0].advance(state, data)
        states = []
        for factor, old in zip(self.factors, cast(tuple[State, ...], state), strict=True):
            new = factor.advance(old, data)
            if new is None:
                return None
            states.append(new)
        return tuple(states)

    def accepts(self, state: State) -> bool:
        """Says whether every factor accepts."""
        if len(self.factors) == 1:
            return self.factors[0].accepts(state)
        states = cast(tuple[State, ...], state)
        return all(factor.accepts(each) for factor, each in zip(self.factors, states, strict=True))

    def parse(self, text: str | bytes) -> Any:
        """Gives the value of a text, as the one conjunct that is made by `lp.json` gives it.

        Raises:
            ConstraintError: Not exactly one of the conjuncts is.
            InvalidInputError: The text is not in the language, or the model refuses it.
        """
        able = [part for part in self.conjuncts if hasattr(part, "parse")]
        if len(able) != 1:
            raise ConstraintError(
                f"{self.describe()} is parsed by its part made by lp.json, but has {len(able)} of these. "
                "Join one to it."
            )
        state = self.advance(self.initial(), text.encode() if isinstance(text, str) else text)
        if state is None or not self.accepts(state):
            raise InvalidInputError(f"{text!r} is not in the language of {self.describe()}.")
        return cast(Any, able[0]).parse(text)

    def _advanced(self, state: State, data: bytes) -> Asking[State | None]:
        states = []
        for factor, old in self._under_way(state):
            (new,) = yield [Ask(factor, old, data)]
            if new is REFUSED:
                return None
            states.append(new)
        return tuple(states) if len(self.factors) > 1 else states[0]

    def _accepted(self, state: State) -> Asking[bool]:
        for factor, each in self._under_way(state):
            (end,) = yield [Ask(factor, each, ends=True)]
            if end is REFUSED:
                return False
        return True

    def _under_way(self, state: State) -> Iterable[tuple[Constraint, State]]:
        states = cast(tuple[State, ...], state) if len(self.factors) > 1 else (state,)
        return zip(self.factors, states, strict=True)

    def describe(self) -> str:
        """Gives the conjuncts, joined by `&`."""
        return infix(self.operator, self.conjuncts)

    @property
    def operator(self) -> Operator:
        """`&`."""
        return Operator.AND

    def automaton(self) -> ByteAutomaton | None:
        """Gives the product automaton where all conjuncts are automata and it is small."""
        return self.factors[0].automaton() if len(self.factors) == 1 else None

    def parts(self) -> tuple[Constraint, ...]:
        """Gives the conjuncts."""
        return self.conjuncts
