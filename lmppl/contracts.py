"""The laws of a language model, as a check that anyone can run on their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmppl.language_model import LanguageModel


def check_language_model(lm: LanguageModel, texts: Sequence[str], *, atol: float = 1e-4) -> None:
    """Checks that a language model keeps the promises that inference relies on.

    Each text serves as a prompt (the first `prefill` reads all of them at once) and as a text that
    follows the other prompts. Compared are log probabilities of the next token.

    Args:
        lm: Any `LanguageModel`.
        texts: At least two non-empty strings that the model's tokens can spell, of different lengths.
        atol: How far log probabilities may differ, in nats. Give about 0.1 for bfloat16 weights.

    Raises:
        AssertionError: A law is broken; the message says which.
    """
    if len(texts) < 2 or not all(texts):
        raise ValueError(f"texts is {texts!r}; the check needs at least two non-empty strings.")
    _check_vocabulary(lm)
    for text in texts:
        _check_encoding(lm, text)
    prompts = [lm.encode_prompt(text) for text in texts]
    follow = [lm.encode(texts[(row + 1) % len(texts)]) for row in range(len(texts))]
    steps = min(map(len, follow))
    following = np.array([ids[:steps] for ids in follow], np.int32)
    capacity = max(map(len, prompts)) + steps + 1
    _check_incremental(lm, prompts, following, capacity, atol)
    _check_padding_and_rows(lm, prompts, following, capacity, atol)
    _check_gather_and_grow(lm, prompts, following, capacity, atol)


def _check_vocabulary(lm: LanguageModel) -> None:
    vocabulary = lm.vocabulary
    for index in vocabulary.eos_ids:
        _require(0 <= index < len(vocabulary), f"eos id {index} is not one of {len(vocabulary)} ids")
        _require(vocabulary.token_bytes[index] == b"", f"the bytes of eos id {index} are not empty")
    _require(any(vocabulary.token_bytes), "no token has any bytes")
    _require(lm.context_length > 0, f"context_length is {lm.context_length}")
    _require(hash(lm) == hash(lm), "the model is not hashable")


def _check_encoding(lm: LanguageModel, text: str) -> None:
    table = lm.vocabulary.token_bytes
    joined = b"".join(table[index] for index in lm.encode(text))
    _require(joined == text.encode(), f"encode({text!r}) spells {joined!r}")
    prompt = lm.encode_prompt(text)
    _require(len(prompt) > 0, f"encode_prompt({text!r}) is empty")
    _require(
        all(0 <= index < len(table) for index in prompt), f"encode_prompt({text!r}) has ids out of range"
    )
    _require(lm.encode("") == (), "encode('') is not empty")


def _check_incremental(
    lm: LanguageModel, prompts: list, following: np.ndarray, capacity: int, atol: float
) -> None:
    """`prefill` then `decode`, compiled, against one pass over whole rows."""
    steps = following.shape[1]
    whole = [[*prompt, *ids] for prompt, ids in zip(prompts, following, strict=True)]
    length = max(map(len, whole))
    padded = _ids([[*row, *[0] * (length - len(row))] for row in whole])
    expected = _log_probs(jax.jit(lm.full_logits)(lm.params, padded))
    cache, log_probs = _prefill(lm, prompts, capacity)
    decode = jax.jit(lm.decode)
    for step in range(steps + 1):
        for row, prompt in enumerate(prompts):
            where = f"row {row}, {step} tokens after its prompt: step by step against the whole row"
            _require_close(log_probs[row], expected[row, len(prompt) + step], atol, where)
        if step < steps:
            cache, logits = decode(lm.params, cache, jnp.asarray(following[:, step]))
            log_probs = _log_probs(logits)


def _check_padding_and_rows(
    lm: LanguageModel, prompts: list, following: np.ndarray, capacity: int, atol: float
) -> None:
    """A row's logits depend neither on its padding nor on what other rows read."""
    _, plain = _prefill(lm, prompts, capacity)
    other_id = int(following[0, 0])
    _, padded = _prefill(lm, prompts, capacity, pad_id=other_id, pad_to=capacity - 1)
    _require_close(padded, plain, atol, "rows padded with another token")
    _, changed = _prefill(lm, [prompts[0], *[(other_id,) * len(row) for row in prompts[1:]]], capacity)
    _require_close(changed[0], plain[0], atol, "row 0 after the other rows were changed")


def _check_gather_and_grow(
    lm: LanguageModel, prompts: list, following: np.ndarray, capacity: int, atol: float
) -> None:
    """A gathered row goes on as its ancestor would; a grown cache goes on as before."""
    cache, _ = _prefill(lm, prompts, capacity)
    tokens = jnp.asarray(following[:, 0])
    decode = jax.jit(lm.decode)
    _, logits = decode(lm.params, cache, tokens)
    plain = _log_probs(logits)
    rows = np.array([len(prompts) - 1, *[0] * (len(prompts) - 1)])
    _, logits = decode(lm.params, lm.gather(cache, jnp.asarray(rows)), tokens[rows])
    _require_close(_log_probs(logits), plain[rows], atol, "rows gathered by ancestor")
    _, logits = decode(lm.params, lm.grow(cache, capacity + 8), tokens)
    _require_close(_log_probs(logits), plain, atol, "a grown cache")


def _prefill(lm: LanguageModel, prompts: list, capacity: int, pad_id: int = 0, pad_to: int = 0) -> tuple:
    length = max(pad_to, *map(len, prompts))
    rows = [[*prompt, *[pad_id] * (length - len(prompt))] for prompt in prompts]
    lengths = jnp.asarray([len(prompt) for prompt in prompts], jnp.int32)
    prefill = jax.jit(lm.prefill, static_argnums=3)
    cache, logits = prefill(lm.params, _ids(rows), lengths, capacity)
    expected = (len(prompts), len(lm.vocabulary))
    _require(logits.shape == expected, f"prefill gives logits of shape {logits.shape}, not {expected}")
    return cache, _log_probs(logits)


def _ids(rows: list) -> Any:
    return jnp.asarray(np.array(rows, np.int32))


def _log_probs(logits: Any) -> np.ndarray:
    return np.asarray(jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1))


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(f"Not a lawful language model: {otherwise}.")


def _require_close(actual: np.ndarray, expected: np.ndarray, atol: float, where: str) -> None:
    with np.errstate(invalid="ignore"):
        gap = np.abs(actual - expected)
    worst = float(np.max(np.where(actual == expected, 0.0, gap)))
    _require(worst <= atol, f"log probabilities differ by {worst:.3g} nats ({where}; allowed: {atol:g})")
