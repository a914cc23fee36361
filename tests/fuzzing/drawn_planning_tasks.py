"""Tiny drawn planning tasks: their PDDL text, and what it means, worked out on sets of tuples."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from drawn_bytes import Draws

Words = tuple[str, ...]  # ("on", "x", "y")
Literal = tuple[bool, Words]  # whether it is to hold
Facts = frozenset[Words]

TYPES = ("", "k l", "k l - k")  # none, two beside each other, l below k
NAMES = ("x", "xy", "z")


@dataclass(frozen=True)
class DrawnAction:
    """An action of a domain; `parameters` are pairs of variable and type."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    conditions: tuple[Literal, ...]
    effects: tuple[Literal, ...]


@dataclass(frozen=True)
class DrawnTask:
    """A domain and a problem; `constants` and `objects` are pairs of name and type."""

    types: str
    constants: tuple[tuple[str, str], ...]
    objects: tuple[tuple[str, str], ...]
    predicates: tuple[tuple[str, tuple[str, ...]], ...]
    actions: tuple[DrawnAction, ...]
    init: Facts
    goal: tuple[Words, ...]

    def of_type(self, wanted: str) -> list[str]:
        """Gives the objects of a type."""
        return [name for name, kind in (*self.constants, *self.objects) if self.is_a(kind, wanted)]

    def is_a(self, kind: str, wanted: str) -> bool:
        """Says whether a type is another, or lies below it."""
        return wanted in (kind, "object") or (self.types.endswith("- k") and (kind, wanted) == ("l", "k"))

    def facts(self) -> list[Words]:
        """Gives every fact whose objects have the right types."""
        return [
            (name, *chosen)
            for name, types in self.predicates
            for chosen in itertools.product(*map(self.of_type, types))
        ]

    def steps(self) -> list[Words]:
        """Gives every action on objects of the right types, whether or not it can ever be taken."""
        return [
            (action.name, *chosen)
            for action in self.actions
            for chosen in itertools.product(*(self.of_type(kind) for _, kind in action.parameters))
        ]

    def after(self, step: Words, state: Facts) -> Facts | None:
        """Carries out an action; None if it cannot be taken."""
        (action,) = (each for each in self.actions if each.name == step[0])
        values = {variable: value for (variable, _), value in zip(action.parameters, step[1:], strict=True)}

        def meant(literals: Iterable[Literal]) -> Iterator[tuple[bool, Words]]:
            for wanted, words in literals:
                yield wanted, tuple(values.get(word, word) for word in words)

        for wanted, words in meant(action.conditions):
            holds = words[1] == words[2] if words[0] == "=" else words in state
            if holds != wanted:
                return None
        kept = state - {words for wanted, words in meant(action.effects) if not wanted}
        return kept | {words for wanted, words in meant(action.effects) if wanted}

    def is_reached(self, state: Facts) -> bool:
        """Says whether the goal holds."""
        return state >= set(self.goal)

    def distances(self, most: int) -> dict[Facts, int] | None:
        """Gives the states that are reached, and in how many steps; None if they are more than `most`."""
        steps, found, todo = self.steps(), {self.init: 0}, deque([self.init])
        while todo:
            state = todo.popleft()
            for step in steps:
                reached = self.after(step, state)
                if reached is not None and reached not in found:
                    found[reached] = found[state] + 1
                    todo.append(reached)
            if len(found) > most:
                return None
        return found

    def hopeful(self, states: Iterable[Facts]) -> set[Facts]:
        """Gives those of all states from which the goal can be reached."""
        everything = list(states)
        found = {state for state in everything if self.is_reached(state)}
        steps = self.steps()
        while True:
            more = {
                state
                for state in everything
                if state not in found and any(self.after(step, state) in found for step in steps)
            }
            if not more:
                return found
            found |= more

    def domain_text(self) -> str:
        """Writes the domain."""
        types = f"(:types {self.types})" if self.types else ""
        constants = f"(:constants {_typed(self.constants)})" if self.constants else ""
        predicates = " ".join(
            f"({name} {_typed([(f'?{number}', kind) for number, kind in enumerate(types)])})"
            for name, types in self.predicates
        )
        actions = "\n".join(
            f"(:action {action.name} :parameters ({_typed(action.parameters)})"
            f" :precondition {_conjunction(action.conditions)} :effect {_conjunction(action.effects)})"
            for action in self.actions
        )
        requirements = ":strips :typing :negative-preconditions :equality"
        return (
            f"(define (domain d) (:requirements {requirements}) {types} {constants}\n"
            f"(:predicates {predicates})\n{actions})"
        )

    def problem_text(self) -> str:
        """Writes the problem."""
        init = " ".join(map(written, sorted(self.init)))
        goal = " ".join(map(written, self.goal))
        objects = _typed(self.objects)
        return f"(define (problem p) (:domain d) (:objects {objects}) (:init {init}) (:goal (and {goal})))"


def drawn_task(draws: Draws) -> DrawnTask:
    """Draws a task with up to four objects, three predicates and three actions."""
    types = draws.one_of(TYPES)
    kinds = ("k", "l") if types else ("object",)
    names = NAMES[: 1 + draws.below(3)]
    objects = tuple((name, draws.one_of(kinds)) for name in names)
    constants = (("c", draws.one_of(kinds)),) if draws.below(3) == 1 else ()
    predicates = tuple(
        (f"p{number}", tuple(draws.one_of((*kinds, "object")) for _ in range(draws.below(3))))
        for number in range(1 + draws.below(3))
    )
    blank = DrawnTask(types, constants, objects, predicates, (), frozenset(), ())
    actions = tuple(_drawn_action(draws, blank, name) for name in ("a", "ab", "b")[: 1 + draws.below(3)])
    facts = blank.facts()
    init = frozenset(fact for fact in facts if draws.below(3) == 1)
    goal = tuple(draws.one_of(facts) for _ in range(1 + draws.below(2))) if facts else ()
    return DrawnTask(types, constants, objects, predicates, actions, init, goal)


def _drawn_action(draws: Draws, task: DrawnTask, name: str) -> DrawnAction:
    kinds = ("k", "l", "object") if task.types else ("object",)
    parameters = tuple((f"?{letter}", draws.one_of(kinds)) for letter in "uv"[: draws.below(3)])
    words = (*parameters, *task.constants)

    def literal() -> Literal | None:
        wanted = draws.below(2) == 0
        predicate, types = draws.one_of(task.predicates)
        fitting = [[word for word, kind in words if task.is_a(kind, wanted_kind)] for wanted_kind in types]
        return (wanted, (predicate, *map(draws.one_of, fitting))) if all(fitting) else None

    conditions = [literal() for _ in range(draws.below(3))]
    if words and draws.below(3) == 1:
        pair = [draws.one_of(words)[0] for _ in range(2)]
        conditions.append((draws.below(3) == 1, ("=", *pair)))
    effects = [literal() for _ in range(1 + draws.below(3))]
    return DrawnAction(name, parameters, *(tuple(filter(None, each)) for each in (conditions, effects)))


def written(words: Iterable[str]) -> str:
    """Writes a fact or a step."""
    return f"({' '.join(words)})"


def _typed(pairs: Sequence[tuple[str, str]]) -> str:
    if all(kind == "object" for _, kind in pairs):
        return " ".join(name for name, _ in pairs)
    return " ".join(f"{name} - {kind}" for name, kind in pairs)


def _conjunction(literals: Iterable[Literal]) -> str:
    parts = (written(words) if wanted else f"(not {written(words)})" for wanted, words in literals)
    return f"(and {' '.join(parts)})"
