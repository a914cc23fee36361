"""A decoder of the Llama family, defined in Flax NNX and run as plain functions of its weights.

`nnx` defines the modules; what is compiled is a function of `(params, tokens)`, where `params` is a
nested dict of arrays. (`nnx.jit` copies the whole state at every call.) The computation follows the
dtype of the weights: bfloat16 weights compute in bfloat16, with norms, rotations, attention weights
and logits in float32.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from lmppl.models.attention import Context, read_at_once, read_filled
from lmppl.models.config import DecoderConfig
from lmppl.models.kv_cache import KVCache, append_keys, append_values
from lmppl.models.products import applied
from lmppl.models.rotary import rotate, rotations

Params = dict[str, Any]
Rotations = tuple[Float[Array, "rows length half"], Float[Array, "rows length half"]]
Stores = tuple[tuple[Array, ...], tuple[Array, ...]]
Reader = Callable[[Array, Sequence[Context]], Array]


def initial_params(config: DecoderConfig, key: PRNGKeyArray, dtype: Any = jnp.float32) -> Params:
    """Draws random weights: normal with `config.initializer_range`, ones for norms, zero biases."""
    state = nnx.state(Decoder(config, nnx.Rngs(params=key)))
    return jax.tree.map(lambda leaf: leaf.astype(dtype), nnx.to_pure_dict(state))


def abstract_params(config: DecoderConfig) -> Params:
    """Gives the tree of weights with `jax.ShapeDtypeStruct` leaves; nothing is allocated."""
    return nnx.to_pure_dict(_abstract(Decoder, config)[1])


def bind(config: DecoderConfig, params: Params) -> Decoder:
    """Gives the decoder with these weights. Cheap when traced; use it inside a compiled function."""
    return nnx.merge(_abstract(Decoder, config)[0], params)


def forward(
    config: DecoderConfig, params: Params, tokens: Int[Array, "rows length"]
) -> Float[Array, "rows length vocab"]:
    """Gives the logits after each token, in float32. Differentiable in `params`.

    `config` is static: compile with `jax.jit(functools.partial(forward, config))`.
    """
    return bind(config, params)(tokens)


@functools.lru_cache(maxsize=64)
def _abstract(module: Any, config: DecoderConfig) -> tuple[Any, Any]:
    """Gives the definition of a module and the shapes of its weights."""
    return nnx.split(nnx.eval_shape(lambda: module(config, nnx.Rngs(0))))


class Decoder(nnx.Module):
    """Embedding, blocks of attention and feed-forward, a norm, and a head."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs):
        self.config = config
        draw = nnx.initializers.normal(config.initializer_range)
        shape = (config.vocab_size, config.hidden_size)
        self.embedding = nnx.Param(draw(rngs.params(), shape, jnp.float32))
        self.blocks = nnx.List([Block(config, rngs) for _ in range(config.num_layers)])
        self.norm = RMSNorm(config)
        self.head = None if config.tie_embeddings else nnx.Param(draw(rngs.params(), shape, jnp.float32))

    def __call__(self, tokens: Int[Array, "rows length"]) -> Float[Array, "rows length vocab"]:
        """Gives the logits after each token."""
        rows, length = tokens.shape
        turns = rotations(self.config, jnp.broadcast_to(jnp.arange(length)[None], (rows, length)))
        seen = jnp.arange(1, length + 1)[None]
        hidden = self._embedded(tokens)
        for block in self.blocks:
            query, key, value = block.project(hidden, turns)
            context = Context(key.swapaxes(2, 3), value, seen, jnp.int32(length))
            hidden = block.finish(hidden, query, [context], read_at_once)
        return self.logits(self.norm(hidden))

    def extend(
        self,
        cache: KVCache,
        tokens: Int[Array, "rows length"],
        lengths: Int[Array, " rows"],
        prefix: KVCache | None = None,
        sharing: Sharing | None = None,
    ) -> tuple[KVCache, Float[Array, "computed length hidden"]]:
        """Reads the first `lengths` tokens of each row; gives the cache and the normed hidden states.

        With `sharing` only the leaders are computed, and only their hidden states come back.
        """
        length = tokens.shape[1]
        ends = cache.lengths + lengths.astype(jnp.int32)
        begun, read = cache.lengths, ends
        if sharing is not None:
            tokens, begun, read = (leaf[sharing.leaders] for leaf in (tokens, begun, read))
        places = begun[:, None] + jnp.arange(length)[None]  # of the new tokens in the row's own store
        starts = jnp.zeros(1, jnp.int32) if prefix is None else prefix.lengths
        turns = rotations(self.config, places + starts[:, None])
        filled = jnp.maximum(jnp.max(read), 1)
        hidden = self._embedded(tokens)
        kept = []
        for layer, block in enumerate(self.blocks):
            hidden, stores = _extended(
                self.config,
                nnx.to_pure_dict(nnx.state(block)),
                hidden,
                turns,
                (cache.keys[layer], cache.values[layer]),
                _Places(places, cache.lengths, filled),
                _shared_contexts(prefix, layer),
                sharing,
            )
            kept.append(stores)
        keys, values = zip(*kept, strict=True)
        return KVCache(keys, values, ends), self.norm(hidden)

    def logits(self, hidden: Float[Array, "*leading hidden"]) -> Float[Array, "*leading vocab"]:
        """Gives the next token's logits from normed hidden states."""
        head = self.embedding if self.head is None else self.head
        return applied(head[...], hidden, jnp.float32)

    def _embedded(self, tokens: Int[Array, "rows length"]) -> Float[Array, "rows length hidden"]:
        return jnp.take(self.embedding[...], tokens, axis=0, mode="clip")  # padding may hold anything


