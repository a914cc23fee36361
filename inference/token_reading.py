"""How a step reads the rows' last tokens: each context once, where rows with the same one are many.

Particles begin with the same prompt, draw the same few tokens where little is allowed, and are copied when
they are resampled; others are done. On CPU a step takes longer the more rows it computes, so those that hold
the same and read the same are computed as one while there are few of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Int32

from lmppl.device_layout import layout_of, on_cpu
from lmppl.language_model import LanguageModel
from lmppl.shape_buckets import row_bucket

Carry = TypeVar("Carry")

_LEAST_ROWS = 16  # the half of them takes 0.8 of the time; of 32 a quarter takes 0.55
_LEAST_GROUPS = 8


class Unread(NamedTuple):
    """The tokens that rows have yet to read.

    Attributes:
        tokens: One a row.
        wanted: Whether the row reads it.
        twins: Equal for rows that hold the same and read the same.
    """

    tokens: Int32[Array, " rows"]
    wanted: Bool[Array, " rows"]
    twins: Int32[Array, " rows"]


def read_tokens(
    lm: LanguageModel,
    params: Any,
    prefix: Any,
    cache: Any,
    logits: Float[Array, "rows vocab"],
    unread: Unread,
    due: Bool[Array, ""],
) -> tuple[Any, Float[Array, "rows vocab"]]:
    """Gives the cache and the logits of the next tokens, if that is due, and else those given. Traceable."""
    layout = layout_of(lm)
    tokens, lengths = unread.tokens[:, None], unread.wanted.astype(jnp.int32)

    def read(carry: tuple[Any, Array]) -> tuple[Any, Array]:
        cache, hidden = lm.extend(params, carry[0], tokens, lengths, prefix)
        logits = lm.logits(params, hidden)[:, 0].astype(jnp.float32)
        # Without the barrier the head is computed again inside each fused reduction (jax 0.11).
        return layout.heads_apart(cache), jax.lax.optimization_barrier(layout.whole(logits))

    if not on_cpu():
        # Read in any case: before and behind a loop the host would wait for the device.
        lengths = jnp.where(due, lengths, 0)
        cache, fresh = read((cache, logits))
        return cache, jnp.where(due, fresh, logits)
    size = _most_groups(lm, len(lengths))
    if size is None:
        return only_if(due, read, (cache, logits))
    leaders, groups, num_groups = _grouped(unread, size)

    def read_shared(carry: tuple[Any, Array]) -> tuple[Any, Array]:
        cache, hidden = lm.extend_shared(params, carry[0], tokens, lengths, leaders, groups, prefix)
        logits = lm.logits(params, hidden)[:, 0].astype(jnp.float32)
        return cache, jax.lax.optimization_barrier(logits)[groups]

    carry = only_if(due & (num_groups <= size), read_shared, (cache, logits))
    return only_if(due & (num_groups > size), read, carry)


def next_twins(
    lm: LanguageModel,
    twins: Int32[Array, " rows"],
    tokens: Int32[Array, " rows"],
    active: Bool[Array, " rows"],
) -> Int32[Array, " rows"]:
    """Tells apart, of rows that held the same, those that have drawn different tokens. Traceable.

    What rows that are no longer active get means nothing.
    """
    if _most_groups(lm, len(twins)) is None:
        return twins
    same = (twins[:, None] == twins[None]) & (tokens[:, None] == tokens[None]) & active[None]
    return jnp.argmax(same, axis=1).astype(jnp.int32)


def only_if(holds: Bool[Array, ""], function: Callable[[Carry], Carry], carry: Carry) -> Carry:
    """Applies a function or not. As a loop: a condition would copy a cache to give it back unchanged."""
    return jax.lax.fori_loop(0, holds.astype(jnp.int32), lambda _, carry: function(carry), carry)


def _most_groups(lm: LanguageModel, num_rows: int) -> int | None:
    """Gives up to how many groups are computed as one row each; None if rows always are by themselves.

    Elsewhere than on CPU the weights hold up a step, not the rows.
    """
    if num_rows < _LEAST_ROWS or lm.mesh is not None or not on_cpu():
        return None
    return max(_LEAST_GROUPS, row_bucket(num_rows // 4))


def _grouped(unread: Unread, size: int) -> tuple[Int[Array, " size"], Int[Array, " rows"], Int[Array, ""]]:
    """Gives the first row of each group, the group of each row, and how many groups there are."""
    same = (unread.twins[:, None] == unread.twins[None]) & unread.wanted[None]
    first = jnp.argmax(same, axis=1)
    leads = unread.wanted & (first == jnp.arange(len(first)))
    groups = jnp.maximum(jnp.cumsum(leads)[first] - 1, 0)
    return jnp.nonzero(leads, size=size, fill_value=0)[0], groups, jnp.sum(leads)
