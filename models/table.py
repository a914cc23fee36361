"""A language model small enough to enumerate: the next token depends on the last one only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lmppl.errors import InvalidInputError, InvalidTypeError
from lmppl.language_model import LanguageModel, Vocabulary
from lmppl.models.longest_match import LongestMatch
from lmppl.text import Chat

_SUM_TOLERANCE = 1e-4  # rows written with a few decimals are meant to sum to one
_CONTEXT_LENGTH = 1_000_000
_NOTHING_READ = -1

Table = dict[str, Float[Array, "..."]]


class TableLM(LanguageModel):
    """A first-order Markov chain over tokens, for tests, documentation and exact answers.

    Prompts and texts are cut into tokens by longest match. An empty prompt is allowed: the first
    token is then drawn from `initial_probs`. Otherwise the prompt's last token decides.

    Args:
        tokens: Strings, the last one naming the end of a string. Several may be equal.
        initial_probs: `[V]`, the first token's probabilities after an empty prompt.
        transition_probs: `[V, V]`; row `i` gives the probabilities after token `i`. The row of the end
            is ignored.
        name: What the model is called in tables and errors.

    Raises:
        InvalidInputError: Wrong shapes, negative or not finite probabilities, rows that do not sum to 1.

    Example:
        >>> lm = TableLM(["a", "b", "<end>"], [0.5, 0.5, 0.0], [[0.6, 0.2, 0.2], [0.1, 0.4, 0.5], [0, 0, 1]])
        >>> lm.encode("abba")
        (0, 1, 1, 0)
    """

    def __init__(
        self, tokens: Sequence[str], initial_probs: Any, transition_probs: Any, *, name: str = "table"
    ):
        size = len(_checked_tokens(tokens))
        initial = _probabilities("initial_probs", initial_probs, (size,))
        transition = _probabilities("transition_probs", transition_probs, (size, size))
        transition[-1] = np.eye(size)[-1]  # nothing follows the end
        _check_sums("initial_probs", initial)
        for row, probs in enumerate(transition[:-1]):
            _check_sums(f"transition_probs[{row}] (after {tokens[row]!r})", probs)
        self.name = name
        self.vocabulary = Vocabulary(
            (*(token.encode("utf-8") for token in tokens[:-1]), b""), frozenset({size - 1})
        )
        self.params: Table = {"initial": _log_table(initial), "transition": _log_table(transition)}
        self.context_length = _CONTEXT_LENGTH
        self._longest_match = LongestMatch(self.vocabulary.token_bytes)

    def encode_prompt(self, prompt: str | Chat) -> tuple[int, ...]:
        """Gives the ids of a prompt, which may be empty.

        Raises:
            InvalidInputError: A chat, or a prompt that the tokens cannot spell.
        """
        if not isinstance(prompt, str):
            if isinstance(prompt, Chat):
                raise InvalidInputError("A TableLM has no chat template. Pass the prompt as a string.")
            raise InvalidTypeError(f"A prompt is a str, not {type(prompt).__name__}: {prompt!r}.")
        return self.encode(prompt)

    def encode(self, text: str) -> tuple[int, ...]:
        """Gives the ids of a text, the longest tokens first."""
        if not isinstance(text, str):
            raise InvalidTypeError(f"A text to encode is a str, not {type(text).__name__}: {text!r}.")
        return self._longest_match.encode(text)

    def prefill(
        self, params: Table, tokens: Int[Array, "rows length"], lengths: Int[Array, " rows"], capacity: int
    ) -> tuple[Int[Array, " rows"], Float[Array, "rows vocab"]]:
        """Gives, as the cache, the last token of every row (-1 if there is none) and the next logits."""
        del capacity  # a row holds one token, however long it is
        rows, length = tokens.shape
        if length == 0:
            last = jnp.full(rows, _NOTHING_READ, jnp.int32)
        else:
            ends = jnp.maximum(lengths - 1, 0)[:, None]
            read = jnp.take_along_axis(tokens, ends, axis=1)[:, 0].astype(jnp.int32)
            last = jnp.where(lengths > 0, read, _NOTHING_READ)
        return last, _next_logits(params, last)

    def decode(
        self, params: Table, cache: Int[Array, " rows"], tokens: Int[Array, " rows"]
    ) -> tuple[Int[Array, " rows"], Float[Array, "rows vocab"]]:
        """Gives the new last tokens and the logits after them."""
        last = tokens.astype(cache.dtype)
        return last, _next_logits(params, last)

    def gather(self, cache: Int[Array, " rows"], rows: Int[Array, " new_rows"]) -> Int[Array, " new_rows"]:
        """Gives the cache whose row `i` is row `rows[i]` of the old one."""
        return cache[rows]

    def grow(self, cache: Int[Array, " rows"], capacity: int) -> Int[Array, " rows"]:
        """Gives the cache as it is: it has room for any number of tokens."""
        del capacity
        return cache

    def full_logits(
        self, params: Table, tokens: Int[Array, "rows length"]
    ) -> Float[Array, "rows length+1 vocab"]:
        """Gives the logits after each prefix, the empty one included."""
        before = jnp.full((tokens.shape[0], 1), _NOTHING_READ, jnp.int32)
        last = jnp.concatenate([before, tokens.astype(jnp.int32)], axis=1)
        return jax.vmap(_next_logits, in_axes=(None, 0))(params, last)


def _next_logits(params: Table, last: Int[Array, " rows"]) -> Float[Array, "rows vocab"]:
    """Looks up the row of each last token; `_NOTHING_READ` is the row in front of the others."""
    table = jnp.concatenate([params["initial"][None], params["transition"]])
    return table[last + 1]


def _checked_tokens(tokens: Sequence[str]) -> Sequence[str]:
    if isinstance(tokens, str) or len(tokens) < 2:
        raise InvalidInputError(
            f"tokens is {tokens!r}; expected a list of at least two strings, the last naming the end."
        )
    for index, token in enumerate(tokens):
        if not isinstance(token, str):
            raise InvalidTypeError(
                f"tokens[{index}] is {token!r}, a {type(token).__name__}; tokens are strings."
            )
        if not token and index < len(tokens) - 1:
            raise InvalidInputError(
                f"tokens[{index}] is the empty string. A token adds at least one character; only the last, "
                "which ends a string, adds nothing."
            )
    return tokens


def _probabilities(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    try:
        probs = np.array(values, np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{name} is no array of numbers: {error}.") from error
    if probs.shape != shape:
        raise InvalidInputError(f"{name} has shape {probs.shape}; {shape[0]} tokens need {shape}.")
    used = probs if probs.ndim == 1 else probs[:-1]
    if not np.all(np.isfinite(used)) or np.any(used < 0):
        worst = used[~np.isfinite(used) | (used < 0)][0]
        raise InvalidInputError(
            f"{name} contains {worst}; probabilities are from 0 to 1, not their logarithms."
        )
    return probs


def _check_sums(name: str, probs: np.ndarray) -> None:
    if abs(probs.sum() - 1) > _SUM_TOLERANCE:
        raise InvalidInputError(
            f"{name} sums to {probs.sum():.6g}; probabilities sum to 1. Divide it by its sum."
        )


def _log_table(probs: np.ndarray) -> Float[Array, "..."]:
    with np.errstate(divide="ignore"):
        logs = np.log(probs / probs.sum(axis=-1, keepdims=True))
    return jnp.asarray(logs, jnp.float32)
