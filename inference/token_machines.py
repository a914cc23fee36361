"""Automata of strings on the device: which state a token leads to, and which tokens a state allows.

Everything but `join` is traceable. Tables are arguments of the functions that are compiled, never
closed over: XLA would fold them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Int32, UInt32

from lmppl.constraints.regular.ended_automaton import DEAD, ENDED, FIRST_LIVE, EndedAutomaton
from lmppl.device_layout import on_cpu
from lmppl.inference.token_trie import EOS_NODE, FIRST_NODE, ROOT, WORD_BITS, Levels, TokenTables
from lmppl.shape_buckets import bucket

_MIN_STATES = 64
_MIN_CLASSES = 16
_BYTES_AT_ONCE = 8  # elsewhere than on CPU, where the host waits for the device at each turn of a loop


class MachineTables(NamedTuple):
    """Several automata as one table, in which only `DEAD` and `ENDED` are shared.

    Attributes:
        table: The next state for each class of bytes; padded with `DEAD`.
        class_of: The class of each byte.
        may_end: Where EOS is allowed.
    """

    table: Int32[Array, "states classes"]
    class_of: Int32[Array, " 256"]
    may_end: Bool[Array, " states"]

    @property
    def num_states(self) -> int:
        """The number of states, padding included; static under `jit`."""
        return self.table.shape[0]


def join(automata: Sequence[EndedAutomaton]) -> tuple[MachineTables, Int32[np.ndarray, " automata"]]:
    """Puts automata into one table, so that the rows of one batch may obey different ones.

    Equal objects are stored once. Sizes are padded to powers of two, so that automata of similar size
    reuse a compiled program.

    Returns:
        The table, and the state of the empty string of each automaton; `DEAD` if it accepts nothing.
    """
    distinct = list(dict.fromkeys(automata))
    keys = np.stack([automaton.class_of for automaton in distinct], axis=1)
    _, first, class_of = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    num_states = FIRST_LIVE + sum(automaton.num_states - FIRST_LIVE for automaton in distinct)
    shape = (bucket(num_states, _MIN_STATES), bucket(len(first), _MIN_CLASSES))
    table, may_end = np.full(shape, DEAD, np.int32), np.zeros(shape[0], bool)
    table[ENDED] = ENDED
    starts: dict[EndedAutomaton, int] = {}
    at = FIRST_LIVE
    for automaton in distinct:
        rows = slice(at, at + automaton.num_states - FIRST_LIVE)
        live = automaton.table[FIRST_LIVE:, automaton.class_of[first]]
        table[rows, : len(first)] = np.where(live < FIRST_LIVE, live, live + (at - FIRST_LIVE))
        may_end[rows] = automaton.may_end[FIRST_LIVE:]
        starts[automaton] = DEAD if automaton.start == DEAD else automaton.start + at - FIRST_LIVE
        at = rows.stop
    parts: Any = (table, class_of.reshape(-1).astype(np.int32), may_end)
    tables = MachineTables(*jax.device_put(parts))
    return tables, np.array([starts[automaton] for automaton in automata], np.int32)


def step(
    machine: MachineTables,
    tables: TokenTables,
    states: Int32[Array, "..."],
    tokens: Int[Array, "..."],
) -> Int32[Array, "..."]:
    """Gives the states after one token each. `states` and `tokens` are broadcast against each other.

    EOS ends a string where it may end and is `DEAD` elsewhere. Ids that stand for no text, or are not
    in the vocabulary, lead to `DEAD`. An ended string stays ended.
    """
    states, tokens = jnp.broadcast_arrays(states, tokens)
    known = (tokens >= 0) & (tokens < tables.vocab_size)
    tokens = jnp.where(known, tokens, 0)
    offsets, lengths = _at(tables.offsets, tokens), _at(tables.lengths, tokens)
    is_eos = _at(tables.is_eos, tokens)
    allowed = known & jnp.where(is_eos, _at(machine.may_end, states), lengths > 0)
    target = jnp.where(is_eos, ENDED, states)
    states = jnp.where(states == ENDED, ENDED, jnp.where(allowed, target, DEAD)).astype(jnp.int32)
    num_at_once = 1 if on_cpu() else _BYTES_AT_ONCE

    def unfinished(carry):  # type: ignore[no-untyped-def]
        position, states = carry
        return jnp.any((position < lengths) & (states >= FIRST_LIVE))

    def advance(carry):  # type: ignore[no-untyped-def]
        position, states = carry
        for _ in range(num_at_once):
            inside = position < lengths
            moved = _next(machine, states, _at(tables.data, jnp.where(inside, offsets + position, 0)))
            position, states = position + 1, jnp.where(inside, moved, states)
        return position, states

    return jax.lax.while_loop(unfinished, advance, (jnp.int32(0), states))[1]


def _next(machine: MachineTables, states: Array, data: Array) -> Array:
    num_classes = machine.table.shape[1]
    return _at(
        machine.table.reshape(-1), states * num_classes + _at(machine.class_of, data.astype(jnp.int32))
    )


def _at(values: Array, places: Array) -> Array:
    """Gives `values[places]` without a check of bounds: every place is in."""
    return values.at[places].get(mode="promise_in_bounds", wrap_negative_indices=False)


class MaskCache(NamedTuple):
    """The tokens that states allow, for the pairs of a state and `at_limit` that were asked for.

    Bounded: the oldest entry makes room. A key is `2 * state + at_limit`.

    Attributes:
        bits: The allowed tokens, 32 ids a word, the lowest bit first.
        slot_of: The slot of each key, -1 where it has none.
        key_of: The key of each slot, -1 where it is free.
        next_slot: The slot that is filled next, so the oldest.
    """

    bits: UInt32[Array, "slots words"]
    slot_of: Int32[Array, " keys"]
    key_of: Int32[Array, " slots"]
    next_slot: Int32[Array, ""]


def new_mask_cache(
    machine: MachineTables, vocab_size: int, num_rows: int, max_bytes: int = 64 * 2**20
) -> MaskCache:
    """Gives an empty cache with a slot for every key if they fit into `max_bytes`.

    It never has fewer slots than two for each row, however little `max_bytes` is: `masks` needs one for
    each row.
    """
    num_words = -(-vocab_size // WORD_BITS)
    most = max(1, max_bytes // (4 * (num_words + 1)))
    num_slots = max(min(2 * machine.num_states, 1 << most.bit_length() - 1), bucket(2 * num_rows))
    return MaskCache(
        jnp.zeros((num_slots, num_words), jnp.uint32),
        jnp.full(2 * machine.num_states, -1, jnp.int32),
        jnp.full(num_slots, -1, jnp.int32),
        jnp.int32(0),
    )


def masks(
    cache: MaskCache,
    machine: MachineTables,
    tables: TokenTables,
    states: Int32[Array, " rows"],
    at_limit: Bool[Array, " rows"],
) -> tuple[MaskCache, UInt32[Array, "rows words"]]:
    """Gives the tokens that `step` does not lead to `DEAD`; at the limit those it leads to `ENDED`.

    Bits as in `MaskCache`; none for a row that is dead or has ended.

    What the cache lacks is computed, once for each distinct pair of a state and `at_limit`. As the
    carry of a loop, or donated, the cache is changed in place.
    """
    live = states >= FIRST_LIVE
    keys = 2 * states + at_limit.astype(jnp.int32)

    def missing(cache: MaskCache) -> Array:
        return live & (_at(cache.slot_of, keys) < 0)

    # This ends. Only missing keys are filled in, so a key would have to be driven out in this very loop
    # to be filled in twice. The oldest goes first, so between its two turns every slot is filled once,
    # each by a key of another row; but there are at least as many slots as rows.
    def fill(cache: MaskCache) -> MaskCache:
        return _with_key(cache, machine, tables, _at(keys, jnp.argmax(missing(cache))))

    cache = jax.lax.while_loop(lambda cache: jnp.any(missing(cache)), fill, cache)
    slots = jnp.maximum(_at(cache.slot_of, keys), 0)
    return cache, jnp.where(live[:, None], _at(cache.bits, slots), jnp.uint32(0))


def _with_key(cache: MaskCache, machine: MachineTables, tables: TokenTables, key: Array) -> MaskCache:
    after = _all_tokens(machine, tables, key // 2)
    allowed = jnp.where(key % 2 == 1, after == ENDED, after != DEAD)
    weights = jnp.uint32(1) << jnp.arange(WORD_BITS, dtype=jnp.uint32)
    bits = jnp.sum(jnp.where(allowed, weights[None, :], jnp.uint32(0)), axis=1, dtype=jnp.uint32)
    slot = cache.next_slot
    driven_out = _at(cache.key_of, slot)
    place = jnp.where(driven_out < 0, cache.slot_of.shape[0], driven_out)
    return MaskCache(
        cache.bits.at[slot].set(bits),
        cache.slot_of.at[place].set(-1, mode="drop").at[key].set(slot),
        cache.key_of.at[slot].set(key),
        (slot + 1) % cache.key_of.shape[0],
    )


def _all_tokens(machine: MachineTables, tables: TokenTables, state: Array) -> Int32[Array, "words 32"]:
    """Gives the states after every token: on CPU by walking each node of the prefix tree once.

    Elsewhere by walking each token: the tree takes two kernels for each of its levels.
    """
    if not on_cpu():
        return step(machine, tables, state, jnp.arange(tables.nodes.size).reshape(tables.nodes.shape))
    num_nodes = FIRST_NODE + tables.wide.parents.size + tables.narrow.parents.size
    after = jnp.full(num_nodes, DEAD, jnp.int32)
    after = after.at[EOS_NODE].set(jnp.where(_at(machine.may_end, state), ENDED, DEAD))
    after = after.at[ROOT].set(state)
    after = _walk(machine, tables.wide, FIRST_NODE, after)
    after = _walk(machine, tables.narrow, FIRST_NODE + tables.wide.parents.size, after)
    return _at(after, tables.nodes)


def _walk(machine: MachineTables, levels: Levels, first: int, after: Array) -> Array:
    num_chunks, width = levels.parents.shape

    def chunk(i, after):  # type: ignore[no-untyped-def]
        states = _next(machine, _at(after, _at(levels.parents, i)), _at(levels.bytes, i))
        return jax.lax.dynamic_update_slice(after, states, (first + width * i,))

    return jax.lax.fori_loop(0, num_chunks, chunk, after) if num_chunks else after
