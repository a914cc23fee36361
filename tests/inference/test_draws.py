"""Draws without replacement: the law of the order, what is left behind it, and independence of the batch."""

from __future__ import annotations

import itertools
from functools import partial
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmppl.inference.draws import arrivals, candidates, categorical, noisy_order, remove

NUM_RUNS = 40_000
FAILURE_RATE = 1e-6  # of each statistical test, when what it tests is right


def assert_frequencies(counts, probs, failure_rate=FAILURE_RATE):
    """Compares each frequency with its probability by a z-test, with the failure rate shared among them."""
    counts, probs = np.asarray(counts, float), np.asarray(probs)
    bound = NormalDist().inv_cdf(1 - failure_rate / (2 * len(probs)))
    num_runs = counts.sum()
    assert np.all(counts[probs == 0] == 0)
    alive = probs > 0
    z = (counts - num_runs * probs)[alive] / np.sqrt(num_runs * probs * (1 - probs))[alive]
    assert np.abs(z).max() < bound, z


def drawn_orders(draw, row, num_candidates, seed=0):
    keys = jax.random.split(jax.random.key(seed), NUM_RUNS)
    return jax.jit(jax.vmap(lambda key: draw(key, row, num_candidates)))(keys)


def plackett_luce(order, probs):
    left, chance = sum(probs), 1.0
    for token in order:
        chance *= probs[token] / left
        left -= probs[token]
    return chance


def order_frequencies(ids, size):
    index = np.ravel_multi_index(np.asarray(ids).T, (size,) * ids.shape[1])
    return np.bincount(index, minlength=size ** ids.shape[1])


def order_probabilities(probs, num_candidates):
    table = np.zeros((len(probs),) * num_candidates)
    for order in itertools.permutations(range(len(probs)), num_candidates):
        table[order] = plackett_luce(order, probs)
    return table.ravel()


@pytest.mark.parametrize("draw", [noisy_order, arrivals])
@pytest.mark.parametrize("size", [5, 9])
def test_orders_have_the_plackett_luce_law(draw, size):
    probs = np.arange(size, 0, -1.0) ** 2
    probs[1] = 0  # a token without mass
    row = jnp.log(jnp.asarray(probs / 7, jnp.float32))  # not normalised
    drawn = drawn_orders(draw, row, 3)
    assert_frequencies(order_frequencies(drawn.ids, size), order_probabilities(probs, 3))
    np.testing.assert_allclose(drawn.log_probs, row[drawn.ids], rtol=1e-6)


def test_a_wrong_law_is_caught():
    """The mutant draws with replacement of the probabilities' square roots."""
    probs = np.arange(5, 0, -1.0) ** 2
    drawn = drawn_orders(arrivals, jnp.log(jnp.asarray(np.sqrt(probs), jnp.float32)), 2)
    with pytest.raises(AssertionError):
        assert_frequencies(order_frequencies(drawn.ids, 5), order_probabilities(probs, 2))


@pytest.mark.parametrize("draw", [noisy_order, arrivals])
def test_the_threshold_has_the_law_of_the_next_key(draw):
    """Its arrival time, given one candidate, is the sum of two waits: compared at three quantiles."""
    probs = np.array([0.5, 0.3, 0.2])
    drawn = drawn_orders(draw, jnp.log(jnp.asarray(probs, jnp.float32)), 1)
    times = np.exp(-np.asarray(drawn.threshold, float))
    for time in (0.5, 1.5, 4.0):
        before = 0.0
        for p in probs:  # first token of rate p, then one of rate 1 - p
            rest = 1 - p
            before += p * (1 - (np.exp(-rest * time) - rest * np.exp(-time)) / (1 - rest))
        num_before = int((times <= time).sum())
        assert_frequencies([num_before, NUM_RUNS - num_before], [before, 1 - before], FAILURE_RATE / 3)


@pytest.mark.parametrize("draw", [noisy_order, arrivals])
def test_tokens_of_tiny_probability_come_in_their_turn(draw):
    """2,000 tokens of probability 5e-9 stand behind two heavy ones: each half of them comes next as often."""
    tail = np.full(2_000, 5e-9)
    row = jnp.log(jnp.asarray(np.concatenate([[1 - tail.sum() - 0.3, 0.3], tail]), jnp.float32))
    keys = jax.random.split(jax.random.key(3), 2_000)
    third = jax.jit(jax.vmap(lambda key: draw(key, row, 3).ids))(keys)[:, 2]
    low, high = int((third < 1_002).sum()), int((third >= 1_002).sum())
    assert int((third < 2).sum()) < 30  # the two heavy ones come first and second but for about 1e-4
    assert_frequencies([low, high], [0.5, 0.5])


