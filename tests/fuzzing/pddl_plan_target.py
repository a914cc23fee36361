"""`lp.pddl_plan` and `lp.plan` against plans that are carried out step by step, in tiny problems."""

from __future__ import annotations

import itertools

from drawn_bytes import Draws
from drawn_planning_tasks import DrawnTask, Facts, drawn_task, written
from viable_prefixes import stepped

from lmppl.constraints.domains.planning.pddl_plans import pddl_plan
from lmppl.constraints.domains.planning.shortest_plans import plan
from lmppl.constraints.protocol import Constraint
from lmppl.errors import PDDLError

MAX_BYTES = 60
MAX_STATES = 150
MAX_STEPS = 3
MAX_TEXTS = 40  # plans that are tried, the shorter ones first
LETTERS = "() abxyzc\n"
SEEDS = (
    bytes(range(60)),
    bytes(range(60, 0, -1)),
    bytes(7 * i % 251 for i in range(60)),
    bytes(37 * i % 101 for i in range(60)),
)


def drawn(data: bytes) -> tuple[DrawnTask, int]:
    """Draws a task, and how many of its states may be listed."""
    draws = Draws(data)
    listed = draws.one_of((20_000, 12, 3, 0))
    return drawn_task(draws), listed


def judged(task: DrawnTask, listed: int) -> str:
    """Compares the shortest plan, and what is said of all plans of up to three steps."""
    steps = task.distances(MAX_STATES)
    if steps is None:
        return "too large"
    hopeful = task.hopeful(steps)
    compare_plan(task, steps)
    try:
        constraint = pddl_plan(task.domain_text(), task.problem_text(), max_states=listed)
    except PDDLError as error:
        return _refused(str(error), task.init in hopeful)
    assert task.init in hopeful or not constraint.viable_is_exact, "there is no plan"
    assert constraint.viable_is_exact or listed < len(steps), "so few states, and it is not exact"
    names = sorted(map(written, task.steps()))
    followed = {written(step): step for step in task.steps()}
    todo: list[tuple[str, Facts]] = [("", task.init)]
    for number in itertools.count():
        if number == len(todo):
            break
        text, state = todo[number]
        reached = {name: task.after(followed[name], state) for name in names}
        compare_ending(task, constraint, text, state, hopeful)
        compare_next(constraint, text, reached, hopeful)
        if text.count("(") < MAX_STEPS:
            for name, after in reached.items():
                if after in hopeful and len(todo) < MAX_TEXTS:
                    todo.append((f"{text}\n{name}" if text else name, after))
    if not constraint.viable_is_exact:
        return "compared one way"
    return "compared" if listed >= len(steps) else "reversible"


def compare_plan(task: DrawnTask, steps: dict[Facts, int]) -> None:
    """Compares the shortest plan with the distances of all states."""
    found = plan(task.domain_text(), task.problem_text())
    least = min((number for state, number in steps.items() if task.is_reached(state)), default=None)
    assert (None if found is None else len(found)) == least, f"{found} where {least} steps are needed"
    state: Facts | None = task.init
    for step in found or ():
        assert state is not None
        state = task.after(tuple(step.strip("()").split()), state)
    assert found is None or (state is not None and task.is_reached(state)), f"{found} does not lead there"


def compare_ending(
    task: DrawnTask, constraint: Constraint, text: str, state: Facts, hopeful: set[Facts]
) -> None:
    """A plan is accepted where its goal holds, and refused in front of its last byte nowhere."""
    states = stepped(constraint, text.encode())
    is_viable = len(states) > len(text)
    assert is_viable or state not in hopeful, f"{text!r} can be completed"
    assert not is_viable or constraint.accepts(states[-1]) == task.is_reached(state), text


def compare_next(
    constraint: Constraint, text: str, reached: dict[str, Facts | None], hopeful: set[Facts]
) -> None:
    """What can follow a plan is a line break and a step that leads where the goal can be reached."""
    base = stepped(constraint, text.encode())
    if len(base) <= len(text):
        return
    break_ = "\n" if text else ""
    good = [name for name, after in reached.items() if after in hopeful]
    may = [name for name, after in reached.items() if after is not None]
    begun = {break_ + name[:size] for name in reached for size in range(1, len(name) + 1)} | {break_}
    odd = {each + letter for each in sorted(begun)[:: 1 + len(begun) // 8] for letter in LETTERS}
    for more in begun - {""} | odd:
        is_viable = constraint.advance(base[-1], more.encode()) is not None
        bare = more.removeprefix(break_)
        must = any(name.startswith(bare) for name in good)
        can = must if constraint.viable_is_exact else any(name.startswith(bare) for name in may)
        if bare.partition(")")[2] == "":
            assert is_viable or not must, f"{text + more!r} can be completed"
            assert can or not is_viable, f"{text + more!r} cannot be completed"


def _refused(reason: str, has_plan: bool) -> str:
    assert "No plan reaches" in reason, reason
    assert not has_plan, "there is a plan"
    return "no plan"
