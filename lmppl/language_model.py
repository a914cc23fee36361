"""What scores tokens: the protocol that every language model fulfils. It knows no Flax."""

from __future__ import annotations

import abc
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Array, Float, Int

if TYPE_CHECKING:
    from lmppl.text import Chat, Text

Params = Any
Cache = Any


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The token ids of a model, as byte strings.

    Attributes:
        token_bytes: One byte string an id, `b""` for ids that stand for no text (padding, control
            tokens, unused rows of the embedding). Several ids may share one byte string.
        eos_ids: The ids that end a string. Their bytes are `b""`.
    """

    token_bytes: tuple[bytes, ...]
    eos_ids: frozenset[int] = field(default_factory=frozenset)

    def __len__(self) -> int:
        return len(self.token_bytes)

    @cached_property
    def possible(self) -> np.ndarray:
        """`Bool[vocab]`: True for ids that a string may contain or end with.

        A text distribution is normalised over these: control tokens are no text.
        """
        mask = np.array([bool(data) for data in self.token_bytes], bool)
        mask[sorted(self.eos_ids)] = True
        return mask


class LanguageModel(abc.ABC):
    """A distribution over the next token, with its weights apart from its code.

    The methods that take `params` are pure and traceable: the engine compiles them into its own
    step. `params` is always an argument, so that weights never become constants of a program.
    Row `n` of a batch is one particle; rows do not look at each other.
    """

    name: str
    vocabulary: Vocabulary
    params: Params
    context_length: int

    @abc.abstractmethod
    def encode_prompt(self, prompt: str | Chat) -> tuple[int, ...]:
        """Gives the ids that a prompt starts from, with whatever the model wants before them."""

    @abc.abstractmethod
    def encode(self, text: str) -> tuple[int, ...]:
        """Gives the canonical ids of a text that follows a prompt.

        Their bytes, joined, are `text` in UTF-8.
        """

    @abc.abstractmethod
    def prefill(
        self, params: Params, tokens: Int[Array, "rows length"], lengths: Int[Array, " rows"], capacity: int
    ) -> tuple[Cache, Float[Array, "rows vocab"]]:
        """Reads prompts of `lengths` tokens (right-padded) and gives the cache and the next logits.

        `capacity` is static: how many tokens a row of the cache can hold in all.
        """

    @abc.abstractmethod
    def decode(
        self, params: Params, cache: Cache, tokens: Int[Array, " rows"]
    ) -> tuple[Cache, Float[Array, "rows vocab"]]:
        """Appends one token to every row and gives the cache and the next logits."""

    @abc.abstractmethod
    def gather(self, cache: Cache, rows: Int[Array, " new_rows"]) -> Cache:
        """Gives the cache whose row `i` is row `rows[i]` of the old one."""

    @abc.abstractmethod
    def grow(self, cache: Cache, capacity: int) -> Cache:
        """Gives the same cache with room for `capacity` tokens a row."""

    @abc.abstractmethod
    def full_logits(
        self, params: Params, tokens: Int[Array, "rows length"]
    ) -> Float[Array, "rows length+1 vocab"]:
        """Gives, at position `i`, the logits that follow the first `i` tokens of each row.

        Position 0 has a meaning only for a model that accepts an empty prompt.
        """

    def __call__(
        self,
        prompt: str | Chat,
        *,
        max_tokens: int | None = None,
        stop: str | None = None,
        temperature: float = 1.0,
    ) -> Text:
        """Gives the distribution over strings that follow a prompt. See `lmppl.text.Text`."""
        from lmppl.text import Text  # the protocol and its distribution know each other

        return Text.of(self, prompt, max_tokens=max_tokens, stop=stop, temperature=temperature)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}, {len(self.vocabulary):,} tokens>"
