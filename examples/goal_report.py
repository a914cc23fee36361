"""Prints what was inferred about a goal, beside what the language model says without constraints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from problem_folder import Problem

from lmppl.constraints.domains.planning.strips import Goal

WIDTH = 88


@dataclass(frozen=True)
class Comparison:
    """How probable the true goal of one problem was, by the words alone and by words and plan."""

    problem: str
    truth: Goal
    words_alone: float
    words_and_plan: float


def print_answer(
    problem: Problem,
    posterior: Any,
    alone: Mapping[Any, float],
    failures: Sequence[str],
    truth: Goal | None,
) -> None:
    """Prints one problem: the posterior, its evidence and losses, and the language model's own samples.

    Args:
        problem: What was known.
        posterior: Over goals.
        alone: The probability of each goal in plain samples, and of each reason why a sample is none.
        failures: Those reasons, in the order in which to print them.
        truth: Marked in the table; None if it is not known.
    """
    print("=" * WIDTH)
    print(f'{problem.name}: the agent says "{problem.instruction}", and so far it has done')
    print(f"  {' '.join(problem.plan)}\n")
    print(posterior)
    print(f"mass kept: {mass_kept(posterior)}")
    _print_table(posterior.answers(), alone, failures, truth)
    print()


def print_summary(comparisons: Sequence[Comparison], seconds: float) -> None:
    """Prints the true goals of all problems, and what to type next."""
    if len(comparisons) > 1:
        print("=" * WIDTH)
        print(f"{'probability of the true goal':<{WIDTH - 34}}{'words alone':>12}{'words and plan':>16}")
        for row in comparisons:
            _print_row(f"{row.problem:<8}{written(row.truth)}", row.words_alone, row.words_and_plan)
        print()
    print(f"{seconds:.0f} s in all. Next, say something else and look again:")
    print('  python examples/goal_inference.py top --instruction "put red on yellow" --particles 256')


def mass_kept(posterior: Any) -> str:
    """Says which share of the probability mass each part of the program has let through."""
    reached = {step.site: step.log_evidence for step in posterior.diagnostics.steps}
    kept, before = [], 0.0
    for site, log_evidence in [*reached.items(), ("", posterior.log_evidence)]:
        kept.append(f"{math.exp(log_evidence - before):.1%} {f'at {site!r}' if site else 'after that'}")
        before = log_evidence
    return ", ".join(kept)


def written(goal: Any) -> str:
    """Writes a goal on one line; what an interrupted run leaves unfinished is written as it is."""
    return " ".join(sorted(goal)) if isinstance(goal, frozenset) else str(goal)


def _print_table(
    inferred: Mapping[Any, float],
    alone: Mapping[Any, float],
    failures: Sequence[str],
    truth: Goal | None,
) -> None:
    """Prints the likeliest goals of both kinds, with the rest pooled in one row."""
    likely_alone = sorted((goal for goal in alone if goal not in failures), key=lambda goal: -alone[goal])
    shown = list(dict.fromkeys([*list(inferred)[:3], *([truth] if truth else []), *likely_alone]))[:6]
    print(f"\n{'compared with unconstrained samples':<{WIDTH - 34}}{'words alone':>12}{'words and plan':>16}")
    for goal in shown:
        _print_row(written(goal), alone.get(goal, 0.0), inferred.get(goal, 0.0), goal == truth)
    others = [goal for goal in {*alone, *inferred} if goal not in shown and goal not in failures]
    rest = [sum(pooled.get(goal, 0.0) for goal in others) for pooled in (alone, inferred)]
    _print_row(f"{len(others)} other goals", rest[0], rest[1])
    for failure in failures:
        _print_row(failure, alone.get(failure, 0.0), 0.0)


def _print_row(name: str, alone: float, inferred: float, is_truth: bool = False) -> None:
    mark = " <- true" if is_truth else ""
    print(f"{name:<{WIDTH - 34}}{alone:>11.1%} {inferred:>15.1%}{mark}")
