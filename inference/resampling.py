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

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from lmppl.errors import InvalidInputError
from lmppl.shape_buckets import row_bucket

_HALF = 12  # bits: sums of 12-bit numbers stay below 2^31 for up to 2^19 particles
_ONE = 1 << (2 * _HALF)


@partial(jax.jit, static_argnames="num_draws")
def multinomial(
    key: PRNGKeyArray, log_weights: Float[Array, " particles"], num_draws: int, *, count: Any = None
) -> Int[Array, " draws"]:
    """Draws ancestors independently of each other.

    Args:
        key: Consumed.
        log_weights: Unnormalised, in nats. `-inf` is a dead particle; see the module's text.
        num_draws: Static; usually the number of particles.
        count: Draw only so many, traced or not; what stands behind them in the result means nothing.

    Returns:
        Indices into `log_weights`, in nondecreasing order.
    """
    key_whole, key_part = jax.random.split(key)
    count = num_draws if count is None else count
    whole = jax.random.randint(key_whole, (num_draws,), 0, count)
    part = jax.random.randint(key_part, (num_draws,), 0, _ONE)
    return _sorted(_owners(_cumulative(_shares(log_weights, count)), _Fixed(whole, part)), count)


@partial(jax.jit, static_argnames="num_draws")
def stratified(
    key: PRNGKeyArray, log_weights: Float[Array, " particles"], num_draws: int, *, count: Any = None
) -> Int[Array, " draws"]:
    """Draws ancestors by one independent uniform point in each of `num_draws` equal strata.

    Args:
        key: Consumed.
        log_weights: Unnormalised, in nats. `-inf` is a dead particle; see the module's text.
        num_draws: Static; usually the number of particles.
        count: Draw only so many, traced or not; what stands behind them in the result means nothing.

    Returns:
        Indices into `log_weights`, in nondecreasing order.

    Reference:
        Kitagawa (1996), J. Comp. Graph. Stat. 5(1).
    """
    part = jax.random.randint(key, (num_draws,), 0, _ONE)
    points = _Fixed(jnp.arange(num_draws), part)
    return _owners(_cumulative(_shares(log_weights, num_draws if count is None else count)), points)


@partial(jax.jit, static_argnames="num_draws")
def systematic(
    key: PRNGKeyArray, log_weights: Float[Array, " particles"], num_draws: int, *, count: Any = None
) -> Int[Array, " draws"]:
    """Draws ancestors by systematic resampling.

    One uniform offset places `num_draws` evenly spaced points on the weights' CDF. With `w` the
    normalised weights and `n` draws, particle `i` is drawn `floor(n w_i)` or `ceil(n w_i)` times.

    Args:
        key: Consumed.
        log_weights: Unnormalised, in nats. `-inf` is a dead particle; see the module's text.
        num_draws: Static; usually the number of particles.
        count: Draw only so many, traced or not; what stands behind them in the result means nothing.

    Returns:
        Indices into `log_weights`, in nondecreasing order.

    Reference:
        Kitagawa (1996), J. Comp. Graph. Stat. 5(1). Not provably better than multinomial: Douc,
        Cappe & Moulines (2005), section 3.4.
    """
    return systematic_at(jax.random.randint(key, (), 0, _ONE), log_weights, num_draws, count=count)


@partial(jax.jit, static_argnames="num_draws")
def systematic_at(
    offset: Int[Array, ""], log_weights: Float[Array, " particles"], num_draws: int, *, count: Any = None
) -> Int[Array, " draws"]:
    """Gives the ancestors that belong to an offset of `offset / 2^24` of a draw; see `systematic`."""
    points = _Fixed(jnp.arange(num_draws), jnp.full((num_draws,), offset))
    return _owners(_cumulative(_shares(log_weights, num_draws if count is None else count)), points)


