"""Adaptive weighted rejection sampling as a stream: the look-ahead estimator, some candidates at a time.

`awrs.weigh` says what the estimator is, as a function of a whole order. Here the same number is
computed while the order is still being drawn, so that a loop on the device stops when all rows
have what they need.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from lmppl.inference.awrs import log_remaining, running_log_sum
from lmppl.inference.draws import Candidates
from lmppl.inference.weights import log_sum_exp


class Search(NamedTuple):
    """How far each row has come.

    Attributes:
        num_seen: Candidates that were drawn.
        first: Place of the first accepted one; `num_seen` or more while there is none.
        token: That one's id.
        log_weight: That one's log-weight.
        log_left: Log mass not yet drawn before it.
        log_found: Log mass of the accepted candidates.
        log_sum: Log of the sum of the estimates so far.
        num_looks: How many there are.
        log_tail: Log mass not yet drawn.
        wants_more: Whether another candidate would be asked about.
        num_checks: Candidates asked about.
    """

    num_seen: Int32[Array, " rows"]
    first: Int32[Array, " rows"]
    token: Int32[Array, " rows"]
    log_weight: Float[Array, " rows"]
    log_left: Float[Array, " rows"]
    log_found: Float[Array, " rows"]
    log_sum: Float[Array, " rows"]
    num_looks: Int32[Array, " rows"]
    log_tail: Float[Array, " rows"]
    wants_more: Bool[Array, " rows"]
    num_checks: Int32[Array, " rows"]

    @property
    def log_estimate(self) -> Float[Array, " rows"]:
        """Log of the estimated admissible mass; `-inf` where nothing was accepted."""
        mean = self.log_sum - jnp.log(jnp.maximum(self.num_looks, 1).astype(jnp.float32))
        estimate = jnp.where(self.num_looks > 0, mean, self.log_left)
        return jnp.where(self.first < self.num_seen, estimate, -jnp.inf)


_NEVER = 2**30


def begin_search(num_rows: int, log_mass: Float[Array, " rows"]) -> Search:
    """Gives the state in which nothing was drawn of rows with these log masses."""
    none = jnp.zeros(num_rows, jnp.int32)
    nothing = jnp.full(num_rows, -jnp.inf, jnp.float32)
    return Search(
        num_seen=none,
        first=none + _NEVER,
        token=none,
        log_weight=nothing,
        log_left=nothing,
        log_found=nothing,
        log_sum=nothing,
        num_looks=none,
        log_tail=log_mass,
        wants_more=log_mass > -jnp.inf,
        num_checks=none,
    )


def searched(
    search: Search,
    found: Candidates,
    accepted: Bool[Array, "rows candidates"],
    *,
    lookahead: int,
    max_checks: int,
) -> Search:
    """Takes up the next candidates and the answers for them. Rows that want no more stay as they are."""
    num_candidates = accepted.shape[1]
    places = search.num_seen[:, None] + jnp.arange(num_candidates, dtype=jnp.int32)[None]
    exists = (found.log_weights > -jnp.inf) & (places < max_checks)
    accepted = accepted & exists
    first_new = search.num_seen + jnp.argmax(accepted, axis=1).astype(jnp.int32)
    first = jnp.where(jnp.any(accepted, axis=1), jnp.minimum(search.first, first_new), search.first)
    is_first = places == first[:, None]
    log_left = jnp.asarray(log_remaining(found.log_weights, found.log_tail))
    log_accepted = jnp.where(accepted, found.log_weights, -jnp.inf)
    log_found = jnp.logaddexp(search.log_found[:, None], running_log_sum(log_accepted))
    before = jnp.concatenate([search.log_found[:, None], log_found[:, :-1]], axis=1)
    estimates = jnp.logaddexp(before, jnp.where(accepted, log_left, -jnp.inf))
    looked_at = exists & (places > first[:, None]) & (places <= first[:, None] + lookahead)
    log_sum = jnp.logaddexp(search.log_sum, log_sum_exp(jnp.where(looked_at, estimates, -jnp.inf)))
    num_looks = search.num_looks + jnp.sum(looked_at, axis=1, dtype=jnp.int32)
    num_seen = search.num_seen + jnp.sum(exists, axis=1, dtype=jnp.int32)
    over = found.log_tail == -jnp.inf
    within = jnp.sum(found.log_weights > -jnp.inf, axis=1) == jnp.sum(exists, axis=1)
    is_found = first < num_seen
    # Looks beyond a row that was seen to its end cost nothing and give the exact mass.
    num_exact = jnp.where(is_found & over & within, jnp.maximum(lookahead - num_looks, 0), 0)
    log_exact = jnp.where(
        num_exact > 0, log_found[:, -1] + jnp.log(jnp.maximum(num_exact, 1).astype(jnp.float32)), -jnp.inf
    )
    asked = exists & (places <= first[:, None] + lookahead)
    new = Search(
        num_seen=num_seen,
        first=first,
        token=jnp.where(jnp.any(is_first, axis=1), _chosen(found.ids, is_first), search.token),
        log_weight=jnp.where(
            jnp.any(is_first, axis=1), _chosen(found.log_weights, is_first), search.log_weight
        ),
        log_left=jnp.where(jnp.any(is_first, axis=1), _chosen(log_left, is_first), search.log_left),
        log_found=log_found[:, -1],
        log_sum=jnp.logaddexp(log_sum, log_exact),
        num_looks=num_looks + num_exact,
        log_tail=found.log_tail,
        wants_more=~over & (num_seen < max_checks) & ~(is_found & (num_looks >= lookahead)),
        num_checks=search.num_checks + jnp.sum(asked, axis=1, dtype=jnp.int32),
    )
    stays = ~search.wants_more
    return Search(*(jnp.where(stays, old, fresh) for old, fresh in zip(search, new, strict=True)))


def _chosen(values: Array, is_it: Bool[Array, "rows n"]) -> Array:
    """Takes the one value of each row at which `is_it` is True."""
    return jnp.take_along_axis(values, jnp.argmax(is_it, axis=1)[:, None], axis=1)[:, 0]
