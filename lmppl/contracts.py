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

    Each text serves as a prompt, all of them in one batch, and as a text that follows the other
    prompts. What is compared are log probabilities of the next token, against rows read alone and at
    once.

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
    rows = [
        (*lm.encode_prompt(text), *lm.encode(texts[(row + 1) % len(texts)])) for row, text in enumerate(texts)
    ]
    subject = _Subject(lm, rows, atol)
    _check_chunks(subject)
    _check_padding_and_rows(subject)
    _check_prefix(subject)
    _check_cache(subject)
    _check_sharing(subject)


class _Subject:
    """A model, the rows that it reads, and what it says after each token of a row read by itself."""

    def __init__(self, lm: LanguageModel, rows: list[tuple[int, ...]], atol: float):
        self.lm, self.rows, self.atol = lm, rows, atol
        self.capacity = max(map(len, rows)) + 1
        self._extend = jax.jit(lm.extend)
        self._logits = jax.jit(lm.logits)
        alone = self.empty(1, self.capacity)
        self.expected = [self.read(alone, [row])[1][0] for row in rows]

    def empty(self, num_rows: int, capacity: int) -> Any:
        return jax.jit(self.lm.empty, static_argnums=(0, 1))(num_rows, capacity)

    def read(
        self,
        cache: Any,
        parts: Sequence[Sequence[int]],
        prefix: Any = None,
        pad_id: int = 0,
        padding: bool = False,
    ) -> tuple[Any, np.ndarray]:
        """Reads a part of each row, in one call; gives log probabilities `[rows, length, vocab]`."""
        longest = max(map(len, parts))
        length = 1 if longest <= 1 and not padding else self.capacity - 1  # few shapes, little to compile
        tokens = np.array([[*part, *[pad_id] * (length - len(part))] for part in parts], np.int32)
        lengths = jnp.asarray([len(part) for part in parts], jnp.int32)
        cache, hidden = self._extend(self.lm.params, cache, jnp.asarray(tokens), lengths, prefix)
        _require(
            hidden.shape[:2] == tokens.shape,
            f"extend by tokens of shape {tokens.shape} gives hidden states of shape {hidden.shape}",
        )
        logits = self._logits(self.lm.params, hidden)
        expected = (*tokens.shape, len(self.lm.vocabulary))
        _require(logits.shape == expected, f"logits has shape {logits.shape}, not {expected}")
        _require(logits.dtype == jnp.float32, f"logits are {logits.dtype}, not float32")
        return cache, _log_probs(logits)

    def require(self, log_probs: np.ndarray, spans: Sequence[tuple[int, int, int]], where: str) -> None:
        """Compares with rows read alone; `spans` are (row, from, to), one for each row of `log_probs`."""
        for at, (row, start, stop) in enumerate(spans):
            if start >= stop:
                continue
            expected = self.expected[row][start:stop]
            _require_close(log_probs[at, : stop - start], expected, self.atol, f"row {row}, {where}")

    def split(self, at: int) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        """Gives the beginnings of the rows, row `i` one token longer than row `i - 1`, and the rest."""
        cuts = [min(at + row, len(tokens)) for row, tokens in enumerate(self.rows)]
        parts = list(zip(self.rows, cuts, strict=True))
        return [tokens[:cut] for tokens, cut in parts], [tokens[cut:] for tokens, cut in parts]


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


def _check_chunks(subject: _Subject) -> None:
    """Reading in chunks, or step by step, or not at all, is the same as reading at once."""
    begun, rest = subject.split(1)
    spans = [(row, 0, len(part)) for row, part in enumerate(begun)]
    cache, log_probs = subject.read(subject.empty(len(begun), subject.capacity), begun)
    subject.require(log_probs, spans, "read with the others")
    for step in range(max(map(len, rest))):
        parts = [part[step : step + 1] for part in rest]
        cache, log_probs = subject.read(cache, parts)
        spans = [
            (row, len(first) + step, len(first) + step + len(part))
            for row, (first, part) in enumerate(zip(begun, parts, strict=True))
        ]
        subject.require(log_probs, spans, f"step by step ({step + 1})")
    cache, _ = subject.read(subject.empty(len(begun), subject.capacity), begun)
    cache, log_probs = subject.read(cache, rest)
    spans = [(row, len(first), len(subject.rows[row])) for row, first in enumerate(begun)]
    subject.require(log_probs, spans, "read in two chunks")


