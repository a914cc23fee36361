"""Draws of tokens from rows of logits, in order and without replacement, one key a row.

A row's draw is a function of its own key and its own logits: it does not change with the number of
rows or with what stands in the others. The order has the Plackett-Luce law, that of
`log p + Gumbel noise` decreasing, and is drawn as far as somebody asks: `begin`, then `more`, again
and again. Drawing without replacement is memoryless, so what comes later goes on where it stopped.

On CPUs tokens arrive one by one in a tree of blocks (`ArrivalOrder`), which costs a pass over the
row and little more. Elsewhere noise is made for the whole row (`NoisyOrder`): it is cheap there.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from lmppl.device_layout import on_cpu
from lmppl.inference.weights import finite_or_zero, log_sum_exp

PORTION = 16  # candidates that share a key

_BLOCK = 256  # tokens; a multiple of 32, and the square of _BRANCH
_BRANCH = 16
_GROUP = 4  # rows
_FAINT = 1e-12  # a mask that leaves so little is weighed again, from its own likeliest token


class Rows(NamedTuple):
    """Unnormalised distributions over tokens, one a row, that are never stored.

    The log-weight of a token is `logits * scale + bias` where it is in both masks, else `-inf`. A token less
    than 1e-30 times as likely as its row's likeliest may count as having no mass.

    Attributes:
        logits: In float32.
        scale: `1 / temperature`.
        bias: 0 for tokens that a string may contain or end with, `-inf` for others. (Adding it costs a
            quarter of what a comparison does.)
        base: Bits of the tokens that the row is normalised over; None for all possible ones.
        allowed: Bits of the tokens that are drawn from; None for all of the base.
        is_masked: Whether these leave anything out in any row; None where that is not known.
    """

    logits: Float[Array, "rows vocab"]
    scale: Float[Array, " rows"]
    bias: Float[Array, " vocab"]
    base: UInt32[Array, "rows words"] | None = None
    allowed: UInt32[Array, "rows words"] | None = None
    is_masked: Bool[Array, ""] | None = None


class Candidates(NamedTuple):
    """The next tokens of each row in the order drawn, and what is left behind them.

    Attributes:
        ids: Token ids.
        log_weights: Of these tokens; `-inf` marks places behind the last token with mass,
            whose id means nothing.
        log_tail: Log mass of the tokens not drawn yet; `-inf` where there are none.
        threshold: `log weight + Gumbel noise` of the next token; `-inf` where there is none.
    """

    ids: Int[Array, "rows candidates"]
    log_weights: Float[Array, "rows candidates"]
    log_tail: Float[Array, " rows"]
    threshold: Float[Array, " rows"]


class Masses(NamedTuple):
    """Log masses of each row: of what it is normalised over, and of what is drawn from."""

    base: Float[Array, " rows"]
    allowed: Float[Array, " rows"]


class ArrivalOrder(NamedTuple):
    """How far the first arrivals of Poisson processes with rates `exp(log weight - top)` were followed.

    `exp(-key)` of a Gumbel key is an exponential arrival time, so the order has the same law. Only times
    of whole blocks are kept. When a block's time comes, a race inside it says which token has arrived;
    the block's next time starts from there. `taken` has the bits of the tokens that were drawn.

    Reference:
        Maddison, Tarlow & Minka (2014), A* Sampling, arXiv:1411.0030 (the top-down construction).
    """

    top: Float[Array, " rows"]
    sums: Float[Array, "rows blocks"]
    times: Float[Array, "rows blocks"]
    taken: UInt32[Array, "rows words"]


class NoisyOrder(NamedTuple):
    """Log-weights with Gumbel noise; `-inf` for the tokens that were drawn."""

    noisy: Float[Array, "rows vocab"]


Order = ArrivalOrder | NoisyOrder


def prefers_noise() -> bool:
    """Says whether this platform makes noise for a whole vocabulary faster than it walks a tree."""
    return not on_cpu()


def begin(keys: Key[Array, " rows"], rows: Rows, *, noisy: bool) -> tuple[Order, Masses]:
    """Starts an order for each row, of which nothing is drawn yet. Traceable.

    Args:
        keys: One for each row; the same are given to `more`.
        rows: What to draw from.
        noisy: Static: draw by noise, or by arrivals.
    """
    keys = _part(keys, 0)
    if noisy:
        weights, masses = _weighed(rows)
        noise = jax.vmap(lambda key: _gumbel(key, rows.logits.shape[1:]))(keys)
        return NoisyOrder(weights + noise), masses
    top, base, sums = _block_sums(rows)
    times = jax.vmap(lambda key: _exponentials(key, sums.shape[1:]))(keys) / sums
    taken = jnp.zeros((sums.shape[0], -(-rows.logits.shape[1] // 32)), jnp.uint32)
    return ArrivalOrder(top, sums, times, taken), Masses(base, jnp.log(jnp.sum(sums, axis=-1)) + top)


def more(
    keys: Key[Array, " rows"],
    rows: Rows,
    order: Order,
    num_candidates: int,
    *,
    portion: Any = 1,
    num_portions: Any = None,
) -> tuple[Order, Candidates]:
    """Draws the next tokens of each row. Traceable.

    Args:
        keys: As given to `begin`.
        rows: As given to `begin`.
        order: What `begin` or `more` returned.
        num_candidates: Static; above `PORTION` a multiple of it.
        portion: 1 + how many were drawn before / `PORTION`: an order does not depend on how many are drawn at
            a time, as long as these are multiples of `PORTION` (but for the last).
        num_portions: Draw only so many times `PORTION`, so that one compiled program serves several numbers.
            The places of what is not drawn are `-inf`.
    """
    if isinstance(order, NoisyOrder):
        num_wanted = None if num_portions is None else PORTION * num_portions
        return _next_of_noise(rows, order, num_candidates, num_wanted)
    if num_candidates <= PORTION and num_portions is None:
        order, ids, log_chosen = _next_portion(keys, rows, order, num_candidates, portion)
        return _with_what_is_left(order, ids, log_chosen)
    room = (rows.logits.shape[0], num_candidates)

    def draw(number: Any, carry: tuple[ArrivalOrder, Array, Array]) -> tuple[ArrivalOrder, Array, Array]:
        order, ids, log_chosen = carry
        order, new_ids, new_chosen = _next_portion(
            keys, rows, order, PORTION, portion + number.astype(jnp.uint32)
        )
        at = (0, number * PORTION)
        put = jax.lax.dynamic_update_slice
        return order, put(ids, new_ids, at), put(log_chosen, new_chosen, at)

    nothing = (jnp.zeros(room, jnp.int32), jnp.full(room, -jnp.inf, jnp.float32))
    last = num_candidates // PORTION if num_portions is None else num_portions
    return _with_what_is_left(*jax.lax.fori_loop(jnp.int32(0), jnp.int32(last), draw, (order, *nothing)))


def candidates(
    keys: Key[Array, " rows"], rows: Rows, num_candidates: int, *, noisy: bool
) -> tuple[Masses, Candidates]:
    """Draws the first tokens of each row. Traceable."""
    order, masses = begin(keys, rows, noisy=noisy)
    return masses, more(keys, rows, order, num_candidates)[1]


def log_weights(rows: Rows) -> Float[Array, "rows vocab"]:
    """Gives the rows as an array."""
    weights = rows.logits * rows.scale[:, None] + rows.bias[None]
    for bits in (rows.base, rows.allowed):
        if bits is not None:
            weights = jnp.where(unpacked(bits, weights.shape[1]), weights, -jnp.inf)
    return weights


def unpacked(bits: UInt32[Array, "rows words"], num_tokens: int) -> Bool[Array, "rows vocab"]:
    """Gives one truth value a token; bit `i % 32` of word `i // 32` is that of token `i`."""
    single = (bits[:, :, None] >> jnp.arange(32, dtype=jnp.uint32)[None, None]) & jnp.uint32(1)
    return (single != 0).reshape(bits.shape[0], -1)[:, :num_tokens]


_ROW_AXES = Rows(0, 0, None, 0, 0, None)  # type: ignore[arg-type]


def _part(keys: Key[Array, " rows"], number: Any) -> Key[Array, " rows"]:
    return jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)


def _weighed(rows: Rows) -> tuple[Float[Array, "rows vocab"], Masses]:
    """Gives the rows as an array, and their masses.

    Whether a mask leaves anything out is not asked: a condition would make the host wait for the device.
    """
    weights = log_weights(rows._replace(allowed=None))
    mass = log_sum_exp(weights)
    if rows.allowed is None:
        return weights, Masses(mass, mass)
    weights = log_weights(rows)
    return weights, Masses(mass, log_sum_exp(weights))


def _next_of_noise(
    rows: Rows, order: NoisyOrder, num_candidates: int, num_wanted: Any
) -> tuple[NoisyOrder, Candidates]:
    noisy = order.noisy
    size = noisy.shape[1]
    num_found = min(num_candidates, size)
    found, ids = jax.lax.top_k(noisy, num_found)
    chosen = jnp.take_along_axis(rows.logits, ids, axis=1) * rows.scale[:, None]
    if num_wanted is not None:
        wanted = jnp.arange(num_found) < num_wanted
        found = jnp.where(wanted[None], found, -jnp.inf)
    chosen = jnp.where(found > -jnp.inf, chosen, -jnp.inf)
    taken = jnp.where(found > -jnp.inf, ids, size)  # behind the row: dropped
    noisy = jax.vmap(lambda row, taken: row.at[taken].set(-jnp.inf, mode="drop"))(noisy, taken)
    left = jnp.where(noisy > -jnp.inf, rows.logits * rows.scale[:, None], -jnp.inf)
    short = ((0, 0), (0, num_candidates - num_found))
    ids = jnp.pad(ids, short)
    chosen = jnp.pad(chosen, short, constant_values=-jnp.inf)
    threshold = jnp.max(noisy, axis=-1)
    return NoisyOrder(noisy), Candidates(ids.astype(jnp.int32), chosen, log_sum_exp(left), threshold)


def _gumbel(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Gives noise made from two words a token.

    The default makes none above 16, so that tokens of probability 1e-8, of which a large vocabulary
    has many, would come first far too rarely.
    """
    return jax.random.gumbel(key, shape, jnp.float32, mode="high")


