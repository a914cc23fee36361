"""A loop whose length is latent keeps its long and its short branches: particles meet only where aligned."""

import numpy as np
import numpyro.distributions as dist
import pytest
from drawn_tables import drawn_table

import lmppl as lp
from lmppl.inference.scheduler import Run
from lmppl.testing import assert_unbiased

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("few_programs")]

FAILURE_RATE = 1e-6
LM = drawn_table(11, "ab")


@lp.program
def words_until_enough():
    """Says words until it has had enough; what is observed at the end favours many."""
    words = []
    while len(words) < 4 and lp.sample(f"more[{len(words)}]", dist.Bernoulli(0.35)):
        i = len(words)
        words.append(lp.sample(f"word[{i}]", LM("a", max_tokens=2) & lp.regex("[ab]+")))
        lp.factor(f"style[{i}]", -1.5)
    lp.observe("length", dist.Normal(float(len(words)), 0.45), 3.0)
    return len(words)


@pytest.fixture(scope="module")
def exact():
    return lp.infer(words_until_enough, method=lp.Enumerate())


def estimates(num_runs, exact):
    rows = []
    for key in range(num_runs):
        try:
            found = lp.infer(words_until_enough, method=lp.SMC(48, ess_threshold=0.9), key=key)
        except lp.NoPosterior:
            rows.append([0.0] * 4)
            continue
        evidence = np.exp(found.log_evidence)
        rows.append([evidence, *(evidence * found.probability(n) for n in (1, 2, 3))])
    expected = np.exp(exact.log_evidence) * np.array([1.0, *(exact.probability(n) for n in (1, 2, 3))])
    return np.array(rows), expected


def check_columns(found, expected):
    for column, value in zip(found.T, expected, strict=True):
        assert_unbiased(column, value, failure_rate=FAILURE_RATE)


def test_the_evidence_and_every_branch_are_unbiased(exact):
    """False-alarm rate 1e-6 for each of four columns."""
    check_columns(*estimates(60, exact))


def test_long_branches_survive_in_most_runs(exact):
    assert exact.probability(lambda n: n >= 2) > 0.7
    found, _ = estimates(32, exact)
    assert np.mean(found[:, 2:].sum(axis=1) > 0) > 0.8


def test_resampling_at_every_site_loses_the_long_branches(exact, monkeypatch):
    """The mutant: particles are resampled whenever some stand in a text site, wherever the others are."""
    original = Run._serve_text

    def serve(self, indices, live):
        original(self, indices, live)
        self._maybe_resample()

    monkeypatch.setattr(Run, "_serve_text", serve)
    found, expected = estimates(32, exact)
    with pytest.raises(AssertionError, match="standard errors"):
        check_columns(found, expected)
