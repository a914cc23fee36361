"""Checks that few tokens pass: `Auto` weighs those rows by priority sampling, and says so."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_tables import drawn_table

import lmppl as lp
from lmppl.inference import host_parts, host_search, proposals
from lmppl.inference.awrs import Weighed, weigh_priority
from lmppl.testing import assert_unbiased

FAILURE_RATE = 1e-6  # of each statistical test, when what it tests is right
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM"
LM = drawn_table(8, LETTERS, 4.0)  # nearly flat, so that every token may be left out of the candidates
WORDS = 2
PLAIN = {"prefix": lambda s: set(s) <= set("bgk"), "complete": lambda s: len(set(s)) >= WORDS}
LISTS = {
    "prefix": lambda texts: [set(s) <= set("bgk") for s in texts],
    "complete": lambda texts: np.array([len(set(s)) >= WORDS for s in texts]),
}


def program(check):
    text = lp.sample("x", LM("", max_tokens=4) & check)
    lp.constrain("no b first", text[0] != "b")
    return text


@pytest.fixture(autouse=True)
def a_threshold(monkeypatch):
    """As many candidates as are drawn at first, so that there are others behind them."""
    monkeypatch.setattr(proposals, "_PRIORITY_CHECKS", 16)
    monkeypatch.setattr(host_parts, "_SCARCE", 6)


def posteriors(num_runs):
    method = lp.SMC(64, ess_threshold=0.7)
    found = [lp.infer(program, lp.check("rare", **PLAIN), method=method, key=key) for key in range(num_runs)]
    told = [posterior.diagnostics.text_sites["x"] for posterior in found]
    assert np.mean(["by priority sampling" in text for text in told]) > 0.9, told[0]
    return found


def assert_right(num_runs=150):
    exact = lp.infer(program, lp.check("rare", **PLAIN), method=lp.Enumerate())
    found = posteriors(num_runs)
    evidence = np.exp([posterior.log_evidence for posterior in found])
    assert_unbiased(evidence, np.exp(exact.log_evidence), failure_rate=FAILURE_RATE)
    for answer, probability in exact.top(3):
        masses = evidence * np.array([posterior.probability(answer) for posterior in found])
        assert_unbiased(masses, np.exp(exact.log_evidence) * probability, failure_rate=FAILURE_RATE)


@pytest.mark.slow
def test_evidence_and_masses_are_unbiased():
    assert_right()


def _without_inclusion(log_probs, accepted, threshold, uniform):
    weighed = weigh_priority(log_probs, accepted, threshold, uniform)
    with np.errstate(divide="ignore"):
        return weighed._replace(log_weight=np.log(np.sum(np.exp(log_probs) * accepted, axis=1)))


def _goes_on_free_of_charge(one, other, share, uniform):
    died = one.log_weight == -np.inf
    return Weighed(
        np.where(died, other.position, one.position), np.where(died, other.log_weight, one.log_weight)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mutant"), [("weigh_priority", _without_inclusion), ("mixed", _goes_on_free_of_charge)]
)
def test_mutants_are_caught(monkeypatch, name, mutant):
    monkeypatch.setattr(host_search, name, mutant)
    with pytest.raises(AssertionError):
        assert_right()


@pytest.mark.parametrize("functions", [{}, {"batch": True}, {"workers": 2}, {"batch": True, "workers": 2}])
@pytest.mark.parametrize("method", [lp.SMC(16), lp.SMC(16, proposal=lp.AWRS()), lp.IS(8)], ids=repr)
def test_results_do_not_depend_on_how_the_check_is_asked(functions, method):
    check = lp.check("rare", **(LISTS if functions.get("batch") else PLAIN), **functions)
    expected = lp.infer(program, lp.check("rare", **PLAIN), method=method, key=3)
    found = lp.infer(program, check, method=method, key=3)
    np.testing.assert_array_equal(found.log_weights, expected.log_weights)
    assert found.values == expected.values
    assert found.diagnostics.num_checks == expected.diagnostics.num_checks
    assert found.losses == expected.losses


def test_no_row_is_lost_that_rejection_would_not_lose():
    for posterior in posteriors(5):
        assert "constraint unsatisfiable" not in posterior.losses


def test_a_row_does_not_depend_on_the_others():
    check = lp.check("rare", **PLAIN)
    one, many = (lp.infer(program, check, method=lp.IS(number), key=2) for number in (1, 16))
    assert one.traces[0] == many.traces[0]
    assert one.log_weights[0] == pytest.approx(many.log_weights[0], abs=1e-6)


def test_rejection_that_was_asked_for_is_what_is_done():
    for proposal in (lp.AWRS(), lp.Auto(awrs=lp.AWRS(rounds=2))):
        method = lp.SMC(16, proposal=proposal)
        posterior = lp.infer(program, lp.check("rare", **PLAIN), method=method, key=0)
        assert "priority" not in posterior.diagnostics.text_sites["x"]
