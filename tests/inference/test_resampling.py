"""Resampling: expected numbers of descendants, dead particles, precision, and particles kept in place."""

from __future__ import annotations

import functools
import itertools
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmppl.inference.resampling import (
    keep_in_place,
    multinomial,
    residual,
    stratified,
    systematic,
    systematic_at,
)

SCHEMES = [multinomial, stratified, systematic, residual]
NUM_RUNS = 20_000
FAILURE_RATE = 1e-6  # of each statistical test, when what it tests is right
ONE = 1 << 24
WEIGHTS = (0.35, 0.0, 0.3, 0.2, 0.15)


def log_weights_of(weights):
    with np.errstate(divide="ignore"):
        return jnp.asarray(np.log(np.asarray(weights, float)), jnp.float32)


def counts_of(ancestors, num_particles):
    return np.bincount(np.asarray(ancestors), minlength=num_particles)


@pytest.mark.parametrize("num_draws", [1, 4, 7])
@pytest.mark.parametrize("weights", [[1, 2, 3, 4], [0.0, 1.0, 0.5, 0.0], [0.25] * 4, [1e-6, 3, 1e-3, 7]])
def test_systematic_draws_each_particle_its_expected_number_of_times(weights, num_draws):
    """The counts are constant between breakpoints of the offset, so their mean over it is a finite sum."""
    weights = np.array(weights)
    expected = num_draws * weights / weights.sum()
    breakpoints = np.unique(np.concatenate([[0.0, 1.0], np.cumsum(expected) % 1.0]))
    mean = np.zeros(4)
    for left, right in itertools.pairwise(breakpoints):
        if right - left < 1e-6:
            continue
        offset = jnp.asarray(int((left + right) / 2 * ONE), jnp.int32)
        counts = counts_of(systematic_at(offset, log_weights_of(weights), num_draws), 4)
        assert np.all((counts >= np.floor(expected - 1e-6)) & (counts <= np.ceil(expected + 1e-6)))
        mean += (right - left) * counts
    np.testing.assert_allclose(mean, expected, atol=1e-5)


@functools.cache
def counts_over_runs(scheme, weights, num_draws):
    keys = jax.random.split(jax.random.key(0), NUM_RUNS)
    ancestors = jax.vmap(lambda key: scheme(key, log_weights_of(weights), num_draws))(keys)
    return np.asarray(jax.nn.one_hot(ancestors, len(weights), dtype=jnp.int32).sum(axis=1))


def largest_z(counts, expected):
    """How far mean counts are from their expectations, in standard errors no smaller than 1 / runs."""
    error = np.maximum(counts.std(axis=0) / np.sqrt(NUM_RUNS), 1 / NUM_RUNS)
    return np.abs((counts.mean(axis=0) - expected) / error).max()


BOUND = NormalDist().inv_cdf(1 - FAILURE_RATE / 2 / 5)


@pytest.mark.parametrize("num_draws", [3, 8])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_mean_counts_are_proportional_to_the_weights(scheme, num_draws):
    counts = counts_over_runs(scheme, WEIGHTS, num_draws)
    assert np.all(counts.sum(axis=1) == num_draws)
    assert np.all(counts[:, 1] == 0)
    assert largest_z(counts, num_draws * np.array(WEIGHTS)) < BOUND


def of_equal_weights(key, log_weights, num_draws):
    return multinomial(key, jnp.zeros_like(log_weights), num_draws)


def shifted(key, log_weights, num_draws):
    return systematic_at(jnp.asarray(0), log_weights, num_draws)


@pytest.mark.parametrize("mutant", [of_equal_weights, shifted])
def test_mutants_are_caught(mutant):
    assert largest_z(counts_over_runs(mutant, WEIGHTS, 8), 8 * np.array(WEIGHTS)) > BOUND


def test_multinomial_counts_have_the_multinomial_covariance_and_the_others_less():
    weights = np.array(WEIGHTS)
    covariance = 8 * (np.diag(weights) - np.outer(weights, weights))
    alive = weights > 0
    np.testing.assert_allclose(np.cov(counts_over_runs(multinomial, WEIGHTS, 8).T), covariance, atol=0.1)
    for scheme in (stratified, systematic, residual):
        variances = np.diag(np.cov(counts_over_runs(scheme, WEIGHTS, 8).T))
        assert np.all(variances[alive] < 0.7 * np.diag(covariance)[alive])


def test_residual_copies_the_whole_part_of_every_share():
    assert np.all(counts_over_runs(residual, WEIGHTS, 8) >= np.floor(8 * np.array(WEIGHTS) - 1e-6))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_ancestors_come_in_nondecreasing_order(scheme):
    ancestors = np.asarray(scheme(jax.random.key(1), jax.random.normal(jax.random.key(2), (50,)), 50))
    assert np.all(np.diff(ancestors) >= 0)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_dead_population_counts_as_equal(scheme):
    ancestors = np.asarray(scheme(jax.random.key(0), jnp.full(6, -jnp.inf), 6))
    assert np.all((ancestors >= 0) & (ancestors < 6))
    if scheme is not multinomial:
        np.testing.assert_array_equal(ancestors, np.arange(6))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_only_particle_alive_becomes_the_parent_of_all(scheme):
    for place in (0, 3, 5):
        log_weights = jnp.full(6, -jnp.inf).at[place].set(-1e4)
        np.testing.assert_array_equal(scheme(jax.random.key(place), log_weights, 6), np.full(6, place))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_hundred_thousand_particles_keep_their_shares_in_float32(scheme):
    num_particles = 100_000
    rng = np.random.default_rng(0)
    weights = rng.gamma(1.0, size=num_particles)
    weights[rng.random(num_particles) < 0.3] = 0
    weights[-5:] = 0
    expected = num_particles * weights / weights.sum()
    ancestors = scheme(jax.random.key(0), log_weights_of(weights), num_particles)
    counts = counts_of(ancestors, num_particles)
    assert np.all(counts[weights == 0] == 0)
    assert counts.sum() == num_particles
    running = np.abs(np.cumsum(counts) - np.cumsum(expected))
    if scheme is systematic or scheme is stratified:
        assert running.max() < 1 + num_particles * 1e-6  # what the sum of the weights may be wrong by
    if scheme is systematic or scheme is residual:
        assert np.all(counts >= np.floor(expected - 1e-3))
    if scheme is systematic:
        assert np.all(counts <= np.ceil(expected + 1e-3))
    assert running.max() < 6 * np.sqrt(num_particles) / 2  # a Brownian bridge leaves this once in 1e15


