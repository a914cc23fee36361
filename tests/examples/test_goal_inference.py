"""The main example: what its check lets through, what its program means, and what its command prints."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import lark
import numpy as np
import pytest
from goal_inference import (
    PROBLEMS,
    answer,
    can_come_true,
    conjuncts,
    goal_inference,
    grammar,
    main,
    prompt,
    sort_out,
)
from planning import plan_length, states_ahead
from problem_folder import Problem, problem_names, read_problem, read_truth

import lmppl as lp
from lmppl.constraints.domains.planning.pddl_files import parse_domain
from lmppl.constraints.domains.planning.strips import Goal, Task
from lmppl.testing import assert_unbiased

NAMES = problem_names(PROBLEMS)
PARTICLES = 32
FAILURE_RATE = 1e-6


@pytest.fixture(scope="module")
def embedded() -> lp.LanguageModel:
    try:
        return lp.load()
    except lp.errors.ModelNotFoundError as error:
        pytest.skip(f"the embedded weights are not here: {error}")


@pytest.fixture(scope="module")
def runs(embedded: lp.LanguageModel) -> dict[str, tuple[Problem, lp.Posterior, lp.Posterior]]:
    """Each problem with its posterior and as many plain samples."""
    problems = [read_problem(PROBLEMS, name) for name in NAMES]
    return {problem.name: (problem, *answer(embedded, problem, PARTICLES, 0)) for problem in problems}


def small_task(*blocks: str) -> Task:
    """Gives a task in which all blocks stand on the table."""
    facts = {"(arm-empty)"} | {f"({word} {block})" for block in blocks for word in ("on-table", "clear")}
    domain = parse_domain((PROBLEMS / "domain.pddl").read_text())
    return Task(domain, tuple((block, "block") for block in blocks), frozenset(facts))


def test_the_prompt_is_what_the_embedded_model_was_trained_on() -> None:
    from lmppl.models.embedded.documents import sections

    listed = {"objects": "a b c - block", "goal": "stack a on b"}
    assert prompt(small_task("a", "b", "c"), "Stack A on B") == sections(listed, "pddl")


def test_the_grammar_allows_goals_about_the_listed_objects_only() -> None:
    parser = lark.Lark(grammar(small_task("a", "b")))
    for text in ("(and (on a b))", "(and (clear a) (on-table b) (holding a))"):
        parser.parse(text)
    for text in ("(and (on a c))", "(and)", "(on a b)", "(and (on a))", "(and (on a b)", "(and (arm-empty))"):
        with pytest.raises(lark.exceptions.LarkError):
            parser.parse(text)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("", []),
        ("(and", []),
        ("(and (on a", []),
        ("(and (on a b)", ["(on a b)"]),
        ("(and (on a b) (cle", ["(on a b)"]),
        ("(and (on a b) (clear a))", ["(clear a)", "(on a b)"]),
    ],
)
def test_a_fact_counts_once_it_is_closed(text: str, facts: list[str]) -> None:
    assert sorted(conjuncts(text)) == facts


@pytest.mark.parametrize("plan", [(), ("(pick-up a)",), ("(pick-up a)", "(stack a b)")])
def test_a_prefix_can_come_true_exactly_if_some_goal_that_it_begins_can(plan: tuple[str, ...]) -> None:
    task = small_task("a", "b")
    ahead = states_ahead(task, plan)
    facts = [fact for fact in task.facts if " " in fact]
    goals = [said for length in (1, 2, 3) for said in itertools.product(facts, repeat=length)]
    texts = {f"(and {' '.join(said)})": any(set(said) <= state for state in ahead) for said in goals}
    viable = {prefix for text, possible in texts.items() if possible for prefix in beginnings(text)}
    assert any(texts.values())
    assert not all(texts.values())
    for text in texts:
        for prefix in beginnings(text):
            assert can_come_true(prefix, ahead) == (prefix in viable), prefix


def beginnings(text: str) -> Iterator[str]:
    return (text[:end] for end in range(len(text) + 1))


def test_the_evidence_is_the_sum_over_goals_of_what_the_words_and_the_plan_say() -> None:
    # A table model that writes one of four goals, one in ten times without its last parenthesis.
    # Mutants: the sums without the check and without the waste.
    task, plan, words = small_task("a", "b", "c"), ("(pick-up a)",), "do something"
    prior = {"(on a b)": 0.2, "(on-table c)": 0.4, "(on b c)": 0.3, "(clear b)": 0.1}
    tokens = [prompt(task, words), "(and", *(f" {fact}" for fact in prior), ")", "\n", "<end>"]
    rows = np.zeros((len(tokens), len(tokens)))
    rows[0, 1] = rows[-3, -2] = rows[-2, -1] = rows[-1, -1] = 1.0
    rows[1, 2:-3] = list(prior.values())
    rows[2:-3, -3], rows[2:-3, -2] = 0.9, 0.1
    lm = lp.TableLM(tokens, np.eye(len(tokens))[0], rows)

    posterior = lp.infer(goal_inference, lm, task, plan, words, method=lp.IS(2000), key=0)

    wastes = {"(on a b)": 0, "(on-table c)": 1, "(clear b)": 1}  # b on c: a must be put down again first
    for fact, waste in wastes.items():
        best, left = plan_length(task, frozenset({fact})), plan_length(task.after(plan), frozenset({fact}))
        assert best is not None
        assert left is not None
        assert len(plan) + left - best == waste
    joint = {fact: 0.9 * prior[fact] * discount(waste) for fact, waste in wastes.items()}
    evidence = sum(joint.values())
    estimates = np.exp(posterior.log_weights)
    assert np.mean(estimates) == pytest.approx(math.exp(posterior.log_evidence))
    assert_unbiased(estimates, evidence, failure_rate=FAILURE_RATE)
    for mutant in (evidence + 0.9 * prior["(on b c)"], 0.9 * sum(prior[fact] for fact in wastes)):
        with pytest.raises(AssertionError, match="standard errors"):
            assert_unbiased(estimates, mutant, failure_rate=FAILURE_RATE)
    assert set(posterior.answers()) == {frozenset({fact}) for fact in wastes}
    for fact, mass in joint.items():
        said = np.array([value == frozenset({fact}) for value in posterior.values])
        assert_unbiased(estimates * said, mass, failure_rate=FAILURE_RATE)
        if wastes[fact]:
            with pytest.raises(AssertionError, match="standard errors"):
                assert_unbiased(estimates * said, 0.9 * prior[fact], failure_rate=FAILURE_RATE)


def discount(waste: int) -> float:
    """Gives the mean of `exp(-beta * waste)` for `log beta ~ Normal(0, 0.5)`, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    return float(weights @ np.exp(-np.exp(0.5 * nodes) * waste) / weights.sum())


