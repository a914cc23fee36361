"""A Flax decoder and its tokenizer, as a language model that programs can call."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lmppl.errors import InvalidInputError
from lmppl.language_model import LanguageModel
from lmppl.models.config import DecoderConfig
from lmppl.models.decoder import Params, bind
from lmppl.models.kv_cache import KVCache, gathered, grown
from lmppl.models.tokens import TokenCodec
from lmppl.text import Chat


class FlaxLM(LanguageModel):
    """A neural language model. Made by `lmppl.models.load`.

    Args:
        name: What the model is called in tables and errors.
        config: The decoder's shape.
        params: Its weights; the computation follows their dtype, logits are float32.
        codec: Its tokenizer.
    """

    def __init__(self, name: str, config: DecoderConfig, params: Params, codec: TokenCodec):
        self.name = name
        self.config = config
        self.params = params
        self.codec = codec
        self.vocabulary = codec.vocabulary
        self.context_length = config.context_length

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

    def prefill(
        self, params: Params, tokens: Int[Array, "rows length"], lengths: Int[Array, " rows"], capacity: int
    ) -> tuple[KVCache, Float[Array, "rows vocab"]]:
        """Reads prompts and gives the cache and the next logits. `capacity` is static."""
        if capacity < tokens.shape[1]:
            raise InvalidInputError(f"A cache of {capacity} tokens a row cannot hold {tokens.shape[1]}.")
        return bind(self.config, params).prefill(tokens, lengths, capacity)

    def decode(
        self, params: Params, cache: KVCache, tokens: Int[Array, " rows"]
    ) -> tuple[KVCache, Float[Array, "rows vocab"]]:
        """Appends one token to every row. A row that is full (`cache.capacity`) must `grow` first."""
        return bind(self.config, params).decode(cache, tokens)

    def gather(self, cache: KVCache, rows: Int[Array, " new_rows"]) -> KVCache:
        """Gives the cache whose row `i` is row `rows[i]` of the old one."""
        return gathered(cache, rows)

    def grow(self, cache: KVCache, capacity: int) -> KVCache:
        """Gives the same cache with room for `capacity` tokens a row."""
        if capacity < cache.capacity:
            raise InvalidInputError(f"A cache of {cache.capacity} tokens a row cannot shrink to {capacity}.")
        return grown(cache, capacity)

    def full_logits(
        self, params: Params, tokens: Int[Array, "rows length"]
    ) -> Float[Array, "rows length+1 vocab"]:
        """Gives the logits after each prefix; those at position 0 are zeros and mean nothing."""
        logits = bind(self.config, params)(tokens)
        return jnp.pad(logits, ((0, 0), (1, 0), (0, 0)))
