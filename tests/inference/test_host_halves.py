"""Two halves of a site's rows that take turns, and rows that read ahead, draw what they draw otherwise."""

from __future__ import annotations

import numpy as np
import numpyro.distributions as dist
import pytest

import lmppl as lp
from lmppl.inference import host_parts, host_sites, scheduler, text_sites
from lmppl.inference.contexts import rearranged
from lmppl.inference.host_parts import HostPart
from lmppl.inference.population import Population

pytestmark = pytest.mark.once

PROMPTS = ("### words\nred\n### sentence\n", "### words\na blue car\n### sentence\nThe")
NUM_PARTICLES = 30  # and two rows of padding
CHECK = lp.check("few e", prefix=lambda text: text.count("e") < 3, complete=lambda text: len(text) > 3)


def one_prompt(lm):
    return lp.sample("x", lm(PROMPTS[0], max_tokens=8) & CHECK)


def sites_that_go_on(lm):
    first = lp.sample("x", lm(PROMPTS[0], max_tokens=5, stop=" ") & CHECK)
    return lp.sample("y", lm(PROMPTS[0] + first, max_tokens=5) & CHECK)


def two_prompts(lm):
    which = int(lp.sample("which", dist.Categorical(probs=np.array([0.6, 0.4]))))
    lp.observe("seen", dist.Bernoulli(probs=(0.2, 0.9)[which]), 1)
    return lp.sample("x", lm(PROMPTS[which], max_tokens=6) & CHECK)


def no_limit(lm):
    """Longer than the rows have room for at first."""
    return lp.sample("x", lm(PROMPTS[0], stop=" a") & lp.check("few t", prefix=lambda s: s.count("t") < 6))


def lost_to_a_potential(lm):
    liked = lp.potential("no b", prefix=lambda text: -np.inf if "b" in text else -0.3 * text.count("a"))
    return lp.sample("x", lm(PROMPTS[0], max_tokens=6) & CHECK & liked)


PROGRAMS = (one_prompt, sites_that_go_on, two_prompts, no_limit, lost_to_a_potential)


def run(lm, program, halves, monkeypatch, threshold=0.8):
    with monkeypatch.context() as patch:
        patch.setattr(host_sites, "takes_long", lambda rows: halves)
        return lp.infer(program, lm, method=lp.SMC(NUM_PARTICLES, ess_threshold=threshold), key=1)


def assert_same(found, expected):
    assert found.values == expected.values
    np.testing.assert_allclose(found.log_weights, expected.log_weights, atol=1e-4)
    assert found.log_evidence == pytest.approx(expected.log_evidence, abs=1e-4)
    assert found.losses == expected.losses
    for name in ("num_tokens", "num_checks", "num_resamplings"):
        assert getattr(found.diagnostics, name) == getattr(expected.diagnostics, name)


@pytest.mark.parametrize(
    ("program", "threshold"),
    [*((program, 1.0) for program in PROGRAMS), (one_prompt, 0.0), (two_prompts, 0.8)],
)
def test_halves_draw_what_the_whole_draws(lm, program, threshold, monkeypatch):
    monkeypatch.setattr(text_sites, "_FIRST_ROOM", 16)
    whole, halves = (run(lm, program, halves, monkeypatch, threshold) for halves in (False, True))
    assert_same(halves, whole)
    assert halves.diagnostics.num_forwards > whole.diagnostics.num_forwards
    assert (halves.diagnostics.num_resamplings > 0) == (threshold > 0)


def _keeps_what_was_read(self, lengths):
    self._waiting = None
    self.held.states = self._states_before


def _moves_no_cache(caches, rows):
    return caches if len(caches) == len(rows) else rearranged(caches, rows)


@pytest.mark.parametrize("mutant", ["take back", "exchange"])
def test_mutants_are_caught(lm, mutant, monkeypatch):
    whole = run(lm, one_prompt, False, monkeypatch)
    if mutant == "take back":
        monkeypatch.setattr(HostPart, "take_back", _keeps_what_was_read)
    else:
        monkeypatch.setattr(host_parts, "rearranged", _moves_no_cache)
    halves = run(lm, one_prompt, True, monkeypatch)
    with pytest.raises(AssertionError):
        assert_same(halves, whole)


