"""A decoder of the Llama family, defined in Flax NNX and run as plain functions of its weights.

`nnx` defines the modules; what is compiled is a function of `(params, tokens)`, where `params` is a
nested dict of arrays. (`nnx.jit` copies the whole state at every call.) The computation follows the
dtype of the weights: bfloat16 weights compute in bfloat16, with norms, rotations, attention weights
and logits in float32.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from lmppl.models.config import DecoderConfig
from lmppl.models.kv_cache import KVCache, append, padded
from lmppl.models.rotary import rotate, rotations

Params = dict[str, Any]
Rotations = tuple[Float[Array, "rows length half"], Float[Array, "rows length half"]]

# float32 means float32 on every device: no TF32 or bfloat16 passes behind the user's back.
_PRECISION = jax.lax.Precision.HIGHEST


def initial_params(config: DecoderConfig, key: PRNGKeyArray, dtype: Any = jnp.float32) -> Params:
    """Draws random weights: normal with `config.initializer_range`, ones for norms, zero biases."""
    state = nnx.state(Decoder(config, nnx.Rngs(params=key)))
    return jax.tree.map(lambda leaf: leaf.astype(dtype), nnx.to_pure_dict(state))


def abstract_params(config: DecoderConfig) -> Params:
    """Gives the tree of weights with `jax.ShapeDtypeStruct` leaves; nothing is allocated."""
    return nnx.to_pure_dict(nnx.state(nnx.eval_shape(lambda: Decoder(config, nnx.Rngs(0)))))


def bind(config: DecoderConfig, params: Params) -> Decoder:
    """Gives the decoder with these weights. Cheap when traced; use it inside a compiled function."""
    return nnx.merge(_definition(config), params)


def forward(
    config: DecoderConfig, params: Params, tokens: Int[Array, "rows length"]
) -> Float[Array, "rows length vocab"]:
    """Gives the logits after each token, in float32. Differentiable in `params`.

    `config` is static: compile with `jax.jit(functools.partial(forward, config))`.
    """
    return bind(config, params)(tokens)


@functools.lru_cache(maxsize=64)
def _definition(config: DecoderConfig) -> Any:
    return nnx.split(nnx.eval_shape(lambda: Decoder(config, nnx.Rngs(0))))[0]


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
        return self._logits(self._read(tokens)[0])

    def prefill(
        self, tokens: Int[Array, "rows length"], lengths: Int[Array, " rows"], capacity: int
    ) -> tuple[KVCache, Float[Array, "rows vocab"]]:
        """Reads right-padded rows and gives the cache and the logits after each row's last token."""
        hidden, stores = self._read(tokens)
        cache = KVCache(
            keys=tuple(padded(keys, capacity) for keys, _ in stores),
            values=tuple(padded(values, capacity) for _, values in stores),
            lengths=lengths.astype(jnp.int32),
        )
        last = jnp.take_along_axis(hidden, (cache.lengths - 1)[:, None, None], axis=1)
        return cache, self._logits(last)[:, 0]

    def decode(
        self, cache: KVCache, tokens: Int[Array, " rows"]
    ) -> tuple[KVCache, Float[Array, "rows vocab"]]:
        """Appends one token to every row, at the row's own position."""
        positions = cache.lengths
        turns = rotations(self.config, positions[:, None])
        visible = jnp.arange(cache.capacity)[None] <= positions[:, None]
        hidden = self._embedded(tokens[:, None])
        keys, values = [], []
        for block, old_keys, old_values in zip(self.blocks, cache.keys, cache.values, strict=True):
            query, key, value = block.attention.project(block.attention_norm(hidden), turns)
            keys.append(append(old_keys, key, positions))
            values.append(append(old_values, value, positions))
            hidden = block.finish(hidden, query, keys[-1], values[-1], visible[:, None])
        return KVCache(tuple(keys), tuple(values), positions + 1), self._logits(hidden)[:, 0]

    def _read(self, tokens: Int[Array, "rows length"]) -> tuple[Array, list[tuple[Array, Array]]]:
        """Runs whole rows; gives the last hidden states and each layer's keys and values."""
        rows, length = tokens.shape
        positions = jnp.broadcast_to(jnp.arange(length)[None], (rows, length))
        turns = rotations(self.config, positions)
        causal = jnp.tril(jnp.ones((length, length), bool))[None]
        hidden = self._embedded(tokens)
        stores = []
        for block in self.blocks:
            query, key, value = block.attention.project(block.attention_norm(hidden), turns)
            stores.append((key, value))
            hidden = block.finish(hidden, query, key, value, causal)
        return hidden, stores

    def _embedded(self, tokens: Int[Array, "rows length"]) -> Float[Array, "rows length hidden"]:
        return jnp.take(self.embedding[...], tokens, axis=0)

    def _logits(self, hidden: Float[Array, "rows length hidden"]) -> Float[Array, "rows length vocab"]:
        head = self.embedding if self.head is None else self.head
        return _product("nth,vh->ntv", self.norm(hidden), head[...], jnp.float32)


