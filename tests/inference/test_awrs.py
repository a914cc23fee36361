"""AWRS by recursion and look-ahead: proper per token, summed over every order in which tokens can come."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmppl.errors import InvalidInputError
from lmppl.inference.awrs import checks_needed, log_remaining, weigh, weigh_mask

pytestmark = pytest.mark.once

GOLDEN = {  # row, admissible: recursive CV^2, E[checks]; max_checks=2: CV^2, P(dead); lookahead 2, 3: CV^2
    "two large": ([0.4, 0.3, 0.1, 0.1, 0.1], [0, 1], 0.183673, 2.3750, 0.232653, 0.0667, 0.058785, 0.027060),
    "three": ([0.1, 0.2, 0.2, 0.1, 0.4], [0, 1, 4], 0.198413, 2.3472, 0.228571, 0.0472, 0.069451, 0.033085),
    "a coin": ([0.5, 0.5], [1], 0.0, 2.0, 0.0, 0.0, 0.0, 0.0),
    "small": ([0.55, 0.25, 0.1, 0.06, 0.04], [2, 3], 0.742689, 3.5844, 2.5125, 0.5844, 0.240733, 0.110323),
    "uniform": ([1 / 6] * 6, [1, 4], 0.666667, 3.3333, 1.333333, 0.4, 0.25, 0.125926),
}


compiled_weigh = jax.jit(weigh, static_argnames=("lookahead", "max_checks"))


class Orders:
    """Every order of a row's first candidates, its probability, and what an estimator sees of it."""

    def __init__(self, probs, admissible, num_candidates=None, dtype: Any = np.float64):
        probs = np.asarray(probs, np.float64)
        num_candidates = len(probs) if num_candidates is None else num_candidates
        accept = np.isin(np.arange(len(probs)), admissible)
        self.tokens = np.array(list(itertools.permutations(range(len(probs)), num_candidates)))
        drawn = probs[self.tokens]
        outside = np.array([probs[np.setdiff1d(np.arange(len(probs)), row)].sum() for row in self.tokens])
        left = outside[:, None] + np.cumsum(drawn[:, ::-1], axis=1)[:, ::-1]
        self.probability = np.prod(drawn / left, axis=1)
        with np.errstate(divide="ignore"):
            self.log_probs, self.log_tail = np.log(drawn).astype(dtype), np.log(outside).astype(dtype)
        self.accepted = accept[self.tokens]
        self.target = probs * accept
        self.mass = self.target.sum()

    def mean(self, weighed):
        """E[weight * 1{token = a}] for every token a."""
        tokens = np.take_along_axis(self.tokens, np.asarray(weighed.position)[:, None], axis=1)[:, 0]
        mass = self.probability * np.exp(np.asarray(weighed.log_weight, np.float64))
        return np.bincount(tokens, mass, minlength=len(self.target))

    def squared_variation(self, weighed):
        square = self.probability @ np.exp(2 * weighed.log_weight)
        return square / self.mass**2 - 1

    def arguments(self):
        return self.log_probs, self.log_tail, self.accepted


def lazily_checked(orders, **rules):
    """Asks only for what `checks_needed` says; answers nobody asked for are noise."""
    noise = np.random.default_rng(0).random(orders.accepted.shape) < 0.5
    places = np.arange(orders.accepted.shape[1])[None, :]
    num_checked = np.zeros(len(orders.tokens), int)
    while True:
        answers = np.where(places < num_checked[:, None], orders.accepted, noise)
        more = checks_needed(orders.log_probs, orders.log_tail, answers, num_checked, **rules)
        if not more.any():
            return answers, num_checked
        num_checked = num_checked + more


def random_rows(num, size=5):
    rng = np.random.default_rng(1)
    for index in range(num):
        probs = rng.dirichlet(np.full(size, 0.6))
        yield probs, np.flatnonzero(rng.random(size) < (index % 5) / 4)  # from none to all admissible


@functools.cache
def orders_of_random_rows(num, num_candidates=None):
    return [Orders(probs, admissible, num_candidates) for probs, admissible in random_rows(num)]


@pytest.mark.parametrize("num_candidates", [2, 3, 5])
@pytest.mark.parametrize("max_checks", [None, 1, 2, 4])
@pytest.mark.parametrize("lookahead", [1, 2, 3, 8])
def test_every_token_is_properly_weighted_whatever_the_budget(lookahead, max_checks, num_candidates):
    rules: dict[str, Any] = {"lookahead": lookahead, "max_checks": max_checks}
    for orders in orders_of_random_rows(20, num_candidates):
        answers, num_checked = lazily_checked(orders, **rules)
        weighed = weigh(orders.log_probs, orders.log_tail, answers, **rules)
        np.testing.assert_allclose(orders.mean(weighed), orders.target, atol=1e-12)
        assert num_checked.max() <= min(max_checks or num_candidates, num_candidates)


