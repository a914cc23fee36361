"""Log-weights: means and spreads, also when all are `-inf`, and a run's estimate of its own variance."""

from __future__ import annotations

import functools
import itertools
import math
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmppl.inference.resampling import multinomial
from lmppl.inference.weights import (
    effective_sample_size,
    evidence_relative_variance,
    log_mean_exp,
    log_sum_exp,
    normalised,
)

WEIGHTS = np.array([[0.5, 0.25, 0.125, 0.125], [3.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
with np.errstate(divide="ignore"):
    LOG_WEIGHTS = np.log(WEIGHTS)


@pytest.mark.parametrize("array", [np.asarray, lambda x: jnp.asarray(x, jnp.float32)])
def test_sums_and_means_are_those_of_the_weights(array):
    np.testing.assert_allclose(np.exp(log_sum_exp(array(LOG_WEIGHTS))), [1, 4, 0], rtol=1e-6)
    np.testing.assert_allclose(np.exp(log_mean_exp(array(LOG_WEIGHTS))), [0.25, 1, 0], rtol=1e-6)
    weights = np.exp(normalised(array(LOG_WEIGHTS)))
    np.testing.assert_allclose(weights, [WEIGHTS[0], WEIGHTS[1] / 4, np.zeros(4)], rtol=1e-6)


@pytest.mark.parametrize("array", [np.asarray, lambda x: jnp.asarray(x, jnp.float32)])
def test_effective_sample_size_counts_equal_weights_and_not_dead_ones(array):
    expected = [1 / np.sum(WEIGHTS[0] ** 2), 16 / 10, 0]
    np.testing.assert_allclose(effective_sample_size(array(LOG_WEIGHTS)), expected, rtol=1e-6)
    np.testing.assert_allclose(effective_sample_size(array(np.full(7, -1e4))), 7, rtol=1e-6)


def test_weights_far_from_zero_neither_overflow_nor_vanish():
    far = jnp.asarray([[-1e5, -1e5 + 1], [3e4, 3e4]], jnp.float32)
    np.testing.assert_allclose(log_sum_exp(far), [-1e5 + 1.3133, 3e4 + np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(jnp.exp(log_sum_exp(normalised(far))), [1, 1], rtol=1e-6)


def test_compiled_and_eager_agree_and_give_no_nan_for_dead_populations():
    dead = jnp.full(4, -jnp.inf)
    assert jax.jit(log_mean_exp)(dead) == -jnp.inf
    assert jax.jit(effective_sample_size)(dead) == 0
    np.testing.assert_array_equal(jax.jit(normalised)(dead), dead)
    for eves in (jnp.arange(4), jnp.zeros(4, int)):
        assert jax.jit(evidence_relative_variance)(dead, eves, 2) == jnp.inf
    assert evidence_relative_variance(np.zeros(1), np.zeros(1, int), 0) == np.inf


def test_without_resampling_the_variance_is_the_sample_variance_of_the_weights():
    rng = np.random.default_rng(0)
    for num_particles in (2, 5, 40):
        weights = rng.gamma(0.5, size=num_particles)
        expected = np.var(weights, ddof=1) / num_particles / weights.mean() ** 2
        log_weights, eves = np.log(weights), np.arange(num_particles)
        np.testing.assert_allclose(evidence_relative_variance(log_weights, eves, 0), expected, rtol=1e-12)
        single = evidence_relative_variance(jnp.asarray(log_weights, "f"), jnp.asarray(eves, "int32"), 0)
        np.testing.assert_allclose(single, expected, rtol=1e-5)


def test_equal_weights_have_no_variance_even_in_single_precision():
    variance = evidence_relative_variance(jnp.zeros(100_000), jnp.arange(100_000), 0)
    assert abs(float(variance)) < 1e-10


# A hidden Markov model of two states; a bootstrap filter that resamples after each observation but the last.
INITIAL = np.array([0.7, 0.3])
TRANSITION = np.array([[0.8, 0.2], [0.4, 0.6]])
LIKELIHOOD = np.array([[0.9, 0.2], [0.1, 0.5], [0.6, 0.3]])  # observation, state


def evidence(num_observations):
    forward = INITIAL * LIKELIHOOD[0]
    for likelihood in LIKELIHOOD[1:num_observations]:
        forward = (forward @ TRANSITION) * likelihood
    return forward.sum()


@functools.cache
def all_runs(num_particles, num_observations):
    """Gives probability, evidence estimate, last weights and eves of every run, resampling included."""
    states = list(itertools.product(range(2), repeat=num_particles))
    moves = {x: [(new, float(np.prod(TRANSITION[list(x), list(new)]))) for new in states] for x in states}
    runs = [(np.prod(INITIAL[list(x)]), 1.0, x, tuple(range(num_particles))) for x in states]
    for time in range(num_observations):
        weighed = [(p, z * LIKELIHOOD[time, list(x)].mean(), x, eves) for p, z, x, eves in runs]
        if time == num_observations - 1:
            return [(p, z, LIKELIHOOD[time, list(x)], np.array(eves)) for p, z, x, eves in weighed]
        merged = {}
        for p, z, x, eves in weighed:
            weights = (LIKELIHOOD[time, list(x)] / LIKELIHOOD[time, list(x)].sum()).tolist()
            for ancestors in itertools.product(range(num_particles), repeat=num_particles):
                parents, lines = (tuple(of[a] for a in ancestors) for of in (x, eves))
                chosen = p * math.prod(weights[a] for a in ancestors)
                for new, chance in moves[parents]:
                    run = (round(z, 14), new, lines)
                    merged[run] = merged.get(run, 0.0) + chosen * chance
        runs = [(p, *run) for run, p in merged.items()]
    raise AssertionError("there is at least one observation")


def mean_variance_estimate(runs, estimator, num_resamplings):
    with_estimates = [(p, z, estimator(np.log(w), eves, num_resamplings)) for p, z, w, eves in runs]
    return sum(p * z**2 * v for p, z, v in with_estimates)


@pytest.mark.parametrize(("num_particles", "num_observations"), [(2, 1), (2, 2), (2, 3), (3, 2), (3, 3)])
def test_evidence_variance_is_right_in_the_mean_over_all_runs(num_particles, num_observations):
    runs = all_runs(num_particles, num_observations)
    exact = evidence(num_observations)
    np.testing.assert_allclose(sum(p * z for p, z, _, _ in runs), exact, rtol=1e-10)
    variance = sum(p * z**2 for p, z, _, _ in runs) - exact**2
    mean = mean_variance_estimate(runs, evidence_relative_variance, num_observations - 1)
    np.testing.assert_allclose(mean, variance, rtol=1e-10)


def one_generation_short(log_weights, eves, num_resamplings):
    return evidence_relative_variance(log_weights, eves, num_resamplings - 1)


def forgotten_families(log_weights, eves, num_resamplings):
    return evidence_relative_variance(log_weights, np.arange(len(eves)), num_resamplings)


def n_for_n_minus_one(log_weights, eves, num_resamplings):
    shares = np.bincount(eves, np.exp(normalised(log_weights)))
    return np.sum(shares**2) - 1 / len(eves)


@pytest.mark.parametrize("mutant", [one_generation_short, forgotten_families, n_for_n_minus_one])
def test_mutants_of_the_variance_are_caught(mutant):
    runs = all_runs(3, 3)
    variance = sum(p * z**2 for p, z, _, _ in runs) - evidence(3) ** 2
    assert abs(mean_variance_estimate(runs, mutant, 2) / variance - 1) > 0.05


NUM_RUNS = 20_000
FAILURE_RATE = 1e-6


def simulated(num_particles):
    """Runs the filter with the library's own resampling; gives evidence estimates and their variances."""
    likelihood, transition = jnp.asarray(np.log(LIKELIHOOD), "f"), jnp.asarray(np.log(TRANSITION), "f")

    def run(key):
        keys = jax.random.split(key, 6)
        states = jax.random.categorical(keys[0], jnp.asarray(np.log(INITIAL), "f"), shape=(num_particles,))
        eves, log_evidence = jnp.arange(num_particles), jnp.zeros(())
        log_weights = likelihood[0, states]
        for time in (1, 2):
            log_evidence = log_evidence + log_mean_exp(log_weights)
            ancestors = multinomial(keys[2 * time], log_weights, num_particles)
            states = jax.random.categorical(keys[2 * time + 1], transition[states[ancestors]])
            eves = eves[ancestors]
            log_weights = likelihood[time, states]
        log_evidence = log_evidence + log_mean_exp(log_weights)
        return jnp.exp(log_evidence), evidence_relative_variance(log_weights, eves, 2)

    estimates, variances = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), NUM_RUNS))
    return np.asarray(estimates, float), np.asarray(variances, float)


def test_simulated_variances_are_right_and_a_generation_too_few_is_caught():
    """`Z_hat^2 (1 - V)` has mean `Z^2`; each generation is a factor `N / (N - 1)` of `1 - V`."""
    num_particles = 6
    estimates, variances = simulated(num_particles)
    bound = NormalDist().inv_cdf(1 - FAILURE_RATE / 2)

    def z_score(complement):
        error = estimates**2 * complement - evidence(3) ** 2
        return error.mean() / (error.std() / np.sqrt(NUM_RUNS))

    assert abs(z_score(1 - variances)) < bound
    assert abs(z_score((1 - variances) * (num_particles - 1) / num_particles)) > bound
