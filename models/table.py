"""A language model small enough to enumerate: the next token depends on the last one only."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lmppl.errors import InvalidInputError, InvalidTypeError
from lmppl.language_model import NOTHING, LanguageModel, Vocabulary
from lmppl.models.canonical_cuts import LongestMatchRule
from lmppl.models.longest_match import LongestMatch
from lmppl.text import Chat
from lmppl.token_rules import TokenRule

_SUM_TOLERANCE = 1e-4  # rows written with a few decimals are meant to sum to one
_CONTEXT_LENGTH = 1_000_000

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
        self._canonical_rule = LongestMatchRule(self.vocabulary)

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

    def canonical_rule(self) -> TokenRule:
        """Gives the rule that only sequences of longest tokens keep."""
        return self._canonical_rule

    @property
    def skeleton(self) -> LanguageModel:
        """One for all tables: what is compiled knows nothing but the shape of a table."""
        return _skeleton() if type(self) is TableLM else self

    def empty(self, num_rows: int, capacity: int) -> Int[Array, " num_rows"]:
        """Gives, as the cache, the last token of every row: `NOTHING`."""
        del capacity  # a row holds one token, however long it is
        return jnp.full(num_rows, NOTHING, jnp.int32)

    def extend(
        self,
        params: Table,
        cache: Int[Array, " rows"],
        tokens: Int[Array, "rows length"],
        lengths: Int[Array, " rows"],
        prefix: Int[Array, " 1"] | None = None,
    ) -> tuple[Int[Array, " rows"], Int[Array, "rows length"]]:
        """Gives the new last tokens and, as the hidden states, the tokens read: each decides the next."""
        del params, prefix
        tokens = tokens.astype(jnp.int32)
        if tokens.shape[1] == 0:
            return cache, tokens
        ends = jnp.maximum(lengths.astype(jnp.int32) - 1, 0)[:, None]
        last = jnp.take_along_axis(tokens, ends, axis=1)[:, 0]
        return jnp.where(lengths > 0, last, cache), tokens

    def logits(self, params: Table, hidden: Int[Array, "*leading"]) -> Float[Array, "*leading vocab"]:
        """Looks up the row of each last token; `NOTHING` is the row in front of the others."""
        table = jnp.concatenate([params["initial"][None], params["transition"]])
        return jnp.take(table, hidden - NOTHING, axis=0, mode="clip")

    def gather(self, cache: Int[Array, " rows"], rows: Int[Array, " new_rows"]) -> Int[Array, " new_rows"]:
        """Gives the cache whose row `i` is row `rows[i]` of the old one."""
        return cache[rows]

    def rewind(self, cache: Int[Array, " rows"], lengths: Int[Array, " rows"]) -> Int[Array, " rows"]:
        """Gives the cache as it is: what comes next depends on the tokens read next."""
        del lengths
        return cache

    def grow(self, cache: Int[Array, " rows"], capacity: int) -> Int[Array, " rows"]:
        """Gives the cache as it is: it has room for any number of tokens."""
        del capacity
        return cache


@functools.cache
def _skeleton() -> TableLM:
    return object.__new__(TableLM)


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
