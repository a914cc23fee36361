"""Draws without replacement: the law of the order, what is left behind it, and independence of the batch."""

from __future__ import annotations

import itertools
from functools import partial
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmppl.inference import draws
from lmppl.inference.draws import Candidates, Rows, log_weights, unpacked

pytestmark = pytest.mark.once

NUM_RUNS = 40_000
FAILURE_RATE = 1e-6  # of each statistical test, when what it tests is right

begin = jax.jit(draws.begin, static_argnames="noisy")
more = jax.jit(draws.more, static_argnums=3)
candidates = jax.jit(draws.candidates, static_argnums=2, static_argnames="noisy")
both_ways = pytest.mark.parametrize("noisy", [True, False], ids=["noise", "arrivals"])


def assert_frequencies(counts, probs, failure_rate=FAILURE_RATE):
    """Compares each frequency with its probability by a z-test, with the failure rate shared among them."""
    counts, probs = np.asarray(counts, float), np.asarray(probs)
    bound = NormalDist().inv_cdf(1 - failure_rate / (2 * len(probs)))
    num_runs = counts.sum()
    assert np.all(counts[probs == 0] == 0)
    alive = (probs > 0) & (probs < 1)
    z = (counts - num_runs * probs)[alive] / np.sqrt(num_runs * probs * (1 - probs))[alive]
    assert np.abs(z).max(initial=0) < bound, z


def keys_of(num_rows, seed=0):
    return jax.random.split(jax.random.key(seed), num_rows)


def rows_of(table, scale=1.0, base=None, allowed=None):
    """Gives rows of log-weights `[rows, vocab]`; masks are given as truth values of the same shape."""
    table = jnp.asarray(table, jnp.float32)
    masks = [None if mask is None else packed(mask) for mask in (base, allowed)]
    return Rows(table, jnp.full(len(table), scale, jnp.float32), jnp.zeros(table.shape[1]), *masks)


