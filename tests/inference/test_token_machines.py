"""Automata on the device: steps and masks agree with the acceptor, whatever the cache has room for."""

from __future__ import annotations

import gc
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmppl as lp
from lmppl.acceptance import Acceptor
from lmppl.constraints.regular.ended_automaton import DEAD, ENDED, ended_automaton_of
from lmppl.inference import token_machines, token_trie
from lmppl.inference.draws import unpacked
from lmppl.inference.token_machines import join, masks, new_mask_cache, step
from lmppl.inference.token_trie import token_tables
from lmppl.language_model import Vocabulary

SMALL = (b"a", b"b", b"ab", b"ba", b"aab", b"bb", b"b", b"", b"\xc3", b"\xa9", "aé".encode(), b"b" * 40, b"")


def random_tokens(size: int) -> tuple[bytes, ...]:
    """Gives all single bytes and many short strings, so that levels of the tree are wide."""
    draw = random.Random(0)
    longer = [bytes(draw.choices(b"ab\xc3\xa9\n01", k=draw.randint(1, 9))) for _ in range(size)]
    return (*(bytes([byte]) for byte in range(256)), *longer, b"ab" * 150, b"ab" * 150 + b"c", b"", b"")


VOCABULARIES = {
    "small": Vocabulary(SMALL, frozenset({12})),
    "two EOS": Vocabulary((*SMALL, b""), frozenset({7, 13})),
    "no EOS": Vocabulary(SMALL),
    "EOS with bytes": Vocabulary((b"a", b"</s>", b"b"), frozenset({1})),
    "large": Vocabulary(random_tokens(2000), frozenset({256})),
}
CASES = [
    (None, None),
    (None, b"ab"),
    (lp.regex("(a|ba)*"), None),
    (lp.regex("a{0,3}b?a*"), b"aab"),
    (lp.choices(["a", "ab", "aé", "", "bab"]), b"b"),
    (lp.regex("(é|a)+b{0,50}"), "é".encode()),
    (lp.regex("(.|\n){0,20}"), b"\n\n"),
    (lp.regex("b"), b"aab"),
]
each_vocabulary = pytest.mark.parametrize("vocabulary", VOCABULARIES.values(), ids=VOCABULARIES)

jitted_step = jax.jit(step)
jitted_masks = jax.jit(masks, donate_argnums=0)


def joined(cases, trim=False):
    """Joins the automata of some cases."""
    return join([ended_automaton_of(constraint, stop, trim=trim) for constraint, stop in cases])


def walks(vocabulary: Vocabulary, cases, num_tokens: int = 4, num_walks: int = 6):
    """Gives judges, cursors and states along random paths of allowed tokens, by the acceptor and `step`."""
    machine, starts = joined(cases)
    tables, draw = token_tables(vocabulary), random.Random(1)
    found = {}
    for (constraint, stop), start in zip(cases, starts, strict=True):
        judge = Acceptor(vocabulary, constraint, stop)
        for _ in range(num_walks):
            cursor, state = judge.initial, int(start)
            for _ in range(num_tokens):
                found[state] = (judge, cursor)
                token = draw.choice([*np.flatnonzero(judge.mask(cursor)).tolist(), None])
                cursor = None if token is None else judge.step(cursor, token)
                if cursor is None or cursor.ended:
                    break
                state = int(jitted_step(machine, tables, jnp.int32(state), jnp.int32(token)))
    return machine, found


@each_vocabulary
def test_steps_and_masks_agree_with_the_acceptor(vocabulary):
    machine, found = walks(vocabulary, CASES)
    tables, vocab_size = token_tables(vocabulary), len(vocabulary)
    states = jnp.array(list(found), jnp.int32)
    after = np.asarray(jitted_step(machine, tables, states[:, None], jnp.arange(vocab_size)[None, :]))
    allowed = np.stack([judge.mask(cursor) for judge, cursor in found.values()])
    ending = np.stack([judge.end_mask(cursor) for judge, cursor in found.values()])
    np.testing.assert_array_equal(after != DEAD, allowed)
    np.testing.assert_array_equal(after == ENDED, ending)
    cache = new_mask_cache(machine, vocab_size, len(found))
    for limit, expected in ((False, allowed), (True, ending)):
        cache, bits = jitted_masks(cache, machine, tables, states, jnp.full(len(found), limit))
        assert_allows(bits, expected)


