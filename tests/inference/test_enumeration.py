"""The oracle itself, against sums written out by hand."""

import itertools
import math

import numpy as np
import numpyro.distributions as dist
import pytest

import lmppl as lp

ROWS = np.random.default_rng(3).dirichlet(np.ones(4), 4)
LM = lp.TableLM(["a", "b", "c", "<end>"], ROWS[3], ROWS)
END = 3


def chain(first, tokens):
    """Probability of a token path that ends, after a first token, by multiplication."""
    path = [first, *tokens, END]
    return math.prod(ROWS[a, b] for a, b in itertools.pairwise(path))


def test_text_is_what_the_chain_says():
    exact = lp.infer(lambda: lp.sample("x", LM("b", max_tokens=2)), method=lp.Enumerate())
    masses = {
        "".join("abc"[t] for t in tokens): chain(1, tokens)
        for n in range(3)
        for tokens in itertools.product(range(3), repeat=n)
    }
    assert exact.log_evidence == pytest.approx(math.log(sum(masses.values())), abs=1e-6)
    for string, mass in masses.items():
        assert exact.probability(string) == pytest.approx(mass / sum(masses.values()), abs=1e-6)


def test_conditions_branches_and_observations_multiply():
    def program():
        coin = int(lp.sample("coin", dist.Bernoulli(0.3)))
        word = lp.sample("word", LM("a" if coin else "b", max_tokens=1))
        lp.constrain("says something", word != "")
        lp.observe("number", dist.Poisson(2.0 if word == "c" else 0.5), 1)
        lp.factor("tilt", -0.5 * coin)
        return coin, word

    def mass(coin, word):
        rate = 2.0 if word == "c" else 0.5
        prior = 0.3 if coin else 0.7
        text = chain(0 if coin else 1, ["abc".index(word)])
        return prior * text * rate * math.exp(-rate) * math.exp(-0.5 * coin)

    exact = lp.infer(program, method=lp.Enumerate())
    masses = {(coin, word): mass(coin, word) for coin in (0, 1) for word in "abc"}
    assert exact.log_evidence == pytest.approx(math.log(sum(masses.values())), abs=1e-5)
    for answer, value in masses.items():
        assert exact.probability(answer) == pytest.approx(value / sum(masses.values()), abs=1e-5)


def test_token_paths_of_one_string_are_pooled():
    rows = np.full((4, 4), 0.25)
    lm = lp.TableLM(["a", "aa", "b", "<end>"], rows[0], rows)
    exact = lp.infer(
        lambda: lp.sample("x", lm("b", max_tokens=2) & lp.choices(["aa"])), method=lp.Enumerate()
    )
    assert exact.log_evidence == pytest.approx(math.log(0.25**2 + 0.25**3), abs=1e-6)
    assert len(exact.answers()) == 1


def test_arrays_of_finite_latents_are_enumerated_jointly():
    exact = lp.infer(
        lambda: int(lp.sample("x", dist.Bernoulli(np.array([0.2, 0.5, 0.9], np.float32))).sum()),
        method=lp.Enumerate(),
    )
    assert exact.probability(3) == pytest.approx(0.2 * 0.5 * 0.9, abs=1e-6)
    assert exact.log_evidence == pytest.approx(0.0, abs=1e-5)


def test_proposals_and_twists_change_nothing():
    def plain():
        return int(lp.sample("n", dist.Bernoulli(0.3)))

    def guided():
        n = int(lp.sample("n", dist.Bernoulli(0.3), proposal=dist.Bernoulli(0.9)))
        lp.twist("t", 3.0 * n)
        return n

    one, other = (lp.infer(program, method=lp.Enumerate()) for program in (plain, guided))
    assert one.log_evidence == pytest.approx(other.log_evidence)
    assert one.probability(1) == pytest.approx(other.probability(1))


def test_a_program_without_mass_has_no_posterior():
    with pytest.raises(lp.NoPosterior, match="exclude each other"):
        lp.infer(
            lambda: lp.constrain("never", lp.sample("n", dist.Bernoulli(0.5)) > 2), method=lp.Enumerate()
        )


def test_a_latent_that_cannot_be_listed_is_named():
    with pytest.raises(lp.InvalidInputError, match="'k'.*Poisson"):
        lp.infer(lambda: lp.sample("k", dist.Poisson(1.0)), method=lp.Enumerate())
