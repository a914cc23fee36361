"""What scores tokens: the protocol that every language model fulfils. It knows no Flax."""

from __future__ import annotations

import abc
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from lmppl.errors import InvalidInputError

if TYPE_CHECKING:
    from lmppl.text import Chat, Text
    from lmppl.token_rules import TokenRule

Params = Any
Cache = Any
Hidden = Any

NOTHING = -1
"""Stands for the empty prompt, as if it were a token. Only a model that accepts one is ever given it."""


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
    def texts(self) -> tuple[bytes, ...]:
        """What each id adds to a text: its bytes, and nothing if it ends a string, whatever its bytes are."""
        texts = list(self.token_bytes)
        for end in self.eos_ids:
            texts[end] = b""
        return tuple(texts)

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

    Attributes:
        mesh: The devices that its weights and the particles are spread over; None for one device.
    """

    name: str
    vocabulary: Vocabulary
    params: Params
    context_length: int
    mesh: Mesh | None = None

    @abc.abstractmethod
    def encode_prompt(self, prompt: str | Chat) -> tuple[int, ...]:
        """Gives the ids that a prompt starts from, with whatever the model wants before them."""

    @abc.abstractmethod
    def encode(self, text: str) -> tuple[int, ...]:
        """Gives the canonical ids of a text that follows a prompt.

        Their bytes, joined, are `text` in UTF-8.
        """

    @abc.abstractmethod
    def empty(self, num_rows: int, capacity: int) -> Cache:
        """Gives a cache of rows that have read nothing. Traceable; both sizes are static.

        Args:
            num_rows: Rows, of which each belongs to one particle.
            capacity: How many tokens a row can hold.
        """

    @abc.abstractmethod
    def extend(
        self,
        params: Params,
        cache: Cache,
        tokens: Int[Array, "rows length"],
        lengths: Int[Array, " rows"],
        prefix: Cache | None = None,
    ) -> tuple[Cache, Hidden]:
        """Reads more tokens: a prompt, a part of one, or the one token of a step.

        Args:
            params: The weights.
            cache: What the rows have read. A row that has no room left must `grow` first: what it reads
                beyond its capacity is lost, and nothing says so.
            tokens: Right-padded; what stands in the padding does not matter.
            lengths: Row `i` reads its first `lengths[i]` tokens, which may be none.
            prefix: A cache of one row which the tokens of all rows follow. It is looked at, and neither
                written nor copied. Give the same one at every call with this cache.

        Returns:
            The cache, and an array `[rows, length, ...]` of what `logits` makes the next token of, after
            each token. What it holds at padding means nothing.
        """

    @abc.abstractmethod
    def logits(self, params: Params, hidden: Hidden) -> Float[Array, "*leading vocab"]:
        """Gives the next token's logits, in float32, from hidden states with any leading axes."""

    @abc.abstractmethod
    def gather(self, cache: Cache, rows: Int[Array, " new_rows"]) -> Cache:
        """Gives the cache whose row `i` is row `rows[i]` of the old one; there may be more or fewer rows."""

    @abc.abstractmethod
    def rewind(self, cache: Cache, lengths: Int[Array, " rows"]) -> Cache:
        """Makes row `i` forget all but its first `lengths[i]` tokens (a prefix not counted); no copy."""

    @abc.abstractmethod
    def grow(self, cache: Cache, capacity: int) -> Cache:
        """Gives the same cache with room for `capacity` tokens a row."""

    def canonical_rule(self) -> TokenRule:
        """Gives the rule that only canonical tokens keep, always the same object; for `lp.canonical`.

        Raises:
            InvalidInputError: There is none for this model's kind of tokenizer.
        """
        raise InvalidInputError(
            f"{type(self).__name__} has no rule that tells canonical tokens, so lp.canonical cannot be used "
            f"with {self.name!r}. Leave it out, or write `canonical_rule` for the model."
        )

    def move(self, cache: Cache, ancestors: Int[Array, " rows"]) -> Cache:
        """Makes row `i` what row `ancestors[i]` is: resampling.

        A row that is copied stays where it is: `ancestors[ancestors[i]] == ancestors[i]`. So only rows
        that move have to be written, in any order, in place where the cache is donated or a loop's carry.
        """
        return self.gather(cache, ancestors)

    def extend_shared(
        self,
        params: Params,
        cache: Cache,
        tokens: Int[Array, "rows length"],
        lengths: Int[Array, " rows"],
        leaders: Int[Array, " leaders"],
        groups: Int[Array, " rows"],
        prefix: Cache | None = None,
    ) -> tuple[Cache, Hidden]:
        """Reads as `extend` does, but once for all rows that hold the same and read the same.

        Args:
            params: As for `extend`.
            cache: Likewise; its arrays have the rows on their first axis.
            tokens: Likewise.
            lengths: Likewise.
            leaders: Rows that stand for a group each; there may be more of them than groups.
            groups: Row `i` holds and reads what row `leaders[groups[i]]` does. Of a row that reads nothing
                the group means nothing.
            prefix: As for `extend`.

        Returns:
            The cache of all rows, and the hidden states of the leaders alone.
        """
        few, hidden = self.extend(
            params, self.gather(cache, leaders), tokens[leaders], lengths[leaders], prefix
        )

        def merged(old: Array, new: Array) -> Array:
            return jnp.where((lengths > 0).reshape(-1, *[1] * (old.ndim - 1)), new, old)

        return jax.tree.map(merged, cache, self.gather(few, groups)), hidden

    @property
    def skeleton(self) -> LanguageModel:
        """A model with the same traceable methods, of which programs are compiled.

        Models that give the same object share their programs. By default it is the model itself. One
        that gives another keeps its weights and its vocabulary out of it: programs live long.
        """
        return self

    def cache_bytes(self, num_rows: int, capacity: int) -> int:
        """Gives the size of a cache in bytes, without making one."""
        leaves = jax.tree.leaves(jax.eval_shape(lambda: self.empty(num_rows, capacity)))
        return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)

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
