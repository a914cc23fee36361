"""`lp.pddl_plan`: plans whose every step can be taken, and which reach the goal of a planning problem."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import NamedTuple, cast

from lmppl.constraints.domains.planning.dead_ends import Outlook
from lmppl.constraints.domains.planning.packed_tasks import PackedAction, PackedTask
from lmppl.constraints.domains.planning.pddl_files import read_goal, read_task
from lmppl.constraints.domains.planning.strips import Goal, Task
from lmppl.constraints.protocol import Constraint, State, require_bytes
from lmppl.errors import InvalidInputError, PDDLError

MAX_REMEMBERED = 4_096  # states of the task


def pddl_plan(domain: str | Path, problem: str | Path, *, max_states: int = 20_000) -> Constraint:
    """Allows the plans that can be carried out and reach the goal, one step a line.

    A step is an action of the domain with objects of the problem, such as `(stack red blue)`, with one
    space between all words, in lower case; a line break stands between two steps. It is simulated as
    soon as it is written: its preconditions must hold. A plan is complete when the goal holds; it may
    go on. The plan without a step is the empty text.

    A step that leads to a dead end is refused at the first letter that tells. Viability is exact if each
    action can be undone by another, and some plan is found among the first 1,000 states, as with up to nine
    blocks on a table; or if all states that can be reached are listed. Otherwise it is over-approximate: a
    state is taken for a dead end if two facts of the goal cannot come true together even where an action may
    be taken as soon as every two of the facts that it needs can (h2 is infinite). `viable_is_exact` says
    which.

    What is worked out before the first letter is bounded by the tests that it takes, of an action in a state
    or of a pair of facts: 4,000,000 each to find the pairs of facts that may hold together, what undoes each
    action, a plan, and the states. So no more than 4,000,000 / actions states are listed even if `max_states`
    is more, and a plan is looked for among as many, but 1,000 at most. Where the tests do not suffice,
    nothing is concluded. In problems that are not exact each letter takes up to 400,000 tests more, the end
    of a step twice as many; where h2 takes over 200,000, it is not asked about what follows a step. In
    problems with 2,000 facts or more a test counts as several. Beside that, time and memory grow with actions
    times facts, of which there are 10^9 at most: some 140 blocks on a table.

    Args:
        domain: The PDDL text of a domain, or a `pathlib.Path` to it: STRIPS with types,
            negative preconditions and equality.
        problem: The text of a problem of that domain with a `(:goal ...)`, or a path to it.
        max_states: The most states that are looked at beforehand: some 10 us each in small problems, and
            seconds in all in the largest.

    Raises:
        PDDLError: One of them cannot be read, an action has more than 500,000 groundings, the actions
            times the facts are more than 10^9, or no plan reaches the goal. The message starts with the file
            and the line where there is one.
    """
    if isinstance(max_states, bool) or not isinstance(max_states, int) or max_states < 0:
        raise InvalidInputError(f"pddl_plan() needs an int max_states >= 0, not {max_states!r}.")
    task = read_task(domain, problem)
    plan = Plan(task, read_goal(problem, task), max_states)
    if plan.is_over(plan.initial().facts):
        raise PDDLError(f"No plan reaches the goal {' '.join(sorted(plan.goal))} of this problem.")
    return plan


class Progress(NamedTuple):
    """A state: what holds after the complete steps, packed, and the beginning of the next one.

    `step` is None right after a step. It includes the line break that stands before the step.
    """

    facts: int
    step: bytes | None


class Steps(NamedTuple):
    """Steps that can be taken: their texts, sorted, and their actions in the same order."""

    texts: list[bytes]
    actions: list[PackedAction]

    def beginning_with(self, text: bytes) -> Iterable[PackedAction]:
        """Gives those whose text starts so; it is the only one if the text ends with a parenthesis."""
        place = bisect_left(self.texts, text)
        for each, action in zip(
            islice(self.texts, place, None), islice(self.actions, place, None), strict=True
        ):
            if not each.startswith(text):
                return
            yield action


@dataclass(frozen=True, repr=False)
class Plan(Constraint):
    """Plans that reach a goal. Made by `pddl_plan`. A state is a `Progress`.

    Attributes:
        task: What there is, what can be done, and how things stand at first.
        goal: What must hold in the end.
        max_states: The most states that are listed to tell dead ends.
    """

    task: Task
    goal: Goal
    max_states: int

    @property
    def viable_is_exact(self) -> bool:
        """True where it is known from which states the goal can be reached."""
        return self._outlook.is_exact

    def initial(self) -> Progress:
        """Gives the state of the empty plan."""
        return Progress(self._packed.init, b"")

    def advance(self, state: State, data: bytes) -> State | None:
        """Gives the state after `data`, or None if a step cannot be taken or leads to a dead end."""
        require_bytes(data)
        facts, step = cast(Progress, state)
        for i in range(len(data)):
            byte = data[i : i + 1]
            if step is None:
                if byte != b"\n" or self._next_state(facts, b"") is None:
                    return None
                step = byte
                continue
            step += byte
            if step == b"\n":
                return None  # no step stands before it
            following = self._next_state(facts, step.removeprefix(b"\n"))
            if following is None:
                return None
            if step.endswith(b")"):
                facts, step = following, None
                if self.is_over(facts):
                    return None
        return Progress(facts, step)

    def accepts(self, state: State) -> bool:
        """Says whether the text ends with a step, or is empty, and the goal holds."""
        facts, step = cast(Progress, state)
        return not step and self._is_reached(facts)

    def describe(self) -> str:
        """Gives the domain and the goal."""
        return f"pddl_plan({self.task.domain.name!r}, goal={' '.join(sorted(self.goal))!r})"

    def is_over(self, facts: int) -> bool:
        """Says whether the goal does not hold and no step leads on."""
        return not self._is_reached(facts) and self._next_state(facts, b"") is None

    def steps(self, facts: int) -> Steps:
        """Gives the steps that can be taken in a state of the task."""
        known = self._known.get(facts)
        if known is None:
            actions = [action for action in self._packed.actions if facts & action.needs == action.needs]
            known = Steps([action.text.encode() for action in actions], actions)
            if len(self._known) >= MAX_REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[facts] = known
        return known

    def _next_state(self, facts: int, begun: bytes) -> int | None:
        """Gives where the first step leads that begins so and leads to no dead end; None if there is none.

        It is the only one if a whole step is given.
        """
        states = (facts & step.keeps | step.adds for step in self.steps(facts).beginning_with(begun))
        return self._outlook.first_open(states)

    def _is_reached(self, facts: int) -> bool:
        goal = self._packed.goal(self.goal)
        return goal is not None and facts & goal == goal

    @cached_property
    def _packed(self) -> PackedTask:
        return PackedTask.of(self.task)

    @cached_property
    def _outlook(self) -> Outlook:
        return Outlook.of(self.task, self.goal, self.max_states)

    @cached_property
    def _known(self) -> dict[int, Steps]:
        return {}

    def __reduce__(self):
        return Plan, (self.task, self.goal, self.max_states)
