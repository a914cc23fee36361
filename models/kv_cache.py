"""The keys and values that a decoder has already computed, one row a particle."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@dataclass(frozen=True)
class KVCache:
    """What is kept of the tokens read so far; rows may have read different numbers of them.

    The arrays are apart by layer, so that a compiled step that owns (donates) the cache updates
    each in place. A position lies on the third axis, next to the head's width: attention then
    multiplies matrices as they lie, with no transposed copy.

    Attributes:
        keys: A layer's keys, already turned by their positions.
        values: A layer's values.
        lengths: Tokens that each row has read. What lies beyond them is never looked at.
    """

    keys: tuple[Float[Array, "rows kv_heads capacity head_size"], ...]
    values: tuple[Float[Array, "rows kv_heads capacity head_size"], ...]
    lengths: Int[Array, " rows"]

    @property
    def capacity(self) -> int:
        """How many tokens a row can hold."""
        return self.keys[0].shape[2]


def _flatten(cache: KVCache) -> tuple[tuple[Any, ...], None]:
    return (cache.keys, cache.values, cache.lengths), None


def _unflatten(_: None, children: Iterable[Any]) -> KVCache:
    """JAX rebuilds trees around leaves that are no arrays (shapes, axes); `__init__` would check them."""
    cache = object.__new__(KVCache)
    for name, child in zip(("keys", "values", "lengths"), children, strict=True):
        object.__setattr__(cache, name, child)
    return cache


jax.tree_util.register_pytree_node(KVCache, _flatten, _unflatten)


def append(
    store: Float[Array, "rows kv_heads capacity head_size"],
    new: Float[Array, "rows kv_heads 1 head_size"],
    positions: Int[Array, " rows"],
) -> Float[Array, "rows kv_heads capacity head_size"]:
    """Writes one vector a row at its own position; a position past the capacity is not written."""
    rows = jnp.arange(store.shape[0])
    return store.at[rows, :, positions].set(new[:, :, 0].astype(store.dtype), mode="drop")


def padded(
    store: Float[Array, "rows kv_heads length head_size"], capacity: int
) -> Float[Array, "rows kv_heads capacity head_size"]:
    """Gives the same vectors with room for `capacity` tokens."""
    return jnp.pad(store, ((0, 0), (0, 0), (0, capacity - store.shape[2]), (0, 0)))


def gathered(cache: KVCache, rows: Int[Array, " new_rows"]) -> KVCache:
    """Gives the cache whose row `i` is row `rows[i]` of the old one: resampling by ancestor."""
    return jax.tree.map(lambda leaf: leaf[rows], cache)


def grown(cache: KVCache, capacity: int) -> KVCache:
    """Gives the same cache with room for `capacity` tokens a row."""
    return KVCache(
        keys=tuple(padded(store, capacity) for store in cache.keys),
        values=tuple(padded(store, capacity) for store in cache.values),
        lengths=cache.lengths,
    )
