"""The shared contract: a neural model keeps it, and each broken law is noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from lmppl.contracts import check_language_model
from lmppl.errors import InvalidInputError
from lmppl.models import FlaxLM, TableLM, load

TEXTS = ["the red block", "naïve café ☃", "12 34"]


@pytest.fixture
def lm(checkpoint: Path) -> FlaxLM:
    lm = load(checkpoint, dtype="float32")
    assert isinstance(lm, FlaxLM)
    return lm


def test_a_neural_model_keeps_the_contract(lm: FlaxLM):
    check_language_model(lm, TEXTS)


def test_a_neural_model_keeps_the_contract_in_bfloat16(checkpoint: Path):
    lm = load(checkpoint, dtype="bfloat16")
    assert lm.params["embedding"].dtype == jnp.bfloat16
    check_language_model(lm, TEXTS, atol=0.2)


class LooksAtPadding(FlaxLM):
    def extend(self, params, cache, tokens, lengths, prefix=None):
        return super().extend(params, cache, tokens, jnp.full_like(lengths, tokens.shape[1]), prefix)


class ForgetsPositions(FlaxLM):
    def extend(self, params, cache, tokens, lengths, prefix=None):
        new, hidden = super().extend(params, cache, tokens, lengths, prefix)
        return type(new)(new.keys, new.values, jnp.minimum(new.lengths, 1)), hidden


class GathersNothing(FlaxLM):
    def gather(self, cache, rows):
        return super().gather(cache, jnp.arange(len(rows)))


class MovesTheFirstRowOnly(FlaxLM):
    def move(self, cache, ancestors):
        return super().move(cache, jnp.arange(len(ancestors)).at[0].set(ancestors[0]))


class RewindsNothing(FlaxLM):
    def rewind(self, cache, lengths):
        return cache


class CountsFromItsOwnStart(FlaxLM):
    def extend(self, params, cache, tokens, lengths, prefix=None):
        if prefix is not None:
            prefix = type(prefix)(prefix.keys, prefix.values, jnp.zeros_like(prefix.lengths))
        return super().extend(params, cache, tokens, lengths, prefix)


class LooksAtRoomToSpare(FlaxLM):
    def extend(self, params, cache, tokens, lengths, prefix=None):
        if prefix is not None:
            full = jnp.full_like(prefix.lengths, prefix.capacity)
            prefix = type(prefix)(prefix.keys, prefix.values, full)
        return super().extend(params, cache, tokens, lengths, prefix)


class LooksAtTheOtherRows(FlaxLM):
    def extend(self, params, cache, tokens, lengths, prefix=None):
        new, hidden = super().extend(params, cache, tokens, lengths, prefix)
        return new, hidden + (hidden - hidden[:1])


class LosesWhatItGrows(FlaxLM):
    def grow(self, cache, capacity):
        grown = super().grow(cache, capacity)
        return type(grown)(jax.tree.map(jnp.zeros_like, grown.keys), grown.values, grown.lengths)


class PutsASpaceInFront(FlaxLM):
    def encode(self, text):
        return super().encode(f" {text}")


@pytest.mark.parametrize(
    ("mutant", "said"),
    [
        (LooksAtPadding, "step by step|padded"),
        (ForgetsPositions, "step by step"),
        (LooksAtTheOtherRows, "read with the others"),
        (CountsFromItsOwnStart, "shared prefix"),
        (LooksAtRoomToSpare, "shared prefix"),
        (GathersNothing, "gathered"),
        (MovesTheFirstRowOnly, "moved"),
        (RewindsNothing, "rewound"),
        (LosesWhatItGrows, "grown"),
        (PutsASpaceInFront, "spells"),
    ],
)
def test_a_broken_law_is_named(mutant: type[FlaxLM], said: str, lm: FlaxLM):
    """By a model of one layer, of which less is compiled."""
    config, params = replace(lm.config, num_layers=1), lm.params | {"blocks": {0: lm.params["blocks"][0]}}
    broken = mutant("broken", config, params, lm.codec)
    with pytest.raises(AssertionError, match=said):
        check_language_model(broken, TEXTS)


def test_the_contract_needs_two_texts():
    table = TableLM(["a", "<end>"], [0.5, 0.5], [[0.5, 0.5], [0, 1]])
    with pytest.raises(ValueError, match="at least two"):
        check_language_model(table, ["a"])


def test_a_prompt_over_the_context_is_refused_with_both_numbers(lm: FlaxLM):
    num_tokens = len(lm.codec.encode_prompt("1 " * 60))
    assert num_tokens > lm.context_length
    with pytest.raises(InvalidInputError, match=f"{num_tokens} tokens long.*at most {lm.context_length}"):
        lm.encode_prompt("1 " * 60)


def test_a_cache_that_cannot_hold_the_prompt_is_refused(lm: FlaxLM):
    ids = jnp.zeros((1, 5), jnp.int32)
    with pytest.raises(InvalidInputError, match="4 tokens a row cannot hold 5"):
        lm.extend(lm.params, lm.empty(1, 4), ids, jnp.asarray([5]))