def test_systematic_follows_the_weights_where_a_float32_cdf_does_not():
    """The mutant places float32 points on a float32 CDF, and drifts away by whole draws."""
    num_particles = 400_000
    weights = np.random.default_rng(0).gamma(1.0, size=num_particles)
    expected = np.cumsum(num_particles * weights / weights.sum())
    ancestors = systematic_at(jnp.asarray(int(0.3 * ONE)), log_weights_of(weights), num_particles)
    drift = np.abs(np.cumsum(counts_of(ancestors, num_particles)) - expected).max()
    assert drift < 1 + num_particles * 1e-6
    cdf = np.cumsum((weights / weights.sum()).astype(np.float32), dtype=np.float32)
    points = (np.arange(num_particles, dtype=np.float32) + np.float32(0.3)) / np.float32(num_particles)
    mutant = np.minimum(np.searchsorted(cdf, points), num_particles - 1)
    assert np.abs(np.cumsum(counts_of(mutant, num_particles)) - expected).max() > 2


@pytest.mark.parametrize("seed", range(8))
def test_surviving_particles_keep_their_place(seed):
    rng = np.random.default_rng(seed)
    num_particles = int(rng.integers(1, 12))
    ancestors = np.sort(rng.integers(0, num_particles, num_particles))
    kept = np.asarray(keep_in_place(jnp.asarray(ancestors, jnp.int32)))
    np.testing.assert_array_equal(np.sort(kept), ancestors)
    survivors = np.unique(ancestors)
    np.testing.assert_array_equal(kept[survivors], survivors)
    assert (kept != np.arange(num_particles)).sum() == num_particles - len(survivors)


def test_all_multisets_of_four_are_kept():
    for ancestors in itertools.combinations_with_replacement(range(4), 4):
        kept = np.asarray(keep_in_place(jnp.asarray(ancestors, jnp.int32)))
        assert sorted(kept.tolist()) == list(ancestors)
        assert all(kept[i] == i for i in ancestors)


@pytest.mark.parametrize("count", [1, 5, 12])
def test_with_a_count_a_padded_population_is_drawn_as_without(count):
    """One offset for `systematic`, one point a stratum for `stratified`: the same ancestors."""
    weights = np.random.default_rng(count).gamma(1.0, size=count)
    padded = jnp.concatenate([log_weights_of(weights), jnp.full(16 - count, -jnp.inf)])
    for offset in (0, ONE // 3, ONE - 1):
        alone = systematic_at(jnp.asarray(offset), log_weights_of(weights), count)
        together = systematic_at(jnp.asarray(offset), padded, 16, count=jnp.int32(count))
        np.testing.assert_array_equal(together[:count], alone)
    together = stratified(jax.random.key(1), padded, 16, count=jnp.int32(count))
    expected = np.cumsum(count * weights / weights.sum())
    part = jax.random.randint(jax.random.key(1), (16,), 0, ONE)[:count] / ONE
    points = np.arange(count) + np.asarray(part, float)
    assert np.all(np.asarray(together[:count]) == np.minimum(np.searchsorted(expected, points), count - 1))


@functools.cache
def counts_of_a_padded_population(scheme, num_draws):
    """Four particles with weight, and padding behind them, of which `num_draws` are drawn."""
    keys = jax.random.split(jax.random.key(5), NUM_RUNS)
    padded = jnp.concatenate([log_weights_of(WEIGHTS), jnp.full(3, -jnp.inf)])
    draw = jax.jit(jax.vmap(lambda key, count: scheme(key, padded, 8, count=count), in_axes=(0, None)))
    ancestors = draw(keys, jnp.int32(num_draws))[:, :num_draws]
    assert np.all(np.diff(np.asarray(ancestors), axis=1) >= 0)
    return np.asarray(jax.nn.one_hot(ancestors, 8, dtype=jnp.int32).sum(axis=1))


@pytest.mark.parametrize("num_draws", [3, 5, 8])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_with_a_count_mean_counts_are_proportional_to_the_weights(scheme, num_draws):
    counts = counts_of_a_padded_population(scheme, num_draws)
    assert np.all(counts.sum(axis=1) == num_draws)
    assert np.all(counts[:, [1, 5, 6, 7]] == 0), "the dead and the padding are never drawn"
    assert largest_z(counts[:, :5], num_draws * np.array(WEIGHTS)) < BOUND
    if scheme is residual:
        assert np.all(counts[:, :5] >= np.floor(num_draws * np.array(WEIGHTS) - 1e-6))


def of_all_places(key, log_weights, num_draws, *, count):
    """The mutant gives the padding its share of the draws, and cuts them off afterwards."""
    return systematic(key, log_weights, num_draws)


def test_draws_of_which_only_the_first_are_kept_are_caught():
    assert largest_z(counts_of_a_padded_population(of_all_places, 5)[:, :5], 5 * np.array(WEIGHTS)) > BOUND
