"""Adaptive weighted rejection sampling of one token: estimators, each a function of a drawn order.

Tokens are drawn without replacement from a row `p` and checked one after the other until one is
accepted. Each estimator returns a token and a weight such that, for every token `a`,

    E[weight * 1{token = a}] = p(a) c(a)            (properly weighted)

Conventions. The last axis is the order in which tokens were drawn, axes before it are a batch;
NumPy and JAX arrays (traced or not) are treated alike. `log_probs` has `log p` of the candidates,
`-inf` marking places behind the last token that has mass; `log_tail` is the log mass of all other
tokens; `accepted` says whether the condition holds, and its value at candidates that a rule never
asked about is ignored. A row in which nothing is accepted has position 0 and log-weight `-inf`.

Two rules keep every estimator proper. What is checked depends on positions and on earlier answers
only, never on the probability of a token that may or may not turn out to be there. And the mass
not yet drawn, `M_j`, is summed from the end: `1 - sum` loses all digits when little is left.

Reference:
    Lipkin et al. (2025), Fast Controlled Generation from Language Models with Adaptive Weighted
    Rejection Sampling, arXiv:2504.05410. Des Raj (1956), J. Amer. Statist. Assoc. 51(274), for the
    ordered estimators that look-ahead averages.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lmppl.errors import InvalidInputError
from lmppl.inference.weights import finite_or_zero, log_sum_exp


class Weighed(NamedTuple):
    """What an estimator returns for each row.

    Attributes:
        position: Place of the returned token in the order; 0 in a row without one.
        log_weight: In nats; `-inf` in a row without an accepted token.
    """

    position: Int[Array | np.ndarray, "*batch"]
    log_weight: Float[Array | np.ndarray, "*batch"]


def weigh(
    log_probs: Float[Array | np.ndarray, "*batch candidates"],
    log_tail: Float[Array | np.ndarray, "*batch"],
    accepted: Bool[Array | np.ndarray, "*batch candidates"],
    *,
    lookahead: int = 1,
    max_checks: int | None = None,
) -> Weighed:
    """Returns the first accepted token, weighed by looking at the next `lookahead` candidates.

    With `k` the first accepted place, each `l = 1 .. lookahead` gives an ordered estimate of the
    admissible mass, `t_{k+l} = sum_{j<k+l} c_j p_j + c_{k+l} M_{k+l}`, and the weight is their mean.
    They are uncorrelated given the history, so the variance falls like `1 / lookahead` or faster.
    `lookahead=1` is the recursive estimator: `M_k` if the next candidate is admissible, else
    `p_k`. Behind the row's last token `t` is the exact admissible mass. When budget or candidates
    leave nothing to look at, the weight is `M_k`.

    Args:
        lookahead: Static, at least 1.
        max_checks: Static budget of checks; a row that spends it without success has weight
            `-inf`, and the mean is still exact.
    """
    _require_positive("lookahead", lookahead)
    xp = log_probs.__array_namespace__()
    reach = _reach(log_probs, log_tail, accepted, max_checks)
    first = reach.first
    log_left = log_remaining(log_probs, log_tail)
    log_found = running_log_sum(xp.where(reach.accepted, log_probs, -xp.inf))
    log_found_before = _shifted(log_found, 1)
    estimates = xp.logaddexp(log_found_before, xp.where(reach.accepted, log_left, -xp.inf))
    ahead = reach.places - first[..., None]
    looked_at = (ahead >= 1) & (ahead <= lookahead) & (reach.places < reach.end[..., None])
    # Looks beyond a row that was seen to its end cost nothing and give the exact mass.
    num_exact = xp.where(reach.exhaustible, xp.clip(first + lookahead + 1 - reach.end, 0, lookahead), 0)
    num_looks = xp.sum(looked_at, axis=-1) + num_exact
    log_total = xp.logaddexp(
        log_sum_exp(xp.where(looked_at, estimates, -xp.inf)),
        log_found[..., -1] + _log_count(num_exact, log_probs),
    )
    log_mean = log_total - _log_count(xp.maximum(num_looks, 1), log_probs)
    log_weight = xp.where(num_looks > 0, log_mean, _at(log_left, first))
    return Weighed(xp.asarray(first), xp.where(reach.found, log_weight, -xp.inf))


def checks_needed(
    log_probs: Float[Array | np.ndarray, "*batch candidates"],
    log_tail: Float[Array | np.ndarray, "*batch"],
    accepted: Bool[Array | np.ndarray, "*batch candidates"],
    num_checked: Int[Array | np.ndarray, "*batch"],
    *,
    lookahead: int = 1,
    max_checks: int | None = None,
) -> Int[Array | np.ndarray, "*batch"]:
    """Gives how many more candidates of each row `weigh` will ask about, as far as is known.

    While nothing was accepted, the next one and as many behind it as are looked ahead at: whichever is the
    first to be accepted, these will be asked about. Then what is left of the look-ahead, then 0. Checking
    more than that, in the order drawn, is a waste but no error.

    Args:
        num_checked: The first so many answers of `accepted` are known. The others do not count.
    """
    xp = log_probs.__array_namespace__()
    known = accepted & (_places(log_probs) < num_checked[..., None])
    reach = _reach(log_probs, log_tail, known, max_checks)
    searching = xp.minimum(num_checked + 1 + lookahead, reach.end)
    looking = xp.minimum(reach.first + lookahead + 1, reach.end)
    return xp.asarray(xp.maximum(xp.where(reach.found, looking, searching) - num_checked, 0))


def log_remaining(
    log_probs: Float[Array | np.ndarray, "*batch candidates"], log_tail: Float[Array | np.ndarray, "*batch"]
) -> Float[Array | np.ndarray, "*batch candidates"]:
    """Gives `log M_j`, the log mass that was not yet drawn before draw `j`, summed from the end."""
    xp = log_probs.__array_namespace__()
    from_end = xp.concat([log_tail[..., None], xp.flip(log_probs, axis=-1)], axis=-1)
    return xp.flip(running_log_sum(from_end)[..., 1:], axis=-1)


def weigh_geometric(
    log_probs: Float[Array | np.ndarray, "*batch candidates"],
    log_tail: Float[Array | np.ndarray, "*batch"],
    accepted: Bool[Array | np.ndarray, "*batch candidates"],
    uniforms: Float[Array | np.ndarray, "*batch candidates slots"],
    *,
    rounds: int,
    max_draws: int | None = None,
) -> Weighed:
    """Returns the first accepted token, weighed as rejection sampling with replacement would.

    Draws with replacement are simulated by adding, behind each new candidate, the repeats of
    tokens already seen: they need no check. The simulation stops at the `rounds`-th accept, at
    draw `T`, with weight `(rounds - 1) / (T - 1)`; or at draw `max_draws`, or just before a draw
    that no candidate is left for, with weight `accepts / draws`. Both are the chance that
    the first of the exchangeable draws was accepted, given what was drawn as a set. Times the
    mass of the row, which is less than 1 where a mask has taken some. For
    `rounds=2` without limits `CV^2 = -ln Z / (1 - Z) - 1`: logarithmic where `weigh` has `1 / Z`.

    Args:
        uniforms: `[..., candidates, rounds + 1]`, in `[0, 1)`: they decide the numbers of repeats.
        rounds: Static, at least 2: one accept says nothing about how rare accepts are.
        max_draws: Static; repeats count.
    """
    xp = log_probs.__array_namespace__()
    timeline = _timeline(log_probs, log_tail, accepted, uniforms, rounds)
    draws = timeline.draws
    num_draws = xp.minimum(draws[..., -1], xp.inf if max_draws is None else max_draws)
    num_accepts = xp.sum(timeline.ends_in_accept & (draws <= num_draws[..., None]), axis=-1)
    last = xp.argmax(timeline.accepts >= rounds, axis=-1)
    complete = num_accepts >= rounds
    log_weight = xp.where(
        complete,
        float(np.log(rounds - 1)) - xp.log(xp.where(complete, _at(draws, last) - 1, 1)),
        _log_count(num_accepts, log_probs) - xp.log(xp.maximum(num_draws, 1)),
    )
    log_weight = log_weight + log_remaining(log_probs, log_tail)[..., 0]
    first = xp.asarray(xp.argmax(timeline.accepted, axis=-1))
    return Weighed(first, xp.where(num_accepts > 0, log_weight, -xp.inf))


def checks_needed_geometric(
    log_probs: Float[Array | np.ndarray, "*batch candidates"],
    log_tail: Float[Array | np.ndarray, "*batch"],
    accepted: Bool[Array | np.ndarray, "*batch candidates"],
    num_checked: Int[Array | np.ndarray, "*batch"],
    uniforms: Float[Array | np.ndarray, "*batch candidates slots"],
    *,
    rounds: int,
    max_draws: int | None = None,
) -> Int[Array | np.ndarray, "*batch"]:
    """Gives 1 for rows in which `weigh_geometric` asks about one more candidate, else 0.

    It is 0 for rows that ran out of candidates too. They are weighed as they stand, and are dead if
    nothing was accepted. More candidates may be appended for all rows that ran out,
    but not only for those without an accept: what stops a row must not depend on the order of
    its draws, or the mean is too large.
    """
    xp = log_probs.__array_namespace__()
    known = accepted & (_places(log_probs) < num_checked[..., None])
    timeline = _timeline(log_probs, log_tail, known, uniforms, rounds)
    seen = timeline.places < num_checked[..., None]
    stopped = timeline.accepts >= rounds
    if max_draws is not None:
        stopped = stopped | (timeline.draws >= max_draws)
    stopped = xp.any(seen & stopped, axis=-1)
    left = xp.sum(log_probs > -xp.inf, axis=-1) - num_checked
    return xp.where(stopped | (left <= 0), 0, 1)


def weigh_priority(
    log_probs: Float[Array | np.ndarray, "*batch candidates"],
    accepted: Bool[Array | np.ndarray, "*batch candidates"],
    threshold: Float[Array | np.ndarray, "*batch"],
    uniform: Float[Array | np.ndarray, "*batch"],
) -> Weighed:
    """Returns one of the accepted candidates, when all of them were checked.

    A candidate is among the first `K` with probability `1 - exp(-exp(log p_i - threshold))`, given
    the keys of the others. Dividing by it gives Horvitz-Thompson estimates of `p_i c_i`; a
    token is chosen in proportion to them and weighed by their sum.

    Args:
        threshold: `log p + Gumbel noise` of the first token that is not a candidate, kappa; `-inf`
            where the candidates are all tokens of the row, and the result is then exact.
        uniform: In `[0, 1)`; chooses the token.

    Reference:
        Duffield, Lund & Thorup (2007), J. ACM 54(6); Kool, van Hoof & Welling (2020), JMLR 21(47).
    """
    xp = log_probs.__array_namespace__()
    counts = accepted & (log_probs > -xp.inf)
    sampled = (threshold > -xp.inf)[..., None]
    log_rate = xp.where(counts & sampled, log_probs - finite_or_zero(threshold)[..., None], 0.0)
    inclusion = -xp.expm1(-xp.exp(xp.clip(log_rate, -20.0, 5.0)))
    log_inclusion = xp.where(log_rate < -20.0, log_rate, xp.log(inclusion))
    log_inclusion = xp.where(sampled, log_inclusion, 0.0)
    log_weights = xp.where(counts, log_probs - log_inclusion, -xp.inf)
    log_total = log_sum_exp(log_weights)
    shares = xp.exp(log_weights - finite_or_zero(log_total)[..., None])
    reached = xp.cumsum(shares, axis=-1)
    beyond = (reached > uniform[..., None] * reached[..., -1:]) & (shares > 0)
    heaviest = xp.argmax(shares, axis=-1)  # where rounding puts the point behind the last share
    return Weighed(xp.where(xp.any(beyond, axis=-1), xp.argmax(beyond, axis=-1), heaviest), log_total)


def mixed(
    one: Weighed, other: Weighed, share: float, uniform: Float[Array | np.ndarray, "*batch"]
) -> Weighed:
    """Returns the token of one of two estimators, in proportion to `share` and `1 - share` of their weights.

    It is properly weighted if both are, whatever they have to do with each other:
    `E[weight * 1{token = a}]` is the same share of theirs. A row is lost only where both lose it.

    Args:
        share: Static, in `(0, 1)`; of `one`.
        uniform: In `[0, 1)`; chooses between them.
    """
    xp = one.log_weight.__array_namespace__()
    log_one = one.log_weight + float(np.log(share))
    log_weight = xp.logaddexp(log_one, other.log_weight + float(np.log1p(-share)))
    chance = xp.exp(log_one - finite_or_zero(log_weight))
    return Weighed(xp.where(uniform < chance, one.position, other.position), log_weight)


class Masked(NamedTuple):
    """A row restricted to its allowed tokens.

    Attributes:
        log_probs: Normalised over the allowed tokens; all `-inf` where none has mass.
        log_weight: Log of the allowed mass, the weight of any token drawn from `log_probs`.
    """

    log_probs: Float[Array | np.ndarray, "*batch vocab"]
    log_weight: Float[Array | np.ndarray, "*batch"]


def weigh_mask(
    log_probs: Float[Array | np.ndarray, "*batch vocab"], allowed: Bool[Array | np.ndarray, "*batch vocab"]
) -> Masked:
    """Gives the exact local proposal, for conditions that are known for the whole vocabulary."""
    xp = log_probs.__array_namespace__()
    masked = xp.where(allowed, log_probs, -xp.inf)
    log_mass = log_sum_exp(masked)
    return Masked(masked - finite_or_zero(log_mass)[..., None], log_mass)


class _Reach(NamedTuple):
    """Which places of an order may be asked about and returned, and the first one accepted."""

    places: Any
    accepted: Any
    end: Any
    exhaustible: Any
    found: Any
    first: Any


def _reach(log_probs, log_tail, accepted, max_checks) -> _Reach:
    """Applies budget and end of the row, which depend on places only."""
    xp = log_probs.__array_namespace__()
    num_candidates = log_probs.shape[-1]
    budget = num_candidates if max_checks is None else min(max_checks, num_candidates)
    num_tokens = xp.sum(log_probs > -xp.inf, axis=-1)
    places = _places(log_probs)
    end = xp.minimum(num_tokens, budget)
    exhaustible = (log_tail == -xp.inf) & (num_tokens <= budget)
    accepted = accepted & (places < end[..., None])
    found, first = xp.any(accepted, axis=-1), xp.argmax(accepted, axis=-1)
    return _Reach(places, accepted, end, exhaustible, found, first)


class _Timeline(NamedTuple):
    """The draws with replacement that belong to an order, as cells that each end in one event.

    Each candidate has a cell of its own, and `rounds` cells behind it: some repeats of rejected
    tokens, then one of an accepted token, as long as repeats go on.
    """

    places: Any
    accepted: Any
    ends_in_accept: Any
    draws: Any
    accepts: Any


def _timeline(log_probs, log_tail, accepted, uniforms, rounds) -> _Timeline:
    """Lays out all cells; `draws` and `accepts` count from the start to the end of each."""
    if rounds < 2:
        raise InvalidInputError(
            f"The geometric estimator got `rounds={rounds}`, and needs at least 2 accepts to tell how rare "
            "they are. Use `rounds=2`, or `rounds=None` for the look-ahead estimator."
        )
    xp = log_probs.__array_namespace__()
    exists = log_probs > -xp.inf
    accepted = accepted & exists
    log_left = log_remaining(log_probs, log_tail)
    log_new = xp.concat([log_left[..., 1:], log_tail[..., None]], axis=-1)
    log_admitted = running_log_sum(xp.where(accepted, log_probs, -xp.inf))
    log_unrejected = xp.logaddexp(log_new, log_admitted)
    repeats = _failures(uniforms[..., 0], log_new - finite_or_zero(log_unrejected))[..., None]
    log_success = (log_unrejected - finite_or_zero(log_left[..., :1]))[..., None]
    rejected = _failures(uniforms[..., 1:], xp.broadcast_to(log_success, uniforms[..., 1:].shape))
    slots = xp.broadcast_to(xp.arange(rounds).astype(rejected.dtype), rejected.shape)
    repeated = (slots < repeats) & exists[..., None]
    behind = xp.where(slots <= repeats, rejected + repeated.astype(rejected.dtype), 0.0)
    draws = xp.concat([xp.ones_like(behind[..., :1]), behind], axis=-1)
    draws = xp.where(exists[..., None], draws, 0.0)
    events = xp.concat([accepted[..., None], repeated], axis=-1)
    flat = (*log_probs.shape[:-1], log_probs.shape[-1] * (rounds + 1))
    places = xp.broadcast_to(xp.arange(flat[-1]) // (rounds + 1), flat)
    events = xp.reshape(events, flat)
    draws = xp.cumsum(xp.reshape(draws, flat), axis=-1)
    return _Timeline(places, accepted, events, draws, xp.cumsum(xp.where(events, 1, 0), axis=-1))


def _failures(uniforms, log_success):
    """Gives the number of failures before the first success; `inf` where success is impossible."""
    xp = uniforms.__array_namespace__()
    success = xp.exp(xp.minimum(log_success, 0.0))
    possible = success > 2.0**20 / float(xp.finfo(success.dtype).max)  # sums of the counts stay finite
    uncertain = possible & (success < 1)
    rate = xp.log1p(-xp.where(uncertain, success, 0.5))
    return xp.where(uncertain, xp.floor(xp.log1p(-uniforms) / rate), xp.where(possible, 0.0, xp.inf))


def _require_positive(name, value):
    if value < 1:
        raise InvalidInputError(f"AWRS got `{name}={value}`; it must be at least 1.")


def _places(log_probs):
    """Gives `0, 1, ...` along the last axis, in the shape of `log_probs`."""
    xp = log_probs.__array_namespace__()
    return xp.broadcast_to(xp.arange(log_probs.shape[-1]), log_probs.shape)


def running_log_sum(log_x):
    """Gives the log of the running sum of `exp(log_x)` along the last axis, adding in log space."""
    if isinstance(log_x, np.ndarray):
        return np.logaddexp.accumulate(log_x, axis=-1)
    shift = 1
    while shift < log_x.shape[-1]:  # doubling: log2(n) steps
        log_x = jnp.logaddexp(log_x, _shifted(log_x, shift))
        shift *= 2
    return log_x


def _shifted(log_x, shift):
    """Moves the last axis to the right by `shift` places, filling with `-inf`."""
    xp = log_x.__array_namespace__()
    return xp.concat([xp.full_like(log_x[..., :shift], -xp.inf), log_x[..., :-shift]], axis=-1)


def _at(values, places):
    """Takes one value of the last axis for each row."""
    xp = values.__array_namespace__()
    return xp.take_along_axis(values, places[..., None], axis=-1)[..., 0]


def _log_count(count, like) -> Any:
    """Gives the log of an integer array in the precision of `like`; `-inf` for 0."""
    xp = like.__array_namespace__()
    return xp.where(count > 0, xp.log(xp.maximum(count, 1).astype(like.dtype)), -xp.inf)
