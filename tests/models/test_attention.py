"""Reading what is filled gives what one product over everything does, wherever queries stand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmppl.models.attention import Context, read_at_once, read_filled

KV_HEADS, GROUP, SIZE = 2, 2, 8
PIECES, SHARED = (128, 128, 256), 600  # 600 is no multiple of a block


def context(generator: np.random.Generator, rows: int, capacity: int, seen: Any, filled: Any) -> Context:
    keys = generator.normal(size=(rows, KV_HEADS, SIZE, capacity))
    values = generator.normal(size=(rows, KV_HEADS, capacity, SIZE))
    return Context(
        jnp.asarray(keys, jnp.float32),
        jnp.asarray(values, jnp.float32),
        jnp.asarray(seen, jnp.int32),
        jnp.asarray(filled, jnp.int32),
    )


def case(rows: int, length: int, longest: int, shared: int | None) -> tuple[Any, list[Context]]:
    """Gives queries and contexts of rows of several lengths, the new tokens included in `longest`."""
    generator = np.random.default_rng(longest)
    query = jnp.asarray(generator.normal(size=(rows, KV_HEADS, GROUP, length, SIZE)), jnp.float32)
    lengths = np.linspace(longest, min(length, longest), rows).astype(np.int32)
    seen = np.maximum(lengths[:, None] - length + np.arange(1, length + 1), 1)
    contexts, start = [], 0
    for capacity in PIECES:
        contexts.append(context(generator, rows, capacity, seen - start, longest - start))
        start += capacity
    if shared is not None:
        contexts.append(context(generator, 1, SHARED, [[shared]], shared))
    return query, contexts


@pytest.mark.parametrize("shared", [None, 0, 1, 256, 300, 513, 600])
@pytest.mark.parametrize(("rows", "length"), [(1, 1), (3, 1), (5, 20), (1, 40)])
def test_what_is_filled_is_all_that_is_read(rows: int, length: int, shared: int | None):
    run = jax.jit(read_filled)
    for longest in (length, 100, 128, 129, 256, 257, 300, 512):
        query, contexts = case(rows, length, longest, shared)
        np.testing.assert_allclose(
            run(query, contexts), read_at_once(query, contexts), atol=2e-6, rtol=1e-5, err_msg=str(longest)
        )


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere everything is read")
def test_the_comparison_tells_a_position_left_out():
    """The mutant: the last filled position lies in a piece that is left out."""
    query, contexts = case(3, 1, 129, None)
    short = [one._replace(filled=one.filled - 1) for one in contexts]
    assert np.abs(read_filled(query, short) - read_at_once(query, contexts)).max() > 1e-3


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere everything is read")
def test_the_scores_of_all_positions_never_lie_in_memory_together():
    length, capacity = 256, 4096
    query = jnp.zeros((1, KV_HEADS, GROUP, length, SIZE))
    contexts = [context(np.random.default_rng(0), 1, capacity, [np.arange(1, length + 1)], length)]
    scores = 4 * KV_HEADS * GROUP * length * capacity
    compiled = [jax.jit(read).lower(query, contexts).compile() for read in (read_filled, read_at_once)]
    blocks, whole = [one.memory_analysis().temp_size_in_bytes for one in compiled]
    assert blocks < scores / 4
    assert whole >= scores


def test_huge_scores_stay_finite():
    query, contexts = case(3, 1, 200, 30)
    read = read_filled(1e6 * query, contexts)
    assert np.isfinite(read).all()