def test_the_next_step_of_one_half_begins_before_the_other_is_checked(lm, monkeypatch):
    order = []
    launch, take = HostPart.launch, HostPart.take

    def launched(self, step, *args):
        order.append(("launch", step, id(self)))
        return launch(self, step, *args)

    def taken(self, step, *args):
        order.append(("take", step, id(self)))
        return take(self, step, *args)

    monkeypatch.setattr(HostPart, "launch", launched)
    monkeypatch.setattr(HostPart, "take", taken)
    run(lm, one_prompt, True, monkeypatch, threshold=0.0)
    first, second = dict.fromkeys(place for _, _, place in order)
    for step in range(1, 4):
        assert order.index(("launch", step, second)) < order.index(("take", step, first))
        assert order.index(("launch", step + 1, first)) < order.index(("take", step, second))


@pytest.mark.parametrize(
    ("num_particles", "check", "proposal", "divided"),
    [
        (32, lp.check("fast", prefix=lambda text: "q" not in text), lp.Auto(), False),
        (32, lp.check("slow", prefix=lambda text: "q" not in text, workers=1), lp.Auto(), True),
        (16, lp.check("slow", prefix=lambda text: "q" not in text, workers=1), lp.Auto(), False),
    ],
)
def test_checks_that_take_long_divide_many_rows(lm, num_particles, check, proposal, divided):
    method = lp.SMC(num_particles, proposal, ess_threshold=0.0)
    done = lp.infer(lambda: lp.sample("x", lm(PROMPTS[0], max_tokens=4) & check), method=method, key=0)
    longest = max(len(trace.texts["x"].tokens) for trace in done.traces)
    assert (done.diagnostics.num_forwards > longest) == divided


def test_checks_that_were_measured_to_be_dear_divide_the_rows_after_the_first_token(lm, monkeypatch):
    def program():
        return lp.sample("x", lm(PROMPTS[0], max_tokens=6) & CHECK)

    def done(measure):
        method = lp.SMC(NUM_PARTICLES, lp.Auto(awrs=lp.AWRS(lookahead=1), measure=measure), ess_threshold=0.8)
        return lp.infer(program, method=method, key=1)

    whole = done(False)
    monkeypatch.setattr(lp.Auto, "finds_dear", lambda self, seconds: self.measure)
    halves = done(True)
    assert_same(halves, whole)
    assert halves.diagnostics.num_forwards > 1.5 * whole.diagnostics.num_forwards


def ahead(lm, program, monkeypatch, size=None):
    """Runs with a guess of the effective sample size behind a step; gives how often it was wrong too."""
    wrong = []
    take_back = HostPart.take_back
    with monkeypatch.context() as patch:
        if size is not None:
            patch.setattr(Population, "effective_sample_size_after", lambda *_: size)
        patch.setattr(HostPart, "take_back", lambda part, lengths: wrong.append(take_back(part, lengths)))
        return run(lm, program, False, monkeypatch, threshold=0.9), len(wrong)


@pytest.mark.parametrize("program", PROGRAMS)
def test_rows_read_ahead_unless_they_are_resampled(lm, program, monkeypatch):
    monkeypatch.setattr(text_sites, "_FIRST_ROOM", 16)
    known, num_wrong = ahead(lm, program, monkeypatch)
    never, num_wrong_never = ahead(lm, program, monkeypatch, size=1e-6)
    always, num_wrong_always = ahead(lm, program, monkeypatch, size=np.inf)
    assert num_wrong == num_wrong_never == 0
    assert num_wrong_always > 0
    assert known.diagnostics.num_resamplings > 0
    for found in (known, always):
        assert found.values == never.values
        np.testing.assert_array_equal(found.log_weights, never.log_weights)
    assert known.diagnostics.num_forwards == never.diagnostics.num_forwards
    assert always.diagnostics.num_forwards == known.diagnostics.num_forwards + num_wrong_always


def test_the_next_step_begins_before_the_last_one_is_noted(lm, monkeypatch):
    order = []
    launch, note = HostPart.launch, scheduler.Run._note
    monkeypatch.setattr(HostPart, "launch", lambda *args: (order.append("launch"), launch(*args)))
    monkeypatch.setattr(scheduler.Run, "_note", lambda *args: (order.append("note"), note(*args)))
    run(lm, one_prompt, False, monkeypatch, threshold=0.0)
    assert order[:4] == ["launch", "launch", "note", "launch"]


def test_a_step_that_is_not_taken_back_is_caught(lm, monkeypatch):
    never, _ = ahead(lm, one_prompt, monkeypatch, size=1e-6)
    monkeypatch.setattr(HostPart, "take_back", _keeps_what_was_read)
    always, _ = ahead(lm, one_prompt, monkeypatch, size=np.inf)
    with pytest.raises(AssertionError):
        assert_same(always, never)
