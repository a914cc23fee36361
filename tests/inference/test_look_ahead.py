"""The look-ahead estimator as a stream says what `awrs.weigh` says of the whole order, in any portions."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmppl.inference.awrs import checks_needed, weigh
from lmppl.inference.draws import Candidates
from lmppl.inference.look_ahead import begin_search, searched

NUM_ROWS, SIZE = 200, 11


@jax.jit  # the rule is traced, so that each size of a portion is compiled once
def taken_up(search, found, accepted, *, lookahead, max_checks):
    return searched(search, found, accepted, lookahead=lookahead, max_checks=max_checks)


def streamed(ids, log_probs, log_tail, accepted, sizes, *, lookahead, max_checks):
    """Takes up an order in portions of some sizes; the tail of each is all that comes behind it."""
    rule = {"lookahead": lookahead, "max_checks": max_checks}
    everything = np.concatenate([log_probs, log_tail[:, None]], axis=1)
    mass = np.logaddexp.reduce(everything, axis=1)
    search = begin_search(len(ids), jnp.asarray(mass, jnp.float32))
    at = 0
    for size in sizes:
        if not np.any(search.wants_more) or at >= ids.shape[1]:
            break
        part = slice(at, at + size)
        tail = np.logaddexp.reduce(everything[:, at + size :], axis=1)
        threshold = np.zeros(len(ids), np.float32)
        found = Candidates(*map(jnp.asarray, (ids[:, part], log_probs[:, part], tail, threshold)))
        search = taken_up(search, found, jnp.asarray(accepted[:, part]), **rule)
        at += size
    return search


def padded(array, width, value):
    missing = np.full((len(array), width - array.shape[1]), value, array.dtype)
    return np.concatenate([array, missing], axis=1)


def random_orders(seed, width=16):
    """Orders of up to 11 tokens, some of them with more behind, and answers from rare to frequent."""
    rng = np.random.default_rng(seed)
    log_probs = np.log(rng.dirichlet(np.full(SIZE + 1, 0.4), NUM_ROWS) + 1e-12)
    log_tail = np.where(rng.random(NUM_ROWS) < 0.3, log_probs[:, -1], -np.inf)
    log_probs = log_probs[:, :-1]
    num_tokens = np.where(log_tail > -np.inf, SIZE, rng.integers(0, SIZE + 1, NUM_ROWS))
    log_probs[np.arange(SIZE)[None] >= num_tokens[:, None]] = -np.inf
    accepted = rng.random((NUM_ROWS, SIZE)) < rng.choice([0.0, 0.1, 0.4, 1.0], NUM_ROWS)[:, None]
    ids = np.tile(np.arange(SIZE, dtype=np.int32), (NUM_ROWS, 1))
    log_probs = padded(log_probs.astype(np.float32), width, -np.inf)
    # Of a row with a tail, what lies beyond the order is unknown: budgets end before it.
    return padded(ids, width, 0), log_probs, log_tail.astype(np.float32), padded(accepted, width, True)


def number_of_checks(log_probs, log_tail, accepted, **rule):
    """Asks as `checks_needed` says."""
    num_checked = np.zeros(len(log_probs), int)
    while True:
        needed = checks_needed(log_probs, log_tail, accepted, num_checked, **rule)
        if not needed.any():
            return num_checked
        num_checked = num_checked + needed


def portions(size, width=16):
    return [size] * (width // size + 1)


@pytest.mark.parametrize("sizes", [portions(1), portions(3), [16], [1, 4, 11]], ids=str)
@pytest.mark.parametrize(
    ("lookahead", "max_checks"), [(1, 1), (1, 11), (2, 2), (2, 11), (4, 5), (4, 11), (9, 11)]
)
def test_any_portions_give_the_estimate_of_the_whole_order(lookahead, max_checks, sizes):
    rule = {"lookahead": lookahead, "max_checks": max_checks}
    ids, log_probs, log_tail, accepted = random_orders(lookahead + 10 * max_checks)
    search = streamed(ids, log_probs, log_tail, accepted, sizes, **rule)
    # What comes after the order's end never existed: `weigh` is given the order as far as it goes.
    whole = log_probs[:, :SIZE].astype(float), log_tail.astype(float), accepted[:, :SIZE]
    weighed = weigh(*whole, **rule)
    np.testing.assert_allclose(search.log_estimate, weighed.log_weight, atol=1e-5)
    alive = weighed.log_weight > -np.inf
    assert 20 < alive.sum() < NUM_ROWS
    np.testing.assert_array_equal(np.asarray(search.token)[alive], weighed.position[alive])
    chosen = whole[0][np.arange(NUM_ROWS), weighed.position]
    np.testing.assert_array_equal(np.asarray(search.log_weight)[alive], chosen[alive].astype(np.float32))
    np.testing.assert_array_equal(search.num_checks, number_of_checks(*whole, **rule))
    assert not np.any(search.wants_more)


def test_rows_that_want_no_more_stay_as_they_are():
    ids, log_probs, log_tail, accepted = random_orders(0)
    rule = {"lookahead": 2, "max_checks": 5}
    done = streamed(ids, log_probs, log_tail, accepted, [16], **rule)
    found = Candidates(*map(jnp.asarray, (ids, log_probs, log_tail, log_tail)))
    again = taken_up(done, found, jnp.asarray(~accepted), **rule)
    for before, after in zip(done, again, strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_row_without_mass_wants_nothing():
    search = begin_search(2, jnp.asarray([-jnp.inf, 0.0]))
    np.testing.assert_array_equal(search.wants_more, [False, True])
    assert np.all(np.asarray(search.log_estimate) == -np.inf)


PROBS = np.array([0.35, 0.25, 0.2, 0.15, 0.05])


def all_orders():
    """Every order of a small row with its probability."""
    ids = np.array(list(itertools.permutations(range(5))), np.int32)
    drawn = PROBS[ids]
    left = np.cumsum(drawn[:, ::-1], axis=1)[:, ::-1]
    return ids, np.prod(drawn / left, axis=1)


def means_of_tokens(estimates, accepted_tokens, **rule):
    """E[weight * 1{token = a}] for every token `a`, by a sum over all orders; `estimates` are in logs."""
    ids, chance = all_orders()
    accept = np.isin(np.arange(5), accepted_tokens)
    nothing = np.full(len(ids), -np.inf, np.float32)
    log_probs = np.log(PROBS[ids]).astype(np.float32)
    search = streamed(ids, log_probs, nothing, accept[ids], [2, 2, 2], **rule)
    return np.bincount(search.token, chance * np.exp(estimates(search)), minlength=5), PROBS * accept


@pytest.mark.parametrize("accepted_tokens", [[], [4], [1, 3], [0, 2, 4], [0, 1, 2, 3, 4]], ids=str)
@pytest.mark.parametrize("max_checks", [1, 3, 5])
@pytest.mark.parametrize("lookahead", [1, 4])
def test_every_token_is_properly_weighted(lookahead, max_checks, accepted_tokens):
    mean, target = means_of_tokens(
        lambda search: np.asarray(search.log_estimate, float),
        accepted_tokens,
        lookahead=lookahead,
        max_checks=max_checks,
    )
    np.testing.assert_allclose(mean, target, atol=1e-6)


def always_all_that_was_left(search):
    return np.where(search.first < search.num_seen, search.log_left, -np.inf)


def sum_of_looks(search):
    """Forgets to divide by the number of looks."""
    estimate = np.where(np.asarray(search.num_looks) > 0, search.log_sum, search.log_left)
    return np.where(search.first < search.num_seen, estimate, -np.inf)


@pytest.mark.parametrize("mutant", [always_all_that_was_left, sum_of_looks])
def test_mutants_are_caught(mutant):
    mean, target = means_of_tokens(mutant, [1, 3], lookahead=2, max_checks=5)
    assert np.abs(mean - target).max() > 0.01
