"""`lp.pddl_plan`: plans whose every step can be taken, and which reach the goal of a planning problem."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, cast

from lmppl.constraints.domains.pddl_files import read_goal, read_task
from lmppl.constraints.domains.strips import Action, Goal, Task
from lmppl.constraints.domains.strips import State as Facts
from lmppl.constraints.protocol import Constraint, State, require_bytes
from lmppl.errors import PDDLError

MAX_REMEMBERED = 4_096  # sets of facts


def pddl_plan(domain: str | Path, problem: str | Path) -> Constraint:
    """Allows the plans that can be carried out and reach the goal, one step a line.

    A step is an action of the domain with objects of the problem, such as `(stack red blue)`, with one
    space between all words, in lower case; a line break stands between two steps. It is simulated as
    soon as it is written: its preconditions must hold. A plan is complete when the goal holds; it may
    go on. The plan without a step is the empty text.

    A prefix is viable while its steps can be taken, and what is left begins a step that can. That is
    over-approximate: nobody looks ahead, whether the goal can still be reached. Only a state that is no
    goal and in which no step can be taken is refused.

    Args:
        domain: The PDDL text of a domain, or a `pathlib.Path` to it: STRIPS with types,
            negative preconditions and equality.
        problem: The text of a problem of that domain with a `(:goal ...)`, or a path to it.

    Raises:
        PDDLError: One of them cannot be read, an action has more than 500,000 groundings, or the goal
            does not hold and no step can be taken. The message starts with the file and the line.
    """
    task = read_task(domain, problem)
    plan = Plan(task, read_goal(problem, task))
    if not plan.goal <= task.init and not plan.steps(task.init).texts:
        raise PDDLError("The goal does not hold at first, and no action of the domain can be taken.")
    return plan


class Progress(NamedTuple):
    """A state: what holds after the complete steps, and the beginning of the next one.

    `step` is None right after a step. It includes the line break that stands before the step.
    """

    facts: Facts
    step: bytes | None


class Steps(NamedTuple):
    """Steps that can be taken: their texts, sorted, and their actions in the same order."""

    texts: list[bytes]
    actions: list[Action]

    def beginning_with(self, text: bytes) -> Action | None:
        """Gives one whose text starts so; it is the only one if the text ends with a parenthesis."""
        place = bisect_left(self.texts, text)
        if place == len(self.texts) or not self.texts[place].startswith(text):
            return None
        return self.actions[place]


@dataclass(frozen=True, repr=False)
class Plan(Constraint):
    """Plans that reach a goal. Made by `pddl_plan`. A state is a `Progress`.

    Attributes:
        task: What there is, what can be done, and how things stand at first.
        goal: What must hold in the end.
    """

    task: Task
    goal: Goal

    @property
    def viable_is_exact(self) -> bool:
        """False: whether the goal can still be reached is not known."""
        return False

    def initial(self) -> State:
        """Gives the state of the empty plan."""
        return Progress(self.task.init, b"")

    def advance(self, state: State, data: bytes) -> State | None:
        """Gives the state after `data`, or None if a step cannot be taken, or nothing can follow."""
        require_bytes(data)
        facts, step = cast(Progress, state)
        for i in range(len(data)):
            byte = data[i : i + 1]
            if step is None:
                if byte != b"\n" or not self.steps(facts).texts:
                    return None
                step = byte
                continue
            step += byte
            begun = self.steps(facts).beginning_with(step.removeprefix(b"\n"))
            if begun is None:
                return None
            if step.endswith(b")"):
                facts, step = begun.apply(facts), None
                if not self.goal <= facts and not self.steps(facts).texts:
                    return None
        return Progress(facts, step)

    def accepts(self, state: State) -> bool:
        """Says whether the text ends with a step, or is empty, and the goal holds."""
        facts, step = cast(Progress, state)
        return not step and self.goal <= facts

    def describe(self) -> str:
        """Gives the domain and the goal."""
        return f"pddl_plan({self.task.domain.name!r}, goal={' '.join(sorted(self.goal))!r})"

    def steps(self, facts: Facts) -> Steps:
        """Gives the steps that can be taken where some facts hold."""
        known = self._known.get(facts)
        if known is None:
            actions = [action for action in self.task.actions.values() if action.can_be_taken(facts)]
            actions.sort(key=lambda action: action.text.encode())
            known = Steps([action.text.encode() for action in actions], actions)
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[facts] = known
        return known

    @cached_property
    def _known(self) -> dict[Facts, Steps]:
        return {}

    def __reduce__(self):
        return Plan, (self.task, self.goal)
