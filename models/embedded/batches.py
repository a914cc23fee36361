"""Training batches: documents as rows of tokens, in a few fixed lengths.

A batch is a function of the seed and the step alone, so a run that was interrupted goes on as if it had not
been. Most documents have a row of their own and start at position 0, as prompts do when text is generated.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from tokenizers import Tokenizer

from lmppl.models.embedded.corpus import Mixture, training_document
from lmppl.models.embedded.documents import Document
from lmppl.models.embedded.splits import TRAIN, split_of
from lmppl.models.embedded.tokenizer import encode

PROMPT_WEIGHT = 0.25
SHAPES = ((10, 32), (18, 48), (12, 72), (2, 256))
"""Rows and length of the parts of a batch: about 50 documents, in the proportions in which lengths occur."""


@dataclass(frozen=True)
class Rows:
    """Rows of one length.

    Attributes:
        tokens: Ids, zeros after a document's end.
        weights: The weight of each token in the loss: 1 in targets, `PROMPT_WEIGHT` in prompts, 0 after the
            end and for the first token of a row, which nothing precedes.
    """

    tokens: Int[np.ndarray, "rows length"]
    weights: Float[np.ndarray, "rows length"]


def training_batch(
    sources: Mixture, tokenizer: Tokenizer, seed: int, step: int, shapes: tuple[tuple[int, int], ...] = SHAPES
) -> tuple[Rows, ...]:
    """Draws the batch of a step: documents are drawn until every row is filled.

    A document goes into the shortest row with room for it, or is dropped if there is none. Only rows of the
    greatest length hold several documents, one after another: they teach positions that few documents reach.
    """
    rng = random.Random(f"batch {seed} {step}")
    rows = sorted((_Row(length) for number, length in shapes for _ in range(number)), key=lambda r: r.length)
    longest = rows[-1].length
    while True:
        document = training_document(sources, rng)
        assert split_of(document) == TRAIN, document  # nothing held out is ever written
        ids, num_prompt = encode(tokenizer, document)
        row = next((r for r in rows if r.has_room(len(ids), shared=r.length == longest)), None)
        if row:
            row.add(ids, num_prompt)
        elif all(r.ids for r in rows):
            break
    lengths = sorted({length for _, length in shapes})
    return tuple(_stacked([row for row in rows if row.length == length]) for length in lengths)


def evaluation_rows(tokenizer: Tokenizer, documents: list[Document], length: int) -> Rows:
    """Gives documents as rows whose weights are 1 in targets and 0 elsewhere; what is too long is cut."""
    rows = []
    for document in documents:
        ids, num_prompt = encode(tokenizer, document)
        rows.append(_Row(length))
        rows[-1].add(ids[:length], min(num_prompt, length))
    stacked = _stacked(rows)
    return Rows(stacked.tokens, (stacked.weights == 1).astype(np.float32))


class _Row:
    """A row that is being filled."""

    def __init__(self, length: int):
        self.length = length
        self.ids: list[int] = []
        self.weights: list[float] = []

    def has_room(self, num_tokens: int, shared: bool) -> bool:
        return len(self.ids) + num_tokens <= self.length and (shared or not self.ids)

    def add(self, ids: list[int], num_prompt: int) -> None:
        self.ids += ids
        self.weights += [PROMPT_WEIGHT] * num_prompt + [1.0] * (len(ids) - num_prompt)


def _stacked(rows: list[_Row]) -> Rows:
    tokens = np.zeros((len(rows), rows[0].length), np.int32)
    weights = np.zeros((len(rows), rows[0].length), np.float32)
    for i, row in enumerate(rows):
        tokens[i, : len(row.ids)] = row.ids
        weights[i, : len(row.weights)] = row.weights
    weights[:, 0] = 0
    return Rows(tokens, weights)