class Block(nnx.Module):
    """Attention and feed-forward, each added to the residual stream."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs):
        self.attention_norm = RMSNorm(config)
        self.attention = Attention(config, rngs)
        self.mlp_norm = RMSNorm(config)
        self.mlp = FeedForward(config, rngs)

    def project(
        self, hidden: Float[Array, "rows length hidden"], turns: Rotations
    ) -> tuple[Array, Array, Array]:
        """Gives the queries, keys and values of attention."""
        return self.attention.project(self.attention_norm(hidden), turns)

    def finish(
        self,
        hidden: Float[Array, "rows length hidden"],
        query: Float[Array, "rows heads length size"],
        contexts: Sequence[Context],
        read: Reader,
    ) -> Float[Array, "rows length hidden"]:
        """Gives the residual stream after the block, its projections being made already."""
        hidden = hidden + self.attention.attend(query, contexts, read)
        return hidden + self.mlp(self.mlp_norm(hidden))


class Attention(nnx.Module):
    """Grouped-query attention with rotary positions."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs):
        width, kv_width = config.num_heads * config.head_size, config.num_kv_heads * config.head_size
        self.num_heads, self.num_kv_heads = config.num_heads, config.num_kv_heads
        self.query = Linear(config.hidden_size, width, config.qkv_bias, config, rngs)
        self.key = Linear(config.hidden_size, kv_width, config.qkv_bias, config, rngs)
        self.value = Linear(config.hidden_size, kv_width, config.qkv_bias, config, rngs)
        self.output = Linear(width, config.hidden_size, config.output_bias, config, rngs)

    def project(
        self, hidden: Float[Array, "rows length hidden"], turns: Rotations
    ) -> tuple[Array, Array, Array]:
        """Gives queries, keys and values; heads on the second axis, queries and keys turned."""
        query = rotate(_heads(self.query(hidden), self.num_heads), *turns)
        key = rotate(_heads(self.key(hidden), self.num_kv_heads), *turns)
        return query, key, _heads(self.value(hidden), self.num_kv_heads)

    def attend(
        self, query: Float[Array, "rows heads length size"], contexts: Sequence[Context], read: Reader
    ) -> Float[Array, "rows length hidden"]:
        """Gives what each query reads from the positions it may see, of which there is at least one."""
        rows, heads, length, size = query.shape
        grouped = query.reshape(rows, self.num_kv_heads, heads // self.num_kv_heads, length, size)
        found = read(grouped, contexts).reshape(rows, heads, length, size)
        return self.output(found.swapaxes(1, 2).reshape(rows, length, -1))


class FeedForward(nnx.Module):
    """SwiGLU: `down(silu(gate(x)) * up(x))`."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs):
        wide, bias = config.intermediate_size, config.mlp_bias
        self.gate = Linear(config.hidden_size, wide, bias, config, rngs)
        self.up = Linear(config.hidden_size, wide, bias, config, rngs)
        self.down = Linear(wide, config.hidden_size, bias, config, rngs)

    def __call__(self, hidden: Float[Array, "rows length hidden"]) -> Float[Array, "rows length hidden"]:
        return self.down(jax.nn.silu(self.gate(hidden)) * self.up(hidden))


class Linear(nnx.Module):
    """`weight @ x + bias`, the weight lying as `[outputs, inputs]`, as in checkpoints."""

    def __init__(self, inputs: int, outputs: int, bias: bool, config: DecoderConfig, rngs: nnx.Rngs):
        draw = nnx.initializers.normal(config.initializer_range)
        self.weight = nnx.Param(draw(rngs.params(), (outputs, inputs), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(outputs)) if bias else None

    def __call__(self, x: Float[Array, "rows length inputs"]) -> Float[Array, "rows length outputs"]:
        y = applied(self.weight[...], x, x.dtype)
        return y if self.bias is None else y + self.bias[...][None, None]


class RMSNorm(nnx.Module):
    """`x / sqrt(mean(x^2) + epsilon) * scale`, the mean in float32 (Zhang & Sennrich 2019)."""

    def __init__(self, config: DecoderConfig):
        self.epsilon = config.norm_epsilon
        self.scale = nnx.Param(jnp.ones(config.hidden_size))

    def __call__(self, x: Float[Array, "rows length hidden"]) -> Float[Array, "rows length hidden"]:
        wide = x.astype(jnp.float32)
        normed = wide * jax.lax.rsqrt(jnp.mean(wide**2, axis=-1, keepdims=True) + self.epsilon)
        return normed.astype(x.dtype) * self.scale[...][None, None]


class Sharing(NamedTuple):
    """Which rows are computed, and whose results each row of a cache takes.

    See `lmppl.language_model.LanguageModel.extend_shared`.
    """

    leaders: Int[Array, " leaders"]
    groups: Int[Array, " rows"]


class _Places(NamedTuple):
    """Of new tokens: where they stand, where each row's store ends, and how much is filled then."""

    own: Int[Array, "computed length"]
    starts: Int[Array, " rows"]
    filled: Int[Array, ""]


@functools.partial(jax.jit, static_argnums=0)  # traced once for all blocks
def _extended(
    config: DecoderConfig,
    params: Params,
    hidden: Float[Array, "rows length hidden"],
    turns: Rotations,
    stores: Stores,
    places: _Places,
    shared: list[Context],
    sharing: Sharing | None,
) -> tuple[Float[Array, "rows length hidden"], Stores]:
    """Gives the residual stream after a block, and its stores with the new tokens in them."""
    block = nnx.merge(_abstract(Block, config)[0], params)
    query, key, value = block.project(hidden, turns)
    leaders = None
    if sharing is not None:
        leaders, key, value = sharing.leaders, key[sharing.groups], value[sharing.groups]
    own, start = [], 0
    for old_keys, old_values in zip(*stores, strict=True):
        keys = append_keys(old_keys, key, places.starts - start)
        values = append_values(old_values, value, places.starts - start)
        own.append(Context(keys, values, places.own + 1 - start, places.filled - start, leaders))
        start += old_keys.shape[3]
    hidden = block.finish(hidden, query, own + shared, read_filled)
    return hidden, (tuple(context.keys for context in own), tuple(context.values for context in own))


def _shared_contexts(prefix: KVCache | None, layer: int) -> list[Context]:
    """Gives what all rows read of a cache of one row."""
    if prefix is None:
        return []
    stores = zip(prefix.keys[layer], prefix.values[layer], prefix.starts, strict=True)
    lengths = prefix.lengths
    return [Context(keys, values, lengths[:, None] - at, lengths[0] - at) for keys, values, at in stores]


def _heads(
    x: Float[Array, "rows length width"], num_heads: int
) -> Float[Array, "rows num_heads length size"]:
    return x.reshape(*x.shape[:2], num_heads, -1).swapaxes(1, 2)
