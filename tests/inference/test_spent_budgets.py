"""What becomes of rows that have spent their budget of checks: `Auto` ends them by the exact mask."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_tables import drawn_table

import lmppl as lp
from lmppl.inference import proposals
from lmppl.inference.host_search import Search
from lmppl.testing import assert_unbiased

pytestmark = pytest.mark.once

FAILURE_RATE = 1e-6  # of each statistical test, when what it tests is right
NUM_RUNS = 100
LM = drawn_table(3, "abcd", 0.6)


@pytest.fixture(scope="module")
def program(without_automaton):
    constraint = without_automaton(lp.regex("(ab|ca|d)*[bd]"))

    def program():
        text = lp.sample("x", LM("", max_tokens=4) & constraint)
        lp.constrain("no a first", text[0] != "a")
        return text

    return program


@pytest.fixture(autouse=True)
def no_masks_at_first(monkeypatch):
    """Vocabularies as small as this one would be masked from the start."""
    monkeypatch.setattr(proposals, "_MOST_TOKENS_MASKED_ON_HOST", 0)


def posteriors(program, awrs, keys):
    method = lp.SMC(32, proposal=lp.Auto(awrs=awrs), ess_threshold=0.7)
    return [lp.infer(program, method=method, key=key) for key in keys]


def assert_right(program, awrs, *counts):
    """Compares after each count of runs: once for what must be right, more often for what is to be caught."""
    exact = lp.infer(program, method=lp.Enumerate())
    found = []
    for count in counts:
        found += posteriors(program, awrs, range(len(found), count))
        evidence = np.exp([posterior.log_evidence for posterior in found])
        assert_unbiased(evidence, np.exp(exact.log_evidence), failure_rate=FAILURE_RATE)
        for answer, probability in exact.top(3):
            masses = evidence * np.array([posterior.probability(answer) for posterior in found])
            assert_unbiased(masses, np.exp(exact.log_evidence) * probability, failure_rate=FAILURE_RATE)


@pytest.mark.parametrize(
    "awrs",
    [
        lp.AWRS(lookahead=1, max_checks=1),
        pytest.param(lp.AWRS(lookahead=1, max_checks=2), marks=pytest.mark.slow),
        pytest.param(lp.AWRS(lookahead=3, max_checks=3), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_evidence_and_masses_are_unbiased_however_small_the_budget(program, awrs):
    assert_right(program, awrs, NUM_RUNS)


def test_a_row_is_lost_only_if_nothing_is_allowed(program):
    spent = lp.AWRS(lookahead=1, max_checks=1)
    for posterior in posteriors(program, spent, range(5)):
        assert "constraint unsatisfiable" not in posterior.losses
    lost = lp.infer(program, method=lp.SMC(16, proposal=spent), key=0).losses
    assert lost["constraint unsatisfiable"]["x"] > 0, "an explicit AWRS keeps to its budget"


def test_a_check_in_python_is_not_asked_about_the_whole_vocabulary():
    check = lp.check("no a", prefix=lambda text: "a" not in text)
    method = lp.SMC(16, proposal=lp.Auto(awrs=lp.AWRS(lookahead=1, max_checks=1)))
    posterior = lp.infer(lambda: lp.sample("x", LM("", max_tokens=4) & check), method=method, key=0)
    assert posterior.losses["constraint unsatisfiable"]["x"] > 0


def _only_rows_without_a_token(self, waiting, found, unfinished, places, log_weights):
    unfinished = unfinished & ~found.accepted.any(axis=1)  # an accept at the last candidate keeps its mass
    END_BY_MASK(self, waiting, found, unfinished, places, log_weights)


def _free_of_charge(self, waiting, found, unfinished, places, log_weights):
    END_BY_MASK(self, waiting, found, unfinished, places, log_weights)
    log_weights[places == found.ids.shape[1] - 1] = 0.0


END_BY_MASK = Search._end_by_mask


@pytest.mark.parametrize("mutant", [_only_rows_without_a_token, _free_of_charge])
def test_mutants_are_caught(program, monkeypatch, mutant):
    monkeypatch.setattr(Search, "_end_by_mask", mutant)
    with pytest.raises(AssertionError):
        assert_right(program, lp.AWRS(lookahead=1, max_checks=1), 50, NUM_RUNS, 3 * NUM_RUNS)
