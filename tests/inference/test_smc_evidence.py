"""SMC's evidence, and its mass on the most probable answers, are unbiased: held to `Enumerate`.

Every comparison is a z-test with a false-alarm rate of 1e-6. Every program comes with a mutant of the
engine that the same test must catch.
"""

from dataclasses import replace

import numpy as np
import numpyro.distributions as dist
import pytest
from drawn_tables import drawn_table

import lmppl as lp
from lmppl.inference import population, scheduler, text_sites
from lmppl.inference.scheduler import Run
from lmppl.testing import assert_unbiased

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("few_programs")]

FAILURE_RATE = 1e-6
NUM_RUNS = 60
NUM_PARTICLES = 32


LM, OTHER, TERSE = map(drawn_table, range(3))


def condition_inside_text():
    return lp.sample("x", LM("a", max_tokens=4) & lp.regex("(ab|b|ca)*"))


def condition_after_text():
    text = lp.sample("x", LM("a", max_tokens=3))
    lp.constrain("has b", "b" in text)
    return text


def several_sites_and_conditions_before_text():
    first = lp.sample("first", LM("b", max_tokens=2))
    lp.constrain("not empty", len(first) > 0)
    second = lp.sample("second", LM(first, max_tokens=2) & lp.check("has c", complete=lambda s: "c" in s))
    lp.observe("echo", OTHER(second, max_tokens=4), first)
    return first + "|" + second


def branches_on_a_latent():
    if lp.sample("long", dist.Bernoulli(0.3)):
        text = lp.sample("text", LM("a", max_tokens=3) & lp.regex("[ab]+"))
        lp.observe("seen", OTHER(text), "ab")
        return text
    number = lp.sample("number", dist.Categorical(probs=np.array([0.2, 0.5, 0.3])))
    lp.observe("seen", OTHER("abc"[number]), "b")
    lp.constrain("not one", bool(number != 1))
    return int(number)


def loop_of_latent_length():
    words = []
    for i in range(3):
        if not lp.sample(f"more[{i}]", dist.Bernoulli(0.6)):
            break
        words.append(lp.sample(f"word[{i}]", LM("c", max_tokens=1)))
        lp.observe(f"heard[{i}]", OTHER(words[-1], max_tokens=3), "a")
    return tuple(words)


def numpyro_latents():
    rate = lp.sample("rate", dist.Categorical(probs=np.array([0.5, 0.3, 0.2])))
    lp.observe("data", dist.Normal(float(rate), 1.0), np.array([0.3, 1.9], np.float32))
    coin = lp.sample("coin", dist.Bernoulli(0.2 + 0.3 * float(rate)))
    lp.factor("tilt", 0.7 * float(coin))
    return int(rate), int(coin)


def text_proposal():
    target = LM("a", max_tokens=3) & lp.regex("[ab]*")
    return lp.sample("x", target, proposal=OTHER("b", max_tokens=3, temperature=1.5))


def numpyro_proposal():
    prior = dist.Categorical(probs=np.array([0.7, 0.2, 0.1]))
    number = lp.sample("n", prior, proposal=dist.Categorical(probs=np.array([0.2, 0.3, 0.5])))
    lp.observe("o", dist.Normal(float(number), 0.7), 1.6)
    return int(number)


def twisted():
    text = lp.sample("x", LM("a", max_tokens=2))
    lp.twist("promising", 2.0 * text.count("b"))
    lp.checkpoint("meet")
    more = lp.sample("y", LM(text, max_tokens=2))
    lp.twist("late", 1.0 * len(more))
    return text + more


def locally_normalised():
    text = lp.sample("x", lp.local(LM("a", max_tokens=3) & lp.regex("(ab|c)*")))
    lp.observe("o", OTHER(text), "b")
    return text


def early_stop():
    text = lp.sample("x", TERSE("a", stop="b", max_tokens=4) & lp.regex("[ac]+"))
    lp.observe("o", OTHER(text, stop="c"), "ab")
    return text


def stop_of_two_tokens():
    return lp.sample("x", TERSE("a", stop="ab", max_tokens=4) & lp.regex("[abc]*c|"))


def max_tokens_binding():
    return lp.sample("x", LM("a", max_tokens=2)) + lp.sample("y", LM("b", max_tokens=1))


def one_name_on_both_sides_of_a_checkpoint():
    """A slot that died of what it drew at `b` may be filled by a particle that has yet to come to `b`."""
    if lp.sample("t", dist.Bernoulli(0.5)) == 0:
        b = lp.sample("b", dist.Bernoulli(0.5))
        lp.constrain("c", bool(b == 1))
        return "early"
    lp.checkpoint("k")
    b = lp.sample("b", dist.Bernoulli(0.5))
    text = lp.sample("x", LM("a", max_tokens=1))
    lp.constrain("d", bool(b == 1))
    return text


# Mutants: the engine with one thing wrong.


def _forgotten_mask(monkeypatch):
    original = Run._take_losses

    def take(self, lost, log_increments, slots, names):
        original(self, lost, np.zeros_like(log_increments), slots, names)

    monkeypatch.setattr(Run, "_take_losses", take)


def _forgotten_evidence(monkeypatch):
    def resample(self, ancestors):
        self.log_weights = np.zeros(self.num_particles)
        self.log_twists = self.log_twists[ancestors]
        self.eves = self.eves[ancestors]

    monkeypatch.setattr(population.Population, "resample", resample)


