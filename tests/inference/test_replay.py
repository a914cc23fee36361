"""Forking by replay: the copy has the ancestor's past, and programs that cannot be replayed are named."""

import itertools

import numpy as np
import numpyro.distributions as dist
import pytest
from drawn_tables import drawn_table

import lmppl as lp

LM = drawn_table(6)
ALWAYS = lp.SMC(16, ess_threshold=1.0)


@pytest.mark.usefixtures("few_programs")
def test_a_forked_particle_returns_what_its_trace_says():
    def program():
        x = lp.sample("x", LM("a", max_tokens=3))
        lp.observe("o", LM("b"), "a" if "a" in x else "bbb")
        n = lp.sample("n", dist.Categorical(probs=np.array([0.3, 0.7])))
        lp.constrain("c", bool(n == 1) or len(x) > 1)
        y = lp.sample("y", LM(x, max_tokens=3) & lp.regex("[ab]*"))
        return x, int(n), y

    posterior = lp.infer(program, method=lp.SMC(64, ess_threshold=1.0))
    assert posterior.diagnostics.num_replays > 20
    for value, trace, weight in zip(posterior.values, posterior.traces, posterior.weights, strict=True):
        if weight:
            assert value == (trace["x"], int(trace["n"]), trace["y"])


def noisy(change):
    counter = itertools.count()

    def program():
        n = lp.sample("n", dist.Normal(0.0, 1.0))
        lp.observe("o", dist.Normal(n, 0.01), 0.5)
        change(next(counter))
        lp.sample("last", dist.Normal(0.0, 1.0))

    return program


def test_a_program_that_reaches_another_site_on_replay_is_named_with_its_line():
    program = noisy(lambda count: lp.sample(f"site {count}", dist.Normal(0.0, 1.0)))
    with pytest.raises(lp.ProgramNotDeterministic, match=r"test_replay.py:\d+"):
        lp.infer(program, method=ALWAYS)


def test_a_program_whose_distribution_changes_on_replay_is_named():
    program = noisy(lambda count: lp.sample("moving", dist.Normal(float(count), 1.0)))
    with pytest.raises(lp.ProgramNotDeterministic, match="'moving'.*another distribution"):
        lp.infer(program, method=ALWAYS)


def test_a_text_site_whose_prompt_changes_on_replay_is_named():
    program = noisy(lambda count: lp.sample("moving", LM("abc"[count % 3], max_tokens=1)))
    with pytest.raises(lp.ProgramNotDeterministic, match="'moving'.*another distribution"):
        lp.infer(program, method=ALWAYS)


@pytest.mark.parametrize(
    ("weighed", "named"),
    [
        (
            lambda count: lp.observe("w", dist.Normal(0.0, 1.0), float(count)),
            "with '16.0', where it had '0.0'",
        ),
        (lambda count: lp.observe("w", dist.Normal(np.zeros(2), 1.0), np.full(2, count)), "with "),
        (lambda count: lp.observe("w", LM("a"), "abc"[count % 3]), "with "),
        (lambda count: lp.constrain("w", count < 16), "with 'False', where it had 'True'"),
        (lambda count: lp.factor("w", 0.1 * (count % 3)), "with "),
    ],
    ids=["number", "array", "text", "condition", "factor"],
)
def test_a_program_that_weighs_by_other_values_on_replay_is_named(weighed, named):
    counter = itertools.count()

    def program():
        weighed(next(counter))
        n = lp.sample("n", dist.Normal(0.0, 1.0))
        lp.observe("o", dist.Normal(n, 0.01), 0.5)
        lp.sample("last", dist.Normal(0.0, 1.0))

    with pytest.raises(lp.ProgramNotDeterministic, match=rf"'w' at .*test_replay.py:\d+ {named}"):
        lp.infer(program, method=ALWAYS)


def test_weights_that_differ_by_rounding_alone_are_the_same_on_replay():
    program = noisy(lambda count: lp.factor("w", 0.7 + 1e-12 * count))
    assert lp.infer(program, method=ALWAYS).diagnostics.num_replays > 0


def test_a_program_that_returns_early_on_replay_is_named():
    counter = itertools.count()

    def program():
        n = lp.sample("n", dist.Normal(0.0, 1.0))
        lp.observe("o", dist.Normal(n, 0.01), 0.5)
        if next(counter) < 16:
            lp.sample("last", dist.Normal(0.0, 1.0))

    with pytest.raises(lp.ProgramNotDeterministic, match="without reaching 'last'"):
        lp.infer(program, method=ALWAYS)


def test_programs_call_programs_and_helpers_and_share_their_names():
    @lp.program
    def inner(prefix):
        return lp.sample(f"{prefix} word", LM("a", max_tokens=1))

    @lp.program
    def outer():
        return inner("first") + inner("second")

    posterior = lp.infer(outer, method=lp.SMC(8))
    assert list(posterior.traces[0]) == ["first word", "second word"]


def test_a_program_may_run_an_inference_of_its_own():
    def inner():
        return lp.sample("x", LM("a", max_tokens=1))

    def outer():
        best = lp.infer(inner, method=lp.Enumerate()).top(1)[0][0]
        return best + lp.sample("x", LM(best, max_tokens=1))

    exact = lp.infer(inner, method=lp.Enumerate()).top(1)[0][0]
    assert all(value.startswith(exact) for value in lp.infer(outer, method=lp.SMC(4)).values)
