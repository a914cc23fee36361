"""Rotary position embedding: queries and keys turned by an angle that grows with the position."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lmppl.models.config import DecoderConfig, Llama3Scaling


def frequencies(config: DecoderConfig) -> np.ndarray:
    """Gives the angle a position adds, `Float32[head_size / 2]`, in radians."""
    exponents = np.arange(0, config.head_size, 2, dtype=np.float32) / np.float32(config.head_size)
    plain = np.float32(1) / np.float32(config.rope_theta) ** exponents
    return plain if config.rope_scaling is None else _stretched(plain, config.rope_scaling)


def rotations(
    config: DecoderConfig, positions: Int[Array, "rows length"]
) -> tuple[Float[Array, "rows length half"], Float[Array, "rows length half"]]:
    """Gives the cosines and sines for `positions`, in float32."""
    angles = positions[..., None].astype(jnp.float32) * jnp.asarray(frequencies(config))[None, None]

    def known(angles: Array) -> tuple[Array, Array]:
        return jnp.cos(angles), jnp.sin(angles)

    # A condition that always holds, which XLA cannot know: on CPU it would fuse them into each layer's
    # rotations, and compute them anew there for every head.
    return jax.lax.cond(jnp.max(positions) >= 0, known, lambda angles: (angles, angles), angles)


def rotate(
    vectors: Float[Array, "rows heads length size"],
    cosines: Float[Array, "rows length half"],
    sines: Float[Array, "rows length half"],
) -> Float[Array, "rows heads length size"]:
    """Turns the pairs `(i, i + size / 2)` of each vector, in float32, and keeps the dtype."""
    first, second = jnp.split(vectors.astype(jnp.float32), 2, axis=-1)
    cosines, sines = cosines[:, None], sines[:, None]
    turned = (first * cosines - second * sines, second * cosines + first * sines)
    return jnp.concatenate(turned, axis=-1).astype(vectors.dtype)


def _stretched(plain: np.ndarray, scaling: Llama3Scaling) -> np.ndarray:
    """Llama 3.1: long wavelengths divided by `factor`, short ones kept, those between blended."""
    wavelengths = 2 * np.pi / plain
    turns = scaling.original_context_length / wavelengths
    share = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    share = np.clip(share, 0.0, 1.0)
    return ((1 - share) * plain / scaling.factor + share * plain).astype(np.float32)
