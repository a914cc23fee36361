"""What queries read from keys and values: all of them in one product, or a block after another.

A block at a time (Milakov & Gimelshein 2018; Dao et al. 2022), the work follows how much of a store is
filled, not how much it can hold, and the scores of all positions never lie in memory together. On CPU
this is several times faster. Elsewhere a loop whose number of turns is not known waits for the host at
every turn, so there the whole store is read in one product.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lmppl.device_layout import on_cpu
from lmppl.models.products import product, wide_product

_BLOCK = 256  # positions
_FEW = 16  # queries of the same keys: to copy a block out of its store would then take longer than they
_LEAST_SCORE = -1e30  # finite, so that differences of two of them are numbers


class Context(NamedTuple):
    """Keys and values that queries read from: each row's own, or one row that all of them share.

    Attributes:
        keys: Already turned by their positions.
        values: Beside them.
        seen: How many positions, from the first on, each query may look at.
        filled: How many there are to be looked at by any query whose result is used.
        rows: Which of the rows are read, in the order of the queries; None for all of them, or the one.
    """

    keys: Float[Array, "_rows kv_heads size context"]
    values: Float[Array, "_rows kv_heads context size"]
    seen: Int[Array, "#rows #length"]
    filled: Int[Array, ""]
    rows: Int[Array, " rows"] | None = None

    def taken(self, store: Array) -> Array:
        """Takes the rows that are read of keys or values."""
        return store if self.rows is None else store[self.rows]


Query = Float[Array, "rows kv_heads group length size"]


def read_filled(query: Query, contexts: Sequence[Context]) -> Query:
    """Gives what queries read, at the cost of what is filled where that can be had. No derivative.

    Each query may look at some position, and the first context holds one.
    """
    return (_read_in_blocks if on_cpu() else read_at_once)(query, tuple(contexts))


def read_at_once(query: Query, contexts: Sequence[Context]) -> Query:
    """Gives what queries read, by one product over everything. Differentiable."""
    contexts = [
        context._replace(keys=context.taken(context.keys), values=context.taken(context.values), rows=None)
        for context in contexts
    ]
    scores = [_scores(query, context) * query.shape[-1] ** -0.5 for context in contexts]
    shares = jax.nn.softmax(jnp.concatenate(scores, axis=-1), axis=-1)
    ends = np.cumsum([part.shape[-1] for part in scores])[:-1].tolist()
    return functools.reduce(jnp.add, map(_read, jnp.split(shares, ends, axis=-1), contexts))


def _scores(query: Query, context: Context) -> Float[Array, "rows kv_heads group length context"]:
    """Multiplies queries and keys, in float32; `-inf` where a query may not look."""
    if context.keys.shape[0] == 1:
        scores = wide_product("nkgtd,kdc->nkgtc", query, context.keys[0])
    else:
        scores = wide_product("nkgtd,nkdc->nkgtc", query, context.keys)
    visible = jnp.arange(context.keys.shape[3])[None, None] < context.seen[..., None]
    return jnp.where(visible[:, None, None], scores, -jnp.inf)


def _read(shares: Float[Array, "rows kv_heads group length context"], context: Context) -> Query:
    values = context.values
    shares = shares.astype(values.dtype)
    if values.shape[0] == 1:
        return product("nkgtc,kcd->nkgtd", shares, values[0], values.dtype)
    return product("nkgtc,nkcd->nkgtd", shares, values, values.dtype)


class _Part(NamedTuple):
    """What queries read from some positions, in float32: a sum to be divided by `total`.

    Attributes:
        read: Of values times `exp(score - most)`.
        most: The largest score, or `_LEAST_SCORE`.
        total: Of `exp(score - most)`.
    """

    read: Float[Array, "... size"]
    most: Float[Array, "..."]
    total: Float[Array, "..."]


def _read_in_blocks(query: Query, contexts: Sequence[Context]) -> Query:
    """Reads the rows' own contexts and those that they share, whose queries are those of one row."""
    rows, kv_heads, group, length, size = query.shape
    own, shared = [], []
    for context in contexts:
        is_own = context.rows is not None or context.keys.shape[0] == rows
        (own if is_own else shared).append(context)

    part = _read_one_by_one(query.reshape(rows, kv_heads, group * length, size), group, own)
    if shared:
        together = query.swapaxes(0, 1).reshape(1, kv_heads, rows * group * length, size)
        other = _read_one_by_one(together, rows * group, shared)
        other = jax.tree.map(
            lambda leaf: leaf.reshape(kv_heads, rows, group * length, *leaf.shape[3:]).swapaxes(0, 1), other
        )
        part = _joined(part, other)
    return (
        (part.read / part.total[..., None]).astype(query.dtype).reshape(rows, kv_heads, group, length, size)
    )