def _check_padding_and_rows(subject: _Subject) -> None:
    """What a row says depends neither on its padding nor on what other rows read."""
    other_id = subject.rows[-1][0]
    begun, rest = subject.split(2)
    spans = [(row, len(first), len(subject.rows[row])) for row, first in enumerate(begun)]
    empty = subject.empty(len(begun), subject.capacity)
    cache, _ = subject.read(empty, begun, pad_id=other_id, padding=True)
    # Here the padding reaches beyond what a row can hold.
    _, log_probs = subject.read(cache, rest, pad_id=other_id, padding=True)
    subject.require(log_probs, spans, "padded with another token")
    others = [subject.rows[0], *[(other_id,) * (len(row) - 1) for row in subject.rows[1:]]]
    _, log_probs = subject.read(empty, others)
    subject.require(log_probs[:1], [(0, 0, len(subject.rows[0]))], "after the other rows were changed")


def _check_prefix(subject: _Subject) -> None:
    """Rows that follow a shared prefix go on as if each had read it; it may have room to spare."""
    row, tokens = 0, subject.rows[0]
    for cut in sorted({0, 1, len(tokens) // 2, len(tokens) - 1}):
        prefix = subject.empty(1, subject.capacity)
        if cut:
            prefix, _ = subject.read(prefix, [tokens[:cut]], padding=True, pad_id=tokens[-1])
        middle = (cut + len(tokens)) // 2
        parts = [tokens[cut:middle], tokens[cut:]]
        cache, log_probs = subject.read(subject.empty(2, subject.capacity), parts, prefix)
        where = f"after a shared prefix of {cut} tokens"
        subject.require(log_probs, [(row, cut, middle), (row, cut, len(tokens))], where)
        _, log_probs = subject.read(cache, [tokens[middle:], ()], prefix)
        subject.require(log_probs[:1], [(row, middle, len(tokens))], f"{where}, in chunks")


def _check_cache(subject: _Subject) -> None:
    """Rows that are gathered, moved, rewound or grown go on as what they have become."""
    lm, num_rows = subject.lm, len(subject.rows)
    begun, rest = subject.split(1)
    cache, _ = subject.read(subject.empty(num_rows, subject.capacity), begun)

    def check(cache: Any, rows: list[int], where: str) -> None:
        _, log_probs = subject.read(cache, [rest[row] for row in rows])
        subject.require(log_probs, [(row, len(begun[row]), len(subject.rows[row])) for row in rows], where)

    last = num_rows - 1
    for rows in ([last, *[0] * last], [last], [*range(num_rows), last]):
        gathered = jax.jit(lm.gather)(cache, jnp.asarray(rows, jnp.int32))
        check(gathered, rows, "gathered by ancestor")
    for rows in ([last] * num_rows, [0, *[0] * last], list(range(num_rows))):
        check(jax.jit(lm.move)(cache, jnp.asarray(rows, jnp.int32)), rows, "moved to an ancestor")
    longer, _ = subject.read(cache, [subject.rows[last - row][:1] for row in range(num_rows)])
    lengths = jnp.asarray([len(part) for part in begun], jnp.int32)
    check(jax.jit(lm.rewind)(longer, lengths), list(range(num_rows)), "rewound")
    grown = jax.jit(lm.grow, static_argnums=1)(cache, subject.capacity + 8)
    check(grown, list(range(num_rows)), "in a grown cache")
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(cache))
    told = lm.cache_bytes(num_rows, subject.capacity)
    _require(told == size, f"cache_bytes({num_rows}, {subject.capacity}) is {told}; the cache has {size}")


def _check_sharing(subject: _Subject) -> None:
    """Rows with the same contents that are read as one go on as if each had been read; others stay."""
    lm, tokens = subject.lm, subject.rows[0]
    other = subject.rows[-1]
    half = len(tokens) // 2
    cache, _ = subject.read(subject.empty(4, subject.capacity), [tokens[:half], other, tokens[:half], ()])
    read = np.array([[tokens[half]], [0], [tokens[half]], [other[0]]], np.int32)
    leaders, groups = np.array([2, 3, 0], np.int32), np.array([0, 2, 0, 1], np.int32)
    cache, hidden = jax.jit(lm.extend_shared)(
        lm.params, cache, read, np.array([1, 0, 1, 1], np.int32), leaders, groups, None
    )
    _require(
        hidden.shape[:2] == (3, 1), f"extend_shared of 3 leaders gives hidden states of shape {hidden.shape}"
    )
    log_probs = _log_probs(jax.jit(lm.logits)(lm.params, hidden))
    where = "read as one of several"
    subject.require(log_probs[:1], [(0, half, half + 1)], where)
    subject.require(log_probs[1:2], [(len(subject.rows) - 1, 0, 1)], where)
    rest = [tokens[half + 1 :], (), tokens[half + 1 :], other[1:]]
    _, log_probs = subject.read(cache, rest)
    for at, (row, start) in {0: (0, half + 1), 2: (0, half + 1), 3: (len(subject.rows) - 1, 1)}.items():
        subject.require(log_probs[at : at + 1], [(row, start, len(subject.rows[row]))], f"{where}, then on")


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
