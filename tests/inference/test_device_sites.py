"""Strings drawn by one loop on the device are those that the host's path draws, and the oracle agrees."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from drawn_tables import drawn_table

import lmppl as lp
from lmppl.inference import text_steps
from lmppl.testing import assert_unbiased

pytestmark = pytest.mark.once

FAILURE_RATE = 1e-6  # of each statistical test, when what it tests is right
WORDS = ["red", "blue", "green", "house"]


SMALL = drawn_table(0)
LARGE = drawn_table(
    1, [*"abcdefghijklmnopqrstuvwxyz", "ab", "ba", "cab", *(f"{a}{b}" for a in "defg" for b in "hijkl")]
)


def own_systematic(key, log_weights, num_draws):
    """Not one of ours, as far as the engine can tell: it is called from the host."""
    return lp.inference.systematic(key, log_weights, num_draws)


def program(lm, constraint, is_local, options):
    which = int(lp.sample("which", dist.Categorical(probs=np.array([0.5, 0.3, 0.2]))))
    text = lm(("a", "bca", "cc")[which], **options)
    text = text if constraint is None else text & constraint
    first = lp.sample("x", lp.local(text) if is_local else text)
    return first, lp.sample("y", lm("ab", max_tokens=3))


def run(lm, constraint, is_local, options, method, key=3):
    return lp.infer(program, lm, constraint, is_local, options, method=method, key=key)


def path_of(posterior):
    return {description.split(":")[0] for description in posterior.diagnostics.text_sites.values()}


def assert_same(device, host):
    """Compares tokens, weights, evidence, losses and resamplings of two runs."""
    assert device.losses == host.losses
    assert device.diagnostics.num_resamplings == host.diagnostics.num_resamplings
    np.testing.assert_array_equal(device.diagnostics.eves, host.diagnostics.eves)
    np.testing.assert_allclose(device.log_weights, host.log_weights, atol=1e-4)
    assert device.log_evidence == pytest.approx(host.log_evidence, abs=1e-4)
    for mine, theirs, weight in zip(device.traces, host.traces, device.log_weights, strict=True):
        if weight == -np.inf:
            continue
        assert mine == theirs
        for name in ("x", "y"):
            one, other = mine.texts[name], theirs.texts[name]
            assert one.tokens == other.tokens
            np.testing.assert_allclose(one.token_log_probs, other.token_log_probs, atol=1e-4)
            np.testing.assert_allclose(one.log_normalisers, other.log_normalisers, atol=1e-4)


LETTERS = lp.regex("[abc]{2,}(d|ab|cab)*")
CASES = {
    "unconstrained": (None, False, {"max_tokens": 5}),
    "no limit": (None, False, {}),
    "stop": (lp.regex("[a-h]*"), False, {"stop": "ca", "max_tokens": 6}),
    "regex": (LETTERS, False, {"max_tokens": 6}),
    "choices": (lp.choices(["abba", "cab", "bad", "a"]), False, {}),
    "hot": (LETTERS, False, {"max_tokens": 4, "temperature": 2.5}),
    "cold": (None, False, {"max_tokens": 4, "temperature": 0.5}),
    "local": (LETTERS, True, {"max_tokens": 5}),
    "rarely satisfied": (lp.regex("z[a-c]+|[ab]+z"), False, {"max_tokens": 3}),
    "never satisfied": (lp.regex("z[a-c]zzz"), False, {"max_tokens": 2}),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.mark.parametrize("ess_threshold", [0.0, 1.0])
@pytest.mark.parametrize("proposal", [lp.Auto(), lp.AWRS(lookahead=2, max_checks=20)], ids=["auto", "awrs"])
@each_case
def test_device_and_host_draw_the_same_tokens(case, proposal, ess_threshold):
    """The host is asked because of its own resampler; 12 particles are padded to 16 rows."""
    ours = lp.SMC(12, proposal, ess_threshold=ess_threshold)
    theirs = lp.SMC(12, proposal, own_systematic, ess_threshold)
    if case is CASES["never satisfied"]:
        losses = []
        for method in (ours, theirs):
            with pytest.raises(lp.NoPosterior) as caught:
                run(LARGE, *case, method)
            losses.append(caught.value.losses)
        assert losses[0] == losses[1]
        return
    on_device, on_host = run(LARGE, *case, ours), run(LARGE, *case, theirs)
    assert path_of(on_device) == {"device"}
    assert path_of(on_host) == {"host"}
    assert_same(on_device, on_host)


@pytest.mark.parametrize(
    "proposal",
    [lp.Mask(), lp.AWRS(lookahead=3), lp.AWRS(lookahead=2, max_checks=20)],
    ids=["mask", "awrs", "budget"],
)
@pytest.mark.parametrize("name", ["regex", "choices", "local", "hot"])
def test_a_constraint_without_an_automaton_gives_the_same_tokens(name, proposal, without_automaton):
    """Here the host computes masks and checks candidates by advancing the constraint itself."""
    constraint, is_local, options = CASES[name]
    method = lp.SMC(9, proposal, ess_threshold=1.0)
    device = run(LARGE, constraint, is_local, options, method)
    host = run(LARGE, without_automaton(constraint), is_local, options, method)
    assert path_of(device) == {"device"}
    assert "host" in path_of(host)
    assert_same(device, host)


# Against the oracle.


def conditioned(lm=SMALL):
    text = lp.sample("x", lm("a", max_tokens=4) & lp.regex("(ab|b|ca)*"))
    lp.constrain("short", len(text) < 4)
    return text


def stopped(lm=SMALL):
    which = lp.sample("which", dist.Bernoulli(0.4))
    return lp.sample("x", lm("ab"[int(which)], stop="bc", max_tokens=3) & lp.regex("[ab]*c?"))


def local(lm=SMALL):
    text = lp.sample("x", lp.local(lm("a", max_tokens=3, temperature=1.5) & lp.regex("(ab|c)*")))
    lp.observe("o", lm(text, max_tokens=2), "b")
    return text


METHODS = {
    "mask": lp.SMC(16, ess_threshold=1.0),
    "awrs": lp.SMC(16, proposal=lp.AWRS(lookahead=2), ess_threshold=0.9),
    "budget": lp.SMC(16, proposal=lp.AWRS(lookahead=1, max_checks=2), ess_threshold=0.5),
}


def check(program, method, *counts):
    """Compares after each count of runs: once for what must be right, more often for what is to be caught."""
    exact = lp.infer(program, method=lp.Enumerate())
    answers = [answer for answer, _ in exact.top(3)]
    rows = []
    for count in counts:
        rows += masses(program, method, answers, range(len(rows), count))
        for column, share in zip(np.array(rows).T, [1.0, *map(exact.probability, answers)], strict=True):
            assert_unbiased(column, np.exp(exact.log_evidence) * share, failure_rate=FAILURE_RATE)


def masses(program, method, answers, keys):
    """Estimates of the evidence and of the mass of some answers, a row a run."""
    rows = []
    for key in keys:
        try:
            found = lp.infer(program, method=method, key=key)
        except lp.NoPosterior:
            rows.append([0.0] * (1 + len(answers)))
            continue
        assert path_of(found) == {"device"}
        evidence = np.exp(found.log_evidence)
        rows.append([evidence, *(evidence * found.probability(answer) for answer in answers)])
    return rows


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("program", [conditioned, stopped, local])
def test_evidence_and_masses_are_unbiased(program, method):
    check(program, method, 80)


def _strings_stay(monkeypatch):
    """Resampling moves the caches and not the strings."""
    original = text_steps._resample

    def resample(lm, resampler, resampling, loop):
        return original(lm, resampler, resampling, loop)._replace(strings=loop.strings)

    monkeypatch.setattr(text_steps, "_resample", resample)


def _one_key(monkeypatch):
    """All tokens of a string are drawn with the same key."""
    original = text_steps.step_keys
    monkeypatch.setattr(text_steps, "step_keys", lambda keys, step: original(keys, 0 * step))


def _mask_free_of_charge(monkeypatch):
    original = text_steps._accept

    def accept(fixed, strings, drawn):
        strings, increments = original(fixed, strings, drawn)
        return strings, jnp.where(increments > -jnp.inf, 0.0, increments)

    monkeypatch.setattr(text_steps, "_accept", accept)


def _weights_stay(monkeypatch):
    """The device goes on with the old weights after resampling."""
    original = text_steps._resample

    def resample(lm, resampler, resampling, loop):
        return original(lm, resampler, resampling, loop)._replace(log_weights=loop.log_weights)

    monkeypatch.setattr(text_steps, "_resample", resample)


@pytest.mark.parametrize("mutate", [_strings_stay, _one_key, _mask_free_of_charge, _weights_stay])
def test_mutants_are_caught(mutate, monkeypatch):
    monkeypatch.setattr(
        SMALL.skeleton, "_compiled", {}, raising=False
    )  # nothing that was compiled before, or after
    mutate(monkeypatch)
    with pytest.raises((AssertionError, KeyError)):
        check(conditioned, METHODS["mask"], 50, 150, 400)


def test_strings_without_a_limit_grow_their_room_and_keep_their_tokens():
    lm = lp.TableLM(["a", "b", "<end>"], [0.5, 0.5, 0.0], [[0.5, 0.5, 0.0], [0.5, 0.45, 0.05], [0, 0, 1]])
    text = lm("a") & lp.regex("[ab]{70,100}")

    def long():
        return lp.sample("x", text)

    device = lp.infer(long, method=lp.SMC(5, ess_threshold=1.0), key=2)
    host = lp.infer(long, method=lp.SMC(5, resampler=own_systematic, ess_threshold=1.0), key=2)
    assert device.values == host.values
    assert all(70 <= len(value) <= 100 for value in device.answers())
    np.testing.assert_allclose(device.log_weights, host.log_weights, atol=1e-3)
    assert device.diagnostics.num_transfers <= 3


def test_a_run_in_several_calls_is_the_run_in_one(monkeypatch):
    """Calls are cut short so that one may watch and interrupt; what is drawn does not depend on it."""
    from lmppl.inference import device_sites

    case = CASES["regex"]
    whole = run(LARGE, *case, lp.SMC(12, ess_threshold=1.0))
    monkeypatch.setattr(device_sites.DeviceSites, "_steps_a_call", lambda self: 2)
    pieces = run(LARGE, *case, lp.SMC(12, ess_threshold=1.0))
    assert pieces.diagnostics.num_transfers > whole.diagnostics.num_transfers
    assert_same(whole, pieces)


def test_dead_slots_are_filled_by_resampling_inside_a_site():
    def program():
        if lp.sample("dead", dist.Bernoulli(0.4)):
            lp.constrain("never", False)
        return lp.sample("x", SMALL("a", max_tokens=4) & lp.regex("(ab|b|ca)*"))

    device = lp.infer(program, method=lp.SMC(10, ess_threshold=1.0), key=0)
    host = lp.infer(program, method=lp.SMC(10, resampler=own_systematic, ess_threshold=1.0), key=0)
    assert device.values == host.values
    np.testing.assert_allclose(device.log_weights, host.log_weights, atol=1e-4)
    assert (device.log_weights > -np.inf).sum() > (1 - 0.4) * 10