def first_of_tail(noise_mode, num_runs):
    """Counts how often a tail of mass 0.02, in tokens of probability 6e-7, comes first."""
    num_tail, mass = 1 << 15, 0.02
    row = jnp.full((num_tail + 1,), jnp.log(mass / num_tail) - 9.0).at[0].set(-9.0 + jnp.log(1 - mass))

    def draw(key):
        if noise_mode is None:
            return arrivals(key, row, 1).ids[0]
        return jnp.argmax(row + jax.random.gumbel(key, row.shape, row.dtype, mode=noise_mode))

    keys = jax.random.split(jax.random.key(4), num_runs)
    return int((jax.lax.map(draw, keys, batch_size=50) > 0).sum()), mass


def test_a_diffuse_tail_keeps_its_mass():
    count, mass = first_of_tail(None, 4_000)
    assert_frequencies([count, 4_000 - count], [mass, 1 - mass])


@pytest.mark.parametrize("draw", [noisy_order, arrivals])
def test_the_tail_keeps_its_digits_when_little_is_left(draw):
    probs = np.array([0.6, 0.4, 3e-9, 2e-9, 1e-9])
    row = jnp.log(jnp.asarray(probs, jnp.float32))
    drawn = drawn_orders(draw, row, 3)
    left = probs.sum() - probs[np.asarray(drawn.ids)].sum(axis=1)
    exact = np.array([np.delete(probs, ids).sum() for ids in np.asarray(drawn.ids[:500])])
    np.testing.assert_allclose(np.exp(np.asarray(drawn.log_tail[:500], float)), exact, rtol=3e-6)
    assert np.abs(left[:500] / exact - 1).max() < 1  # in float64; in float32 nothing would be left of it


@pytest.mark.parametrize("draw", [noisy_order, arrivals])
def test_tokens_without_mass_are_never_candidates(draw):
    row = jnp.asarray([-jnp.inf, -1.0, -jnp.inf, -200.0 + 150.0, -jnp.inf])
    drawn = draw(jax.random.key(0), row, 4)
    np.testing.assert_array_equal(drawn.ids[:2], [1, 3])
    np.testing.assert_array_equal(drawn.log_probs, [-1.0, -50.0, -jnp.inf, -jnp.inf])
    assert drawn.log_tail == -jnp.inf
    assert drawn.threshold == -jnp.inf


@pytest.mark.parametrize("draw", [noisy_order, arrivals])
def test_a_row_without_mass_gives_no_candidate(draw):
    drawn = draw(jax.random.key(0), jnp.full(6, -jnp.inf), 2)
    assert np.all(np.asarray(drawn.log_probs) == -np.inf)
    assert drawn.log_tail == -jnp.inf
    assert np.all(np.asarray(drawn.ids) < 6)


def test_a_rows_draw_depends_on_its_own_key_and_row_only():
    rows = jax.nn.log_softmax(jax.random.normal(jax.random.key(0), (6, 300)))
    keys = jax.random.split(jax.random.key(1), 6)
    together = candidates(keys, rows, 8)
    for index in (0, 5):
        alone = candidates(keys[index : index + 1], rows[index : index + 1], 8)
        for batched, single in zip(together, alone, strict=True):
            np.testing.assert_array_equal(batched[index], single[0])
    np.testing.assert_array_equal(categorical(keys, rows)[:2], categorical(keys[:2], rows[:2]))


def test_all_tokens_of_a_small_vocabulary_are_drawn_once():
    rows = jnp.log(jnp.asarray([[0.5, 0.3, 0.2]]))
    drawn = candidates(jax.random.split(jax.random.key(0), 1), rows, 64)
    assert sorted(np.asarray(drawn.ids[0]).tolist()) == [0, 1, 2]
    assert drawn.log_tail[0] == -jnp.inf


def test_a_removed_token_is_not_drawn_again_and_the_others_keep_their_mass():
    rows = jnp.log(jnp.asarray([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]))
    rest = remove(rows, jnp.asarray([[0], [2]]))
    np.testing.assert_allclose(jnp.exp(rest), [[0, 0.3, 0.2], [0.1, 0.1, 0]], rtol=1e-6)
    drawn = candidates(jax.random.split(jax.random.key(0), 2), rest, 1)
    mass = jnp.exp(drawn.log_tail) + jnp.exp(drawn.log_probs[:, 0])
    np.testing.assert_allclose(mass, [0.5, 0.2], rtol=1e-6)


def test_categorical_draws_tokens_with_their_probabilities():
    probs = np.array([0.0, 0.5, 0.25, 0.2, 0.05])
    rows = jnp.broadcast_to(jnp.log(jnp.asarray(probs, jnp.float32)), (NUM_RUNS, 5))
    drawn = categorical(jax.random.split(jax.random.key(2), NUM_RUNS), rows)
    assert_frequencies(np.bincount(np.asarray(drawn), minlength=5), probs)


def test_noise_of_one_word_loses_the_tail_and_is_caught():
    """The mutant is the default Gumbel noise."""
    count, mass = first_of_tail("low", 1_000)
    share = partial(assert_frequencies, [count, 1_000 - count], [mass, 1 - mass])
    if count / 1_000 > mass / 2:  # a later JAX may repair its default
        share()
    else:
        with pytest.raises(AssertionError):
            share()
