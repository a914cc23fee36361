"""Unconstrained sampling from exported weights, and their losses: what the evaluation needs of a model."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray
from tokenizers import Tokenizer

from lmppl.models.checkpoint import read_params
from lmppl.models.config import DecoderConfig
from lmppl.models.decoder import Params, bind
from lmppl.models.embedded.batches import evaluation_rows
from lmppl.models.embedded.documents import Document
from lmppl.models.embedded.optimisation import token_losses
from lmppl.models.embedded.tokenizer import CONTEXT_LENGTH, END_ID, read_tokenizer
from lmppl.models.kv_cache import empty_cache

_CHUNK = 16
_LONGEST = 160
"""No document is longer, in tokens."""


@dataclass(frozen=True)
class ExportedModel:
    """Weights and tokenizer as they lie in a folder."""

    config: DecoderConfig
    params: Params
    tokenizer: Tokenizer

    @staticmethod
    def read(folder: Path) -> ExportedModel:
        """Reads a folder that `train` has exported; computation is in float32."""
        config = DecoderConfig.from_hf(json.loads((folder / "config.json").read_text()))
        return ExportedModel(config, read_params(folder, config, jnp.float32), read_tokenizer(folder))

    def loss(self, documents: list[Document]) -> float:
        """Gives the mean nats per target token, the end token included."""
        nats = jax.jit(functools.partial(token_losses, self.config))
        total = weight = 0.0
        for start in range(0, len(documents), _CHUNK):
            part = documents[start : start + _CHUNK]
            rows = evaluation_rows(self.tokenizer, part + part[:1] * (_CHUNK - len(part)), _LONGEST)
            kept = np.arange(_CHUNK)[:, None] < len(part)
            total += float((np.asarray(nats(self.params, rows.tokens)) * rows.weights * kept).sum())
            weight += float((rows.weights * kept).sum())
        return total / weight

    def sample(
        self, key: PRNGKeyArray, prompts: list[str], num_samples: int, max_tokens: int = 56
    ) -> list[list[str]]:
        """Draws strings after each prompt at temperature 1, up to the end token or `max_tokens`."""
        drawn: list[list[str]] = []
        for start in range(0, len(prompts), _CHUNK):
            part = prompts[start : start + _CHUNK]
            encoded = [self.tokenizer.encode(text).ids for text in part + part[:1] * (_CHUNK - len(part))]
            tokens = np.zeros((_CHUNK, CONTEXT_LENGTH - max_tokens), np.int32)
            for row, ids in enumerate(encoded):
                tokens[row, : len(ids)] = ids
            lengths = jnp.asarray([len(ids) for ids in encoded], jnp.int32)
            ids = _continuations(
                self.config,
                num_samples,
                max_tokens,
                jr.fold_in(key, start),
                self.params,
                jnp.asarray(tokens),
                lengths,
            )
            texts = [self._text(row) for row in np.asarray(ids)]
            drawn += [texts[i * num_samples : (i + 1) * num_samples] for i in range(len(part))]
        return drawn

    def _text(self, ids: np.ndarray) -> str:
        """Gives the text before the end token, without the newline that ends a target."""
        (ends,) = np.nonzero(ids == END_ID)
        kept = ids[: ends[0]] if len(ends) else ids
        return self.tokenizer.decode(list(map(int, kept))).removesuffix("\n")


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _continuations(
    config: DecoderConfig,
    num_samples: int,
    max_tokens: int,
    key: PRNGKeyArray,
    params: Params,
    tokens: Int[Array, "rows length"],
    lengths: Int[Array, " rows"],
) -> Int[Array, "draws max_tokens"]:
    """Draws `num_samples` continuations of every row, one after another."""
    model = bind(config, params)
    empty = empty_cache(config, len(tokens), CONTEXT_LENGTH, model.embedding.dtype)
    cache, hidden = model.extend(empty, tokens, lengths)
    logits = model.logits(hidden[jnp.arange(len(tokens)), lengths - 1])
    cache, logits = jax.tree.map(lambda leaf: jnp.repeat(leaf, num_samples, axis=0), (cache, logits))

    def advance(carry: Any, key: PRNGKeyArray) -> Any:
        cache, logits = carry
        drawn = jr.categorical(key, logits).astype(jnp.int32)
        model = bind(config, params)
        cache, hidden = model.extend(cache, drawn[:, None], jnp.ones(drawn.shape, jnp.int32))
        return (cache, model.logits(hidden[:, 0])), drawn

    _, ids = jax.lax.scan(advance, (cache, logits), jr.split(key, max_tokens))
    return ids.T
