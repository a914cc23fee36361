"""Products of vectors, and of a matrix with vectors, in the way that is fastest on the device."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, Float

from lmppl.device_layout import on_cpu

# float32 means float32 on every device: no TF32 or bfloat16 passes behind the user's back.
PRECISION = jax.lax.Precision.HIGHEST

_FEW = 64  # vectors
_HEAD = 16  # times as many outputs as inputs: the matrix is a head


def product(subscripts: str, left: Array, right: Array, dtype: Any) -> Array:
    """Sums products in the precision of `dtype`, which may be wider than the factors'."""
    return jnp.einsum(subscripts, left, right, precision=PRECISION, preferred_element_type=dtype)


def wide_product(subscripts: str, left: Array, right: Array) -> Array:
    """Sums products in float32. XLA has no batched product of bfloat16 on CPU, so widens them first."""
    if left.dtype != jnp.float32 and on_cpu():
        left, right = left.astype(jnp.float32), right.astype(jnp.float32)
    return product(subscripts, left, right, jnp.float32)


def applied(
    weight: Float[Array, "outputs inputs"], x: Float[Array, "*leading inputs"], dtype: Any
) -> Float[Array, "*leading outputs"]:
    """Multiplies each vector by a matrix.

    On CPU the matrix is the left factor: XLA packs the right one anew at each product, and for 4 to 32
    vectors that takes longer than the product itself (512 x 1,024 in float32, 8 vectors: 0.4 ms, and 0.18
    this way). The barriers keep XLA from swapping the factors again. For many vectors the outputs of
    a head are too large to be turned afterwards, and bfloat16 has other paths.
    """
    outputs, inputs = weight.shape
    num_vectors = x.size // inputs
    first = num_vectors <= _FEW or outputs <= _HEAD * inputs
    if not on_cpu() or weight.dtype != jnp.float32 or num_vectors == 1 or not first:
        return product("...i,oi->...o", x, weight, dtype)
    columns = jax.lax.optimization_barrier(x.reshape(num_vectors, inputs).T)
    found = jax.lax.optimization_barrier(product("oi,iv->ov", weight, columns, dtype)).T
    if outputs > _HEAD * inputs:
        # Turned here, once. XLA would keep logits as the product leaves them, and turn them for each reader.
        found = with_layout_constraint(found, Layout((0, 1)))
    return found.reshape(*x.shape[:-1], outputs)
