"""Every way of proposing tokens charges what a mask takes: here the limit, behind which a string must end."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from drawn_tables import drawn_table

import lmppl as lp
from lmppl.inference import host_search
from lmppl.testing import assert_unbiased

pytestmark = pytest.mark.once

FAILURE_RATE = 1e-6  # of each comparison, when what it compares is right
NUM_PARTICLES = 2048  # none resampled, so that each is an estimate by itself
LM = drawn_table(4)
PROPOSALS = [
    lp.Auto(),
    lp.Auto(awrs=lp.AWRS(rounds=2)),
    lp.AWRS(),
    lp.AWRS(lookahead=1, max_checks=2),
    lp.AWRS(rounds=2),
    pytest.param(lp.AWRS(rounds=3, max_checks=2), marks=pytest.mark.slow),
    lp.Mask(),
]


def no_two_alike(text: str) -> bool:
    return all(one != other for one, other in pairwise(text))


@pytest.fixture(scope="module")
def constraints(without_automaton):
    return {
        "automaton": lp.regex("a|(b|c)+"),
        "acceptor": without_automaton(lp.regex("a|(b|c)+")),
        "check": lp.check("no two alike", prefix=no_two_alike),
    }


def compare(constraint, proposal):
    """Compares the evidence, and the mass of each answer, with their exact values."""

    def program():
        return lp.sample("x", LM("", max_tokens=2) & constraint)

    exact = lp.infer(program, method=lp.Enumerate())
    method = lp.SMC(NUM_PARTICLES, proposal=proposal, ess_threshold=0.0)
    posterior = lp.infer(program, method=method, key=0)
    estimates = np.exp(posterior.log_weights)
    assert np.mean(estimates) == pytest.approx(np.exp(posterior.log_evidence))
    assert_unbiased(estimates, np.exp(exact.log_evidence), failure_rate=FAILURE_RATE)
    for answer, probability in exact.top(3):
        said = np.array([value == answer for value in posterior.values])
        mass = np.exp(exact.log_evidence) * probability
        assert_unbiased(estimates * said, mass, failure_rate=FAILURE_RATE)


@pytest.mark.parametrize("proposal", PROPOSALS, ids=repr)
@pytest.mark.parametrize("kind", ["automaton", "acceptor", "check"])
def test_the_evidence_and_every_answer_are_unbiased(constraints, kind, proposal):
    compare(constraints[kind], proposal)


@pytest.mark.parametrize("kind", ["acceptor", "check"])
def test_a_limit_that_costs_nothing_is_caught(constraints, kind, monkeypatch):
    def free_of_charge(log_probs, log_tail, accepted, uniforms, *, rounds):
        mass = np.logaddexp(np.logaddexp.reduce(log_probs, axis=1), log_tail)
        found = weigh(log_probs, log_tail, accepted, uniforms, rounds=rounds)
        return found._replace(log_weight=found.log_weight - np.where(mass > -np.inf, mass, 0.0))

    weigh = host_search.weigh_geometric
    monkeypatch.setattr(host_search, "weigh_geometric", free_of_charge)
    with pytest.raises(AssertionError, match="standard errors"):
        compare(constraints[kind], lp.AWRS(rounds=2))