def _read_one_by_one(
    query: Float[Array, "rows kv_heads queries size"], repeats: int, contexts: Sequence[Context]
) -> _Part:
    """Reads contexts one after another, those left out that nothing is in.

    Args:
        query: The queries of a row, `repeats` times the tokens.
        repeats: Queries of the same token.
        contexts: The first is read in any case.
    """
    part = None
    for context in contexts:
        length = query.shape[2] // repeats
        rows = context.seen.shape[0]
        seen = jnp.broadcast_to(context.seen[:, None], (rows, repeats, length)).reshape(rows, 1, -1)
        part = _read_further(query, seen, context, part)
    assert part is not None
    return part


def _read_further(
    query: Float[Array, "rows kv_heads queries size"],
    seen: Int[Array, "rows 1 queries"],
    context: Context,
    part: _Part | None,
) -> _Part:
    """Reads a context whole, if anything is in it, or by many queries the blocks in which something is."""
    capacity, queries = context.keys.shape[3], query.shape[2]

    def whole() -> _Part:
        keys, values = context.taken(context.keys), context.taken(context.values)
        return _block_part(query, keys, values, seen, jnp.int32(0))

    if queries <= _FEW or capacity <= _BLOCK:
        if part is None:
            return whole()
        before = part
        return jax.lax.cond(context.filled > 0, lambda: _joined(before, whole()), lambda: before)

    def turn(number: Array, part: _Part) -> _Part:
        first = number * _BLOCK
        start = jnp.minimum(first, capacity - _BLOCK)
        keys = jax.lax.dynamic_slice_in_dim(context.keys, start, _BLOCK, axis=3)
        values = jax.lax.dynamic_slice_in_dim(context.values, start, _BLOCK, axis=2)
        keys, values = context.taken(keys), context.taken(values)
        return _joined(part, _block_part(query, keys, values, seen - start, first - start))

    if part is None:
        nothing = jnp.zeros(query.shape[:3], jnp.float32)
        part = _Part(jnp.zeros(query.shape, jnp.float32), nothing + _LEAST_SCORE, nothing)
    num_blocks = jnp.clip(-(-context.filled // _BLOCK), 0, -(-capacity // _BLOCK))
    return jax.lax.fori_loop(0, num_blocks, turn, part)


def _joined(left: _Part, right: _Part) -> _Part:
    most = jnp.maximum(left.most, right.most)
    one, other = jnp.exp(left.most - most), jnp.exp(right.most - most)
    read = left.read * one[..., None] + right.read * other[..., None]
    return _Part(read, most, left.total * one + right.total * other)


def _block_part(query: Array, keys: Array, values: Array, seen: Array, first: Array) -> _Part:
    """Reads positions from `first` on, as far as they are seen."""
    places = jnp.arange(keys.shape[3])[None, None, None]
    scores = wide_product("nkmd,nkdc->nkmc", query, keys) * query.shape[-1] ** -0.5
    visible = (places < seen[..., None]) & (places >= first)
    scores = jnp.where(visible, scores, -jnp.inf)
    most = jnp.maximum(jnp.max(scores, axis=-1), _LEAST_SCORE)
    shares = jnp.exp(scores - most[..., None])
    read = product("nkmc,nkcd->nkmd", shares.astype(values.dtype), values, values.dtype)
    return _Part(read.astype(jnp.float32), most, jnp.sum(shares, axis=-1))
