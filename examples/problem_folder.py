"""Reads the problems of goal inference: what an agent can do, what it has done, and what it has said."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lmppl.constraints.domains.planning.pddl_files import read_goal, read_plan, read_task
from lmppl.constraints.domains.planning.strips import Goal, Task


@dataclass(frozen=True)
class Problem:
    """What is known about an agent. Not what it wants.

    Attributes:
        name: The name of its files.
        task: What there is, what can be done, and how things stood at first.
        plan: The steps that were seen so far.
        instruction: What the agent said.
    """

    name: str
    task: Task
    plan: tuple[str, ...]
    instruction: str


def read_problem(folder: Path, name: str) -> Problem:
    """Reads `NAME.pddl`, `NAME.plan` and `NAME.txt` of a folder that has a `domain.pddl`.

    Raises:
        PDDLError: A file is not what this reads; the message has its line.
        PlanError: A step of the plan cannot be taken.
    """
    task = read_task(folder / "domain.pddl", folder / f"{name}.pddl")
    plan = read_plan(folder / f"{name}.plan")
    task.final(plan)
    return Problem(name, task, plan, (folder / f"{name}.txt").read_text().strip())


def read_truth(folder: Path, problem: Problem) -> Goal | None:
    """Reads what the agent wanted from `NAME.truth`, or gives None where there is no such file."""
    path = folder / f"{problem.name}.truth"
    return read_goal(path, problem.task) if path.exists() else None


def problem_names(folder: Path) -> list[str]:
    """Gives the names of the problems in a folder."""
    return sorted(path.stem for path in folder.glob("*.pddl") if path.stem != "domain")