def assert_allows(bits, expected: np.ndarray) -> None:
    """Compares the bits of the allowed tokens with `Bool[rows, vocab]`."""
    np.testing.assert_array_equal(np.asarray(unpacked(bits, expected.shape[1])), expected)
    words = np.asarray(bits)
    assert sum(int(word).bit_count() for word in words.ravel()) == expected.sum(), "a bit beyond the last id"


def test_a_trimmed_machine_allows_the_tokens_after_which_the_string_can_end():
    vocabulary = VOCABULARIES["small"]
    machine, starts = joined([(lp.regex("(a|b)*ab"), b"ab"), (lp.regex("a*ba?"), b"ba")], trim=True)
    tables = token_tables(vocabulary)
    after = np.asarray(
        jitted_step(machine, tables, jnp.asarray(starts)[:, None], jnp.arange(len(vocabulary))[None, :])
    )
    assert starts[0] == DEAD
    assert not after[0].any()
    assert {SMALL[token] for token in np.flatnonzero(after[1] != DEAD)} == {b"a", b"b", b"ab", b"aab", b"bb"}


def test_joined_automata_keep_their_own_languages():
    tables = token_tables(VOCABULARIES["small"])
    machine, starts = joined(CASES)
    tokens = jnp.arange(len(SMALL))[None, :]
    together = jitted_step(machine, tables, jnp.asarray(starts)[:, None], tokens)
    for row, case in zip(np.asarray(together), CASES, strict=True):
        alone, (start,) = joined([case])
        expected = np.asarray(jitted_step(alone, tables, jnp.full((1, 1), start), tokens))[0]
        np.testing.assert_array_equal(np.minimum(row, 2), np.minimum(expected, 2))


def test_equal_automata_are_joined_once_and_similar_ones_have_equal_shapes():
    first, again = ended_automaton_of(lp.regex("a{5}"), None), ended_automaton_of(lp.regex("a{5}"), None)
    machine, starts = join([first, again])
    assert starts[0] == starts[1]
    other, _ = join([ended_automaton_of(lp.regex("[a-f]{7}x?"), b"\n")])
    assert [leaf.shape for leaf in machine] == [leaf.shape for leaf in other]


def test_ids_outside_the_vocabulary_and_finished_strings():
    vocabulary = VOCABULARIES["small"]
    machine, (start,) = joined([(None, None)])
    tables = token_tables(vocabulary)
    states = jnp.array([start, start, start, ENDED, ENDED, DEAD, DEAD], jnp.int32)
    tokens = jnp.array([-1, len(vocabulary), 7, 0, 7, 0, 12], jnp.int32)
    after = jitted_step(machine, tables, states, tokens)
    assert after.tolist() == [DEAD, DEAD, DEAD, ENDED, ENDED, DEAD, DEAD]


@pytest.mark.parametrize("num_slots", [4, 5, 7])
def test_masks_are_right_in_a_cache_with_a_slot_for_each_row(num_slots):
    """Evictions drive out keys that are wanted in the same call; each is computed at most once a call."""
    vocabulary = VOCABULARIES["small"]
    machine, found = walks(vocabulary, CASES)
    tables, draw = token_tables(vocabulary), random.Random(2)
    cache = with_slots(new_mask_cache(machine, len(vocabulary), 4), num_slots)
    for _ in range(60):
        states, limits = draw.choices(list(found), k=4), draw.choices([False, True], k=4)
        known = set(np.asarray(cache.key_of).tolist())
        before = int(cache.next_slot)
        cache, bits = jitted_masks(
            cache, machine, tables, jnp.array(states, jnp.int32), jnp.array(limits, bool)
        )
        judged = [(*found[state], limit) for state, limit in zip(states, limits, strict=True)]
        assert_allows(bits, np.stack([j.end_mask(c) if limit else j.mask(c) for j, c, limit in judged]))
        keys = {2 * state + limit for state, limit in zip(states, limits, strict=True)}
        num_filled = (int(cache.next_slot) - before) % num_slots
        assert keys <= known or num_filled or num_slots == len(keys)
        assert_consistent(cache)