def packed(masks):
    """Gives `Bool[rows, vocab]` as words of 32 bits."""
    masks = np.asarray(masks)
    words = np.zeros((len(masks), -(-masks.shape[1] // 32), 32), np.uint64)
    words.reshape(len(masks), -1)[:, : masks.shape[1]] = masks
    return jnp.asarray((words << np.arange(32, dtype=np.uint64)).sum(axis=-1).astype(np.uint32))


def drawn(row, calls, *, noisy, num_runs=NUM_RUNS, seed=0, **options):
    """Draws from one row with many keys, by one call of `more` for each number in `calls`."""
    few = np.asarray(row, np.float32)[None]
    single = rows_of(few, **{k: v[None] if isinstance(v, np.ndarray) else v for k, v in options.items()})

    @jax.jit
    def draw(keys, single):
        def spread(leaf):
            return jnp.broadcast_to(leaf, (len(keys), *leaf.shape[1:]))

        rows = jax.tree.map(spread, single._replace(bias=None))._replace(bias=single.bias)
        order, masses = draws.begin(keys, rows, noisy=noisy)
        parts = []
        for call, num in enumerate(calls, start=1):
            order, found = draws.more(keys, rows, order, num, portion=call)
            parts.append(found)
        joined = [jnp.concatenate([part[i] for part in parts], axis=1) for i in range(2)]
        return Candidates(*joined, *parts[-1][2:]), masses

    found, masses = draw(keys_of(num_runs, seed), single)
    return jax.tree.map(np.asarray, found), jax.tree.map(np.asarray, masses)


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


@both_ways
@pytest.mark.parametrize(
    ("size", "calls"), [(5, (3,)), (9, (3,)), (5, (1, 2)), (5, (2, 1)), (9, (1, 1, 1))], ids=str
)
def test_orders_have_the_plackett_luce_law_however_they_are_continued(size, calls, noisy):
    probs = np.arange(size, 0, -1.0) ** 2
    probs[1] = 0  # a token without mass
    with np.errstate(divide="ignore"):
        row = np.log(probs / 7)  # not normalised
    found, masses = drawn(row, calls, noisy=noisy)
    assert_frequencies(order_frequencies(found.ids, size), order_probabilities(probs, 3))
    np.testing.assert_allclose(found.log_weights, row[found.ids], rtol=1e-6)
    np.testing.assert_allclose(masses.base, np.log(probs.sum() / 7), rtol=1e-6)
    np.testing.assert_allclose(masses.allowed, masses.base, rtol=1e-6)


@both_ways
@pytest.mark.parametrize("calls", [(3, 4), (1,) * 7, (6, 300)], ids=str)
def test_a_continued_order_never_repeats_a_token_and_says_what_is_left(calls, noisy):
    rng = np.random.default_rng(0)
    row = rng.normal(size=290) * 3
    found, masses = drawn(row, calls, noisy=noisy, num_runs=200)
    real = found.log_weights > -np.inf
    assert np.all(real.sum(axis=1) == min(sum(calls), 290))
    for ids, counts, tail in zip(found.ids, real, found.log_tail, strict=True):
        assert len(set(ids[counts].tolist())) == counts.sum()
        left = np.delete(row, ids[counts])
        assert tail == pytest.approx(np.logaddexp.reduce(left), abs=1e-5)
    assert masses.base[0] == pytest.approx(np.logaddexp.reduce(row), abs=1e-5)


def test_an_order_that_forgets_what_was_taken_is_caught():
    """The mutant starts anew at the second call."""
    probs = np.arange(5, 0, -1.0) ** 2
    rows = rows_of(np.broadcast_to(np.log(probs), (NUM_RUNS, 5)))
    keys = keys_of(NUM_RUNS)
    order, _ = begin(keys, rows, noisy=False)
    first, second = (more(keys, rows, order, 1, portion=call)[1].ids for call in (1, 2))
    ids = np.concatenate([first, second], axis=1)
    with pytest.raises(AssertionError):
        assert_frequencies(order_frequencies(ids, 5), order_probabilities(probs, 2))


def test_a_wrong_law_is_caught():
    """The mutant draws in proportion to the probabilities' square roots."""
    probs = np.arange(5, 0, -1.0) ** 2
    found, _ = drawn(np.log(probs), (2,), noisy=False, scale=0.5)
    with pytest.raises(AssertionError):
        assert_frequencies(order_frequencies(found.ids, 5), order_probabilities(probs, 2))


@pytest.mark.usefixtures("optimised")
@both_ways
@pytest.mark.parametrize("size", [31, 32, 290, 512, 1000])
def test_vocabularies_of_any_size_keep_their_law(size, noisy):
    """The first draw of many tokens, and the first of the last block, which may be short."""
    probs = np.random.default_rng(size).dirichlet(np.full(size, 2.0))
    num_runs = NUM_RUNS if size <= 300 else 20_000
    found, _ = drawn(np.log(probs), (2,), noisy=noisy, num_runs=num_runs)
    assert_frequencies(np.bincount(found.ids[:, 0], minlength=size), probs)
    second = (probs[:, None] * probs[None] / (1 - probs)[:, None]).sum(axis=0) - probs**2 / (1 - probs)
    assert_frequencies(np.bincount(found.ids[:, 1], minlength=size), second)


@both_ways
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_a_temperature_scales_the_logits(temperature, noisy):
    probs = np.array([0.5, 0.25, 0.2, 0.05])
    found, masses = drawn(np.log(probs) + 1.0, (2,), noisy=noisy, scale=1 / temperature)
    tempered = np.exp((np.log(probs) + 1.0) / temperature)
    assert_frequencies(order_frequencies(found.ids, 4), order_probabilities(tempered, 2))
    np.testing.assert_allclose(masses.base, np.log(tempered.sum()), rtol=1e-5)


@both_ways
@pytest.mark.parametrize("size", [7, 600])
def test_masks_give_exact_masses_and_only_allowed_tokens(size, noisy):
    rng = np.random.default_rng(size)
    table = rng.normal(size=(12, size)) * 4
    base, allowed = rng.random((2, 12, size)) < np.linspace(0.1, 0.9, 12)[None, :, None]
    bias = np.where(rng.random(size) < 0.1, -np.inf, 0.0)
    rows = rows_of(table, 0.7, base, allowed)._replace(bias=jnp.asarray(bias, jnp.float32))
    weights = np.where(base, 0.7 * table + bias, -np.inf)
    with np.errstate(divide="ignore"):
        log_base = np.logaddexp.reduce(weights, axis=1)
        log_allowed = np.logaddexp.reduce(np.where(allowed, weights, -np.inf), axis=1)
    masses, found = candidates(keys_of(12), rows, 5, noisy=noisy)
    np.testing.assert_allclose(masses.base, log_base, atol=2e-5)
    np.testing.assert_allclose(masses.allowed, log_allowed, atol=2e-5)
    ids, real = np.asarray(found.ids), np.asarray(found.log_weights) > -np.inf
    where = np.arange(12)[:, None]
    assert np.all((allowed & (weights > -np.inf))[where, ids][real])
    np.testing.assert_array_equal(
        real.sum(axis=1), np.minimum(5, (allowed & (weights > -np.inf)).sum(axis=1))
    )
    np.testing.assert_allclose(np.asarray(found.log_weights)[real], weights[where, ids][real], atol=1e-5)
    np.testing.assert_array_equal(unpacked(packed(allowed), size), allowed)
    expected = np.where(allowed, weights, -np.inf)
    np.testing.assert_allclose(log_weights(rows), expected, atol=1e-5)


@both_ways
def test_a_mask_keeps_the_law_of_the_order(noisy):
    probs = np.array([0.3, 0.25, 0.2, 0.1, 0.1, 0.05])
    allowed = np.array([True, False, True, True, False, True])
    found, masses = drawn(
        np.log(probs), (1, 2), noisy=noisy, allowed=allowed, base=np.array([True] * 4 + [False, True])
    )
    assert_frequencies(order_frequencies(found.ids, 6), order_probabilities(probs * allowed, 3))
    np.testing.assert_allclose(masses.base, np.log(0.9), rtol=1e-5)
    np.testing.assert_allclose(masses.allowed, np.log(0.65), rtol=1e-5)


@pytest.mark.usefixtures("optimised")
@both_ways
def test_a_mask_that_leaves_sixty_nats_below_the_top_is_exact(noisy):
    row = np.concatenate([np.zeros(300), np.log([0.4, 0.3, 0.2, 0.1]) - 60])
    allowed = np.arange(304) >= 300
    found, masses = drawn(row, (1, 1), noisy=noisy, allowed=allowed)
    counts = order_frequencies(found.ids - 300, 4)
    assert_frequencies(counts, order_probabilities(np.array([0.4, 0.3, 0.2, 0.1]), 2))
    np.testing.assert_allclose(masses.allowed, -60, rtol=1e-6)
    np.testing.assert_allclose(masses.base, np.log(300), rtol=1e-6)
    left = np.exp(found.log_tail + 60)
    np.testing.assert_allclose(left, 1 - np.exp(found.log_weights + 60).sum(axis=1), rtol=1e-4)


def test_a_faint_row_does_not_change_its_neighbours():
    table = np.random.default_rng(0).normal(size=(4, 300))
    allowed = np.random.default_rng(1).random((4, 300)) < 0.5
    keys = keys_of(4)
    with_normal = candidates(keys, rows_of(table, allowed=allowed), 20, noisy=False)
    table[2, allowed[2]] -= 60
    with_faint = candidates(keys, rows_of(table, allowed=allowed), 20, noisy=False)
    others = np.array([0, 1, 3])
    for before, after in zip(jax.tree.leaves(with_normal), jax.tree.leaves(with_faint), strict=True):
        np.testing.assert_array_equal(before[others], after[others])


def test_a_faint_mask_weighed_from_the_likeliest_token_is_caught(monkeypatch):
    """The mutant never weighs again: everything underflows."""
    monkeypatch.setattr(draws, "_FAINT", 0.0)  # `drawn` traces anew each time
    row = np.concatenate([np.zeros(300), np.log([0.4, 0.3, 0.2, 0.1]) - 200])
    _, masses = drawn(row, (1,), noisy=False, num_runs=4, allowed=np.arange(304) >= 300)
    assert np.all(masses.allowed == -np.inf)


@both_ways
def test_the_threshold_has_the_law_of_the_next_key(noisy):
    """Its arrival time, given one candidate, is the sum of two waits: compared at three quantiles."""
    probs = np.array([0.5, 0.3, 0.2])
    found, _ = drawn(np.log(probs), (1,), noisy=noisy)
    times = np.exp(-found.threshold.astype(float))
    for time in (0.5, 1.5, 4.0):
        before = 0.0
        for p in probs:  # first token of rate p, then one of rate 1 - p
            rest = 1 - p
            before += p * (1 - (np.exp(-rest * time) - rest * np.exp(-time)) / (1 - rest))
        num_before = int((times <= time).sum())
        assert_frequencies([num_before, NUM_RUNS - num_before], [before, 1 - before], FAILURE_RATE / 3)


@pytest.mark.usefixtures("optimised")
@both_ways
def test_tokens_of_tiny_probability_come_in_their_turn(noisy):
    """2,000 tokens of probability 5e-9 stand behind two heavy ones: each half of them comes next as often."""
    tail = np.full(2_000, 5e-9)
    row = np.log(np.concatenate([[1 - tail.sum() - 0.3, 0.3], tail]))
    third = drawn(row, (2, 1), noisy=noisy, num_runs=2_000, seed=3)[0].ids[:, 2]
    low, high = int((third < 1_002).sum()), int((third >= 1_002).sum())
    assert int((third < 2).sum()) < 30  # the two heavy ones come first and second but for about 1e-4
    assert_frequencies([low, high], [0.5, 0.5])


def first_of_tail(draw, num_runs):
    """Counts how often a tail of mass 0.02, in tokens of probability 6e-7, comes first."""
    num_tail, mass = 1 << 15, 0.02
    row = jnp.full((num_tail + 1,), jnp.log(mass / num_tail) - 9.0).at[0].set(-9.0 + jnp.log(1 - mass))
    count = 0
    draw = jax.jit(draw)
    for seed in range(num_runs // 100):
        count += int((draw(keys_of(100, seed), jnp.broadcast_to(row, (100, num_tail + 1))) > 0).sum())
    return count, mass


@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize(("noisy", "num_runs"), [(False, 4_000), (True, 1_000)], ids=["arrivals", "noise"])
def test_a_diffuse_tail_keeps_its_mass(noisy, num_runs):
    count, mass = first_of_tail(
        lambda keys, table: draws.candidates(keys, rows_of(table), 1, noisy=noisy)[1].ids[:, 0], num_runs
    )
    assert_frequencies([count, num_runs - count], [mass, 1 - mass])


@pytest.mark.usefixtures("optimised")
def test_noise_of_one_word_loses_the_tail_and_is_caught():
    """The mutant is the default Gumbel noise."""

    def draw(keys, table):
        noise = jax.vmap(lambda key: jax.random.gumbel(key, table.shape[1:], table.dtype, mode="low"))
        return jnp.argmax(table + noise(keys), axis=1)

    count, mass = first_of_tail(draw, 1_000)
    share = partial(assert_frequencies, [count, 1_000 - count], [mass, 1 - mass])
    if count / 1_000 > mass / 2:  # a later JAX may repair its default
        share()
    else:
        with pytest.raises(AssertionError):
            share()


@both_ways
@pytest.mark.parametrize("calls", [(3,), (1, 1, 1)], ids=str)
def test_the_tail_keeps_its_digits_when_little_is_left(calls, noisy):
    probs = np.array([0.6, 0.4, 3e-9, 2e-9, 1e-9])
    found, _ = drawn(np.log(probs), calls, noisy=noisy)
    left = probs.sum() - probs[found.ids].sum(axis=1)
    exact = np.array([np.delete(probs, ids).sum() for ids in found.ids[:500]])
    np.testing.assert_allclose(np.exp(found.log_tail[:500].astype(float)), exact, rtol=3e-6)
    assert np.abs(left[:500] / exact - 1).max() < 1  # in float64; in float32 nothing would be left of it


@both_ways
def test_tokens_without_mass_are_never_candidates(noisy):
    row = [-np.inf, -1.0, -np.inf, -200.0 + 150.0, -np.inf]
    found, _ = drawn(row, (4,), noisy=noisy, num_runs=1)
    np.testing.assert_array_equal(found.ids[0, :2], [1, 3])
    np.testing.assert_array_equal(found.log_weights, [[-1.0, -50.0, -np.inf, -np.inf]])
    assert found.log_tail == -np.inf
    assert found.threshold == -np.inf


@both_ways
@pytest.mark.parametrize("calls", [(2,), (1, 1)], ids=str)
def test_a_row_without_mass_gives_no_candidate(calls, noisy):
    for options in ({}, {"allowed": np.zeros(6, bool)}):
        row = np.full(6, -np.inf) if not options else np.zeros(6)
        found, masses = drawn(row, calls, noisy=noisy, num_runs=1, **options)
        assert np.all(found.log_weights == -np.inf)
        assert found.log_tail == -np.inf
        assert np.all(found.ids < 6)
        assert masses.allowed == -np.inf
        assert masses.base == (-np.inf if not options else pytest.approx(np.log(6)))


@both_ways
def test_a_rows_draw_depends_on_its_own_key_and_row_only(noisy):
    size = 300
    table = jax.random.normal(jax.random.key(0), (8, size))
    allowed = np.random.default_rng(0).random((8, size)) < 0.8
    keys = keys_of(8, 1)

    def part(which, num_candidates=8):
        rows = rows_of(table[which], allowed=allowed[which])
        return candidates(keys[which], rows, num_candidates, noisy=noisy)

    together = part(np.arange(8))
    for index in (0, 7):
        for which in ([index], [5, 1, index, 2, 6, 4]):
            place = which.index(index)
            for batched, few in zip(
                jax.tree.leaves(together), jax.tree.leaves(part(np.array(which))), strict=True
            ):
                np.testing.assert_allclose(batched[index], few[place], atol=1e-5)
            np.testing.assert_array_equal(together[1].ids[index], part(np.array(which))[1].ids[place])
    np.testing.assert_array_equal(part(np.arange(8), 3)[1].ids, together[1].ids[:, :3])


@both_ways
def test_all_tokens_of_a_small_vocabulary_are_drawn_once(noisy):
    found, _ = drawn(np.log([0.5, 0.3, 0.2]), (64,), noisy=noisy, num_runs=5)
    assert np.all(np.sort(found.ids[:, :3], axis=1) == [0, 1, 2])
    assert np.all(found.log_weights[:, 3:] == -np.inf)
    assert np.all(found.log_tail == -np.inf)