def test_the_shipped_problems_do_not_tell_the_goal() -> None:
    assert len(NAMES) >= 3
    for name in NAMES:
        problem = read_problem(PROBLEMS, name)
        truth = true_goal(problem)
        assert ":goal" not in (PROBLEMS / f"{name}.pddl").read_text()
        assert not truth <= problem.task.final(problem.plan), f"{name}: its plan is not partial"
        assert "(" not in problem.instruction


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_is_a_goal_that_the_plan_does_not_contradict(
    name: str, runs: dict[str, tuple[Problem, lp.Posterior, lp.Posterior]]
) -> None:
    problem, posterior, _ = runs[name]
    parser, ahead = lark.Lark(grammar(problem.task)), states_ahead(problem.task, problem.plan)
    for text, probability in posterior.marginal("goal").items():
        assert probability > 0
        parser.parse(text)
        assert any(conjuncts(text) <= state for state in ahead), text
    assert sum(posterior.answers().values()) == pytest.approx(1.0)
    assert math.isfinite(posterior.log_evidence)
    assert all(float(trace["beta"]) > 0 for trace in posterior.traces if "beta" in trace)


def test_inference_finds_the_true_goals_better_than_unconstrained_samples(
    runs: dict[str, tuple[Problem, lp.Posterior, lp.Posterior]],
) -> None:
    # One fixed key and the shipped weights, so no false alarm.
    alone, found = 0.0, 0.0
    for problem, posterior, samples in runs.values():
        truth = true_goal(problem)
        alone += sort_out(samples, problem).get(truth, 0.0) / len(runs)
        found += posterior.probability(truth) / len(runs)
    assert found > alone + 0.1


def test_the_plan_finds_true_goals_that_the_grammar_alone_does_not(
    embedded: lp.LanguageModel, runs: dict[str, tuple[Problem, lp.Posterior, lp.Posterior]]
) -> None:
    # The mutant of the test above: the same program of an agent that was not seen doing anything.
    gain = 0.0
    for problem, posterior, _ in runs.values():
        unseen, _ = answer(embedded, replace(problem, plan=()), PARTICLES, 0)
        truth = true_goal(problem)
        gain += (posterior.probability(truth) - unseen.probability(truth)) / len(runs)
    assert gain > 0.05


def true_goal(problem: Problem) -> Goal:
    truth = read_truth(PROBLEMS, problem)
    assert truth
    return truth


@pytest.mark.parametrize("name", NAMES)
def test_plain_samples_are_sorted_into_goals_and_reasons(
    name: str, runs: dict[str, tuple[Problem, lp.Posterior, lp.Posterior]]
) -> None:
    problem, _, samples = runs[name]
    pooled = sort_out(samples, problem)
    assert sum(pooled.values()) == pytest.approx(1.0)
    assert all(isinstance(kind, str) or conjuncts(" ".join(kind)) == kind for kind in pooled)


def test_the_command_prints_the_posterior_and_the_comparison(
    embedded: lp.LanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["tower", "--particles", str(PARTICLES), "--key", "1"])
    printed = capsys.readouterr().out
    for expected in (
        "stack the blocks",
        "log evidence",
        "lost",
        "words alone",
        "<- true",
        "python examples/",
    ):
        assert expected in printed, printed
    ours = printed.splitlines()
    assert max(map(len, ours)) <= 100


def test_an_unknown_problem_is_answered_by_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["twoer"])
    message = capsys.readouterr().err
    assert "there is no problem 'twoer'" in message
    assert all(name in message for name in NAMES)


def test_a_folder_without_problems_is_said_to_be_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--folder", str(tmp_path), "--all"])
    assert "for the format see examples/blocksworld" in capsys.readouterr().err


def test_an_impossible_plan_ends_the_command_with_its_step(
    embedded: lp.LanguageModel, tmp_path: Path
) -> None:
    for name in ("domain.pddl", "tower.pddl", "tower.txt"):
        (tmp_path / name).write_text((PROBLEMS / name).read_text())
    (tmp_path / "tower.plan").write_text("(pick-up red)\n(pick-up blue)\n")
    with pytest.raises(SystemExit, match=r"error: Step 2, \(pick-up blue\).*\(arm-empty\)"):
        main(["tower", "--folder", str(tmp_path)])


def test_zero_particles_end_the_command_with_what_to_do(embedded: lp.LanguageModel) -> None:
    with pytest.raises(SystemExit, match=r"^error: .*at least 1 particle"):
        main(["--particles", "0"])
