"""The keys and values that a decoder has already computed, one row a particle."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lmppl.device_layout import on_cpu
from lmppl.models.config import DecoderConfig

_MOVED_AT_ONCE = 64  # tokens
_LEAST_PIECE = 64  # positions


@dataclass(frozen=True)
class KVCache:
    """What is kept of the tokens read so far; rows may have read different numbers of them.

    The arrays are apart by layer, so that a compiled step that owns (donates) the cache updates
    each in place, and on CPU by pieces of the capacity too: a step then leaves out the pieces that
    no row has reached, without a copy of those that it reads. Positions lie on the last axis of the
    keys and on the last but one of the values: both products of attention then run along contiguous
    memory, which on CPU makes a step's scores over 512 positions twice as fast.

    Attributes:
        keys: Of each layer the pieces of its keys, already turned by their positions.
        values: Of each layer the pieces of its values, of the same sizes.
        lengths: Tokens that each row has read. What lies beyond them is never looked at.
    """

    keys: tuple[tuple[Float[Array, "rows kv_heads head_size _piece"], ...], ...]
    values: tuple[tuple[Float[Array, "rows kv_heads _piece head_size"], ...], ...]
    lengths: Int[Array, " rows"]

    @property
    def starts(self) -> tuple[int, ...]:
        """The first position of each piece."""
        return tuple(np.cumsum([0, *self._sizes[:-1]]).tolist())

    @property
    def capacity(self) -> int:
        """How many tokens a row can hold."""
        return sum(self._sizes)

    @property
    def _sizes(self) -> tuple[int, ...]:
        return tuple(piece.shape[3] for piece in self.keys[0])


def _flatten(cache: KVCache) -> tuple[tuple[Any, ...], None]:
    return (cache.keys, cache.values, cache.lengths), None


def _unflatten(_: None, children: Iterable[Any]) -> KVCache:
    """JAX rebuilds trees around leaves that are no arrays (shapes, axes); `__init__` would check them."""
    cache = object.__new__(KVCache)
    for name, child in zip(("keys", "values", "lengths"), children, strict=True):
        object.__setattr__(cache, name, child)
    return cache


jax.tree_util.register_pytree_node(KVCache, _flatten, _unflatten)


def empty_cache(config: DecoderConfig, num_rows: int, capacity: int, dtype: Any) -> KVCache:
    """Gives a cache of rows that have read nothing."""
    rows, layers = (num_rows, config.num_kv_heads), range(config.num_layers)
    sizes = _piece_sizes(num_rows, capacity)
    return KVCache(
        keys=tuple(tuple(jnp.zeros((*rows, config.head_size, n), dtype) for n in sizes) for _ in layers),
        values=tuple(tuple(jnp.zeros((*rows, n, config.head_size), dtype) for n in sizes) for _ in layers),
        lengths=jnp.zeros(num_rows, jnp.int32),
    )


def _piece_sizes(num_rows: int, capacity: int) -> list[int]:
    """Gives the sizes of pieces: each is as long as all that come before it.

    One row is read in blocks by many queries, or is little work for a few. Elsewhere than on CPU a
    condition waits for the host, and several products take longer than a long one.
    """
    if num_rows == 1 or not on_cpu():
        return [capacity]
    sizes = []
    while (room := capacity - sum(sizes)) > 0:
        sizes.append(min(max(_LEAST_PIECE, sum(sizes)), room))
    return sizes


def append_keys(
    store: Float[Array, "rows kv_heads head_size piece"],
    new: Float[Array, "rows kv_heads length head_size"],
    starts: Int[Array, " rows"],
) -> Float[Array, "rows kv_heads head_size piece"]:
    """Writes the keys of each row into a piece, from the row's own place on.

    A start may be negative or past the end: what does not fall into the piece is dropped.
    """
    new = new.astype(store.dtype)
    if new.shape[2] == 1:
        places = _inside(starts, store.shape[3])
        return store.at[jnp.arange(len(store)), :, :, places].set(new[:, :, 0], mode="drop")
    return _written(store, new.swapaxes(2, 3), starts, axis=3)


def append_values(
    store: Float[Array, "rows kv_heads piece head_size"],
    new: Float[Array, "rows kv_heads length head_size"],
    starts: Int[Array, " rows"],
) -> Float[Array, "rows kv_heads piece head_size"]:
    """Writes the values of each row, as `append_keys` does the keys."""
    new = new.astype(store.dtype)
    if new.shape[2] == 1:
        places = _inside(starts, store.shape[2])
        return store.at[jnp.arange(len(store)), :, places].set(new[:, :, 0], mode="drop")
    return _written(store, new, starts, axis=2)


def _inside(places: Array, size: int) -> Array:
    """Negative places would count from the end."""
    return jnp.where(places < 0, size, places)


def _written(store: Array, new: Array, starts: Array, axis: int) -> Array:
    if len(store) == 1:
        return _window_written(store[0], new[0], starts[0], axis - 1)[None]
    return jax.vmap(lambda row, part, start: _window_written(row, part, start, axis - 1))(store, new, starts)


def _window_written(row: Array, new: Array, start: Array, axis: int) -> Array:
    """Writes a window that lies inside and holds all of `new` that does; the rest of it stays what it was."""
    length, size = new.shape[axis], row.shape[axis]
    width = min(length, size)
    first = jnp.clip(start, 0, size - width)
    room = [(0, 0)] * new.ndim
    room[axis] = (width, width)
    skipped = jnp.clip(first - start + width, 0, length + width)
    shifted = jax.lax.dynamic_slice_in_dim(jnp.pad(new, room), skipped, width, axis=axis)
    before = jax.lax.dynamic_slice_in_dim(row, first, width, axis=axis)
    number = jax.lax.broadcasted_iota(jnp.int32, before.shape, axis) + (first - start)
    window = jnp.where((number >= 0) & (number < length), shifted, before)
    return jax.lax.dynamic_update_slice_in_dim(row, window, first, axis=axis)


def gathered(cache: KVCache, rows: Int[Array, " new_rows"]) -> KVCache:
    """Gives the cache whose row `i` is row `rows[i]` of the old one."""
    return jax.tree.map(lambda leaf: leaf[rows], cache)


def moved(cache: KVCache, ancestors: Int[Array, " rows"]) -> KVCache:
    """Makes row `i` what row `ancestors[i]` is, where `ancestors[ancestors[i]] == ancestors[i]`.

    On CPU one row after another is copied in place, as far as it is filled: the cost is that of what
    moves, and there is no second cache.
    """
    return (_moved_one_by_one if on_cpu() else gathered)(cache, ancestors)


def _moved_one_by_one(cache: KVCache, ancestors: Int[Array, " rows"]) -> KVCache:
    moves = ancestors != jnp.arange(len(ancestors))
    order = jnp.argsort(~moves)  # those that move come first
    num_moves, starts = moves.sum(), cache.starts

    def moved_piece(piece: int) -> tuple[list[Array], list[Array]]:
        pieces = [store[piece] for store in cache.keys], [store[piece] for store in cache.values]
        chunk = min(_MOVED_AT_ONCE, pieces[0][0].shape[3])
        last = -(-pieces[0][0].shape[3] // chunk)

        def copy_row(index: Any, pieces: Any) -> Any:
            row, ancestor = order[index], ancestors[order[index]]

            def copy_chunk(number: Any, pieces: Any) -> Any:
                def copied(store: Array, axis: int) -> Array:
                    start, size = [jnp.int32(0)] * 4, [1, *store.shape[1:]]
                    start[axis], size[axis] = number * chunk, chunk
                    part = jax.lax.dynamic_slice(store, [ancestor, *start[1:]], size)
                    return jax.lax.dynamic_update_slice(store, part, [row, *start[1:]])

                keys, values = pieces
                return [copied(store, 3) for store in keys], [copied(store, 2) for store in values]

            chunks = jnp.clip(-((starts[piece] - cache.lengths[ancestor]) // chunk), 0, last)
            return jax.lax.fori_loop(0, chunks, copy_chunk, pieces)

        return jax.lax.fori_loop(0, num_moves, copy_row, pieces)

    pieces = [moved_piece(piece) for piece in range(len(starts))]
    keys = tuple(zip(*(keys for keys, _ in pieces), strict=True))
    values = tuple(zip(*(values for _, values in pieces), strict=True))
    return KVCache(keys, values, cache.lengths[ancestors])


def rewound(cache: KVCache, lengths: Int[Array, " rows"]) -> KVCache:
    """Makes row `i` forget all but its first `lengths[i]` tokens: what lies beyond is not looked at."""
    return KVCache(cache.keys, cache.values, lengths.astype(jnp.int32))


def grown(cache: KVCache, capacity: int) -> KVCache:
    """Gives the same cache with room for `capacity` tokens a row: a last piece that was cut is filled up."""
    old, sizes = cache._sizes, _piece_sizes(len(cache.lengths), capacity)
    if old[:-1] != tuple(sizes[: len(old) - 1]) or old[-1] > sizes[len(old) - 1]:
        sizes = [*old, capacity - cache.capacity]  # a cache whose rows were gathered from one

    def longer(pieces: tuple[Array, ...], axis: int) -> tuple[Array, ...]:
        shape = list(pieces[0].shape)
        shape[axis] = 0
        missing = [jnp.zeros(shape, pieces[0].dtype)] * (len(sizes) - len(pieces))
        return tuple(_with_room(*pair, axis) for pair in zip([*pieces, *missing], sizes, strict=True))

    return KVCache(
        keys=tuple(longer(pieces, 3) for pieces in cache.keys),
        values=tuple(longer(pieces, 2) for pieces in cache.values),
        lengths=cache.lengths,
    )


def _with_room(store: Array, size: int, axis: int) -> Array:
    room = [(0, 0)] * store.ndim
    room[axis] = (0, size - store.shape[axis])
    return jnp.pad(store, room)
