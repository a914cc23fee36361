"""A Flax decoder and its tokenizer, as a language model that programs can call."""

from __future__ import annotations

import functools
from typing import Any

from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from lmppl.errors import InvalidInputError
from lmppl.language_model import LanguageModel
from lmppl.models.config import DecoderConfig
from lmppl.models.decoder import Params, Sharing, bind
from lmppl.models.kv_cache import KVCache, empty_cache, gathered, grown, moved, rewound
from lmppl.models.tokens import TokenCodec
from lmppl.text import Chat
from lmppl.token_rules import TokenRule


class FlaxLM(LanguageModel):
    """A neural language model. Made by `lmppl.models.load`.

    Args:
        name: What the model is called in tables and errors.
        config: The decoder's shape.
        params: Its weights; the computation follows their dtype, logits are float32.
        codec: Its tokenizer.
        mesh: The devices that the weights and the particles are spread over, as `checked_mesh` gives it.
    """

    def __init__(
        self,
        name: str,
        config: DecoderConfig,
        params: Params,
        codec: TokenCodec,
        mesh: Mesh | None = None,
    ):
        self.name = name
        self.config = config
        self.params = params
        self.codec = codec
        self.mesh = mesh
        self.vocabulary = codec.vocabulary
        self.context_length = config.context_length
        self._dtype = params["embedding"].dtype

    def encode_prompt(self, prompt: str | Chat) -> tuple[int, ...]:
        """Gives the ids of a prompt; see `TokenCodec.encode_prompt`.

        Raises:
            InvalidInputError: An empty prompt, or one longer than the model's context.
        """
        ids = self.codec.encode_prompt(prompt)
        if len(ids) > self.context_length:
            raise InvalidInputError(
                f"The prompt is {len(ids):,} tokens long, but {self.name!r} reads at most "
                f"{self.context_length:,}. Shorten the prompt or load a model with a longer context."
            )
        return ids

    def encode(self, text: str) -> tuple[int, ...]:
        """Gives the canonical ids of a text that follows a prompt."""
        return self.codec.encode(text)

    def canonical_rule(self) -> TokenRule:
        """Gives the rule that only canonical tokens keep; see `TokenCodec.canonical_rule`."""
        return self.codec.canonical_rule

    @property
    def skeleton(self) -> LanguageModel:
        """One for all models of this shape, dtype and mesh."""
        return _skeleton(self.config, self._dtype, self.mesh) if type(self) is FlaxLM else self

    def empty(self, num_rows: int, capacity: int) -> KVCache:
        """Gives a cache of rows that have read nothing; its dtype is that of the weights."""
        return empty_cache(self.config, num_rows, capacity, self._dtype)

    def extend(
        self,
        params: Params,
        cache: KVCache,
        tokens: Int[Array, "rows length"],
        lengths: Int[Array, " rows"],
        prefix: KVCache | None = None,
    ) -> tuple[KVCache, Float[Array, "rows length hidden"]]:
        """Reads more tokens; see `LanguageModel.extend`.

        Raises:
            InvalidInputError: There are more columns of tokens than a row has room for.
        """
        if cache.capacity < tokens.shape[1]:
            raise InvalidInputError(
                f"A cache of {cache.capacity} tokens a row cannot hold {tokens.shape[1]}."
            )
        return bind(self.config, params).extend(cache, tokens, lengths, prefix)

    def extend_shared(
        self,
        params: Params,
        cache: KVCache,
        tokens: Int[Array, "rows length"],
        lengths: Int[Array, " rows"],
        leaders: Int[Array, " leaders"],
        groups: Int[Array, " rows"],
        prefix: KVCache | None = None,
    ) -> tuple[KVCache, Float[Array, "leaders length hidden"]]:
        """Reads more tokens, once for all rows of a group; all of them are written in place."""
        sharing = Sharing(leaders, groups)
        return bind(self.config, params).extend(cache, tokens, lengths, prefix, sharing)

    def logits(
        self, params: Params, hidden: Float[Array, "*leading hidden"]
    ) -> Float[Array, "*leading vocab"]:
        """Gives the next token's logits, in float32."""
        return bind(self.config, params).logits(hidden)

    def gather(self, cache: KVCache, rows: Int[Array, " new_rows"]) -> KVCache:
        """Gives the cache whose row `i` is row `rows[i]` of the old one."""
        return gathered(cache, rows)

    def move(self, cache: KVCache, ancestors: Int[Array, " rows"]) -> KVCache:
        """Makes row `i` what row `ancestors[i]` is; on CPU only the rows that move are touched."""
        return moved(cache, ancestors)

    def rewind(self, cache: KVCache, lengths: Int[Array, " rows"]) -> KVCache:
        """Makes row `i` forget all but its first `lengths[i]` tokens."""
        return rewound(cache, lengths)

    def grow(self, cache: KVCache, capacity: int) -> KVCache:
        """Gives the same cache with room for `capacity` tokens a row."""
        if capacity < cache.capacity:
            raise InvalidInputError(f"A cache of {cache.capacity} tokens a row cannot shrink to {capacity}.")
        return grown(cache, capacity)


@functools.lru_cache(maxsize=16)
def _skeleton(config: DecoderConfig, dtype: Any, mesh: Mesh | None) -> FlaxLM:
    lm = object.__new__(FlaxLM)
    lm.config, lm.mesh, lm._dtype = config, mesh, dtype
    return lm
