"""Three trained checkpoints: upstream's golden text, agreement with PyTorch, tokens of their own."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmppl.models import FlaxLM, load

NAMES = ["stories260K-hf", "llama-tiny-128k", "llama-small-32k"]
PROMPTS = {"stories260K-hf": "Once upon a time", "llama-tiny-128k": "Date:\n", "llama-small-32k": "JSON:\n"}


@pytest.fixture(scope="module")
def models(test_data: Path) -> dict[str, FlaxLM]:
    loaded = {name: load(test_data / "checkpoints" / name) for name in NAMES}
    return {name: lm for name, lm in loaded.items() if isinstance(lm, FlaxLM)}


def greedy(lm: FlaxLM, prompt: str, num_tokens: int) -> list[int]:
    ids = jnp.asarray([lm.encode_prompt(prompt)], jnp.int32)
    lengths = jnp.asarray([ids.shape[1]], jnp.int32)
    extend = jax.jit(lm.extend, donate_argnums=1)
    cache, hidden = extend(lm.params, lm.empty(1, ids.shape[1] + num_tokens), ids, lengths)
    tokens = []
    for _ in range(num_tokens):
        token = jnp.argmax(lm.logits(lm.params, hidden[:, -1]), axis=-1).astype(jnp.int32)
        tokens.append(int(token[0]))
        cache, hidden = extend(lm.params, cache, token[:, None], jnp.ones(1, jnp.int32))
    return tokens


def test_stories260k_writes_upstreams_greedy_text(models: dict[str, FlaxLM], test_data: Path):
    """The text of 256 tokens that llama2.c prints at temperature 0."""
    lm = models["stories260K-hf"]
    golden = (test_data / "checkpoints" / "stories260K-hf" / "golden_greedy.txt").read_text()
    written = b"".join(lm.vocabulary.token_bytes[token] for token in greedy(lm, "<s>", 256))
    assert written.decode().strip() == golden.strip()


@pytest.mark.parametrize("name", NAMES)
def test_logits_equal_the_reference(name: str, models: dict[str, FlaxLM], test_data: Path):
    torch = pytest.importorskip("torch", reason="PyTorch, the reference, is not installed")
    from transformers import LlamaForCausalLM

    lm = models[name]
    reference = LlamaForCausalLM.from_pretrained(test_data / "checkpoints" / name, dtype=torch.float32)
    ids = np.array([[*lm.encode_prompt(PROMPTS[name]), *greedy(lm, PROMPTS[name], 20)]], np.int32)
    with torch.no_grad():
        expected = reference(torch.tensor(ids, dtype=torch.long)).logits.numpy()
    lengths = jnp.asarray([ids.shape[1]], jnp.int32)
    _, hidden = jax.jit(lm.extend)(lm.params, lm.empty(1, ids.shape[1]), ids, lengths)
    actual = lm.logits(lm.params, hidden)
    np.testing.assert_allclose(actual, expected, atol=1e-4, rtol=0)


def test_a_trained_model_writes_what_it_was_trained_on(models: dict[str, FlaxLM]):
    lm = models["llama-small-32k"]
    written = b"".join(lm.vocabulary.token_bytes[token] for token in greedy(lm, "JSON:\n", 5))
    assert written.startswith(b"{")
