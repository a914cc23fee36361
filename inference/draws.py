"""Draws of tokens from rows of log-probabilities, in order and without replacement, one key a row.

A row's draw is a function of its own key and its own log-probabilities: it does not change with
the number of rows or with what stands in the others.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from lmppl.inference.weights import log_sum_exp


class Candidates(NamedTuple):
    """The first tokens of each row in the order drawn, and what is left behind them.

    Attributes:
        ids: Token ids.
        log_probs: As given for these ids; `-inf` marks places behind the last token with mass,
            whose id means nothing.
        log_tail: Log mass of the tokens that are no candidates; `-inf` where there are none.
        threshold: `log p + Gumbel noise` of the first token that is no candidate; `-inf` where
            there is none.
    """

    ids: Int[Array, "rows candidates"]
    log_probs: Float[Array, "rows candidates"]
    log_tail: Float[Array, " rows"]
    threshold: Float[Array, " rows"]


@partial(jax.jit, static_argnames="num_candidates")
def candidates(
    keys: Key[Array, " rows"], log_probs: Float[Array, "rows vocab"], num_candidates: int
) -> Candidates:
    """Draws the first tokens of each row without replacement, in order.

    The order has the Plackett-Luce law, that of `log p + Gumbel noise` decreasing. Rows need not be
    normalised: a row whose first tokens were taken by `remove` continues the same order. A token
    less than 1e-30 times as likely as the row's likeliest may count as having no mass.

    On CPUs tokens arrive one by one in a lazy tree, which costs a pass over the row and little
    more; elsewhere noise is made for the whole row.

    Args:
        keys: One for each row.
        num_candidates: Static. At most the size of the vocabulary is returned.
    """
    num_candidates = min(num_candidates, log_probs.shape[-1])
    return jax.lax.platform_dependent(
        keys,
        log_probs,
        cpu=jax.vmap(partial(arrivals, num_candidates=num_candidates)),
        default=jax.vmap(partial(noisy_order, num_candidates=num_candidates)),
    )


@jax.jit
def categorical(keys: Key[Array, " rows"], log_probs: Float[Array, "rows vocab"]) -> Int[Array, " rows"]:
    """Draws one token from each row, which need not be normalised.

    A token without mass is never drawn; a row that has none at all gives id 0.
    """
    return candidates(keys, log_probs, 1).ids[:, 0]


@jax.jit
def remove(
    log_probs: Float[Array, "rows vocab"], ids: Int[Array, "rows removed"]
) -> Float[Array, "rows vocab"]:
    """Gives the rows in which these tokens have no mass, and the others what they had."""
    return jax.vmap(lambda row, tokens: row.at[tokens].set(-jnp.inf))(log_probs, ids)


def noisy_order(key: Key[Array, ""], row: Float[Array, " vocab"], num_candidates: int) -> Candidates:
    """Draws the candidates of one row by Gumbel noise and `top_k`.

    The noise is made from two words: the default makes none above 16, so that tokens of probability
    1e-8, of which a large vocabulary has many, would come first far too rarely.
    """
    noise = jax.random.gumbel(key, row.shape, row.dtype, mode="high")
    num_keys = min(num_candidates + 1, row.shape[-1])
    top, ids = jax.lax.top_k(row + noise, num_keys)
    ids = ids[:num_candidates]
    log_tail = log_sum_exp(row.at[ids].set(-jnp.inf))
    threshold = top[num_candidates] if num_keys > num_candidates else jnp.full((), -jnp.inf, row.dtype)
    return Candidates(ids, row[ids], log_tail, threshold)


def arrivals(key: Key[Array, ""], row: Float[Array, " vocab"], num_candidates: int) -> Candidates:
    """Draws the candidates of one row as the first arrivals of Poisson processes with rates `p`.

    `exp(-key)` of a Gumbel key is an exponential arrival time, so the order and the threshold have
    the same law as in `noisy_order`. Only times of whole blocks are kept. When a block's time comes,
    a race inside it says which token has arrived; the block's next time starts from there.
    Sums are made anew rather than subtracted from, so what is left keeps its digits.

    Reference:
        Maddison, Tarlow & Minka (2014), A* Sampling, arXiv:1411.0030 (the top-down construction).
    """
    vocab_size = row.shape[0]
    fan = math.ceil(vocab_size ** (1 / 3) - 1e-9)
    top = jnp.max(row)
    top = jnp.where(top > -jnp.inf, top, jnp.zeros_like(top))
    padded = jnp.pad(row, (0, fan**3 - vocab_size), constant_values=-jnp.inf)
    sums = jnp.sum(_rates(padded, top).reshape(fan, fan, fan), axis=-1)
    waits = _exponentials(key, (num_candidates * (2 * fan + 1) + fan,))
    times = waits[:fan] / jnp.sum(sums, axis=-1)
    waits = waits[fan:].reshape(num_candidates, 2 * fan + 1)

    def arrive(state, wait):
        sums, times, drawn, place = state
        block = jnp.argmin(times)
        now, branches = times[block], sums[block]
        branch = _winner(wait[:fan], branches)
        ids = (block * fan + branch) * fan + jnp.arange(fan)
        taken = jnp.any(ids[:, None] == drawn[None, :], axis=1) | (ids >= vocab_size)
        rates = jnp.where(taken, 0.0, _rates(row[jnp.minimum(ids, vocab_size - 1)], top))
        token = _winner(wait[fan:-1], rates)
        left = jnp.sum(jnp.where(jnp.arange(fan) == token, 0.0, rates))
        branches = jnp.where(jnp.arange(fan) == branch, left, branches)
        times = times.at[block].set(now + wait[-1] / jnp.sum(branches))
        drawn = drawn.at[place].set(jnp.where(now < jnp.inf, ids[token], -1))
        return (sums.at[block].set(branches), times, drawn, place + 1), None

    nobody = jnp.full((num_candidates,), -1)
    (sums, times, drawn, _), _ = jax.lax.scan(arrive, (sums, times, nobody, 0), waits)
    ids = jnp.maximum(drawn, 0)
    log_probs = jnp.where(drawn >= 0, row[ids], -jnp.inf)
    return Candidates(ids, log_probs, jnp.log(jnp.sum(sums)) + top, top - jnp.log(jnp.min(times)))


def _rates(log_probs: Float[Array, " n"], top: Float[Array, ""]) -> Float[Array, " n"]:
    """Gives probabilities relative to the largest, and 0 for those whose wait would overflow.

    Written without a comparison: XLA sums this without storing it, which halves the cost of a draw.
    """
    return jnp.maximum(jnp.exp(log_probs - top) - 1e-30, 0.0)


def _winner(exponentials: Float[Array, " fan"], rates: Float[Array, " fan"]) -> Int[Array, ""]:
    """Gives the first to arrive, never one of rate 0 unless all are."""
    return jnp.argmin(jnp.where(rates > 0, exponentials / rates, jnp.inf))


def _exponentials(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Gives exponential variates whose small values have all their digits, and which are positive."""
    high, low = jax.random.bits(key, (2, *shape), jnp.uint32) >> 9
    uniform = (high.astype(jnp.float32) + (low.astype(jnp.float32) + 0.5) * 2.0**-23) * 2.0**-23
    return -jnp.log1p(-jnp.minimum(uniform, 1 - 2.0**-24))
