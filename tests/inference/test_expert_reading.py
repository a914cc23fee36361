"""Experts at a text site: what their caches say is what a full pass says, through resampling."""

import math

import numpy as np
import numpyro.distributions as dist
import pytest
from drawn_tables import drawn_table

import lmppl as lp
from lmppl.inference.expert_reading import ExpertReader
from lmppl.inference.site_potentials import SitePotentials
from lmppl.potentials.evaluation import log_weights

pytestmark = pytest.mark.once

PROMPTS = ["### words\nred\n### sentence\n", "### person\n", "### schema\nsinger(name, age)\n### question\n"]


# A model whose tokens are not the expert's, which has to take some of them back as a text grows.
SYLLABLES = drawn_table(0, ["th", "e", " c", "at", " ", "s", "he", "t"], 2.0)


@pytest.fixture
def said(monkeypatch):
    """Everything that is asked at text sites, with the answers."""
    pairs = []
    original = SitePotentials._answers

    def answers(self, asked):
        found = original(self, asked)
        pairs.extend(zip(asked, found, strict=True))
        return found

    monkeypatch.setattr(SitePotentials, "_answers", answers)
    return pairs


def check(pairs):
    for role in ("prefix", "complete"):
        asked = [question for question, _ in pairs if question.role == role]
        assert asked
        expected = log_weights(role, [(question.potential, question.data) for question in asked])
        found = [answer for question, answer in pairs if question.role == role]
        np.testing.assert_allclose(found, expected, atol=5e-4)


def same_tokens(lm):
    which = int(lp.sample("which", dist.Categorical(probs=np.full(3, 1 / 3))))
    text = lm(PROMPTS[which], max_tokens=7, stop="\n")
    other = lm(PROMPTS[which - 1], stop="\n", temperature=1.3)
    return lp.sample("text", text & lp.expert(other, power=0.5) & lp.expert(lm(PROMPTS[0], stop="\n")))


def other_tokens(lm):
    return lp.sample("text", SYLLABLES("t", max_tokens=9) & lp.expert(lm(PROMPTS[0]), power=0.4))


@pytest.mark.parametrize("program", [same_tokens, other_tokens])
def test_what_is_read_step_by_step_scores_like_a_full_pass(program, lm, said):
    posterior = lp.infer(program, lm, method=lp.SMC(12, ess_threshold=1.0), key=1)
    assert posterior.diagnostics.num_resamplings > 0
    check(said)


def test_a_forgotten_move_of_the_experts_rows_is_caught(lm, said, monkeypatch):
    """The mutant: resampling moves the rows' texts but not what their experts have read."""
    monkeypatch.setattr(ExpertReader, "reorder", lambda self, ancestors: None)
    original = ExpertReader._known

    def known(self, row, line, prompt_length):
        same = min(original(self, row, line, prompt_length), len(line) - 1)
        self._held[row] = line[: max(0, same - 1)]
        return same

    monkeypatch.setattr(ExpertReader, "_known", known)
    lp.infer(same_tokens, lm, method=lp.SMC(12, ess_threshold=1.0), key=1)
    with pytest.raises(AssertionError):
        check(said)


def test_the_expert_reads_a_token_a_step_and_nothing_twice(lm):
    method = lp.SMC(8, ess_threshold=0.0)
    text = lm(PROMPTS[0], max_tokens=6)
    plain = lp.infer(
        lambda: lp.sample("x", text & lp.check("any", prefix=lambda s: True)), method=method, key=0
    )
    joined = lp.infer(lambda: lp.sample("x", text & lp.expert(lm(PROMPTS[1]))), method=method, key=0)
    # The expert reads the first token too, where the model's own prompt gives it.
    assert joined.diagnostics.num_forwards == 2 * plain.diagnostics.num_forwards + 1


def test_a_text_that_is_too_long_for_the_expert_is_an_error(lm):
    short = lm("x" * 40)
    expert = lp.expert(short)
    with pytest.raises(lp.InvalidInputError, match=r"reads at most|max_tokens"):
        expert.prefix(b"word " * lm.context_length)
    assert expert.prefix(b"word") > -math.inf