@pytest.mark.parametrize("name", GOLDEN)
def test_variances_and_numbers_of_checks_are_the_golden_ones(name):
    probs, admissible, recursive, checks, limited, dead, two, three = GOLDEN[name]
    orders = Orders(probs, admissible)

    def squared_variation(**rules):
        return orders.squared_variation(weigh(*orders.arguments(), **rules))

    np.testing.assert_allclose(squared_variation(), recursive, atol=6e-7)
    np.testing.assert_allclose(squared_variation(lookahead=2), two, atol=6e-7)
    np.testing.assert_allclose(squared_variation(lookahead=3), three, atol=6e-7)
    np.testing.assert_allclose(squared_variation(max_checks=2), limited, atol=6e-7)
    np.testing.assert_allclose(orders.probability @ lazily_checked(orders)[1], checks, atol=6e-5)
    dead_weight = weigh(*orders.arguments(), max_checks=2).log_weight == -np.inf
    np.testing.assert_allclose(orders.probability @ dead_weight, dead, atol=6e-5)


def test_recursive_law_of_the_fourth_golden_row():
    orders = Orders(*GOLDEN["small"][:2])
    weighed = weigh(*orders.arguments())
    tokens = np.take_along_axis(orders.tokens, np.asarray(weighed.position)[:, None], axis=1)[:, 0]
    law = {}
    weights = np.exp(weighed.log_weight)
    for token, weight, probability in zip(tokens, weights, orders.probability, strict=True):
        atom = (int(token), round(float(weight), 6))
        law[atom] = law.get(atom, 0.0) + probability
    largest = {(2, 0.1): 0.343653, (3, 0.06): 0.178579, (2, 0.2): 0.146667}
    largest |= {(3, 0.2): 0.104762, (2, 0.16): 0.099975, (3, 0.16): 0.059985}
    assert sorted(law, key=law.__getitem__, reverse=True)[:6] == list(largest)
    for atom, probability in largest.items():
        np.testing.assert_allclose(law[atom], probability, atol=6e-7)
    np.testing.assert_allclose(sum(p for (token, _), p in law.items() if token == 2), 0.625, atol=6e-7)


def test_lookahead_of_one_is_the_recursive_estimator():
    for orders in orders_of_random_rows(10):
        weighed = weigh(*orders.arguments())
        for log_probs, accepted, log_weight in zip(
            orders.log_probs, orders.accepted, weighed.log_weight, strict=True
        ):
            first = int(np.argmax(accepted))
            if not accepted.any():
                assert log_weight == -np.inf
                continue
            admitted_next = first + 1 < len(accepted) and accepted[first + 1]
            expected = np.exp(log_probs[first:]).sum() if admitted_next else np.exp(log_probs[first])
            np.testing.assert_allclose(np.exp(log_weight), expected, rtol=1e-12)


def test_every_weight_of_an_unsatisfiable_row_is_minus_infinity():
    for dtype, weighing in ((np.float64, weigh), (np.float32, compiled_weigh)):
        orders = Orders([0.5, 0.3, 0.2], [], dtype=dtype)
        weighed = weighing(*orders.arguments(), lookahead=4)
        assert np.all(np.asarray(weighed.log_weight) == -np.inf)
        assert np.all(np.asarray(weighed.position) == 0)


def test_a_row_without_any_mass_is_dead():
    none = np.full((2, 3), -np.inf)
    weighed = weigh(none, none[:, 0], np.ones((2, 3), bool), lookahead=2)
    assert np.all(weighed.log_weight == -np.inf)
    np.testing.assert_array_equal(checks_needed(none, none[:, 0], np.ones((2, 3), bool), np.zeros(2, int)), 0)


def test_places_behind_the_last_token_do_not_count():
    orders = Orders([0.5, 0.3, 0.2], [0, 2])
    padding = np.full((len(orders.tokens), 2), -np.inf)
    padded = np.concatenate([orders.log_probs, padding], axis=1)
    accepted = np.concatenate([orders.accepted, np.ones_like(padding, bool)], axis=1)
    for lookahead, max_checks in ((1, None), (2, None), (4, None), (4, 2)):
        rules: dict[str, Any] = {"lookahead": lookahead, "max_checks": max_checks}
        expected = weigh(*orders.arguments(), **rules)
        actual = weigh(padded, orders.log_tail, accepted, **rules)
        np.testing.assert_allclose(actual.log_weight, expected.log_weight, rtol=1e-14)
        np.testing.assert_array_equal(actual.position, expected.position)