def _block_sums(
    rows: Rows,
) -> tuple[Float[Array, " rows"], Float[Array, " rows"], Float[Array, "rows blocks"]]:
    """Gives the log-weight that counts as 1, the log mass of the base, and the sums of blocks.

    Goes through few rows at a time, so that what XLA stores on the way stays in the processor's cache.
    """
    num_rows = rows.logits.shape[0]
    group = math.gcd(num_rows, _GROUP)

    def grouped(leaf: Array) -> Array:
        return leaf.reshape(num_rows // group, group, *leaf.shape[1:])

    shared = {"bias": rows.bias, "is_masked": rows.is_masked}
    per_row = rows._replace(bias=None, is_masked=None)  # type: ignore[arg-type]
    sums = jax.lax.map(lambda part: _sums_of_group(part._replace(**shared)), jax.tree.map(grouped, per_row))
    return jax.tree.map(lambda leaf: leaf.reshape(num_rows, *leaf.shape[2:]), sums)


Sums = tuple[Float[Array, " rows"], Float[Array, " rows"], Float[Array, "rows blocks"]]


def _sums_of_group(rows: Rows) -> Sums:
    if rows.allowed is None:
        return _plain_sums(rows)
    if rows.is_masked is None:
        return _masked_sums(rows)
    # Each branch weighs for itself: what they have in common would have to be stored.
    return jax.lax.cond(rows.is_masked, _masked_sums, _plain_sums, rows)


def _plain_sums(rows: Rows) -> Sums:
    """Gives the sums of all tokens of the base."""
    return _sums_of_base(rows)[0]


def _masked_sums(rows: Rows) -> Sums:
    """Gives the sums of the allowed tokens, weighed anew where hardly any of the mass is left."""
    assert rows.allowed is not None
    (top, total, _), rates = _sums_of_base(rows)
    sums = _in_blocks(jnp.where(unpacked(rows.allowed, rates.shape[1]), rates, 0.0))
    faint = jnp.sum(sums, axis=-1) < _FAINT

    def weighed_again(rows: Rows) -> tuple[Array, Array]:
        weights = log_weights(rows)
        again = finite_or_zero(jnp.max(weights, axis=-1))
        return (
            jnp.where(faint, again, top),
            jnp.where(faint[:, None], _in_blocks(_rates(weights, again)), sums),
        )

    top, sums = jax.lax.cond(jnp.any(faint), weighed_again, lambda _: (top, sums), rows)
    return top, total, sums


def _sums_of_base(rows: Rows) -> tuple[Sums, Float[Array, "rows vocab"]]:
    """Gives the sums of all tokens of the base, and their weights relative to the largest of the row."""
    base = log_weights(rows._replace(allowed=None))
    top = finite_or_zero(jnp.max(base, axis=-1))
    rates = _rates(base, top)
    sums = _in_blocks(rates)
    return (top, jnp.log(jnp.sum(sums, axis=-1)) + top, sums), rates


def _in_blocks(values: Float[Array, "rows vocab"]) -> Float[Array, "rows blocks"]:
    """Sums the tokens of each block, of which the last may be short."""
    num_rows, size = values.shape
    whole = size // _BLOCK * _BLOCK
    parts = []
    if whole:
        parts.append(values[:, :whole].reshape(num_rows, -1, _BLOCK).sum(axis=-1))
    if whole < size:
        parts.append(values[:, whole:].sum(axis=-1, keepdims=True))
    return jnp.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]


