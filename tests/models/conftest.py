"""Small checkpoints with random weights and small tokenizers, made without PyTorch."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import jax
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from lmppl.models.checkpoint import write_checkpoint
from lmppl.models.config import DecoderConfig
from lmppl.models.decoder import initial_params

END = "<|end|>"
CORPUS = ["the red block is on the blue block", "the cat sat on the mat", "12 34 {} [] naïve café ☃"] * 4


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A folder with a random decoder and a byte-level tokenizer whose id 0 ends a string."""
    folder = tmp_path / "checkpoint"
    config = DecoderConfig(
        vocab_size=320,
        hidden_size=32,
        intermediate_size=48,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        head_size=8,
        context_length=64,
        initializer_range=0.2,
    )
    write_checkpoint(folder, config, initial_params(config, jax.random.key(0)))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [0]}))
    (folder / "tokenizer.json").write_text(byte_level_tokenizer())
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": END}))
    return folder


@pytest.fixture
def sentencepiece_spec() -> dict[str, Any]:
    """A tokenizer.json in the style of Llama 2: U+2581 for spaces, byte fallback, a space in front."""
    return sentencepiece_tokenizer()


def byte_level_tokenizer() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=[END, "<|user|>", "<|assistant|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_tokens([AddedToken("<note>", special=False)])
    return tokenizer.to_str()


def sentencepiece_tokenizer() -> dict[str, Any]:
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *string.ascii_letters]
    merges = [("t", "h"), ("th", "e"), ("▁", "the"), ("▁", "a")]
    pieces += ["".join(pair) for pair in merges]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_control(index, pieces[index]) for index in range(3)],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "<s>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": {piece: index for index, piece in enumerate(pieces)},
            "merges": [list(pair) for pair in merges],
        },
    }


def _control(index: int, content: str) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": index, "content": content, "special": True, **flags}