def with_slots(cache, num_slots: int):
    """Cuts an empty cache down to fewer slots than are ever made."""
    return cache._replace(bits=cache.bits[:num_slots], key_of=cache.key_of[:num_slots])


def assert_consistent(cache) -> None:
    """Each slot is found by its own key and by no other."""
    key_of, slot_of = np.asarray(cache.key_of), np.asarray(cache.slot_of)
    filled = np.flatnonzero(key_of >= 0)
    np.testing.assert_array_equal(slot_of[key_of[filled]], filled)
    assert (slot_of >= 0).sum() == len(filled)


def test_rows_that_are_dead_or_ended_allow_nothing_and_cost_nothing():
    vocabulary = VOCABULARIES["small"]
    machine, (start,) = joined([(lp.regex("a*"), None)])
    cache = new_mask_cache(machine, len(vocabulary), 3)
    states, limits = jnp.array([DEAD, ENDED, DEAD], jnp.int32), jnp.array([False, False, True])
    cache, bits = jitted_masks(cache, machine, token_tables(vocabulary), states, limits)
    assert int(cache.next_slot) == 0
    assert_allows(bits, np.zeros((3, len(vocabulary)), bool))
    same = jnp.array([start, ENDED, start], jnp.int32)
    cache, _ = jitted_masks(cache, machine, token_tables(vocabulary), same, jnp.zeros(3, bool))
    assert int(cache.next_slot) == 1, "two rows in one state are looked at once"
    cache, _ = jitted_masks(cache, machine, token_tables(vocabulary), same, jnp.zeros(3, bool))
    assert int(cache.next_slot) == 1


