"""What does this agent want? Infers its goal from what it says and from what it has done so far.

    python examples/goal_inference.py              # the problem `cover`
    python examples/goal_inference.py --all        # every problem in examples/blocksworld
    python examples/goal_inference.py top --instruction "put red on yellow" --particles 256

A language model reads the instruction and proposes goals; a planner says how well the observed steps
fit each of them. The problem files name no goal: the program has to find it.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpyro.distributions as dist
from goal_report import Comparison, print_answer, print_summary
from planning import plan_length, states_ahead
from problem_folder import Problem, problem_names, read_problem, read_truth

import lmppl as lp
from lmppl.constraints.domains.planning.strips import Goal, State, Task

PROBLEMS = Path(__file__).resolve().parent / "blocksworld"


@lp.program
def goal_inference(lm, task, plan, instruction):
    """Gives the posterior over goals: the facts that the agent wants to hold together."""
    # The plan is only what was seen so far, so the goal need not hold yet. But no step may have to be undone,
    # which the text is asked after every token; and steps that a goal does not need (done so far + left to do
    # - best) make it less likely, at the rate beta, as in Ramirez & Geffner (2010), AAAI 24, 1121-1126.
    ahead = states_ahead(task, plan)
    undoes_nothing = lp.check(
        "plan undoes nothing",
        prefix=lambda text: can_come_true(text, ahead),
        complete=lambda text: len(conjuncts(text)) > 0,
    )
    meant = lm(prompt(task, instruction), stop="\n", max_tokens=64)
    text = lp.sample("goal", meant & lp.lark(grammar(task)) & undoes_nothing)
    goal = conjuncts(text)

    best = lp.cached(plan_length, task, goal, timeout=10)  # a planner: memoised, out of process, timed
    left = lp.cached(plan_length, task.after(plan), goal, timeout=10)
    lp.constrain("solvable", None not in (best, left))
    beta = lp.sample("beta", dist.LogNormal(0.0, 0.5))  # how rational the agent is
    lp.factor("waste", -beta * (len(plan) + left - best))
    return goal  # equal answers are pooled


@lp.program
def words_alone(lm, task, instruction):
    """Gives what the language model makes of the instruction, unconstrained and without the plan."""
    return lp.sample("goal", lm(prompt(task, instruction), stop="\n", max_tokens=64))


def prompt(task: Task, instruction: str) -> str:
    """Writes what the bundled language model was trained to read. Another model may want other words."""
    kinds = dict.fromkeys(kind for _, kind in task.objects)
    objects = "\n".join(f"{' '.join(task.objects_of(kind))} - {kind}" for kind in kinds)
    return f"### objects\n{objects}\n### goal\n{instruction.lower()}\n### pddl\n"


def grammar(task: Task) -> str:
    """Writes the grammar of goals about this task's objects: `(and (on red blue) (clear red))`."""
    predicates = [(name, kinds) for name, kinds in task.domain.predicates if kinds]
    facts = [f'"({name}"' + "".join(f' " " {kind}' for kind in kinds) + ' ")"' for name, kinds in predicates]
    kinds = dict.fromkeys(kind for _, kinds in predicates for kind in kinds)
    objects = [" | ".join(f'"{name}"' for name in task.objects_of(kind)) for kind in kinds]
    rules = [f"{kind}: {names}" for kind, names in zip(kinds, objects, strict=True)]
    return "\n".join(['start: "(and" (" " fact)+ ")"', f"fact: {' | '.join(facts)}", *rules])


def conjuncts(text: str) -> Goal:
    """Gives the facts that a goal, or the beginning of one, has said in full."""
    return frozenset(re.findall(r"\((?!and\b)[^()]*\)", text))


def can_come_true(text: str, states: tuple[State, ...]) -> bool:
    """Says whether all that the text has said holds in one state, and its last words begin what does."""
    said = conjuncts(text)
    unfinished = text[text.rindex("(") :] if text.rfind("(") > text.rfind(")") else ""
    if "(and ".startswith(unfinished):
        unfinished = ""
    return any(said <= state and any(fact.startswith(unfinished) for fact in state) for state in states)


# What follows runs both programs on problem files and compares their answers.

UNDONE = "a goal for which steps must be undone"
NO_GOAL = "no goal about these objects"


def answer(lm, problem: Problem, particles: int, key: int) -> tuple[lp.Posterior, lp.Posterior]:
    """Infers the goal by sequential Monte Carlo, and draws as many plain samples of the language model."""
    task, plan, instruction = problem.task, problem.plan, problem.instruction
    smc = lp.SMC(particles, proposal=lp.AWRS())
    posterior = lp.infer(goal_inference, lm, task, plan, instruction, method=smc, key=key)
    return posterior, lp.infer(words_alone, lm, task, instruction, method=lp.IS(particles), key=key)


def sort_out(samples: lp.Posterior, problem: Problem) -> dict[Goal | str, float]:
    """Pools texts by the goal that they write; those that cannot be this agent's, by the reason."""
    well_formed, ahead = lp.lark(grammar(problem.task)), states_ahead(problem.task, problem.plan)
    pooled: dict[Goal | str, float] = {}
    for text, probability in samples.answers().items():
        state = well_formed.advance(well_formed.initial(), text.encode())
        if state is None or not well_formed.accepts(state):
            kind: Goal | str = NO_GOAL
        else:
            kind = conjuncts(text) if can_come_true(text, ahead) else UNDONE
        pooled[kind] = pooled.get(kind, 0.0) + probability
    return pooled


def main(arguments: list[str] | None = None) -> None:
    """Runs the program from the command line."""
    options = parse(arguments)
    started = time.monotonic()
    comparisons = []
    try:
        lm = lp.load(options.model)
        for name in problem_names(options.folder) if options.all else [options.problem]:
            problem = read_problem(options.folder, name)
            if options.instruction:
                problem = replace(problem, instruction=options.instruction)
            posterior, samples = answer(lm, problem, options.particles, options.key)
            # Only now is it looked up what the agent really wanted, and only for the comparison.
            truth = None if options.instruction else read_truth(options.folder, problem)
            alone = sort_out(samples, problem)
            print_answer(problem, posterior, alone, (UNDONE, NO_GOAL), truth)
            if truth:
                found = posterior.probability(truth)
                comparisons.append(Comparison(name, truth, alone.get(truth, 0.0), found))
    except (OSError, lp.errors.LmpplError) as error:
        sys.exit(f"error: {error}")
    print_summary(comparisons, time.monotonic() - started)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Reads the command line; an unknown problem is answered by those that there are."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("problem", nargs="?", default="cover", help="its name (default: cover)")
    parser.add_argument("--all", action="store_true", help="every problem of the folder")
    parser.add_argument("--folder", type=Path, default=PROBLEMS, help="where the problem files lie")
    parser.add_argument("--instruction", help="let the agent say something else")
    parser.add_argument("--particles", type=int, default=128, help="how many (default: 128)")
    parser.add_argument("--key", type=int, default=0, help="another key, another run (default: 0)")
    parser.add_argument("--model", help="hub id or folder of a language model (default: the bundled one)")
    options = parser.parse_args(arguments)
    known = problem_names(options.folder)
    if not known or (options.problem not in known and not options.all):
        there = f"there are {', '.join(known)}" if known else "for the format see examples/blocksworld"
        parser.error(f"there is no problem {options.problem!r} in {options.folder}; {there}.")
    return options


if __name__ == "__main__":
    main()
