"""The language models that are measured: trained checkpoints, or random weights of their shapes.

On a GPU weights are bfloat16, as `lp.load` has it there, and `llama-1b`, always random, is measured too.
"""

from __future__ import annotations

import copy
import json
import os
import random
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
from reporting import RESULTS, test_data

import lmppl as lp
from lmppl.models import DecoderConfig, FlaxLM

# Before any program is compiled: what the benchmarks compile is kept apart from what the user compiles.
os.environ.setdefault("LMPPL_COMPILE_CACHE", str(RESULTS / "compiled"))

SHAPES = {
    "llama-small-32k": DecoderConfig(
        vocab_size=32_000,
        hidden_size=512,
        intermediate_size=1024,
        num_layers=8,
        num_heads=8,
        num_kv_heads=4,
        head_size=64,
    ),
    "llama-tiny-128k": DecoderConfig(
        vocab_size=128_256,
        hidden_size=256,
        intermediate_size=768,
        num_layers=4,
        num_heads=8,
        num_kv_heads=2,
        head_size=32,
    ),
    "llama-1b": DecoderConfig(
        vocab_size=128_256,
        hidden_size=2048,
        intermediate_size=8192,
        num_layers=16,
        num_heads=32,
        num_kv_heads=8,
        head_size=64,
    ),
    "random-tiny": DecoderConfig(
        vocab_size=512,
        hidden_size=32,
        intermediate_size=64,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        head_size=8,
    ),
}
SPACE, NEWLINE = "\u0120", "\u010a"  # as a byte-level vocabulary writes them
WITHOUT_CHECKPOINTS = (
    "LMPPL_TEST_DATA is not set, so random weights of the same shapes are measured. Their text is noise: "
    "constraints refuse more of it, and ratios are not those of a trained model. Let the variable name the "
    "folder that holds checkpoints/llama-small-32k and checkpoints/llama-tiny-128k."
)


def on_gpu() -> bool:
    """Says whether this machine's GPU is what computes."""
    return jax.default_backend() == "gpu"


def has_checkpoint(name: str) -> bool:
    """Says whether a trained checkpoint of that name is there."""
    folder = test_data()
    return folder is not None and (folder / "checkpoints" / name / "config.json").is_file()


def checkpoint(name: str) -> Path:
    """Gives the folder of a checkpoint: the trained one, or one with random weights, made once."""
    folder = test_data()
    if folder is not None and has_checkpoint(name):
        return folder / "checkpoints" / name
    made = RESULTS / "models" / name
    if not (made / "model.safetensors").is_file():
        write_random(made, SHAPES[name])
    return made


def measured_model(name: str, context_length: int | None = None) -> FlaxLM:
    """Loads a model whose strings do not end on their own (see `endless`), with float32 weights on CPU.

    Args:
        name: One of `SHAPES`, or `embedded` for the model that ships with lmppl.
        context_length: Overrides the model's; what it writes there may make no sense, its cost does.
    """
    lm = lp.load() if name == "embedded" else lp.load(checkpoint(name))
    assert isinstance(lm, FlaxLM)
    config = lm.config if context_length is None else replace(lm.config, context_length=context_length)
    return endless(FlaxLM(name, config, lm.params, lm.codec))


def endless(lm: FlaxLM) -> FlaxLM:
    """Gives the same model with its last token for an end, and its ends as ordinary text.

    The last token is rare, so practically every string lasts until `max_tokens`, constrained or not,
    and runs of equal length are compared. The end is forced and charged there, as always.
    """
    token_bytes = list(lm.vocabulary.token_bytes)
    for number, token in enumerate(sorted(lm.vocabulary.eos_ids)):
        token_bytes[token] = f"<end {number}>".encode()
    last = len(token_bytes) - 1
    token_bytes[last] = b""
    codec = copy.copy(lm.codec)
    codec.vocabulary = replace(lm.vocabulary, token_bytes=tuple(token_bytes), eos_ids=frozenset({last}))
    return FlaxLM(f"{lm.name}, endless", lm.config, lm.params, codec)


def write_random(folder: Path, config: DecoderConfig) -> None:
    """Writes a checkpoint with random weights and a made-up byte-level vocabulary."""
    from lmppl.models.checkpoint import write_checkpoint
    from lmppl.models.decoder import initial_params

    folder.mkdir(parents=True, exist_ok=True)
    tokens = random_tokens(config.vocab_size)
    end = {"id": 0, "content": tokens[0], "single_word": False, "lstrip": False, "rstrip": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {"type": "BPE", "vocab": {token: i for i, token in enumerate(tokens)}, "merges": []}
    spec = {
        "version": "1.0",
        "added_tokens": [end | {"normalized": False, "special": True}],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": model,
    }
    (folder / "tokenizer.json").write_text(json.dumps(spec))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 0}))
    write_checkpoint(folder, config, initial_params(config, jax.random.key(0), jnp.bfloat16))


def random_tokens(vocab_size: int) -> list[str]:
    """Gives an end, ASCII characters, and made-up words: most of them lowercase, many after a space.

    There are no bytes of longer characters: noise of them would be no text.
    """
    generator = random.Random(0)
    tokens = ["<|end|>", *map(chr, range(33, 127)), SPACE, NEWLINE]
    seen = set(tokens)
    while len(tokens) < vocab_size:
        letters = "abcdefghijklmnopqrstuvwxyz"
        word = "".join(generator.choice(letters) for _ in range(generator.randint(2, 8)))
        kind = generator.random()
        word = word.capitalize() if kind < 0.15 else str(generator.randrange(10**6)) if kind < 0.2 else word
        word = (SPACE if generator.random() < 0.6 else "") + word
        if word not in seen:
            seen.add(word)
            tokens.append(word)
    return tokens[:vocab_size]