def test_a_cache_is_bounded_but_has_two_slots_a_row():
    machine, _ = join([ended_automaton_of(lp.regex("a{5000}"), None)])
    slot_bytes = 4 * (32_000 // 32 + 1)
    cache = new_mask_cache(machine, 32_000, num_rows=32, max_bytes=300 * slot_bytes)
    assert len(cache.key_of) == 256
    assert len(new_mask_cache(machine, 32_000, num_rows=33, max_bytes=0).key_of) == 128
    few, _ = joined([(None, None)])
    assert len(new_mask_cache(few, 32_000, num_rows=1).key_of) == 2 * few.num_states


def test_a_loop_on_the_device_draws_only_strings_of_the_language():
    """A whole site's inner loop: masks, draws, steps, with the cache as carry and less room than states."""
    vocabulary = VOCABULARIES["small"]
    cases = CASES[2:6]
    machine, starts = joined(cases)
    tables, num_rows, max_tokens = token_tables(vocabulary), 32, 6

    @jax.jit
    def drawn(cache, machine, tables, states, key):  # type: ignore[no-untyped-def]
        def body(carry):  # type: ignore[no-untyped-def]
            at, cache, states, path = carry
            cache, bits = masks(cache, machine, tables, states, jnp.full(num_rows, at == max_tokens))
            allowed = unpacked(bits, tables.vocab_size)
            noise = jax.random.uniform(jax.random.fold_in(key, at), allowed.shape)
            chosen = jnp.argmax(jnp.where(allowed, noise, -1.0), axis=1).astype(jnp.int32)
            chosen = jnp.where(allowed.any(axis=1), chosen, -1)
            after = jnp.where(states > ENDED, step(machine, tables, states, chosen), states)
            return at + 1, cache, after, path.at[:, at].set(chosen)

        def unfinished(carry):  # type: ignore[no-untyped-def]
            return (carry[0] <= max_tokens) & (carry[2] > ENDED).any()

        path = jnp.full((num_rows, max_tokens + 1), -1, jnp.int32)
        return jax.lax.while_loop(unfinished, body, (jnp.int32(0), cache, states, path))

    cache = with_slots(new_mask_cache(machine, len(vocabulary), num_rows), num_rows)
    first = jnp.asarray(np.tile(starts, num_rows // len(cases)))
    _, cache, states, path = drawn(cache, machine, tables, first, jax.random.key(0))
    assert_consistent(cache)
    num_ended = 0
    for row, (state, tokens) in enumerate(zip(states.tolist(), np.asarray(path), strict=True)):
        constraint, stop = cases[row % len(cases)]
        judge = Acceptor(vocabulary, constraint, stop)
        cursor = judge.initial
        for at, token in enumerate(tokens[tokens >= 0].tolist()):
            assert (judge.end_mask if at == max_tokens else judge.mask)(cursor)[token]
            cursor = judge.step(cursor, token)
        assert cursor.ended == (state == ENDED)
        num_ended += cursor.ended
    assert num_ended >= num_rows // 2


def test_the_large_cache_is_not_copied_by_a_loop_that_carries_it():
    vocabulary = VOCABULARIES["large"]
    machine, starts = joined([(lp.regex("[ab]{0,200}"), b"\n")])
    cache = new_mask_cache(machine, len(vocabulary), 4)

    def loop(cache, machine, tables, states):  # type: ignore[no-untyped-def]
        def body(carry):  # type: ignore[no-untyped-def]
            at, cache, states = carry
            cache, bits = masks(cache, machine, tables, states, jnp.zeros(4, bool))
            first = jnp.argmax(unpacked(bits, len(vocabulary)), axis=1).astype(jnp.int32)
            return at + 1, cache, step(machine, tables, states, first)

        return jax.lax.while_loop(lambda carry: carry[0] < 9, body, (jnp.int32(0), cache, states))

    states = jnp.full(4, starts[0], jnp.int32)
    compiled = (
        jax.jit(loop, donate_argnums=0).lower(cache, machine, token_tables(vocabulary), states).compile()
    )
    shape = ",".join(map(str, cache.bits.shape))
    text = compiled.as_text()
    assert f"u32[{shape}]" in text
    assert not [line for line in text.splitlines() if f"u32[{shape}]" in line and " copy(" in line]


def test_tokens_of_all_lengths_stand_in_the_tree_once():
    vocabulary = VOCABULARIES["large"]
    tables = token_tables(vocabulary)
    texts = [data for token, data in enumerate(vocabulary.token_bytes) if token not in vocabulary.eos_ids]
    prefixes = {data[:end] for data in texts for end in range(1, len(data) + 1)}
    parents = np.concatenate([np.ravel(tables.wide.parents), np.ravel(tables.narrow.parents)])
    assert (parents != token_trie.NO_NODE).sum() == len(prefixes)
    own = token_trie.FIRST_NODE + np.arange(len(parents))
    assert (parents < own).all()
    assert tables.wide.parents.size
    assert tables.narrow.parents.size


def test_tables_live_as_long_as_their_vocabulary():
    vocabulary = Vocabulary((b"x", b"y"))
    assert token_tables(vocabulary) is token_tables(vocabulary)
    gc.collect()
    before = len(token_trie._tables)
    del vocabulary
    gc.collect()
    assert len(token_trie._tables) < before


def test_tables_may_be_asked_for_while_something_is_traced():
    vocabulary = Vocabulary((b"x", b"xy", b""), frozenset({2}))

    @jax.jit
    def lengths(x):  # type: ignore[no-untyped-def]
        return token_tables(vocabulary).lengths + x

    assert lengths(jnp.int32(1)).tolist() == [2, 3, 1]
    assert token_tables(vocabulary).lengths.tolist() == [1, 2, 0]


@each_vocabulary
def test_tokens_walked_one_by_one_lead_where_the_tree_leads(vocabulary, monkeypatch):
    """As on a GPU, where no tree is walked and tokens are walked some bytes at a time."""
    machine, starts = joined(CASES)
    tables = token_tables(vocabulary)
    states = jnp.asarray([*starts, DEAD, ENDED])
    limits = jnp.arange(len(states)) % 2 == 1
    tokens = jnp.arange(len(vocabulary))[None]

    def found():  # type: ignore[no-untyped-def]
        cache = new_mask_cache(machine, len(vocabulary), len(states))
        bits = jax.jit(lambda *args: masks(*args))(cache, machine, tables, states, limits)[1]
        after = jax.jit(lambda *args: step(*args))(machine, tables, states[:, None], tokens)
        return np.asarray(bits), np.asarray(after)

    tree, one_by_one = found()
    monkeypatch.setattr(token_machines, "on_cpu", lambda: False)
    bits, after = found()
    np.testing.assert_array_equal(bits, tree)
    np.testing.assert_array_equal(after, one_by_one)
    monkeypatch.setattr(token_machines, "_BYTES_AT_ONCE", 3)
    np.testing.assert_array_equal(found()[1], one_by_one)