def _next_portion(
    keys: Key[Array, " rows"], rows: Rows, order: ArrivalOrder, num_candidates: int, portion: Any
) -> tuple[ArrivalOrder, Int[Array, "rows candidates"], Float[Array, "rows candidates"]]:
    """Follows the rows to their next arrivals, at most `PORTION`; gives their ids and log-weights."""
    shape = (num_candidates, 2 * _BRANCH + 1)
    waits = jax.vmap(partial(_exponentials, shape=shape))(_part(keys, portion))

    def of_row(row: Rows, order: ArrivalOrder, waits: Array) -> tuple[ArrivalOrder, tuple[Array, Array]]:
        if num_candidates == 1:
            order, found = _arrive(row, order, waits[0])
            return order, jax.tree.map(lambda leaf: leaf[None], found)
        return jax.lax.scan(lambda order, wait: _arrive(row, order, wait), order, waits)

    order, (ids, log_chosen) = jax.vmap(of_row, in_axes=(_ROW_AXES, 0, 0))(rows, order, waits)
    return order, ids, log_chosen


def _with_what_is_left(
    order: ArrivalOrder, ids: Int[Array, "rows candidates"], log_chosen: Float[Array, "rows candidates"]
) -> tuple[ArrivalOrder, Candidates]:
    """Sums anew what is left, rather than subtracting from a sum, so that it keeps its digits."""
    sums = jnp.where(order.times < jnp.inf, order.sums, 0.0)  # what will never arrive is not left
    log_tail = jnp.log(jnp.sum(sums, axis=-1)) + order.top
    threshold = order.top - jnp.log(jnp.min(order.times, axis=-1))
    return order._replace(sums=sums), Candidates(ids, log_chosen, log_tail, threshold)


