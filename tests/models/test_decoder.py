"""The decoder by itself: what it is differentiable in, what it does not look at."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmppl.errors import CheckpointError
from lmppl.models.config import DecoderConfig, Llama3Scaling
from lmppl.models.decoder import abstract_params, forward, initial_params

CONFIG = DecoderConfig(
    vocab_size=23,
    hidden_size=16,
    intermediate_size=24,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_size=8,
    context_length=32,
    initializer_range=0.3,
)
TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, 23, (2, 9)), jnp.int32)


def loss(params, tokens):
    log_probs = jax.nn.log_softmax(forward(CONFIG, params, tokens))
    return -jnp.take_along_axis(log_probs[:, :-1], tokens[:, 1:, None], axis=-1).mean()


def test_a_step_down_the_gradient_lowers_the_loss_and_reaches_every_weight():
    params = initial_params(CONFIG, jax.random.key(0))
    before, gradient = jax.jit(jax.value_and_grad(loss))(params, TOKENS)
    assert all(np.isfinite(leaf).all() and np.any(leaf != 0) for leaf in jax.tree.leaves(gradient))
    moved = jax.tree.map(lambda leaf, slope: leaf - 0.01 * slope, params, gradient)
    assert jax.jit(loss)(moved, TOKENS) < before


def test_logits_do_not_depend_on_later_tokens():
    params = initial_params(CONFIG, jax.random.key(0))
    logits = jax.jit(functools.partial(forward, CONFIG))
    changed = TOKENS.at[:, 5:].set(0)
    np.testing.assert_array_equal(logits(params, TOKENS)[:, :5], logits(params, changed)[:, :5])


def test_the_abstract_weights_have_the_shapes_of_the_drawn_ones():
    drawn = jax.tree.map(lambda leaf: leaf.shape, initial_params(CONFIG, jax.random.key(0)))
    assert jax.tree.map(lambda leaf: leaf.shape, abstract_params(CONFIG)) == drawn


def test_a_config_written_and_read_is_the_same():
    scaled = dataclasses.replace(CONFIG, rope_scaling=Llama3Scaling(8.0, 1.0, 4.0, 16))
    for config in (CONFIG, scaled):
        assert DecoderConfig.from_hf(config.to_hf()) == config


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model_type": "gpt2"}, "model_type is 'gpt2'"),
        ({"model_type": None}, "model_type is None"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "rope_type is 'yarn'"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 4.0}}, "low_freq_factor"),
        (
            {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
            "partial_rotary_factor is 0.5",
        ),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"hidden_size": None}, "'hidden_size'"),
        ({"num_hidden_layers": 0}, "num_layers is 0"),
        ({"num_key_value_heads": 3}, "num_kv_heads must divide"),
        ({"head_dim": 7}, "head_size is 7"),
    ],
)
def test_an_unsupported_config_is_refused_by_its_key_and_value(changes: dict, named: str):
    with pytest.raises(CheckpointError, match=named):
        DecoderConfig.from_hf(CONFIG.to_hf() | changes)


def test_bfloat16_weights_have_bfloat16_gradients_close_to_those_of_float32():
    params = initial_params(CONFIG, jax.random.key(0))
    narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    gradient = jax.jit(jax.grad(loss))
    wanted, actual = (jax.tree.leaves(gradient(weights, TOKENS)) for weights in (params, narrow))
    assert {leaf.dtype for leaf in actual} == {jnp.dtype(jnp.bfloat16)}
    for narrow_leaf, leaf in zip(actual, wanted, strict=True):
        gap = jnp.linalg.norm(narrow_leaf.astype(jnp.float32) - leaf)
        assert gap < 0.1 * jnp.linalg.norm(leaf)