class Block(nnx.Module):
    """Attention and feed-forward, each added to the residual stream."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs):
        self.attention_norm = RMSNorm(config)
        self.attention = Attention(config, rngs)
        self.mlp_norm = RMSNorm(config)
        self.mlp = FeedForward(config, rngs)

    def finish(
        self,
        hidden: Float[Array, "rows length hidden"],
        query: Float[Array, "rows heads length size"],
        keys: Float[Array, "rows kv_heads context size"],
        values: Float[Array, "rows kv_heads context size"],
        visible: Bool[Array, "#rows #length context"],
    ) -> Float[Array, "rows length hidden"]:
        """Gives the residual stream after the block, its projections being made already."""
        hidden = hidden + self.attention.attend(query, keys, values, visible)
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
        self,
        query: Float[Array, "rows heads length size"],
        keys: Float[Array, "rows kv_heads context size"],
        values: Float[Array, "rows kv_heads context size"],
        visible: Bool[Array, "#rows #length context"],
    ) -> Float[Array, "rows length hidden"]:
        """Gives what each query reads from the positions it may see."""
        rows, heads, length, size = query.shape
        grouped = query.reshape(rows, self.num_kv_heads, heads // self.num_kv_heads, length, size)
        scores = _product("nkgtd,nkcd->nkgtc", grouped, keys, jnp.float32)
        scores = jnp.where(visible[:, None, None], scores * size**-0.5, -jnp.inf)
        shares = jax.nn.softmax(scores, axis=-1).astype(values.dtype)
        read = _product("nkgtc,nkcd->nkgtd", shares, values, values.dtype)
        return self.output(read.reshape(rows, heads, length, size).swapaxes(1, 2).reshape(rows, length, -1))


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
    """`x @ kernel + bias`, the kernel lying as `[inputs, outputs]`."""

    def __init__(self, inputs: int, outputs: int, bias: bool, config: DecoderConfig, rngs: nnx.Rngs):
        draw = nnx.initializers.normal(config.initializer_range)
        self.kernel = nnx.Param(draw(rngs.params(), (inputs, outputs), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(outputs)) if bias else None

    def __call__(self, x: Float[Array, "rows length inputs"]) -> Float[Array, "rows length outputs"]:
        y = jnp.matmul(x, self.kernel[...], precision=_PRECISION)
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


def _product(subscripts: str, left: Array, right: Array, dtype: Any) -> Array:
    """Sums products in the precision of `dtype`, which may be wider than the factors'."""
    return jnp.einsum(subscripts, left, right, precision=_PRECISION, preferred_element_type=dtype)


def _heads(
    x: Float[Array, "rows length width"], num_heads: int
) -> Float[Array, "rows num_heads length size"]:
    return x.reshape(*x.shape[:2], num_heads, -1).swapaxes(1, 2)
