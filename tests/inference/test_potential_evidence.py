"""Potentials: every method targets prior times exp(complete), held to `Enumerate` and to sums by hand.

Every comparison of samples is a z-test with a false-alarm rate of 1e-6. Every mutant of the engine must
be caught by the same test.
"""

import itertools
import math

import numpy as np
import numpyro.distributions as dist
import pytest
from drawn_tables import drawn_table

import lmppl as lp
from lmppl.inference.site_potentials import SitePotentials, Weighed
from lmppl.testing import assert_unbiased

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("few_programs")]

FAILURE_RATE = 1e-6
NUM_RUNS = 60
NUM_PARTICLES = 32


LM = drawn_table(0)
OTHER = drawn_table(1, "cab")  # another vocabulary: the ids of the letters differ
PAIRS = drawn_table(3, ["a", "b", "ab"])  # "ab" has two token paths
OTHER_PAIRS = drawn_table(4, ["ba", "b", "a"])

SOFT = lp.potential(
    "b, and short",
    prefix=lambda s: 0.9 * s.count("b"),
    complete=lambda s: 1.2 * s.count("b") - 0.4 * len(s),
)
# Steeper ones leave the mean of 60 runs far from normal: much of the mass is in runs that are rare.
STEEP = lp.potential("b", prefix=lambda s: 1.2 * s.count("b"), complete=lambda s: 0.5 * s.count("b"))
HARD = lp.potential(
    "no two b",
    prefix=lambda s: -math.inf if "bb" in s else 0.3 * s.count("a"),
    complete=lambda s: -math.inf if s.endswith("c") else 0.5 * len(s),
)
LOST = lp.potential("no b at the end", complete=lambda s: -math.inf if s.endswith("b") else 0.2, hard=False)
TOGETHER = lp.potential(
    "in batches",
    prefix=lambda texts: [0.5 * text.count("c") for text in texts],
    complete=lambda texts: np.array([0.7 * text.count("c") for text in texts]),
    batch=True,
)


def soft():
    return lp.sample("x", LM("a", max_tokens=4) & SOFT)


def steep():
    return lp.sample("x", LM("a", max_tokens=4) & STEEP)


def hard():
    return lp.sample("x", LM("a", max_tokens=4) & HARD)


def lost():
    return lp.sample("x", LM("a", max_tokens=3) & (LOST & lp.regex("[abc]{1,}")))


def batched():
    return lp.sample(
        "x", LM("a", max_tokens=4) & TOGETHER & lp.check("few c", prefix=lambda s: "cc" not in s)
    )


def product_of_experts():
    return lp.sample("x", LM("a", max_tokens=4) & lp.expert(OTHER("b"), power=0.6))


def experts_with_other_tokens():
    return lp.sample("x", PAIRS("a", max_tokens=3) & lp.expert(OTHER_PAIRS("b")) & lp.expert(LM("c"), 0.5))


def prompts_intersected():
    return lp.sample("x", LM("a", max_tokens=4, temperature=1.4) & lp.expert(LM("b") & lp.regex("[ab]*")))


def stop_strings():
    text = PAIRS("a", stop="ab", max_tokens=4)
    return lp.sample("x", text & lp.expert(OTHER("", stop="ab")) & SOFT & lp.regex("[ab]{1,}"))


def proposal_with_a_potential():
    target = LM("a", max_tokens=3) & SOFT
    return lp.sample("x", target, proposal=OTHER("b", max_tokens=3, temperature=1.5) & TOGETHER)


def several_sites():
    lp.twist("early", 0.7)
    first = lp.sample("first", LM("b", max_tokens=2) & SOFT)
    lp.checkpoint("meet")
    second = lp.sample("second", LM(first, max_tokens=2) & lp.expert(OTHER(first)))
    lp.observe("echo", OTHER(second, max_tokens=4) & SOFT, first)
    return first + "|" + second


