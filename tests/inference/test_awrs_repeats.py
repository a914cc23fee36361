"""AWRS by repeats (geometric) and by priorities: proper per token, summed over all that is drawn."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmppl.errors import InvalidInputError
from lmppl.inference.awrs import Weighed, checks_needed_geometric, mixed, weigh_geometric, weigh_priority

pytestmark = pytest.mark.once

GOLDEN = {  # row, admissible: CV^2 of two accepts without a limit, within 2 draws, within 5 draws
    "two large": ([0.4, 0.3, 0.1, 0.1, 0.1], [0, 1], 0.188916, 0.214286, 0.189064),
    "three": ([0.1, 0.2, 0.2, 0.1, 0.4], [0, 1, 4], 0.188916, 0.214286, 0.189064),
    "a coin": ([0.5, 0.5], [1], 0.386294, 0.5, 0.389583),
    "two small": ([0.55, 0.25, 0.1, 0.06, 0.04], [2, 3], 1.181645, 2.625, 1.425715),
    "uniform": ([1 / 6] * 6, [1, 4], 0.647918, 1.0, 0.674074),
}


class Histories:
    """Every order of a row's first candidates with every history of repeats, up to a number of draws.

    A history is one string a candidate: the repeats behind it, `A` of an accepted and `B` of a
    rejected token. The uniforms are the middles of the intervals that belong to it, whose lengths
    are the probabilities of the counts.
    """

    def __init__(self, probs, admissible, num_draws, rounds=2, num_candidates=None):
        self.probs, self.accept = np.asarray(probs), np.isin(np.arange(len(probs)), admissible)
        self.num_draws, self.rounds = num_draws, rounds
        size = len(probs) if num_candidates is None else num_candidates
        self.target = self.probs * self.accept
        self.mass = self.target.sum()
        tokens, probability, uniforms, self.strings = [], [], [], []
        for order in itertools.permutations(range(len(probs)), size):
            for weight, gaps in self.extend(order, (), "", 1, self.probs[order[0]]):
                tokens.append(order)
                probability.append(weight)
                uniforms.append(self.uniforms(order, gaps))
                self.strings.append(gaps)
        self.tokens, self.probability, self.all_uniforms = map(np.array, (tokens, probability, uniforms))
        drawn = self.probs[self.tokens]
        outside = 1 - drawn.sum(axis=1) if size < len(probs) else np.zeros(len(drawn))
        with np.errstate(divide="ignore"):
            self.log_probs, self.log_tail = np.log(drawn), np.log(outside)
        self.accepted = self.accept[self.tokens]

    def masses(self, order, num_seen):
        seen = list(order[:num_seen])
        admitted = self.target[seen].sum()
        new = self.probs.sum() - self.probs[seen].sum() if num_seen < len(self.probs) else 0.0
        return new, admitted, self.probs[seen].sum() - admitted

    def extend(self, order, gaps, gap, draws, weight):
        closed = (*gaps, gap)
        if draws == self.num_draws:
            yield weight * self.order_of_the_others(order, len(closed)), closed
            return
        new, admitted, rejected = self.masses(order, len(closed))
        if len(closed) == len(order):  # the next new token is no candidate
            if new > 0:
                yield weight * new, closed
        else:
            chance = self.probs[order[len(closed)]]
            yield from self.extend(order, closed, "", draws + 1, weight * chance)
        if admitted > 0:
            yield from self.extend(order, gaps, gap + "A", draws + 1, weight * admitted)
        if rejected > 0:
            yield from self.extend(order, gaps, gap + "B", draws + 1, weight * rejected)

    def order_of_the_others(self, order, num_seen):
        chance = 1.0
        for place in range(num_seen, len(order)):
            chance *= self.probs[order[place]] / (self.probs.sum() - self.probs[list(order[:place])].sum())
        return chance

    def uniforms(self, order, gaps):
        uniforms = np.full((len(order), self.rounds + 1), 0.5)
        for place, gap in enumerate(gaps):
            new, admitted, rejected = self.masses(order, place + 1)
            uniforms[place, 0] = middle(admitted / (admitted + new) if admitted else 0.0, gap.count("A"))
            for slot, run in enumerate(gap.split("A")[: self.rounds]):
                uniforms[place, slot + 1] = middle(rejected, len(run))
        return uniforms

    def arguments(self):
        return self.log_probs, self.log_tail, self.accepted, self.all_uniforms

    def mean(self, weighed):
        tokens = np.take_along_axis(self.tokens, np.asarray(weighed.position)[:, None], axis=1)[:, 0]
        return np.bincount(tokens, self.probability * np.exp(weighed.log_weight), minlength=len(self.probs))


def middle(failure, count):
    """The middle of the uniforms for which a count of failures before a success is `count`."""
    return 1 - (failure**count + failure ** (count + 1)) / 2 if 0 < failure < 1 - 1e-12 else 0.5


def rows(num, size=4):
    rng = np.random.default_rng(2)
    for index in range(num):
        yield rng.dirichlet(np.ones(size)), np.flatnonzero(rng.random(size) < (index % 4) / 3)


@pytest.mark.parametrize("num_candidates", [2, 3, 4])
@pytest.mark.parametrize(("rounds", "max_draws"), [(2, 2), (2, 4), (3, 4), (5, 3)])
def test_every_token_is_properly_weighted(rounds, max_draws, num_candidates):
    for row in rows(5):
        histories = Histories(*row, max_draws, rounds, num_candidates)
        np.testing.assert_allclose(histories.probability.sum(), 1, rtol=1e-12)
        weighed = weigh_geometric(*histories.arguments(), rounds=rounds, max_draws=max_draws)
        np.testing.assert_allclose(histories.mean(weighed), histories.target, atol=1e-12)


def test_more_candidates_only_for_rows_without_an_accept_is_caught():
    """The mutant: rows that run out of candidates go on if nothing was accepted, and only then."""
    histories = Histories([0.4, 0.3, 0.2, 0.1], [1, 3], 5)
    log_probs, log_tail, accepted, uniforms = histories.arguments()
    outside = np.logaddexp(log_probs[:, 2], log_probs[:, 3])
    rules: dict[str, Any] = {"rounds": 2, "max_draws": 5}
    short = weigh_geometric(log_probs[:, :2], outside, accepted[:, :2], uniforms[:, :2], **rules)
    whole = weigh_geometric(log_probs, log_tail, accepted, uniforms, **rules)
    ended = accepted[:, :2].any(axis=1)
    log_weight = np.where(ended, short.log_weight, whole.log_weight)
    mutant = whole._replace(position=np.where(ended, short.position, whole.position), log_weight=log_weight)
    assert np.abs(histories.mean(mutant) - histories.target).max() > 0.01
    for weighed in (short, whole):
        np.testing.assert_allclose(histories.mean(weighed), histories.target, atol=1e-12)


@pytest.mark.parametrize("name", GOLDEN)
def test_variances_are_the_golden_ones(name):
    probs, admissible, unlimited, within_two, within_five = GOLDEN[name]
    for max_draws, golden in ((2, within_two), (5, within_five)):
        histories = Histories(probs, admissible, max_draws)
        weighed = weigh_geometric(*histories.arguments(), rounds=2, max_draws=max_draws)
        square = histories.probability @ np.exp(2 * weighed.log_weight)
        np.testing.assert_allclose(square / histories.mass**2 - 1, golden, atol=6e-7)
    # Without a limit: histories that are complete after 5 draws, and the law of draws for all others.
    mass = histories.mass
    without_limit = weigh_geometric(*histories.arguments(), rounds=2)
    complete = num_accepts(histories) >= 2
    square = histories.probability[complete] @ np.exp(2 * without_limit.log_weight[complete])
    draws = np.arange(6, 4_000)
    square += np.sum(mass**2 * (1 - mass) ** (draws - 2.0) / (draws - 1))
    np.testing.assert_allclose(square / mass**2 - 1, unlimited, atol=6e-7)
    np.testing.assert_allclose(square / mass**2, -np.log(mass) / (1 - mass), atol=1e-9)


def num_accepts(histories):
    """Accepted draws in a whole history."""
    pairs = zip(histories.strings, histories.accepted, strict=True)
    return np.array(["".join(gaps).count("A") + accepted[: len(gaps)].sum() for gaps, accepted in pairs])


def simulated_weight(log_probs, accepted, log_tail, uniforms, rounds, max_draws):
    """The same process draw by draw, as one would write it with replacement."""
    probs, draws, accepts = np.exp(log_probs), 0, 0
    for place in range(len(probs)):
        draws, accepts = draws + 1, accepts + int(accepted[place])
        new = probs[place + 1 :].sum() + np.exp(log_tail)
        admitted = probs[: place + 1][accepted[: place + 1]].sum()
        rejected = probs[: place + 1][~accepted[: place + 1]].sum()
        slot = 0
        while True:
            if accepts == rounds and draws <= max_draws:
                return (rounds - 1) / (draws - 1)
            if draws >= max_draws:
                return accepts / max_draws
            if new + admitted < 1e-12:
                return 0.0
            draws += count(rejected / (new + admitted + rejected), uniforms[place, slot + 1])
            if draws >= max_draws:
                continue
            if slot >= count(admitted / (new + admitted), uniforms[place, 0]):
                break
            draws, accepts, slot = draws + 1, accepts + 1, slot + 1
    return accepts / draws


def count(failure, uniform):
    if failure <= 0:
        return 0
    return np.inf if failure > 1 - 1e-12 else int(np.floor(np.log1p(-uniform) / np.log(failure)))


@pytest.mark.parametrize("num_candidates", [3, 6])
@pytest.mark.parametrize(("rounds", "max_draws"), [(2, np.inf), (3, np.inf), (4, 9)])
def test_weights_are_those_of_drawing_one_by_one(rounds, max_draws, num_candidates):
    rng = np.random.default_rng(3)
    for probs, admissible in rows(8, size=6):
        order = rng.permutation(6)[:num_candidates]
        log_probs, accepted = np.log(probs[order]), np.isin(order, admissible)
        tail = probs.sum() - probs[order].sum() if num_candidates < 6 else 0.0
        log_tail = np.log(tail) if tail > 0 else -np.inf
        uniforms = rng.random((200, num_candidates, rounds + 1))
        log_rows, answers = (np.broadcast_to(x, (200, num_candidates)) for x in (log_probs, accepted))
        log_tails = np.full(200, log_tail)
        limit = None if np.isinf(max_draws) else max_draws
        weighed = weigh_geometric(log_rows, log_tails, answers, uniforms, rounds=rounds, max_draws=limit)
        expected = [simulated_weight(log_probs, accepted, log_tail, u, rounds, max_draws) for u in uniforms]
        np.testing.assert_allclose(np.exp(weighed.log_weight), expected, rtol=1e-9)


def test_only_what_checks_needed_asks_for_is_used():
    rng = np.random.default_rng(4)
    for row in rows(6):
        for max_draws in (4, None):
            rules: dict[str, Any] = {"rounds": 2, "max_draws": max_draws}
            histories = Histories(*row, 4, num_candidates=3)
            log_probs, log_tail, accepted, uniforms = histories.arguments()
            noise, places = rng.random(accepted.shape) < 0.5, np.arange(3)[None, :]
            num_checked = np.zeros(len(accepted), int)
            while True:
                answers = np.where(places < num_checked[:, None], accepted, noise)
                more = checks_needed_geometric(log_probs, log_tail, answers, num_checked, uniforms, **rules)
                if not more.any():
                    break
                num_checked = num_checked + more
            expected = weigh_geometric(log_probs, log_tail, accepted, uniforms, **rules)
            actual = weigh_geometric(log_probs, log_tail, answers, uniforms, **rules)
            np.testing.assert_allclose(actual.log_weight, expected.log_weight, rtol=1e-12)
            alive = expected.log_weight > -np.inf
            np.testing.assert_array_equal(actual.position[alive], expected.position[alive])
            assert num_checked.mean() < 3 or not accepted.any()


def test_geometric_survives_tiny_masses_in_float32_and_agrees_with_numpy():
    rng = np.random.default_rng(5)
    traced = jax.jit(jax.vmap(partial(weigh_geometric, rounds=2)))
    for mass in (1e-3, 1e-6, 1e-9, 1e-30):
        probs = np.array([0.7, 0.3, 0, 0]) * (1 - 2 * mass) + mass * np.array([0, 0, 0.6, 1.4])
        log_probs = np.broadcast_to(np.log(probs).astype(np.float32), (500, 4))
        accepted = np.broadcast_to(np.array([False, False, True, False]), (500, 4))
        uniforms = rng.random((500, 4, 3)).astype(np.float32)
        tail = np.full(500, -np.inf, np.float32)
        on_host = weigh_geometric(log_probs, tail, accepted, uniforms, rounds=2)
        compiled = traced(*map(jnp.asarray, (log_probs, tail, accepted, uniforms)))
        assert np.all(np.isfinite(on_host.log_weight))
        assert np.all(on_host.position == 2)
        # One last place of `log(1 - u)` may move a count by one: weights agree to a count, not to a digit.
        close = np.isclose(compiled.log_weight, on_host.log_weight, rtol=1e-4, atol=1e-4)
        assert close.mean() > 0.97


@pytest.mark.parametrize("max_draws", [None, 3])
def test_a_mask_that_has_taken_some_of_the_mass_is_charged(max_draws):
    """The draws of what is left are the same, and so is the share of them that is accepted."""
    rng = np.random.default_rng(6)
    log_probs = np.log(rng.dirichlet(np.ones(5), 200))[:, :4]  # in any order: each is one that was drawn
    log_tail = np.log1p(-np.exp(log_probs).sum(axis=1))
    accepted, uniforms = rng.random((200, 4)) < 0.4, rng.random((200, 4, 3))
    whole = weigh_geometric(log_probs, log_tail, accepted, uniforms, rounds=2, max_draws=max_draws)
    arguments = log_probs - 1.5, log_tail - 1.5, accepted, uniforms
    part = weigh_geometric(*arguments, rounds=2, max_draws=max_draws)
    np.testing.assert_array_equal(part.position, whole.position)
    np.testing.assert_allclose(part.log_weight, whole.log_weight - 1.5, rtol=1e-9)


def test_a_row_without_accepted_tokens_is_dead():
    row = np.log([[0.5, 0.3, 0.2]])
    for tail in (-np.inf, np.log(0.1)):
        for max_draws in (None, 4):
            arguments = row, np.array([tail]), np.zeros((1, 3), bool), np.full((1, 3, 3), 0.5)
            weighed = weigh_geometric(*arguments, rounds=2, max_draws=max_draws)
            assert weighed.log_weight[0] == -np.inf
            assert weighed.position[0] == 0


def test_one_round_says_what_to_do():
    row = np.log([[0.5, 0.5]])
    with pytest.raises(InvalidInputError, match="rounds=1"):
        weigh_geometric(row, np.full(1, -np.inf), row < 0, np.full((1, 2, 2), 0.5), rounds=1)


def n_for_n_minus_one(histories, max_draws):
    """The mutant divides by all draws where the last was bound to be an accept."""
    weighed = weigh_geometric(*histories.arguments(), rounds=2, max_draws=max_draws)
    done = np.exp(weighed.log_weight) * np.where(num_accepts(histories) >= 2, 0.5, 1)
    return weighed._replace(log_weight=np.log(np.maximum(done, 1e-300)))


def accepts_over_draws_minus_one(histories, max_draws):
    """The mutant uses `min(r - 1, accepts) / (draws - 1)` where draws ran out, not accepts."""
    weighed = weigh_geometric(*histories.arguments(), rounds=2, max_draws=max_draws)
    factor = np.where(num_accepts(histories) < 2, max_draws / (max_draws - 1), 1)
    return weighed._replace(log_weight=weighed.log_weight + np.log(factor))


@pytest.mark.parametrize("mutant", [n_for_n_minus_one, accepts_over_draws_minus_one])
def test_mutants_of_the_geometric_estimator_are_caught(mutant):
    histories = Histories([0.4, 0.3, 0.2, 0.1], [1, 3], 4)
    assert np.abs(histories.mean(mutant(histories, 4)) - histories.target).max() > 0.01


def priority_mean(probs, admissible, num_candidates, estimator=weigh_priority):
    """E[weight * 1{token = a}], integrated over the threshold by Gauss-Legendre.

    Keys are minus the logs of exponential arrival times with rates `p`; the threshold belongs to
    the time of the first token outside. With rates in twentieths and `u = exp(-time / 20)` all
    integrands are polynomials, so 40 nodes are exact.
    """
    nodes, node_weights = np.polynomial.legendre.leggauss(40)
    nodes, node_weights = (nodes + 1) / 2, node_weights / 2
    times = -20 * np.log(nodes)
    probs, accept = np.asarray(probs), np.isin(np.arange(len(probs)), admissible)
    expected = np.zeros(len(probs))
    for inside in itertools.combinations(range(len(probs)), num_candidates):
        outside = np.setdiff1d(np.arange(len(probs)), inside)
        inside = list(inside)
        included = -np.expm1(-probs[inside] * times[:, None])
        density = np.prod(included, axis=1) * probs[outside].sum() * np.exp(-probs[outside].sum() * times)
        density = density * 20 / nodes * node_weights
        estimates = probs[inside] * accept[inside] / included
        total = estimates.sum(axis=1)
        if not accept[inside].any():
            continue
        borders = np.cumsum(estimates, axis=1) / total[:, None]
        for place, token in enumerate(inside):
            if accept[token]:
                share = estimates[:, place] / total
                weighed = estimator(
                    np.broadcast_to(np.log(probs[inside]), included.shape),
                    np.broadcast_to(accept[inside], included.shape),
                    -np.log(times),
                    borders[:, place] - share / 2,
                )
                assert np.all(weighed.position == place)
                expected[token] += density @ (share * np.exp(weighed.log_weight))
    return expected


@pytest.mark.parametrize("num_candidates", [1, 2, 3, 4])
@pytest.mark.parametrize("admissible", [[0], [1, 4], [0, 2, 3], [0, 1, 2, 3, 4]])
def test_priority_weights_are_proper_per_token(num_candidates, admissible):
    probs = np.array([7, 6, 4, 2, 1]) / 20
    expected = priority_mean(probs, admissible, num_candidates)
    np.testing.assert_allclose(expected, probs * np.isin(np.arange(5), admissible), atol=1e-10)


def test_priority_without_the_inclusion_probability_is_caught():
    def mutant(log_probs, accepted, threshold, uniform):
        weighed = weigh_priority(log_probs, accepted, threshold, uniform)
        return weighed._replace(log_weight=np.log(np.sum(np.exp(log_probs) * accepted, axis=1)))

    probs = np.array([7, 6, 4, 2, 1]) / 20
    target = probs * np.isin(np.arange(5), [1, 4])
    assert np.abs(priority_mean(probs, [1, 4], 3, mutant) - target).max() > 0.01


def test_priority_over_the_whole_row_is_exact_and_total():
    row = np.log(np.array([[0.5, 0.3, 0.2]] * 3))
    accepted = np.array([[True, False, True], [False] * 3, [False, True, False]])
    threshold, uniform = np.full(3, -np.inf), np.array([0.99, 0.5, 0.0])
    for weighed in (
        weigh_priority(row, accepted, threshold, uniform),
        jax.jit(weigh_priority)(*(jnp.asarray(x) for x in (row.astype("f"), accepted, threshold, uniform))),
    ):
        np.testing.assert_allclose(np.exp(weighed.log_weight), [0.7, 0, 0.3], rtol=1e-6)
        np.testing.assert_array_equal(weighed.position, [2, 0, 1])


def test_priority_keeps_tiny_masses_in_float32():
    log_probs = jnp.asarray([[-0.0001, -25.0, -60.0]])
    accepted = jnp.asarray([[False, True, True]])
    weighed = jax.jit(weigh_priority)(log_probs, accepted, jnp.asarray([-24.0]), jnp.asarray([0.5]))
    exact = -25 - np.log(-np.expm1(-np.exp(-1.0)))
    other = -60 - np.log(-np.expm1(-np.exp(-36.0)))
    np.testing.assert_allclose(weighed.log_weight, np.logaddexp(exact, other), rtol=1e-6)


def expected_of(pairs, chance):
    """E[weight * 1{token = a}] of a mixture, over the number that chooses: below and above each border."""
    one, other = (Weighed(np.array(positions), np.log(weights)) for positions, weights in pairs)
    expected = np.zeros((len(one.position), 3))
    rows = np.arange(len(expected))
    for uniform, share in ((chance / 2, chance), ((1 + chance) / 2, 1 - chance)):
        weighed = mixed(one, other, 0.9, uniform)
        expected[rows, weighed.position] += share * np.exp(weighed.log_weight)
    return expected


def test_a_mixture_has_its_share_of_both_estimators_whatever_they_have_in_common():
    positions = ([0, 1, 2, 1, 0, 1], [1, 1, 0, 2, 2, 0])
    weights = (np.array([0.5, 0.2, 0.0, 1e-9, 3.0, 0.0]), np.array([0.1, 0.2, 0.7, 0.4, 0.0, 0.0]))
    target = np.zeros((6, 3))
    for share, place, weight in zip((0.9, 0.1), positions, weights, strict=True):
        target[np.arange(6), place] += share * weight
    with np.errstate(divide="ignore"):
        chance = 0.9 * weights[0] / np.maximum(target.sum(axis=1), 1e-300)
        expected = expected_of(list(zip(positions, weights, strict=True)), chance)
    np.testing.assert_allclose(expected, target, rtol=1e-9)
