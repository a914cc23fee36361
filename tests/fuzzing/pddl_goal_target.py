"""`lp.pddl_goal` against the list of all facts that can be said about the objects of a tiny problem."""

from __future__ import annotations

import itertools

from drawn_bytes import Draws
from drawn_planning_tasks import DrawnTask, drawn_task, written
from viable_prefixes import stepped

from lmppl.constraints.domains.planning.pddl_files import parse_goal, read_task
from lmppl.constraints.domains.planning.pddl_goals import pddl_goal
from lmppl.errors import PDDLError

MAX_BYTES = 60
MAX_TEXTS = 10
ODD = "() pxyc0\n"
SEEDS = (bytes(range(60)), bytes(range(60, 0, -1)), bytes(7 * i % 251 for i in range(60)))


def drawn(data: bytes) -> tuple[DrawnTask, int]:
    """Draws a task, and where in a text letters are tried."""
    return drawn_task(Draws(data)), sum(data) % 256


def judged(task: DrawnTask, place: int) -> str:
    """Compares goals of one and two facts, their prefixes, and texts that differ from them in a letter."""
    facts = sorted(map(written, task.facts()))
    try:
        goal = pddl_goal(task.domain_text(), task.problem_text())
    except PDDLError as error:
        return _refused(str(error), facts)
    assert goal.viable_is_exact
    inner = read_task(task.domain_text(), task.problem_text())
    pairs = list(itertools.product(facts, repeat=2))
    goals = [(fact,) for fact in facts[:6]] + pairs[:: 1 + len(pairs) // MAX_TEXTS]
    for said in goals:
        text = f"(and {' '.join(said)})"
        states = stepped(goal, text.encode())
        assert len(states) > len(text), f"{text!r} is refused"
        assert [size for size, state in enumerate(states) if goal.accepts(state)] == [len(text)], text
        assert parse_goal(inner, text) == set(said), text
        cut = place % (len(text) + 1)
        for letter in ODD:
            other = text[:cut] + letter
            is_viable = len(stepped(goal, other.encode())) > len(other)
            assert is_viable == is_begun(other, facts), f"{other!r}: {is_viable}"
    return "compared"


def is_begun(text: str, facts: list[str]) -> bool:
    """Says whether some goal begins so, by taking off fact after fact."""
    if len(text) <= len("(and "):
        return "(and ".startswith(text)
    rest = text.removeprefix("(and ")
    if rest == text:
        return False
    while True:
        if any(fact.startswith(rest) for fact in facts):
            return True
        taken = [fact for fact in facts if rest.startswith(fact)]
        if not taken:
            return False
        rest = rest[len(taken[0]) :]
        if rest in ("", ")"):
            return True
        if not rest.startswith(" "):
            return False
        rest = rest[1:]
        if not rest:
            return True


def _refused(reason: str, facts: list[str]) -> str:
    assert "Nothing can be said" in reason, reason
    assert not facts, "something can be said"
    return "no fact"
