"""The tokenizer of the embedded model: byte-level BPE of 2,048 tokens, digits apart, newlines apart."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from lmppl.models.embedded.corpus import Mixture, training_document
from lmppl.models.embedded.documents import END, Document

VOCAB_SIZE = 2048
CONTEXT_LENGTH = 256
END_ID = 0  # the only special token, so the trainer gives it the first id

# A newline is always a token of its own, so a prompt that ends in one, and what follows it, have the same
# tokens whether they are encoded apart or together.
_PIECES = r"\n|\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|[^\S\n]+"


def train_tokenizer(sources: Mixture, seed: int, num_documents: int, vocab_size: int) -> Tokenizer:
    """Learns the merges from training documents; the same ones for a seed."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    rng = random.Random(f"tokenizer {seed}")
    drawn = (training_document(sources, rng) for _ in range(num_documents))
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((d.prompt + d.target + "\n" for d in drawn), trainer)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Writes the tokenizer and the files that tell transformers how to use it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    options = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "pad_token": END,
        "model_max_length": CONTEXT_LENGTH,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(options, indent=2) + "\n")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": END_ID}, indent=2) + "\n")


def read_tokenizer(folder: Path) -> Tokenizer:
    """Reads what `save_tokenizer` wrote."""
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def encode(tokenizer: Tokenizer, document: Document) -> tuple[list[int], int]:
    """Gives a document's ids and how many of them are its prompt.

    Prompt and target are encoded apart, as they are when text is generated. The target ends with a newline
    and the end token, so it can be ended by `stop="\\n"` and by the end token alike.
    """
    prompt = tokenizer.encode(document.prompt).ids
    return [*prompt, *tokenizer.encode(document.target + "\n").ids, END_ID], len(prompt)
