"""Random keys: one key fixes a run, and every draw has a key of its own, folded in by name."""

from __future__ import annotations

import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmppl.errors import InvalidInputError, InvalidTypeError
from lmppl.shape_buckets import row_bucket


def run_key(key: Any) -> Any:
    """Gives a typed JAX key from what a user passed: an int, `jax.random.key(...)` or `PRNGKey(...)`.

    Raises:
        InvalidTypeError: It is none of these.
    """
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        if not 0 <= int(key) < 2**63:
            raise InvalidInputError(f"key must be an int of 0 or more, below 2**63; got {key}.")
        return (
            jax.random.key(int(key) & 0xFFFFFFFF, impl="threefry2x32") if key < 2**32 else _wide_key(int(key))
        )
    dtype = getattr(key, "dtype", None)
    shape = getattr(key, "shape", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and shape == ():
        return _two_words(jax.random.key_data(key))
    if dtype is not None and dtype == jnp.uint32 and shape == (2,):
        return _two_words(jnp.asarray(key))
    of_shape = "" if shape is None else f" of shape {shape}"
    raise InvalidTypeError(
        "key must be an int such as 0, or one JAX key `jax.random.key(0)`; got "
        f"{type(key).__name__}{of_shape} ({str(key)[:40]!r})."
    )


def site_keys(key: Any, generations: np.ndarray, name: str) -> np.ndarray:
    """Gives one raw key for each particle at a site: `uint32[particles, 2]`.

    Key `i` depends on the run's key, `i`, the particle's generation and the site's name only.

    Args:
        key: The run's.
        generations: `Int[particles]`: 0 for a particle that was never replaced, else the number of
            the resampling that last put a copy of another in its place. The copy may come to a site that its
            predecessor has drawn already; with the same key it would draw the very value that,
            perhaps, the predecessor died of.
        name: The site's.
    """
    padded = np.zeros(row_bucket(len(generations)), np.uint32)  # so that few sizes are compiled
    padded[: len(generations)] = generations
    return np.asarray(_site_keys(key, padded, np.uint32(name_code(name))))[: len(generations)]


def step_keys(keys: Any, step: Any) -> Any:
    """Gives the typed keys of one token from the raw keys of a site. Traceable."""
    return jax.vmap(lambda key: jax.random.fold_in(jax.random.wrap_key_data(key, impl="threefry2x32"), step))(
        keys
    )


def named_key(key: Any, name: str, number: int = 0) -> Any:
    """Gives a typed key for something that happens once, such as the k-th resampling."""
    return _named_key(key, np.uint32(name_code(name)), np.uint32(number))


def raw_name_key(key: Any, name: str) -> np.ndarray:
    """Gives raw what `named_key` folds the number into."""
    return np.asarray(_raw_name_key(key, np.uint32(name_code(name))))


def name_code(name: str) -> int:
    """Gives 32 bits of a name, the same in every process."""
    return zlib.crc32(name.encode())


def _two_words(data: Any) -> Any:
    """Gives a Threefry key, whatever the implementation of the key whose data these are."""
    folded = data.reshape(-1, 2)
    return jax.random.wrap_key_data(
        jax.lax.reduce(folded, np.uint32(0), jax.lax.bitwise_xor, (0,)), impl="threefry2x32"
    )


def _wide_key(number: int) -> Any:
    return jax.random.fold_in(
        jax.random.key(number & 0xFFFFFFFF, impl="threefry2x32"), np.uint32(number >> 32)
    )


@jax.jit
def _site_keys(key: Any, generations: Any, code: Any) -> Any:
    def one(particle: Any, generation: Any) -> Any:
        return jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key, particle), generation), code)

    particles = jax.lax.iota(np.uint32, generations.shape[0])
    return jax.random.key_data(jax.vmap(one)(particles, generations))


@jax.jit
def _named_key(key: Any, code: Any, number: Any) -> Any:
    return jax.random.fold_in(jax.random.fold_in(key, code), number)


@jax.jit
def _raw_name_key(key: Any, code: Any) -> Any:
    return jax.random.key_data(jax.random.fold_in(key, code))