@pytest.mark.parametrize("mass", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("lookahead", [1, 3])
def test_float32_rows_with_little_admissible_mass_keep_their_mean(mass, lookahead):
    probs = np.array([0.7, 0.3, 0, 0, 0]) * (1 - 2 * mass) + mass * np.array([0, 0, 0.6, 0.4, 1.0])
    orders = Orders(probs, [2, 3], dtype=np.float32)
    weighed = compiled_weigh(*orders.arguments(), lookahead=lookahead)
    assert np.all(np.asarray(weighed.log_weight) > -np.inf)
    np.testing.assert_allclose(orders.mean(weighed), orders.target, rtol=2e-5)


def test_the_mass_left_cannot_be_had_by_subtraction():
    """The mutant `1 - sum`: in float32 it has no digit left at 1e-9, and summing from the end has six."""
    orders = Orders([0.7, 0.3 - 2e-9, 1.2e-9, 0.8e-9], [2, 3], dtype=np.float32)
    exact = Orders([0.7, 0.3 - 2e-9, 1.2e-9, 0.8e-9], [2, 3])
    expected = np.exp(log_remaining(exact.log_probs, exact.log_tail))
    actual = np.exp(log_remaining(orders.log_probs, orders.log_tail))
    drawn = np.exp(orders.log_probs)
    mutant = np.float32(1) - (np.cumsum(drawn, axis=1) - drawn)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    assert np.max(np.abs(mutant / expected - 1)) > 0.5


def test_numpy_and_compiled_jax_agree():
    for lookahead, max_checks in ((1, None), (3, 3), (2, None)):
        rules: dict[str, Any] = {"lookahead": lookahead, "max_checks": max_checks}
        compiled = jax.jit(jax.vmap(functools.partial(weigh, **rules)))
        compiled_checks = jax.jit(functools.partial(checks_needed, **rules))
        for probs, admissible in random_rows(6):
            orders = Orders(probs, admissible, 4, dtype=np.float32)
            on_host = weigh(*orders.arguments(), **rules)
            traced = compiled(*map(jnp.asarray, orders.arguments()))
            np.testing.assert_array_equal(on_host.position, traced.position)
            np.testing.assert_allclose(on_host.log_weight, traced.log_weight, rtol=1e-5, atol=1e-6)
            num_checked = np.full(len(orders.tokens), 2, np.int32)
            arguments = (*orders.arguments(), num_checked)
            more = compiled_checks(*map(jnp.asarray, arguments))
            np.testing.assert_array_equal(checks_needed(*arguments, **rules), more)


def without_tail_coin(log_probs, log_tail, accepted):
    first = np.argmax(accepted, axis=1)[:, None]
    left = np.take_along_axis(log_remaining(log_probs, log_tail), first, axis=1)[:, 0]
    return first[:, 0], np.where(accepted.any(axis=1), left, -np.inf)


def always_the_token_alone(log_probs, log_tail, accepted):
    first = np.argmax(accepted, axis=1)[:, None]
    alone = np.take_along_axis(log_probs, first, axis=1)[:, 0]
    return first[:, 0], np.where(accepted.any(axis=1), alone, -np.inf)


def forgotten_weight(log_probs, log_tail, accepted):
    return np.argmax(accepted, axis=1), np.where(accepted.any(axis=1), 0.0, -np.inf)


def right_sum_wrong_token(log_probs, log_tail, accepted):
    """Its weights have the right mean, but belong to the likeliest admissible token."""
    best = np.argmax(np.where(accepted, log_probs, -np.inf), axis=1)
    return best, weigh(log_probs, log_tail, accepted).log_weight


@pytest.mark.parametrize(
    "mutant", [without_tail_coin, always_the_token_alone, forgotten_weight, right_sum_wrong_token]
)
def test_mutants_are_caught(mutant):
    orders = Orders(*GOLDEN["two large"][:2])
    position, log_weight = mutant(*orders.arguments())
    token = np.take_along_axis(orders.tokens, position[:, None], axis=1)[:, 0]
    expected = np.bincount(token, orders.probability * np.exp(log_weight), minlength=5)
    assert np.abs(expected - orders.target).max() > 0.01


def test_a_mask_gives_the_exact_proposal_and_mass():
    row = np.log(np.array([[0.4, 0.3, 0.2, 0.1]] * 2))
    allowed = np.array([[True, False, True, False], [False] * 4])
    masked = weigh_mask(row, allowed)
    np.testing.assert_allclose(np.exp(masked.log_probs), [[2 / 3, 0, 1 / 3, 0], [0] * 4], atol=1e-14)
    np.testing.assert_allclose(np.exp(masked.log_weight), [0.6, 0], atol=1e-14)
    traced = jax.jit(weigh_mask)(jnp.asarray(row, jnp.float32), jnp.asarray(allowed))
    np.testing.assert_allclose(traced.log_weight, masked.log_weight, rtol=1e-6)


def test_lookahead_of_zero_says_what_to_do():
    orders = Orders([0.5, 0.5], [0])
    with pytest.raises(InvalidInputError, match="lookahead=0"):
        weigh(*orders.arguments(), lookahead=0)
