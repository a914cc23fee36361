"""STRIPS planning tasks: what holds, and what an action changes.

A fact is its PDDL text, `"(on red blue)"`, a state is a frozenset of facts, and a goal is a frozenset of
facts that must hold together. Everything is immutable and compares by value, so tasks can be cached,
sent to another process, and shared by any number of particles.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from lmppl.errors import PDDLError, PlanError

MAX_GROUNDINGS = 500_000  # of one predicate or action: some seconds

State = frozenset[str]
Goal = frozenset[str]
Pattern = tuple[str, ...]  # ("on", "?x", "?y")


@dataclass(frozen=True)
class Operator:
    """An action with variables. `parameters` are pairs of variable and type.

    Of `needs` all must hold beforehand, of `forbids` none. In both, `=` says that two words are the same.
    """

    name: str
    parameters: tuple[tuple[str, str], ...]
    needs: tuple[Pattern, ...]
    adds: tuple[Pattern, ...]
    deletes: tuple[Pattern, ...]
    forbids: tuple[Pattern, ...] = ()

    def fits(self, arguments: Sequence[str]) -> bool:
        """Says whether the objects are the same and are different where they must be."""
        values = self._values(arguments)
        return all(
            (values.get(pattern[1], pattern[1]) == values.get(pattern[2], pattern[2])) == wanted
            for patterns, wanted in ((self.needs, True), (self.forbids, False))
            for pattern in patterns
            if pattern[0] == "="
        )

    def ground(self, arguments: Sequence[str]) -> Action:
        """Puts objects for the parameters, in order."""
        values = self._values(arguments)

        def facts(patterns: tuple[Pattern, ...]) -> State:
            return frozenset(
                fact(values.get(word, word) for word in pattern) for pattern in patterns if pattern[0] != "="
            )

        changes = facts(self.adds), facts(self.deletes)
        return Action(fact((self.name, *arguments)), facts(self.needs), *changes, facts(self.forbids))

    def _values(self, arguments: Sequence[str]) -> dict[str, str]:
        return {variable: value for (variable, _), value in zip(self.parameters, arguments, strict=True)}


@dataclass(frozen=True)
class Action:
    """One action on named objects, such as `(stack red blue)`."""

    text: str
    needs: State
    adds: State
    deletes: State
    forbids: State = frozenset()

    def can_be_taken(self, state: State) -> bool:
        """Says whether its preconditions hold."""
        return self.needs <= state and self.forbids.isdisjoint(state)

    def apply(self, state: State) -> State:
        """Gives the state afterwards; a fact both deleted and added holds, as PDDL has it."""
        return (state - self.deletes) | self.adds


@dataclass(frozen=True)
class Domain:
    """What there can be and what can be done. `predicates` are pairs of name and parameter types."""

    name: str
    supertypes: tuple[tuple[str, str], ...]
    predicates: tuple[tuple[str, tuple[str, ...]], ...]
    operators: tuple[Operator, ...]
    constants: tuple[tuple[str, str], ...] = ()

    def is_a(self, kind: str, wanted: str) -> bool:
        """Says whether every object of type `kind` is one of type `wanted`."""
        above = dict(self.supertypes)
        while kind != wanted:
            if kind not in above:
                return wanted == "object"
            kind = above.pop(kind)  # once, so that types above each other end too
        return True


@dataclass(frozen=True)
class Task:
    """A domain, its objects (pairs of name and type) and the state that things start in. It has no goal."""

    domain: Domain
    objects: tuple[tuple[str, str], ...]
    init: State

    def objects_of(self, wanted: str) -> tuple[str, ...]:
        """Gives the names of the objects of a type, in the order in which the files list them."""
        everything = (*self.domain.constants, *self.objects)
        return tuple(name for name, kind in everything if self.domain.is_a(kind, wanted))

    def groundings(self, name: str, types: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """Gives every way to choose one object for each type of a predicate's or action's arguments.

        Raises:
            PDDLError: There are more than 500,000.
        """
        options = [self.objects_of(wanted) for wanted in types]
        number = math.prod(map(len, options))
        if number > MAX_GROUNDINGS:
            raise PDDLError(
                f"There are {number:,} ways to choose the {len(types)} arguments of {name!r}; at most "
                f"{MAX_GROUNDINGS:,} are listed. Use fewer objects, or give them types."
            )
        return itertools.product(*options)

    @cached_property
    def facts(self) -> tuple[str, ...]:
        """Every fact that can be said about these objects."""
        predicates = self.domain.predicates
        return tuple(
            fact((name, *chosen)) for name, types in predicates for chosen in self.groundings(name, types)
        )

    @cached_property
    def actions(self) -> Mapping[str, Action]:
        """Every action on these objects that may ever be taken, by its text."""
        grounded = (
            operator.ground(chosen)
            for operator in self.domain.operators
            for chosen in self.groundings(operator.name, [kind for _, kind in operator.parameters])
            if operator.fits(chosen)
        )
        return {action.text: action for action in grounded}

    def final(self, plan: Sequence[str]) -> State:
        """Gives the state that a plan leads to.

        Raises:
            PlanError: A step is no action of this task, or its preconditions do not hold.
        """
        state = self.init
        for number, step in enumerate(plan, start=1):
            action = self.actions.get(step)
            if action is None:
                raise PlanError(f"Step {number}, {step}, is no action here: {self._why_unknown(step)}")
            if missing := action.needs - state:
                raise PlanError(
                    f"Step {number}, {step}, cannot be taken: it needs {', '.join(sorted(missing))}, "
                    f"which does not hold when it is its turn."
                )
            if present := action.forbids & state:
                raise PlanError(
                    f"Step {number}, {step}, cannot be taken: {', '.join(sorted(present))} must not hold, "
                    f"and does when it is its turn."
                )
            state = action.apply(state)
        return state

    def is_fact(self, words: Sequence[str]) -> bool:
        """Says whether a predicate and its arguments are there, and the arguments are of its types."""
        name, *arguments = words
        types = dict(self.domain.predicates).get(name)
        kinds = dict((*self.domain.constants, *self.objects))
        return (
            types is not None
            and len(arguments) == len(types)
            and all(
                argument in kinds and self.domain.is_a(kinds[argument], wanted)
                for argument, wanted in zip(arguments, types, strict=True)
            )
        )

    def after(self, plan: Sequence[str]) -> Task:
        """Gives the same task, starting where the plan leads."""
        return replace(self, init=self.final(plan))

    def _why_unknown(self, step: str) -> str:
        name, *arguments = step.strip("()").split() or [""]
        operators = self.domain.operators
        signatures = {operator.name: [kind for _, kind in operator.parameters] for operator in operators}
        if name not in signatures:
            return f"the domain {self.domain.name!r} has {', '.join(signatures)}."
        usage = fact((name, *signatures[name]))
        same = any(
            pattern[0] == "="
            for operator in operators
            if operator.name == name
            for pattern in (*operator.needs, *operator.forbids)
        )
        which = ", some of them the same or different, as its (= ...) says" if same else ""
        return f"expected {usage}{which}, and got the arguments {', '.join(arguments) or '(none)'}."


def fact(words: Iterable[str]) -> str:
    """Writes a predicate or an action with its arguments as PDDL does."""
    return f"({' '.join(words)})"