def on_one_branch():
    if lp.sample("coin", dist.Bernoulli(0.4)):
        return lp.sample("x", LM("a", max_tokens=3) & SOFT)
    return lp.sample("x", LM("b", max_tokens=3))


def locally_normalised():
    return lp.sample("x", lp.local(LM("a", max_tokens=3) & lp.regex("(ab|c)*")) & SOFT)


QUICK = [
    hard,
    batched,
    product_of_experts,
    experts_with_other_tokens,
    stop_strings,
    proposal_with_a_potential,
]
PROGRAMS = [
    *QUICK,
    soft,
    steep,
    lost,
    prompts_intersected,
    several_sites,
    on_one_branch,
    locally_normalised,
]
SMC = lp.SMC(NUM_PARTICLES)
EAGER = lp.SMC(NUM_PARTICLES, proposal=lp.AWRS(lookahead=1), ess_threshold=1.0)
MASKED = lp.SMC(NUM_PARTICLES, proposal=lp.Mask())


def masses(program, method, answers, keys):
    """Estimates of the evidence and of the mass of some answers, a row a run."""
    rows = []
    for key in keys:
        try:
            found = lp.infer(program, method=method, key=key)
        except lp.NoPosterior:
            rows.append([0.0] * (1 + len(answers)))
            continue
        evidence = math.exp(found.log_evidence)
        rows.append([evidence, *(evidence * found.probability(answer) for answer in answers)])
    return rows


def check(program, method, *counts):
    """Compares after each count of runs: once for what must be right, more often for what is to be caught."""
    exact = lp.infer(program, method=lp.Enumerate())
    answers = [answer for answer, _ in exact.top(2)]
    evidence = math.exp(exact.log_evidence)
    expected = [evidence, *(evidence * exact.probability(answer) for answer in answers)]
    estimates = []
    for count in counts:
        estimates += masses(program, method, answers, range(len(estimates), count))
        for column, value in zip(np.array(estimates).T, expected, strict=True):
            assert_unbiased(column, value, failure_rate=FAILURE_RATE)


@pytest.mark.parametrize("program", QUICK, ids=lambda p: p.__name__)
def test_evidence_and_masses_are_unbiased(program):
    check(program, EAGER, NUM_RUNS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", [SMC, EAGER, MASKED, lp.IS(NUM_PARTICLES)], ids=["auto", "awrs", "mask", "is"]
)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_evidence_and_masses_are_unbiased_with_other_methods(program, method):
    check(program, method, NUM_RUNS)


# By hand: the probability of a string is a product of table entries.


def by_hand(seed, tokens, string, prompt):
    """The probability of a string of one-letter tokens after a prompt of one letter, its end included."""
    size = len(tokens) + 1
    probs = np.random.default_rng(seed).dirichlet(np.ones(size), size + 1)
    last, total = tokens.index(prompt), 1.0
    for letter in string:
        total *= probs[1 + last][tokens.index(letter)]
        last = tokens.index(letter)
    return total * probs[1 + last][-1]


def strings(longest):
    return ["".join(s) for n in range(longest + 1) for s in itertools.product("abc", repeat=n)]


def masses_of(program):
    exact = lp.infer(program, method=lp.Enumerate())
    evidence = math.exp(exact.log_evidence)
    return {value: evidence * probability for value, probability in exact.answers().items()}


def test_a_product_of_experts_is_the_product_of_their_tables():
    expected = {s: by_hand(0, "abc", s, "a") * by_hand(1, "cab", s, "b") ** 0.6 for s in strings(4)}
    assert masses_of(product_of_experts) == pytest.approx(expected, rel=1e-4)


def test_a_potential_multiplies_the_mass_of_complete_strings_and_its_prefix_does_not():
    expected = {
        s: by_hand(0, "abc", s, "a") * math.exp(1.2 * s.count("b") - 0.4 * len(s)) for s in strings(4)
    }
    assert masses_of(soft) == pytest.approx(expected, rel=1e-4)


