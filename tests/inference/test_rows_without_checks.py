"""A site where some particles' strings are checked by the host and others' are not, held to `Enumerate`."""

from __future__ import annotations

import numpy as np
import numpyro.distributions as dist
import pytest
from drawn_tables import drawn_table

import lmppl as lp
from lmppl.inference.host_search import Search
from lmppl.testing import assert_unbiased

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("few_programs")]

FAILURE_RATE = 1e-6  # of each comparison, when what it compares is right
NUM_RUNS = 40
LM = drawn_table(4)
BRANCHES = [
    LM("a", max_tokens=3) & lp.check("no bb", prefix=lambda text: "bb" not in text),
    LM("a", max_tokens=3),
    LM("b", max_tokens=2) & lp.lark('start: ("a" | "b" "c")*'),
]


def program():
    which = int(lp.sample("which", dist.Categorical(np.array([0.3, 0.3, 0.4]))))
    return which, lp.sample("text", BRANCHES[which])


def compare(proposal):
    """Compares the evidence, and the mass of each branch, with their exact values."""
    exact = lp.infer(program, method=lp.Enumerate())
    found = [lp.infer(program, method=lp.SMC(32, proposal=proposal), key=key) for key in range(NUM_RUNS)]
    for branch in range(len(BRANCHES)):
        share = exact.probability(lambda answer, branch=branch: answer[0] == branch)
        masses = [
            np.exp(posterior.log_evidence) * posterior.probability(lambda answer, b=branch: answer[0] == b)
            for posterior in found
        ]
        assert_unbiased(masses, np.exp(exact.log_evidence) * share, failure_rate=FAILURE_RATE)


@pytest.mark.parametrize(
    "proposal",
    [
        lp.Auto(),
        lp.Auto(measure=True),
        lp.AWRS(lookahead=1, max_checks=1),
        lp.AWRS(lookahead=40),
        lp.AWRS(rounds=2),
        lp.Mask(),
    ],
    ids=repr,
)
def test_every_branch_has_its_mass(proposal):
    compare(proposal)


def test_rows_that_cost_nothing_are_caught(monkeypatch):
    def generous(self, waiting, found):
        places, log_weights = run(self, waiting, found)
        unjudged = [i for i, row in enumerate(self.rows) if row is not None and row.judges.check is None]
        log_weights[unjudged] = 0.0
        return places, log_weights

    run = Search.run
    monkeypatch.setattr(Search, "run", generous)
    with pytest.raises(AssertionError, match="standard errors"):
        compare(lp.Auto())