@partial(jax.jit, static_argnames="num_draws")
def residual(
    key: PRNGKeyArray, log_weights: Float[Array, " particles"], num_draws: int, *, count: Any = None
) -> Int[Array, " draws"]:
    """Draws `floor(num_draws * w_i)` copies of each particle, and the rest independently.

    Args:
        key: Consumed.
        log_weights: Unnormalised, in nats. `-inf` is a dead particle; see the module's text.
        num_draws: Static; usually the number of particles.
        count: Draw only so many, traced or not; what stands behind them in the result means nothing.

    Returns:
        Indices into `log_weights`, in nondecreasing order.

    Reference:
        Liu & Chen (1998), J. Amer. Statist. Assoc. 93(443).
    """
    count = num_draws if count is None else count
    shares = _shares(log_weights, count)
    copies = _Fixed(jnp.cumsum(shares.whole), jnp.zeros_like(shares.part))
    rest = _cumulative_parts(shares.part)
    num_copies = copies.whole[-1]
    num_rest = count - num_copies
    key_whole, key_part = jax.random.split(key)
    whole = jax.random.randint(key_whole, (num_draws,), 0, jnp.maximum(num_rest, 1))
    part = jax.random.randint(key_part, (num_draws,), 0, _ONE)
    drawn = _owners(rest, _Fixed(whole, part))
    draws = jnp.arange(num_draws)
    copied = _owners(copies, _Fixed(draws, jnp.zeros_like(draws)))
    return _sorted(jnp.where(draws < num_copies, copied, drawn), count)


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


def _sorted(ancestors: Int[Array, " draws"], count: Any) -> Int[Array, " draws"]:
    """Sorts the first `count`, and leaves the others behind them."""
    last = jnp.iinfo(ancestors.dtype).max
    places = jnp.arange(len(ancestors))
    ordered = jnp.sort(jnp.where(places < count, ancestors, last))
    return jnp.where(places < count, ordered, 0)


def _shares(log_weights: Float[Array, " particles"], num_draws: Any) -> _Fixed:
    """Gives each particle's expected number of draws."""
    top = jnp.max(log_weights)
    weights = jnp.where(top > -jnp.inf, jnp.exp(log_weights - top), jnp.ones_like(log_weights))
    # Equal weights have shares without rounding.
    shares = weights * (jnp.asarray(num_draws, weights.dtype) / jnp.sum(weights))
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


BUILT_IN = (multinomial, residual, stratified, systematic)


def ancestors_of(resampler: Callable[..., Any], key: Any, log_weights: np.ndarray) -> np.ndarray:
    """Gives the ancestors of a population, as many of them in their own places as can be.

    Args:
        resampler: One of ours, which is compiled for buckets of sizes, or the user's.
        key: Consumed.
        log_weights: `Float32[particles]`, on the host; one of them at least is finite.

    Raises:
        InvalidInputError: A resampler of the user's gives what are no ancestors.
    """
    count = len(log_weights)
    if resampler not in BUILT_IN:
        drawn = _checked(resampler(key, jnp.asarray(log_weights), count), log_weights)
        return np.asarray(keep_in_place(jnp.asarray(drawn, jnp.int32)))
    padded = np.full(row_bucket(count), -np.inf, np.float32)
    padded[:count] = log_weights
    return np.asarray(_ancestors_of_ours(resampler, key, padded, np.int32(count)))[:count]


def padded_ancestors(resampler: Any, key: Any, log_weights: Any, count: Any) -> Any:
    """Gives the ancestors of the first `count` rows; those behind are padding and stay. Traceable."""
    places = jnp.arange(len(log_weights), dtype=jnp.int32)
    drawn = resampler(key, log_weights, len(log_weights), count=count)
    return keep_in_place(jnp.where(places < count, drawn.astype(jnp.int32), places))


_ancestors_of_ours = jax.jit(padded_ancestors, static_argnums=0)


def _checked(drawn: Any, log_weights: np.ndarray) -> np.ndarray:
    """Gives what a user's resampler has drawn, if it can be ancestors."""
    count = len(log_weights)
    expected = f"SMC(resampler=...) must give an int from 0 to {count - 1} for each of {count} particles"
    try:
        ancestors = np.asarray(drawn)
    except (TypeError, ValueError):
        ancestors = np.asarray(None)
    if ancestors.dtype.kind not in "iu":
        raise InvalidInputError(f"{expected}; it gave {type(drawn).__name__} ({str(drawn)[:60]}).")
    if ancestors.shape != (count,):
        raise InvalidInputError(
            f"{expected}; it gave an array of shape {ancestors.shape}. It is called as "
            "resampler(key, log_weights, num_draws)."
        )
    outside = ancestors[(ancestors < 0) | (ancestors >= count)]
    if outside.size:
        raise InvalidInputError(f"{expected}; it gave {outside[0]}.")
    dead = ancestors[log_weights[ancestors] == -np.inf]
    if dead.size:
        raise InvalidInputError(
            f"{expected}; it gave {dead[0]}, a particle that is lost: its log-weight is -inf. Draw in "
            "proportion to exp(log_weights)."
        )
    return ancestors
