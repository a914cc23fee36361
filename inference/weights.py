"""Arithmetic on unnormalised log-weights: their mean, their spread, and what a run knows of its own error.

The functions accept NumPy arrays (computed on the host in their own precision) and JAX arrays,
traced or not. Every one of them is total: a population in which all weights are `-inf` has an
answer, and that answer is never NaN.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from jaxtyping import Array, Float, Int

AnyArray = TypeVar("AnyArray", Array, np.ndarray)


def log_sum_exp(log_x: Float[AnyArray, "*batch n"]) -> Float[AnyArray, "*batch"]:
    """Gives the log of the sum of `exp(log_x)` over the last axis; `-inf` where every term is."""
    if isinstance(log_x, np.ndarray):
        return np.asarray(np.logaddexp.reduce(log_x, axis=-1))
    xp = log_x.__array_namespace__()
    top = finite_or_zero(xp.max(log_x, axis=-1, keepdims=True))
    total = xp.sum(xp.exp(log_x - top), axis=-1, keepdims=True)
    log_total = xp.where(total > 0, xp.log(xp.where(total > 0, total, 1)), -xp.inf)
    return xp.asarray((log_total + top)[..., 0])


def log_mean_exp(log_x: Float[AnyArray, "*batch n"]) -> Float[AnyArray, "*batch"]:
    """Gives the log of the mean of `exp(log_x)` over the last axis.

    Of the log-weights since the last resampling, this is their factor of the log evidence.
    """
    xp = log_x.__array_namespace__()
    return xp.asarray(log_sum_exp(log_x) - float(np.log(log_x.shape[-1])))


def normalised(log_weights: Float[AnyArray, "*batch n"]) -> Float[AnyArray, "*batch n"]:
    """Gives log-weights whose exponentials sum to 1 over the last axis.

    Where all are `-inf` they stay `-inf`: a dead population has no distribution to speak of.
    """
    xp = log_weights.__array_namespace__()
    from_top = log_weights - finite_or_zero(xp.max(log_weights, axis=-1, keepdims=True))
    return from_top - finite_or_zero(log_sum_exp(from_top)[..., None])


def effective_sample_size(
    log_weights: Float[AnyArray, "*batch n"],
) -> Float[AnyArray, "*batch"]:
    """Gives how many equally weighted draws would have the same sum of squared weights.

    It is `(sum w)^2 / sum w^2`: `n` for equal weights, 1 when one particle has all the weight, and
    0 when all are `-inf`. Particles of weight 0 count, as draws that were wasted.

    Reference:
        Kong, Liu & Wong (1994), J. Amer. Statist. Assoc. 89(425), section 4.1.
    """
    xp = log_weights.__array_namespace__()
    top = finite_or_zero(xp.max(log_weights, axis=-1, keepdims=True))
    weights = xp.exp(log_weights - top)
    sum_of_squares = xp.sum(weights**2, axis=-1)
    return xp.asarray(xp.sum(weights, axis=-1) ** 2 / xp.where(sum_of_squares > 0, sum_of_squares, 1))


def resampling_is_due(size: Any, least: Any) -> Any:
    """Says whether an effective sample size is too small; that of a dead population, 0, is not."""
    return (size > 0) & (size < least)


def evidence_relative_variance(
    log_weights: Float[AnyArray, " particles"],
    eves: Int[AnyArray, " particles"],
    num_resamplings: int | Int[AnyArray, ""],
) -> Float[AnyArray, ""]:
    """Estimates the relative variance of a run's evidence estimate, from that one run.

    With `N` particles, `n` resamplings, normalised weights `W` and `eve_i` the particle of the
    first generation that particle `i` descends from,

        V = 1 - (N / (N - 1))^(n + 1) * (1 - sum_e (sum over {i: eve_i = e} of W_i)^2).

    Under multinomial resampling at fixed times `Z_hat^2 * V` has mean `var(Z_hat)` exactly, for any
    `N >= 2`. Without resampling `V` is the unbiased sample variance of the weights over `N` times
    their squared mean. Other resampling schemes and adaptive times make it an approximation. A
    single run may give a negative value, and once all particles descend from one ancestor `V = 1`
    says no more than "unknown".

    Args:
        log_weights: Since the last resampling, in nats.
        eves: `arange(particles)` at the start; `eves[ancestors]` at each resampling.
        num_resamplings: How often the population was resampled before these weights.

    Returns:
        An estimate of `var(Z_hat) / Z^2`. NaN never: `inf` for a single particle, which says
        nothing of its spread, and for a population whose weights are all `-inf`.

    Reference:
        Lee & Whiteley (2018), Biometrika 105(3), arXiv:1509.00394.
    """
    xp = log_weights.__array_namespace__()
    num_particles = log_weights.shape[-1]
    if num_particles < 2:
        return xp.full((), xp.inf, dtype=log_weights.dtype)
    weights = xp.exp(normalised(log_weights))
    if xp is np:
        shares = np.bincount(eves, weights, minlength=num_particles)
    else:
        shares = xp.zeros_like(weights).at[eves].add(weights)
    concentration = xp.sum(shares**2)
    generations = xp.asarray(num_resamplings + 1, dtype=weights.dtype)
    excess = xp.expm1(-generations * float(np.log1p(-1 / num_particles)))  # (N / (N - 1))^(n + 1) - 1
    variance = concentration - excess * (1 - concentration)
    return xp.where(xp.any(weights > 0), variance, xp.inf)


def finite_or_zero(x):
    """Replaces `-inf` by 0, so that subtracting it from `-inf` is not NaN."""
    xp = x.__array_namespace__()
    return xp.where(x > -xp.inf, x, 0)
