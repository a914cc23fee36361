"""The cache by itself: a row that moves is copied whole, in place, and nothing else is touched."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmppl.models.config import DecoderConfig
from lmppl.models.kv_cache import KVCache, append_keys, append_values, empty_cache, gathered, grown, moved

CONFIG = DecoderConfig(
    vocab_size=5,
    hidden_size=8,
    intermediate_size=8,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_size=4,
)
NUM_ROWS, CAPACITY = 6, 330  # pieces of 128, 128 and 74 on CPU


def random_cache(seed: int) -> KVCache:
    generator = np.random.default_rng(seed)
    drawn = jax.tree.map(
        lambda leaf: jnp.asarray(generator.normal(size=leaf.shape), leaf.dtype),
        empty_cache(CONFIG, NUM_ROWS, CAPACITY, jnp.float32),
    )
    lengths = generator.integers(0, CAPACITY + 1, NUM_ROWS)
    return KVCache(drawn.keys, drawn.values, jnp.asarray(lengths, jnp.int32))


def whole(cache: KVCache) -> list[np.ndarray]:
    """Gives each layer's keys and values in one piece, positions on the last axis but one."""
    keys = [np.concatenate(pieces, axis=3).swapaxes(2, 3) for pieces in cache.keys]
    return keys + [np.concatenate(pieces, axis=2) for pieces in cache.values]


def random_ancestors(seed: int) -> np.ndarray:
    """Any in which a row that is copied stays where it is."""
    generator = np.random.default_rng(seed)
    ancestors = np.arange(NUM_ROWS)
    stays = generator.permutation(NUM_ROWS)[: generator.integers(1, NUM_ROWS + 1)]
    for row in set(range(NUM_ROWS)) - set(stays.tolist()):
        ancestors[row] = generator.choice(stays)
    return ancestors.astype(np.int32)


@pytest.mark.parametrize("seed", range(8))
def test_a_moved_row_holds_what_its_ancestor_has_read(seed: int):
    cache, ancestors = random_cache(seed), random_ancestors(seed)
    expected, actual = gathered(cache, jnp.asarray(ancestors)), jax.jit(moved)(cache, ancestors)
    np.testing.assert_array_equal(actual.lengths, expected.lengths)
    for wanted, found in zip(whole(expected), whole(actual), strict=True):
        for row, length in enumerate(np.asarray(expected.lengths)):
            np.testing.assert_array_equal(found[row, :, :length], wanted[row, :, :length])


def appended(cache: KVCache, new: Any) -> KVCache:
    def written(append: Any, pieces: Any) -> tuple[Any, ...]:
        starts = [cache.lengths - start for start in cache.starts]
        return tuple(append(piece, new, start) for piece, start in zip(pieces, starts, strict=True))

    keys = tuple(written(append_keys, pieces) for pieces in cache.keys)
    values = tuple(written(append_values, pieces) for pieces in cache.values)
    return KVCache(keys, values, cache.lengths + new.shape[2])


def loop(move: Any) -> Any:
    """Compiles a loop that moves rows and writes a vector at every turn."""

    def run(cache: KVCache, ancestors: Any, num_turns: Any) -> KVCache:
        def turn(_: Any, cache: KVCache) -> KVCache:
            cache = move(cache, ancestors)
            new = jnp.ones((NUM_ROWS, CONFIG.num_kv_heads, 1, CONFIG.head_size))
            return appended(cache, new)

        return jax.lax.fori_loop(0, num_turns, turn, cache)

    cache = empty_cache(CONFIG, NUM_ROWS, 4096, jnp.float32)
    arguments = (cache, jnp.zeros(NUM_ROWS, jnp.int32), jnp.int32(3))
    return cache, jax.jit(run, donate_argnums=0).lower(*arguments).compile()


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere rows are gathered")
def test_moving_rows_in_a_loop_makes_no_second_cache_and_gathering_them_does():
    cache, in_place = loop(moved)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(cache))
    assert in_place.memory_analysis().temp_size_in_bytes < size / 4
    _, copying = loop(gathered)
    assert copying.memory_analysis().temp_size_in_bytes > size / 4


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("length", [1, 3, 4, 6])
@pytest.mark.parametrize("rows", [slice(None), slice(1, 2), slice(8, 9)])
def test_what_does_not_fall_into_a_piece_is_dropped(rows: slice, length: int, size: int):
    """A window that is moved to where it fits, the mutant, would overwrite what was read before."""
    starts = np.asarray([0, 2, 3, 4, 7, -1, -2, -5, -9], np.int32)[rows]
    num_rows = len(starts)
    new = np.broadcast_to(np.arange(1.0, length + 1)[:, None], (num_rows, 2, length, 3)).astype(np.float32)
    keys = append_keys(jnp.zeros((num_rows, 2, 3, size)), jnp.asarray(new), jnp.asarray(starts))
    values = append_values(jnp.zeros((num_rows, 2, size, 3)), jnp.asarray(new), jnp.asarray(starts))
    places = np.arange(size)[None] - starts[:, None]
    wanted = np.where((places >= 0) & (places < length), places + 1, 0)
    np.testing.assert_array_equal(keys, np.broadcast_to(wanted[:, None, None], keys.shape))
    np.testing.assert_array_equal(values, np.broadcast_to(wanted[:, None, :, None], values.shape))


@pytest.mark.parametrize("length", [1, 300])
def test_tokens_lie_in_order_across_pieces(length: int):
    lengths = np.asarray([0, 1, 100, 127, 128, 255, 300, 329], np.int32)[:NUM_ROWS]
    cache = random_cache(0)
    cache = KVCache(cache.keys, cache.values, jnp.asarray(lengths))
    shape = (NUM_ROWS, CONFIG.num_kv_heads, length, CONFIG.head_size)
    new = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    for before, after in zip(whole(cache), whole(jax.jit(appended)(cache, new)), strict=True):
        wanted = before.copy()
        for row, start in enumerate(lengths):
            wanted[row, :, start : start + length] = new[row, :, : CAPACITY - start]
        np.testing.assert_array_equal(after, wanted)


def test_rows_gathered_from_one_can_grow():
    one = empty_cache(CONFIG, 1, 200, jnp.float32)
    rows = gathered(jax.tree.map(lambda leaf: leaf + 1, one), jnp.zeros(3, jnp.int32))
    larger = grown(rows, 500)
    assert larger.capacity == 500
    assert grown(rows, 200).capacity == 200
    for leaf in whole(larger):
        assert (leaf[:, :, :200] == 1).all()
        assert (leaf[:, :, 200:] == 0).all()


@pytest.mark.parametrize("capacity", [20, 100, 128, 200, 330])
def test_a_grown_cache_holds_what_it_held_and_has_the_form_of_an_empty_one(capacity: int):
    cache = empty_cache(CONFIG, 2, capacity, jnp.float32)
    cache = jax.tree.map(lambda leaf: leaf + 1, cache)
    larger = grown(cache, 1500)
    assert larger.capacity == 1500
    wanted = empty_cache(CONFIG, 2, 1500, jnp.float32)
    assert [leaf.shape for leaf in jax.tree.leaves(larger)] == [
        leaf.shape for leaf in jax.tree.leaves(wanted)
    ]
    for leaf in whole(larger):
        assert (leaf[:, :, :capacity] == 1).all()
        assert (leaf[:, :, capacity:] == 0).all()
