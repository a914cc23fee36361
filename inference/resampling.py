"""Resampling: which particles of one generation become the parents of the next.

All schemes draw `num_draws` ancestors, particle `i` on average `num_draws * w_i` times (`w` the
normalised weights), and differ in how they place `num_draws` points on the weights' CDF. Points
and CDF are exact fixed-point numbers with 24 binary places, in units of one draw, for up to 2^19
particles. Summed in float32 the CDF of many particles drifts by whole draws, or, summed in
parallel, does not even rise everywhere.

A dead particle (`-inf`) is never drawn, unless all are dead: then the weights count as equal, so
that a dead population keeps its shape. Stratified and residual resampling have at most the variance
of multinomial; systematic has it in practice, but there are programs in which it is worse.

Reference:
    Douc, Cappe & Moulines (2005), Comparison of resampling schemes for particle filtering,
    arXiv:cs/0507025.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

_HALF = 12  # bits: sums of 12-bit numbers stay below 2^31 for up to 2^19 particles
_ONE = 1 << (2 * _HALF)


@partial(jax.jit, static_argnames="num_draws")
def multinomial(
    key: PRNGKeyArray, log_weights: Float[Array, " particles"], num_draws: int
) -> Int[Array, " draws"]:
    """Draws ancestors independently of each other.

    Args:
        key: Consumed.
        log_weights: Unnormalised, in nats. `-inf` is a dead particle; see the module's text.
        num_draws: Static; usually the number of particles.

    Returns:
        Indices into `log_weights`, in nondecreasing order.
    """
    key_whole, key_part = jax.random.split(key)
    whole = jax.random.randint(key_whole, (num_draws,), 0, num_draws)
    part = jax.random.randint(key_part, (num_draws,), 0, _ONE)
    return jnp.sort(_owners(_cumulative(_shares(log_weights, num_draws)), _Fixed(whole, part)))


@partial(jax.jit, static_argnames="num_draws")
def stratified(
    key: PRNGKeyArray, log_weights: Float[Array, " particles"], num_draws: int
) -> Int[Array, " draws"]:
    """Draws ancestors by one independent uniform point in each of `num_draws` equal strata.

    Args:
        key: Consumed.
        log_weights: Unnormalised, in nats. `-inf` is a dead particle; see the module's text.
        num_draws: Static; usually the number of particles.

    Returns:
        Indices into `log_weights`, in nondecreasing order.

    Reference:
        Kitagawa (1996), J. Comp. Graph. Stat. 5(1).
    """
    part = jax.random.randint(key, (num_draws,), 0, _ONE)
    points = _Fixed(jnp.arange(num_draws), part)
    return _owners(_cumulative(_shares(log_weights, num_draws)), points)


@partial(jax.jit, static_argnames="num_draws")
def systematic(
    key: PRNGKeyArray, log_weights: Float[Array, " particles"], num_draws: int
) -> Int[Array, " draws"]:
    """Draws ancestors by systematic resampling.

    One uniform offset places `num_draws` evenly spaced points on the weights' CDF. With `w` the
    normalised weights and `n` draws, particle `i` is drawn `floor(n w_i)` or `ceil(n w_i)` times.

    Args:
        key: Consumed.
        log_weights: Unnormalised, in nats. `-inf` is a dead particle; see the module's text.
        num_draws: Static; usually the number of particles.

    Returns:
        Indices into `log_weights`, in nondecreasing order.

    Reference:
        Kitagawa (1996), J. Comp. Graph. Stat. 5(1). Not provably better than multinomial: Douc,
        Cappe & Moulines (2005), section 3.4.
    """
    return systematic_at(jax.random.randint(key, (), 0, _ONE), log_weights, num_draws)


@partial(jax.jit, static_argnames="num_draws")
def systematic_at(
    offset: Int[Array, ""], log_weights: Float[Array, " particles"], num_draws: int
) -> Int[Array, " draws"]:
    """Gives the ancestors that belong to an offset of `offset / 2^24` of a draw."""
    points = _Fixed(jnp.arange(num_draws), jnp.full((num_draws,), offset))
    return _owners(_cumulative(_shares(log_weights, num_draws)), points)


@partial(jax.jit, static_argnames="num_draws")
def residual(
    key: PRNGKeyArray, log_weights: Float[Array, " particles"], num_draws: int
) -> Int[Array, " draws"]:
    """Draws `floor(num_draws * w_i)` copies of each particle, and the rest independently.

    Args:
        key: Consumed.
        log_weights: Unnormalised, in nats. `-inf` is a dead particle; see the module's text.
        num_draws: Static; usually the number of particles.

    Returns:
        Indices into `log_weights`, in nondecreasing order.

    Reference:
        Liu & Chen (1998), J. Amer. Statist. Assoc. 93(443).
    """
    shares = _shares(log_weights, num_draws)
    copies = _Fixed(jnp.cumsum(shares.whole), jnp.zeros_like(shares.part))
    rest = _cumulative_parts(shares.part)
    num_copies = copies.whole[-1]
    num_rest = num_draws - num_copies
    key_whole, key_part = jax.random.split(key)
    whole = jax.random.randint(key_whole, (num_draws,), 0, jnp.maximum(num_rest, 1))
    part = jax.random.randint(key_part, (num_draws,), 0, _ONE)
    drawn = _owners(rest, _Fixed(whole, part))
    draws = jnp.arange(num_draws)
    copied = _owners(copies, _Fixed(draws, jnp.zeros_like(draws)))
    return jnp.sort(jnp.where(draws < num_copies, copied, drawn))


@jax.jit
def keep_in_place(ancestors: Int[Array, " particles"]) -> Int[Array, " particles"]:
    """Reorders ancestors so that every particle that has a descendant keeps its own place.

    The multiset is the same. As many particles as possible are their own ancestor, and those need
    neither be replayed nor moved in a cache.
    """
    num_particles = ancestors.shape[0]
    places = jnp.arange(num_particles)
    counts = jnp.zeros_like(ancestors).at[ancestors].add(1)
    survives = counts > 0
    surplus = jnp.repeat(places, jnp.maximum(counts - 1, 0), total_repeat_length=num_particles)
    free_before = jnp.cumsum(jnp.where(survives, 0, 1)) - 1
    return jnp.where(survives, places, surplus[jnp.maximum(free_before, 0)]).astype(ancestors.dtype)


class _Fixed(NamedTuple):
    """Numbers `whole + part / 2^24`, with `0 <= part < 2^24`."""

    whole: Int[Array, " n"]
    part: Int[Array, " n"]


def _shares(log_weights: Float[Array, " particles"], num_draws: int) -> _Fixed:
    """Gives each particle's expected number of draws."""
    top = jnp.max(log_weights)
    weights = jnp.where(top > -jnp.inf, jnp.exp(log_weights - top), jnp.ones_like(log_weights))
    shares = weights * (num_draws / jnp.sum(weights))  # equal weights have shares without rounding
    whole = jnp.floor(shares)
    part = jnp.round((shares - whole) * _ONE).astype(jnp.int32)
    return _Fixed(whole.astype(jnp.int32) + part // _ONE, part % _ONE)


def _cumulative(shares: _Fixed) -> _Fixed:
    """Sums from the start, without rounding."""
    parts = _cumulative_parts(shares.part)
    return _Fixed(jnp.cumsum(shares.whole) + parts.whole, parts.part)


def _cumulative_parts(part: Int[Array, " n"]) -> _Fixed:
    low = jnp.cumsum(part % (1 << _HALF))
    high = jnp.cumsum(part >> _HALF) + (low >> _HALF)
    return _Fixed(high >> _HALF, (high % (1 << _HALF) << _HALF) + low % (1 << _HALF))


def _owners(reached: _Fixed, points: _Fixed) -> Int[Array, " draws"]:
    """Gives, for each point, the first particle whose cumulative share lies beyond it.

    The shares were rounded, so their sum may miss the number of draws by a little: points beyond
    the end belong to the last particle that has a share.
    """
    points = _before(_Fixed(reached.whole[-1], reached.part[-1]), points)
    low = jnp.zeros_like(points.whole)
    high = jnp.full_like(points.whole, reached.whole.shape[0] - 1)
    for _ in range(reached.whole.shape[0].bit_length()):
        middle = (low + high) // 2
        beyond = _less(points, _Fixed(reached.whole[middle], reached.part[middle]))
        low, high = jnp.where(beyond, low, jnp.minimum(middle + 1, high)), jnp.where(beyond, middle, high)
    return high


def _before(end: _Fixed, points: _Fixed) -> _Fixed:
    """Moves points that do not lie before `end` to the last place that does."""
    inside = _less(points, end)
    borrowed = end.part == 0
    whole = jnp.where(inside, points.whole, end.whole - jnp.where(borrowed, 1, 0))
    part = jnp.where(inside, points.part, jnp.where(borrowed, _ONE - 1, end.part - 1))
    return _Fixed(whole, part)


def _less(a: _Fixed, b: _Fixed) -> Bool[Array, " n"]:
    return (a.whole < b.whole) | ((a.whole == b.whole) & (a.part < b.part))
