"""STRIPS planning tasks: what holds, what an action changes, and how many steps a goal takes.

A fact is its PDDL text, `"(on red blue)"`, a state is a frozenset of facts, and a goal is a frozenset of
facts that must hold together. Everything is immutable and compares by value, so tasks can be cached,
sent to another process, and shared by any number of particles.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

State = frozenset[str]
Goal = frozenset[str]
Pattern = tuple[str, ...]  # ("on", "?x", "?y")


class PlanError(ValueError):
    """A plan contains a step that cannot be taken; the message says which step and why."""


@dataclass(frozen=True)
class Operator:
    """An action with variables. `parameters` are pairs of variable and type."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    needs: tuple[Pattern, ...]
    adds: tuple[Pattern, ...]
    deletes: tuple[Pattern, ...]

    def ground(self, arguments: Sequence[str]) -> Action:
        """Puts objects for the parameters, in order."""
        values = {variable: value for (variable, _), value in zip(self.parameters, arguments, strict=True)}

        def facts(patterns: tuple[Pattern, ...]) -> State:
            return frozenset(fact(values.get(word, word) for word in pattern) for pattern in patterns)

        return Action(fact((self.name, *arguments)), facts(self.needs), facts(self.adds), facts(self.deletes))


@dataclass(frozen=True)
class Action:
    """One action on named objects, such as `(stack red blue)`."""

    text: str
    needs: State
    adds: State
    deletes: State

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
            kind = above[kind]
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

    def groundings(self, types: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """Gives every way to choose one object for each type."""
        return itertools.product(*(self.objects_of(wanted) for wanted in types))

    @cached_property
    def facts(self) -> tuple[str, ...]:
        """Every fact that can be said about these objects."""
        predicates = self.domain.predicates
        return tuple(fact((name, *chosen)) for name, types in predicates for chosen in self.groundings(types))

    @cached_property
    def actions(self) -> Mapping[str, Action]:
        """Every action on these objects, by its text."""
        grounded = (
            operator.ground(chosen)
            for operator in self.domain.operators
            for chosen in self.groundings([kind for _, kind in operator.parameters])
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
            state = action.apply(state)
        return state

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
        return f"expected {usage}, and got the arguments {', '.join(arguments) or '(none)'}."


def shortest_plan(task: Task, goal: Goal) -> tuple[str, ...] | None:
    """Gives a shortest plan for a goal by A*, or None if no state of the task satisfies it.

    The heuristic counts the missing facts and divides by the most that one action can supply, so it
    never overestimates. Meant for tasks of up to some ten thousand states.
    """
    gain = max((len(action.adds & goal) for action in task.actions.values()), default=0)
    if goal - task.init and not gain:
        return None

    def estimate(state: State) -> int:
        missing = len(goal - state)
        return -(-missing // gain) if missing else 0

    order = itertools.count()  # equal estimates: first come, first served
    queue = [(estimate(task.init), next(order), 0, task.init)]
    came_from: dict[State, tuple[State, str] | None] = {task.init: None}
    steps = {task.init: 0}
    while queue:
        _, _, taken, state = heapq.heappop(queue)
        if goal <= state:
            return _trace_back(came_from, state)
        if taken > steps[state]:
            continue
        for action in task.actions.values():
            if action.needs <= state:
                reached = action.apply(state)
                if taken + 1 < steps.get(reached, taken + 2):
                    steps[reached], came_from[reached] = taken + 1, (state, action.text)
                    heapq.heappush(queue, (taken + 1 + estimate(reached), next(order), taken + 1, reached))
    return None


def plan_length(task: Task, goal: Goal) -> int | None:
    """Gives the number of steps of a shortest plan for a goal, or None if there is no plan."""
    plan = shortest_plan(task, goal)
    return None if plan is None else len(plan)


def distances(task: Task, max_states: int = 100_000) -> dict[State, int]:
    """Gives every state that can be reached, with the number of steps it takes, nearest first."""
    steps = {task.init: 0}
    queue = deque([task.init])
    while queue:
        state = queue.popleft()
        for action in task.actions.values():
            if action.needs <= state and (reached := action.apply(state)) not in steps:
                steps[reached] = steps[state] + 1
                queue.append(reached)
        if len(steps) > max_states:
            raise ValueError(
                f"This task has more than {max_states:,} states, too many to list. Use fewer objects."
            )
    return steps


@lru_cache(maxsize=256)
def states_ahead(task: Task, plan: tuple[str, ...]) -> tuple[State, ...]:
    """Gives the states that the plan has come nearer to with all it has done, nearest first.

    They are the states to which some shortest way from the start leads through where the plan has got,
    so that nothing need be undone to reach them.
    """
    here = task.final(plan)
    from_start, from_here = distances(task), distances(task.after(plan))
    return tuple(state for state, steps in from_here.items() if from_start[here] + steps == from_start[state])


def fact(words: Iterator[str] | Sequence[str]) -> str:
    """Writes a predicate or an action with its arguments as PDDL does."""
    return f"({' '.join(words)})"


def _trace_back(came_from: Mapping[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    steps = []
    while (link := came_from[state]) is not None:
        state, action = link
        steps.append(action)
    return tuple(reversed(steps))
