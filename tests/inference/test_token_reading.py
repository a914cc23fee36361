"""Tokens that several rows read as one: the same results, as often as it says."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmppl as lp
from lmppl.inference import token_reading
from lmppl.inference.token_reading import Unread, next_twins, read_tokens
from lmppl.scoring import path_log_probs

pytestmark = pytest.mark.skipif(jax.default_backend() != "cpu", reason="rows are read apart elsewhere")

NUM_ROWS = 24  # the fewest of which some are read as one
LONGEST = 60  # tokens of a row: one length, one program
CHOICES = lp.choices(["red", "red and blue", "green and red", "blue"])


@pytest.fixture(scope="module")
def readers(lm):
    """Two compiled readers: one to be traced as the engine is, one with rows read apart."""

    def reader():
        return jax.jit(
            lambda params, cache, logits, unread, due: read_tokens(
                lm, params, None, cache, logits, unread, due
            )
        )

    return reader(), reader()


def rows_of(lm, texts):
    """Gives a cache whose row `i` has read all but the last token of `texts[i]`, and these last tokens."""
    ids = [lm.encode_prompt(text) for text in texts]
    tokens = np.array([[*row[:-1], *[0] * (LONGEST + 1 - len(row))] for row in ids], np.int32)
    lengths = np.array([len(row) - 1 for row in ids], np.int32)
    cache, _ = jax.jit(lm.extend)(lm.params, lm.empty(len(ids), 64), tokens, lengths)
    return cache, np.array([row[-1] for row in ids], np.int32)


def read(reader, lm, cache, unread, due=True):
    zeros = jnp.zeros((NUM_ROWS, len(lm.vocabulary)), jnp.float32)
    return reader(lm.params, cache, zeros, unread, jnp.bool_(due))


@pytest.mark.parametrize("num_contexts", [1, 5, 8, 9, 24])
def test_what_rows_read_as_one_is_what_each_reads(lm, readers, monkeypatch, num_contexts):
    """With up to 8 contexts, and with more; row 3 is done, and stays as it is."""
    texts = [f"the {'red and ' * (row % num_contexts)}blue" for row in range(NUM_ROWS)]
    cache, last = rows_of(lm, texts)
    twins = np.arange(NUM_ROWS, dtype=np.int32) % num_contexts
    wanted = np.arange(NUM_ROWS) != 3
    unread = Unread(last, wanted, twins)
    as_one, apart = readers
    shared, logits = read(as_one, lm, cache, unread)
    monkeypatch.setattr(token_reading, "_LEAST_ROWS", NUM_ROWS + 1)
    alone, expected = read(apart, lm, cache, unread)
    np.testing.assert_allclose(logits[wanted], expected[wanted], atol=2e-4)
    np.testing.assert_array_equal(shared.lengths, alone.lengths)
    everyone = Unread(last, np.ones(NUM_ROWS, bool), twins)
    _, logits = read(apart, lm, shared, everyone)
    _, expected = read(apart, lm, alone, everyone)
    np.testing.assert_allclose(logits, expected, atol=2e-4)


def test_nothing_is_read_that_is_not_due(lm, readers):
    cache, last = rows_of(lm, ["the red"] * NUM_ROWS)
    unread = Unread(last, np.ones(NUM_ROWS, bool), np.zeros(NUM_ROWS, np.int32))
    after, logits = read(readers[0], lm, cache, unread, due=False)
    np.testing.assert_array_equal(after.lengths, cache.lengths)
    assert not logits.any()


def test_rows_are_twins_as_long_as_all_their_tokens_are_the_same(lm):
    """By brute force: twins have the same history, whatever was resampled between."""
    rng = np.random.default_rng(0)
    histories = [(row % 3,) for row in range(NUM_ROWS)]
    twins = jnp.asarray([row % 3 for row in range(NUM_ROWS)], jnp.int32)
    active = np.ones(NUM_ROWS, bool)
    for _ in range(12):
        if rng.random() < 0.4:
            ancestors = rng.integers(NUM_ROWS, size=NUM_ROWS)
            histories, twins, active = [histories[a] for a in ancestors], twins[ancestors], active[ancestors]
        tokens = rng.integers(2, size=NUM_ROWS)
        histories = [(*known, int(token)) for known, token in zip(histories, tokens, strict=True)]
        active = active & (rng.random(NUM_ROWS) < 0.95)
        twins = next_twins(lm, twins, jnp.asarray(tokens, jnp.int32), jnp.asarray(active))
        for left in np.flatnonzero(active):
            for right in np.flatnonzero(active):
                assert (twins[left] == twins[right]) == (histories[left] == histories[right])


def text_of(lm):
    return lm("### words\n", max_tokens=8, temperature=20.0)  # so that all choices are drawn


def site(lm, constraint):
    return lp.sample("x", text_of(lm) & constraint)


@pytest.mark.parametrize("constraint", [CHOICES, CHOICES & lp.check("any", prefix=lambda text: True)])
def test_strings_of_rows_that_read_as_one_are_scored_as_by_a_full_pass(lm, constraint):
    posterior = lp.infer(site, lm, constraint, method=lp.SMC(NUM_ROWS, ess_threshold=0.3), key=0)
    assert_scored_as_by_a_full_pass(lm, posterior)


def assert_scored_as_by_a_full_pass(lm, posterior):
    scored = {}
    for trace in posterior.traces:
        if "x" in trace.texts:
            record = trace.texts["x"]
            scored[record.tokens] = sum(record.token_log_probs)
    assert len(scored) > 1
    full = path_log_probs([text_of(lm)] * len(scored), list(scored))
    np.testing.assert_allclose(list(scored.values()), full, atol=2e-4)


def test_rows_that_take_the_results_of_another_group_are_caught(lm, monkeypatch):
    original = token_reading._grouped

    def rolled(unread, size):
        leaders, groups, number = original(unread, size)
        return leaders, jnp.roll(groups, 1), number

    monkeypatch.setattr(token_reading, "_grouped", rolled)
    monkeypatch.setitem(vars(lm.skeleton), "_compiled", {})
    posterior = lp.infer(site, lm, CHOICES, method=lp.SMC(NUM_ROWS, ess_threshold=0.3), key=0)
    with pytest.raises(AssertionError):
        assert_scored_as_by_a_full_pass(lm, posterior)