def test_what_a_potential_excludes_has_no_mass():
    expected = {
        s: by_hand(0, "abc", s, "a") * math.exp(0.5 * len(s))
        for s in strings(4)
        if "bb" not in s and not s.endswith("c")
    }
    assert masses_of(hard) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("string", ["", "ab", "abc"])
def test_log_prob_and_observe_give_the_mass_that_enumeration_gives(string):
    text = LM("a", max_tokens=4) & SOFT & lp.expert(OTHER("b"), power=0.6)
    expected = masses_of(lambda: lp.sample("x", text))[string]
    assert text.log_prob(string) == pytest.approx(math.log(expected), abs=1e-4)
    observed = lp.infer(lambda: lp.observe("x", text, string), method=lp.IS(1), key=0)
    assert observed.log_evidence == pytest.approx(math.log(expected), abs=1e-4)


def test_log_prob_is_minus_infinity_where_a_potential_is():
    assert (LM("a") & HARD).log_prob("abb") == -math.inf
    assert (LM("a") & HARD).log_prob("ac") == -math.inf
    assert (LM("a") & HARD).log_prob("ab") == pytest.approx(LM("a").log_prob("ab") + 1.0)


# Mutants: the engine with one thing wrong.


def _twist_kept(monkeypatch):
    original = SitePotentials.weigh

    def weigh(self, rows):
        were_open, before = self._is_open.copy(), self._log_twists
        weighed = original(self, rows)
        ended = were_open & ~self._is_open
        return Weighed(
            weighed.log_increments + np.where(ended, before, 0.0), weighed.log_twists, weighed.lost
        )

    monkeypatch.setattr(SitePotentials, "weigh", weigh)


def _complete_forgotten(monkeypatch):
    original = SitePotentials._answers

    def answers(self, asked):
        said = original(self, asked)
        return [0.0 if q.role == "complete" else answer for q, answer in zip(asked, said, strict=True)]

    monkeypatch.setattr(SitePotentials, "_answers", answers)


def _asking_instead(monkeypatch, expert):
    """Asks another expert at the site; `Enumerate` asks the right one."""
    original = SitePotentials._answers

    def answers(self, asked):
        changed = [q._replace(potential=expert(q.potential)) for q in asked]
        return original(self, changed)

    monkeypatch.setattr(SitePotentials, "_answers", answers)


def _power_ignored(monkeypatch):
    _asking_instead(monkeypatch, lambda expert: lp.expert(expert.text))


def _other_prompt_read(monkeypatch):
    _asking_instead(monkeypatch, lambda expert: lp.expert(LM("a")))


def _twists_stay_with_their_slots(monkeypatch):
    def reorder(self, ancestors):
        self._is_open = self._is_open[ancestors]

    monkeypatch.setattr(SitePotentials, "reorder", reorder)


def _potential_of_the_proposal_counts(monkeypatch):
    original = SitePotentials._questions

    def questions(self, rows):
        asked = original(self, rows)
        whole = {question.row: question for question in asked if question.role == "complete"}
        for row, question in whole.items():
            asked += [question._replace(potential=one) for one in rows[row].text.potentials]
        return asked

    monkeypatch.setattr(SitePotentials, "_questions", questions)


@pytest.mark.parametrize(
    ("program", "mutate"),
    [
        (soft, _twist_kept),
        (soft, _complete_forgotten),
        (steep, _twists_stay_with_their_slots),
        (product_of_experts, _power_ignored),
        (prompts_intersected, _other_prompt_read),
        (proposal_with_a_potential, _potential_of_the_proposal_counts),
    ],
    ids=lambda f: f.__name__.strip("_"),
)
def test_a_mutant_is_caught(program, mutate, monkeypatch):
    mutate(monkeypatch)
    with pytest.raises(AssertionError, match="standard errors"):
        check(program, EAGER, 30, NUM_RUNS, 2 * NUM_RUNS)