def _constrain_ignored(monkeypatch):
    monkeypatch.setattr(Run, "_serve_constrains", lambda self, indices: self._waiting.update(indices))


def _observation_doubled(monkeypatch):
    original = Run._weigh
    monkeypatch.setattr(Run, "_weigh", lambda self, index, weight: original(self, index, 2 * weight))


def _proposal_ignored(monkeypatch):
    monkeypatch.setattr(text_sites, "proposal_corrections", lambda drawn: np.zeros(len(drawn)))


def _number_proposal_ignored(monkeypatch):
    original = Run._weigh

    def weigh(self, index, weight):
        site = self._particles[index].request.name
        original(self, index, 0.0 if site == "n" else weight)

    monkeypatch.setattr(Run, "_weigh", weigh)


def _twist_kept(monkeypatch):
    def keep(self):
        self._population.log_twists -= self._due
        self._due = None

    monkeypatch.setattr(Run, "_divide_out_twists", keep)


def _local_charged(monkeypatch):
    original = text_sites.Batch.rows

    def rows(self):
        charged = []
        for request in self.requests:
            text = request.source
            text = replace(text, constraint=text.local_constraint, local_constraint=None, local_limit=False)
            charged.append(text_sites.TextRequest(text, text))
        return original(replace(self, requests=charged))

    monkeypatch.setattr(text_sites.Batch, "rows", rows)


def _limit_cuts(monkeypatch):
    """At the limit the string is cut, as if its end were certain."""
    original = scheduler.text_steps

    def text_steps(sites, *args):
        limit = next(row.text.max_tokens for row in sites.rows if row is not None)
        for number, step in enumerate(original(sites, *args)):
            free = np.where(np.isfinite(step.log_increments), 0.0, step.log_increments)
            yield replace(step, log_increments=free) if number == limit else step

    monkeypatch.setattr(scheduler, "text_steps", text_steps)


def _keys_reused(monkeypatch):
    original = scheduler.site_keys
    monkeypatch.setattr(
        scheduler, "site_keys", lambda key, generations, name: original(key, 0 * generations, name)
    )


CASES = [
    (one_name_on_both_sides_of_a_checkpoint, _keys_reused),
    (condition_inside_text, _forgotten_mask),
    (condition_after_text, _constrain_ignored),
    (several_sites_and_conditions_before_text, _forgotten_evidence),
    (branches_on_a_latent, _observation_doubled),
    (loop_of_latent_length, _observation_doubled),
    (numpyro_latents, _observation_doubled),
    (text_proposal, _proposal_ignored),
    (numpyro_proposal, _number_proposal_ignored),
    (twisted, _twist_kept),
    (locally_normalised, _local_charged),
    (early_stop, _forgotten_mask),
    (stop_of_two_tokens, _forgotten_mask),
    (max_tokens_binding, _limit_cuts),
]
NAMES = [program.__name__ for program, _ in CASES]
METHODS = [
    lp.SMC(NUM_PARTICLES),
    lp.SMC(NUM_PARTICLES, proposal=lp.AWRS(lookahead=1, max_checks=3), ess_threshold=1.0),
    lp.SMC(NUM_PARTICLES, proposal=lp.AWRS(rounds=2), ess_threshold=0.9),
    lp.SMC(NUM_PARTICLES, proposal=lp.Mask(), ess_threshold=0.0),
]


def masses(program, method, exact, keys):
    """Estimates of the evidence and of the mass of the three most probable answers, a row a run."""
    answers = [answer for answer, _ in exact.top(3)]
    rows = []
    for key in keys:
        try:
            found = lp.infer(program, method=method, key=key)
        except lp.NoPosterior:
            rows.append([0.0] * (1 + len(answers)))
            continue
        evidence = np.exp(found.log_evidence)
        rows.append([evidence, *(evidence * found.probability(answer) for answer in answers)])
    expected = np.exp(exact.log_evidence) * np.array(
        [1.0, *(exact.probability(answer) for answer in answers)]
    )
    return rows, expected


def check(program, method, *counts):
    """Compares after each count of runs: once for what must be right, more often for what is to be caught."""
    exact = lp.infer(program, method=lp.Enumerate())
    estimates = []
    for count in counts:
        more, expected = masses(program, method, exact, range(len(estimates), count))
        estimates += more
        for column, value in zip(np.array(estimates).T, expected, strict=True):
            assert_unbiased(column, value, failure_rate=FAILURE_RATE)


@pytest.mark.parametrize("method", METHODS[:2], ids=["auto", "awrs"])
@pytest.mark.parametrize("program", [program for program, _ in CASES], ids=NAMES)
def test_evidence_and_masses_are_unbiased(program, method):
    check(program, method, NUM_RUNS)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS[2:], ids=["geometric", "mask without resampling"])
@pytest.mark.parametrize("program", [program for program, _ in CASES], ids=NAMES)
def test_evidence_and_masses_are_unbiased_with_other_proposals(program, method):
    check(program, method, 400)


@pytest.mark.parametrize(("program", "mutate"), CASES, ids=NAMES)
def test_a_mutant_is_caught(program, mutate, monkeypatch):
    mutate(monkeypatch)
    method = METHODS[1] if mutate in (_forgotten_evidence, _keys_reused) else METHODS[0]
    with pytest.raises(AssertionError, match="standard errors"):
        check(program, method, 30, NUM_RUNS, 2 * NUM_RUNS, 4 * NUM_RUNS)
