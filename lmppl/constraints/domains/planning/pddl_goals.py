"""`lp.pddl_goal`: conjunctions of facts that can be said about the objects of a planning problem."""

from __future__ import annotations

from functools import reduce
from pathlib import Path

from lmppl.constraints.domains.planning.pddl_files import read_task
from lmppl.constraints.domains.planning.strips import Task
from lmppl.constraints.protocol import Constraint
from lmppl.constraints.regular.alternatives import choices
from lmppl.constraints.regular.regular_language import RegularLanguage
from lmppl.errors import PDDLError


def pddl_goal(domain: str | Path, problem: str | Path) -> Constraint:
    """Allows the goals that can be written about a problem, such as `(and (on red blue) (clear red))`.

    A goal is `(and`, one fact or more, and `)`, with one space between all words, in lower case. Each
    fact has a predicate of the domain and objects of its types. Whether the facts can hold together is
    not asked, nor what the problem's own goal is. Viability is exact, and there is an automaton, unless
    there are very many objects.

    Args:
        domain: The PDDL text of a domain, or a `pathlib.Path` to it: STRIPS with types,
            negative preconditions and equality.
        problem: The text of a problem of that domain, or a path to it. A `(:goal ...)` is left unread.

    Raises:
        PDDLError: One of them cannot be read, or there is no fact about these objects. The message
            starts with the file and the line.
    """
    task = read_task(domain, problem)
    goal = "(and" + (" " + _fact(task)).repeat(1) + ")"
    machine = goal.automaton()
    return goal if machine is None else RegularLanguage(machine, f"pddl_goal({task.domain.name!r})")


def _fact(task: Task) -> Constraint:
    """Allows one fact: choices of arguments side by side, so that combinations are never listed."""
    facts = []
    for name, types in task.domain.predicates:
        arguments = [task.objects_of(kind) for kind in types]
        if all(arguments):
            begun = choices([f"({name}"])
            facts.append(reduce(lambda text, options: text + " " + choices(options), arguments, begun) + ")")
    if not facts:
        raise PDDLError(f"Nothing can be said about the objects of this problem of {task.domain.name!r}.")
    return reduce(lambda one, other: one | other, facts)
