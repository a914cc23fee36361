"""Text sites on a neural model: the incremental path says what a full pass says, through resampling."""

from dataclasses import replace

import numpy as np
import numpyro.distributions as dist
import pytest

import lmppl as lp
from lmppl.models.flax_lm import FlaxLM
from lmppl.scoring import path_log_probs

pytestmark = pytest.mark.usefixtures("few_programs")

PROMPTS = ["### words\nred\n### sentence\n", "### person\n", "### schema\nsinger(name, age)\n### question\n"]


def program(lm, constraint, stop):
    which = int(lp.sample("which", dist.Categorical(probs=np.full(3, 1 / 3))))
    text = lm(PROMPTS[which], max_tokens=7, stop=stop)
    return lp.sample("text", text if constraint is None else text & constraint)


@pytest.mark.parametrize("proposal", [lp.Auto(), lp.AWRS(lookahead=2)], ids=["auto", "awrs"])
@pytest.mark.parametrize(
    "constraint", [None, lp.regex("[a-z ]{3,}"), lp.check("few e", prefix=lambda s: s.count("e") < 2)]
)
def test_decoding_with_ragged_prompts_and_resampling_scores_like_a_full_pass(lm, proposal, constraint):
    method = lp.SMC(12, proposal=proposal, ess_threshold=1.0)
    posterior = lp.infer(program, lm, constraint, "\n", method=method, key=1)
    if constraint is not None:
        assert posterior.diagnostics.num_resamplings > 0
    for trace, weight in zip(posterior.traces, posterior.weights, strict=True):
        if not weight:
            continue
        record = trace.texts["text"]
        text = lm(PROMPTS[int(trace["which"])], max_tokens=7, stop="\n")
        full = path_log_probs([text], [record.tokens])[0]
        assert sum(record.token_log_probs) == pytest.approx(full, abs=2e-4)


def test_a_forgotten_cache_gather_is_caught(lm, monkeypatch):
    """The mutant: resampling moves the rows but not their caches."""
    monkeypatch.setattr(lm.skeleton, "_compiled", {}, raising=False)  # nothing of before, or for after
    monkeypatch.setattr(type(lm), "move", lambda self, cache, ancestors: cache)
    with pytest.raises(AssertionError):
        test_decoding_with_ragged_prompts_and_resampling_scores_like_a_full_pass(
            lm, lp.Auto(), lp.regex("[a-z ]{3,}")
        )


@pytest.mark.parametrize(
    ("constraint", "num_particles"),
    [
        (None, 32),  # so many that some rows are read as one
        (lp.regex("[ -~]{3,}"), 12),
        (lp.check("few e", prefix=lambda s: s.count("e") < 2), 12),
    ],
)
def test_under_importance_sampling_a_string_does_not_depend_on_the_other_particles(
    lm, constraint, num_particles
):
    one = lp.infer(program, lm, constraint, "\n", method=lp.IS(1), key=5)
    many = lp.infer(program, lm, constraint, "\n", method=lp.IS(num_particles), key=5)
    assert one.traces[0] == many.traces[0]
    assert one.log_weights[0] == pytest.approx(many.log_weights[0], abs=1e-4)


def test_strings_without_a_limit_grow_the_cache_until_they_end(lm):
    text = lm("### words\nred\n### sentence\n") & lp.regex("[a-z ]{100,140}")
    posterior = lp.infer(lambda: lp.sample("x", text), method=lp.SMC(2), key=0)
    assert all(100 <= len(value) <= 140 for value in posterior.answers())


def test_a_string_that_runs_out_of_context_is_truncated(lm):
    short = FlaxLM("short context", replace(lm.config, context_length=40), lm.params, lm.codec)
    text = short("### words\nred\n### sentence\n") & lp.regex("[a-z ]{900,}")
    with pytest.raises(lp.NoPosterior) as caught:
        lp.infer(lambda: lp.sample("x", text), method=lp.SMC(2), key=0)
    assert caught.value.losses == {"truncated": {"x": 2}}
