"""Logits equal those of PyTorch transformers, to 1e-4 in float32, on small random checkpoints."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmppl.models.checkpoint import read_params, write_checkpoint
from lmppl.models.config import DecoderConfig
from lmppl.models.decoder import bind, forward
from lmppl.models.kv_cache import KVCache, empty_cache

TOLERANCE = 1e-4
SHAPE = {
    "vocab_size": 101,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "initializer_range": 0.1,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
CASES: dict[str, dict[str, Any]] = {
    "grouped queries, untied": {},
    "tied": {"tie_word_embeddings": True},
    "one key-value head": {"num_key_value_heads": 1},
    "as many key-value heads": {"num_key_value_heads": 6},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "llama3 scaling": {"rope_parameters": LLAMA3},
    "large theta": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}},
}
LENGTHS = np.array([5, 11, 1], np.int32)  # a ragged batch
NUM_STEPS = 12


def pytorch() -> Any:
    """PyTorch, or the test is skipped. It takes seconds to import: only who compares with it does."""
    return pytest.importorskip("torch", reason="PyTorch, the reference, is not installed")


def reference_model(**changes: Any) -> Any:
    torch = pytorch()
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**(SHAPE | changes))).eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:  # norms are ones and biases zeros, which would hide a mistake
            torch.nn.init.normal_(parameter, mean=0.7, std=0.2)
    return model


def reference_logits(model: Any, tokens: np.ndarray) -> np.ndarray:
    torch = pytorch()

    with torch.no_grad():
        return model(torch.tensor(tokens, dtype=torch.long)).logits.float().numpy()


def random_tokens(rows: int, length: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, SHAPE["vocab_size"], (rows, length)).astype(np.int32)


def read(folder: Path) -> tuple[DecoderConfig, Any]:
    config = DecoderConfig.from_hf(json.loads((folder / "config.json").read_text()))
    return config, read_params(folder, config, jnp.float32)


def full(config: DecoderConfig, params: Any, tokens: np.ndarray) -> np.ndarray:
    return np.asarray(jax.jit(functools.partial(forward, config))(params, tokens))


def reader(config: DecoderConfig) -> Any:
    """Gives a compiled `extend` that also gives the logits after each token."""

    @jax.jit
    def read_on(params: Any, cache: KVCache, ids: Any, lengths: Any, prefix: KVCache | None) -> Any:
        model = bind(config, params)
        cache, hidden = model.extend(cache, ids, lengths, prefix)
        return cache, model.logits(hidden)

    return read_on


def stepwise(config: DecoderConfig, params: Any, tokens: np.ndarray) -> np.ndarray:
    """Reads `LENGTHS` tokens of each row at once and the next ones step by step."""
    read_on, rows = reader(config), np.arange(len(LENGTHS))
    empty = empty_cache(config, len(LENGTHS), 40, jnp.float32)
    cache, logits = read_on(params, empty, tokens[:, : LENGTHS.max()], LENGTHS, None)
    steps = [logits[rows, LENGTHS - 1]]
    for step in range(NUM_STEPS):
        ids = tokens[rows, LENGTHS + step][:, None]
        cache, logits = read_on(params, cache, ids, np.ones_like(LENGTHS), None)
        steps.append(logits[:, 0])
    return np.stack(steps, axis=1)


def in_chunks(config: DecoderConfig, params: Any, tokens: np.ndarray, num_shared: int) -> np.ndarray:
    """Reads a shared beginning once, then each row in chunks of which rows take different parts."""
    read_on, num_rows = reader(config), len(tokens)
    prefix = empty_cache(config, 1, num_shared + 3, jnp.float32)
    if num_shared:
        prefix, _ = read_on(params, prefix, tokens[:1, :num_shared], np.array([num_shared], np.int32), None)
    length = tokens.shape[1] - num_shared
    cache = empty_cache(config, num_rows, length, jnp.float32)
    done = np.zeros(num_rows, np.int32)
    logits = np.zeros((num_rows, length, config.vocab_size), np.float32)
    chunk = 7
    while done.min() < length:
        taken = np.minimum(length - done, chunk - np.arange(num_rows) % 3).astype(np.int32)
        ids = np.full((num_rows, chunk), config.vocab_size - 1, np.int32)
        for row, (start, number) in enumerate(zip(done + num_shared, taken, strict=True)):
            ids[row, :number] = tokens[row, start : start + number]
        cache, part = read_on(params, cache, ids, taken, prefix)
        for row, (start, number) in enumerate(zip(done, taken, strict=True)):
            logits[row, start : start + number] = part[row, :number]
        done += taken
    return logits


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_the_reference_for_full_pass_and_ragged_cached_decode(case: str, tmp_path: Path):
    model = reference_model(**CASES[case])
    model.save_pretrained(tmp_path)
    config, params = read(tmp_path)
    tokens = random_tokens(3, 60)
    expected = reference_logits(model, tokens)
    np.testing.assert_allclose(full(config, params, tokens), expected, atol=TOLERANCE, rtol=0)
    wanted = np.stack([expected[row, n - 1 : n + NUM_STEPS] for row, n in enumerate(LENGTHS)])
    np.testing.assert_allclose(stepwise(config, params, tokens), wanted, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    ("case", "num_shared"),
    [("tied", 0), ("tied", 20), ("one key-value head", 20), ("biases", 1), ("llama3 scaling", 20)],
)
def test_logits_equal_the_reference_after_a_shared_prefix_and_in_chunks(
    case: str, num_shared: int, tmp_path: Path
):
    model = reference_model(**CASES[case])
    model.save_pretrained(tmp_path)
    config, params = read(tmp_path)
    tokens = random_tokens(4, 50)
    tokens[:, :num_shared] = tokens[0, :num_shared]
    expected = reference_logits(model, tokens)[:, num_shared:]
    actual = in_chunks(config, params, tokens, num_shared)
    np.testing.assert_allclose(actual, expected, atol=TOLERANCE, rtol=0)


def test_the_reference_itself_tells_a_wrong_rotation_from_a_right_one(tmp_path: Path):
    """The mutant: plain rotations for weights that want llama3 scaling miss by far."""
    model = reference_model(rope_parameters=LLAMA3)
    model.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["rope_parameters"] = {"rope_type": "default", "rope_theta": LLAMA3["rope_theta"]}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    config, params = read(tmp_path)
    tokens = random_tokens(3, 60)
    assert np.abs(full(config, params, tokens) - reference_logits(model, tokens)).max() > 100 * TOLERANCE


def test_an_old_config_with_rope_theta_and_rope_scaling_means_the_same(tmp_path: Path):
    reference_model(rope_parameters=LLAMA3).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    settings = json.loads(path.read_text())
    new = DecoderConfig.from_hf(settings)
    rope = settings.pop("rope_parameters")
    settings |= {"rope_theta": rope.pop("rope_theta"), "rope_scaling": rope}
    assert DecoderConfig.from_hf(settings) == new
    assert new.rope_scaling is not None
    assert new.rope_theta == LLAMA3["rope_theta"]
    settings["rope_scaling"] = None
    assert DecoderConfig.from_hf(settings).rope_scaling is None


def test_sharded_weights_give_the_same_logits(tmp_path: Path):
    model = reference_model()
    model.save_pretrained(tmp_path, max_shard_size="60KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    config, params = read(tmp_path)
    tokens = random_tokens(2, 20)
    np.testing.assert_allclose(
        full(config, params, tokens), reference_logits(model, tokens), atol=TOLERANCE, rtol=0
    )


def test_transformers_reads_the_checkpoints_that_we_write(tmp_path: Path):
    torch = pytorch()
    from transformers import LlamaForCausalLM

    reference_model(rope_parameters=LLAMA3, tie_word_embeddings=True).save_pretrained(tmp_path / "theirs")
    config, params = read(tmp_path / "theirs")
    write_checkpoint(tmp_path / "ours", config, params, jnp.bfloat16)
    model = LlamaForCausalLM.from_pretrained(tmp_path / "ours", dtype=torch.float32)
    tokens = random_tokens(2, 20)
    again = read(tmp_path / "ours")
    assert again[0] == config
    np.testing.assert_allclose(full(*again, tokens), reference_logits(model, tokens), atol=TOLERANCE, rtol=0)


def test_bfloat16_agrees_with_the_reference_to_its_precision(tmp_path: Path):
    model = reference_model()
    model.save_pretrained(tmp_path)
    config, params = read(tmp_path)
    narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    tokens = random_tokens(3, 60)
    gap = np.abs(full(config, narrow, tokens) - reference_logits(model, tokens))
    assert 0 < gap.max() < 0.1