def _arrive(
    row: Rows, order: ArrivalOrder, wait: Float[Array, " waits"]
) -> tuple[ArrivalOrder, tuple[Int[Array, ""], Float[Array, ""]]]:
    block = jnp.argmin(order.times)
    now = order.times[block]
    ids, log_rates = _block_of(row, order, block)
    rates = jnp.exp(log_rates - order.top).reshape(_BRANCH, _BRANCH)
    branch = _winner(wait[:_BRANCH], rates.sum(axis=-1))
    place = branch * _BRANCH + _winner(wait[_BRANCH:-1], rates[branch])
    left = jnp.sum(jnp.where(jnp.arange(_BLOCK) == place, 0.0, rates.reshape(-1)))
    there = now < jnp.inf
    token = jnp.where(there, ids[place], 0)
    word = token >> 5
    bit = jnp.where(there, jnp.uint32(1) << (token & 31).astype(jnp.uint32), jnp.uint32(0))
    order = ArrivalOrder(
        order.top,
        order.sums.at[block].set(jnp.where(there, left, 0.0)),
        order.times.at[block].set(now + wait[-1] / left),
        order.taken.at[word].set(order.taken[word] | bit),
    )
    return order, (token, jnp.where(there, log_rates[place], -jnp.inf))


def _block_of(
    row: Rows, order: ArrivalOrder, block: Int[Array, ""]
) -> tuple[Int[Array, " block"], Float[Array, " block"]]:
    """Gives the ids and log-weights of one block; `-inf` for what was taken or is no token."""
    size = row.logits.shape[0]
    width = min(_BLOCK, size)
    first = block.astype(jnp.int32) * _BLOCK
    start = jnp.minimum(first, size - width)  # the last block is read from the end
    ids = start + jnp.arange(width, dtype=jnp.int32)
    words, shifts = ids >> 5, (ids & 31).astype(jnp.uint32)
    counts = (ids >= first) & (((order.taken[words] >> shifts) & jnp.uint32(1)) == 0)
    for bits in (row.base, row.allowed):
        if bits is not None:
            counts = counts & (((bits[words] >> shifts) & jnp.uint32(1)) != 0)
    weights = jax.lax.dynamic_slice(row.logits, (start,), (width,)) * row.scale
    weights = weights + jax.lax.dynamic_slice(row.bias, (start,), (width,))
    weights = jnp.where(counts, weights, -jnp.inf)
    short = _BLOCK - width
    return jnp.pad(ids, (0, short)), jnp.pad(weights, (0, short), constant_values=-jnp.inf)


def _rates(log_weights: Float[Array, "... n"], top: Float[Array, "..."]) -> Float[Array, "... n"]:
    """Gives weights relative to `top`."""
    return jnp.exp(log_weights - top[..., None])


def _winner(exponentials: Float[Array, " n"], rates: Float[Array, " n"]) -> Int[Array, ""]:
    """Gives the first to arrive, never one of rate 0 unless all are."""
    return jnp.argmin(jnp.where(rates > 0, exponentials / rates, jnp.inf)).astype(jnp.int32)


def _exponentials(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Gives exponential variates whose small values have all their digits, and which are positive."""
    # Drawn flat: bits of several axes take five times as long to compile.
    # If more are drawn, the first stay the same.
    words = (jax.random.bits(key, (2 * math.prod(shape),), jnp.uint32) >> 9).reshape(*shape, 2)
    high, low = words[..., 0], words[..., 1]
    uniform = (high.astype(jnp.float32) + (low.astype(jnp.float32) + 0.5) * 2.0**-23) * 2.0**-23
    return -jnp.log1p(-jnp.minimum(uniform, 1 - 2.0**-24))
