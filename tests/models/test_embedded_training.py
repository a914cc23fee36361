"""Tokens, batches and the training loop of the embedded model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from lmppl.errors import InvalidInputError
from lmppl.models.checkpoint import read_params
from lmppl.models.embedded.batches import PROMPT_WEIGHT, evaluation_rows, training_batch
from lmppl.models.embedded.corpus import mixture
from lmppl.models.embedded.documents import END, Document, sections
from lmppl.models.embedded.optimisation import rate_factor
from lmppl.models.embedded.tokenizer import encode, read_tokenizer, save_tokenizer, train_tokenizer
from lmppl.models.embedded.train import Plan, Position, fit

PROMPT = sections({"objects": "red blue - block", "goal": "stack red on blue"}, "pddl")
GOAL = Document("blocks", PROMPT, "(and (on red blue))", "(and (on red blue))")
TINY = Plan(
    steps=3,
    hidden_size=32,
    num_layers=1,
    intermediate_size=32,
    vocab_size=400,
    shapes=((4, 64), (1, 160)),
    tokenizer_documents=300,
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer(mixture(), seed=0, num_documents=300, vocab_size=400)


@pytest.fixture(autouse=True)
def _usual_promotion():
    """Optax's own code expects JAX's usual promotion rules."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def test_prompt_and_target_have_the_same_tokens_apart_and_together(tokenizer: Any):
    ids, num_prompt = encode(tokenizer, GOAL)
    assert ids[:num_prompt] == tokenizer.encode(PROMPT).ids
    assert ids[:-1] == tokenizer.encode(PROMPT + GOAL.target + "\n").ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == PROMPT + GOAL.target + "\n" + END


def test_digits_and_newlines_are_tokens_of_their_own(tokenizer: Any):
    tokens = tokenizer.encode("on 1999-12-31\n\nb12").tokens
    assert all(len(token) == 1 for token in tokens if any(c.isdigit() for c in token))
    assert tokens.count("Ċ") == 2


def test_the_end_token_is_id_zero_and_transformers_is_told_so(tokenizer: Any, tmp_path: Path):
    save_tokenizer(tokenizer, tmp_path)
    assert read_tokenizer(tmp_path).token_to_id(END) == 0
    assert json.loads((tmp_path / "generation_config.json").read_text()) == {"eos_token_id": 0}


def test_a_batch_is_a_function_of_seed_and_step(tokenizer: Any):
    first, again, other = (training_batch(mixture(), tokenizer, 0, step, TINY.shapes) for step in (3, 3, 4))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.tokens, two.tokens)
        np.testing.assert_array_equal(one.weights, two.weights)
    assert any((one.tokens != two.tokens).any() for one, two in zip(first, other, strict=True))
    assert [rows.tokens.shape for rows in first] == [(4, 64), (1, 160)]


def test_targets_weigh_one_prompts_a_quarter_and_the_first_token_nothing(tokenizer: Any):
    ids, num_prompt = encode(tokenizer, GOAL)
    for rows in training_batch(mixture(), tokenizer, 0, 0, TINY.shapes):
        assert (rows.weights[:, 0] == 0).all()
        assert set(np.unique(rows.weights)) == {0, PROMPT_WEIGHT, 1}
        assert (rows.weights[rows.tokens == 0] != PROMPT_WEIGHT).all()
    scored = evaluation_rows(tokenizer, [GOAL], 80)
    assert scored.weights.sum() == len(ids) - num_prompt
    np.testing.assert_array_equal(scored.tokens[0, : len(ids)], ids)


def test_the_rate_rises_stays_and_falls():
    assert rate_factor(0.02) == pytest.approx(0.5)
    assert rate_factor(0.1) == rate_factor(0.29) == 1
    assert rate_factor(0.65) == pytest.approx(0.5)
    assert rate_factor(1.0) == pytest.approx(0.01)


@pytest.mark.slow
def test_a_run_that_was_interrupted_ends_in_the_same_weights(tmp_path: Path):
    whole = fit(TINY, tmp_path / "whole", None)
    parts = Position()
    for _ in range(2 * TINY.steps):  # a piece of no length saves and stops; one step at a time goes on
        parts = fit(TINY, tmp_path / "parts", None, stop_after=1e-9)
        if TINY.progress(parts) == 1:
            break
    assert whole.step == parts.step == TINY.steps
    assert whole.tokens == parts.tokens
    leaves = [
        jax.tree.leaves(read_params(tmp_path / run / "weights", TINY.config(), np.float32))
        for run in ("whole", "parts")
    ]
    for one, two in zip(*leaves, strict=True):
        np.testing.assert_array_equal(one, two)


def test_training_lowers_the_loss(tmp_path: Path):
    plan = dataclasses.replace(TINY, steps=100)
    fit(plan, tmp_path, None)
    (line,) = [json.loads(text) for text in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert line["step"] == 100
    assert line["loss"] < np.log(400) - 1


def test_a_run_is_not_resumed_under_another_plan(tmp_path: Path):
    plan = dataclasses.replace(TINY, steps=1)
    fit(plan, tmp_path, None)
    with pytest.raises(InvalidInputError, match="holds a run with another plan"):
        fit(dataclasses.replace(plan, seed=1), tmp_path, None)
