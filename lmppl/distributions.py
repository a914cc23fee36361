"""NumPyro distributions, drawn and scored for many particles by one compiled call."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmppl.errors import InvalidInputError, InvalidTypeError
from lmppl.shape_buckets import bucket
from lmppl.text import Text


def is_numpyro(distribution: Any) -> bool:
    """Says whether a value is a NumPyro distribution. It does not import NumPyro if nobody has."""
    return hasattr(distribution, "batch_shape") and hasattr(distribution, "tree_flatten")


def check_value(what: str, distribution: Any, value: Any) -> None:
    """Raises if `value` cannot be data under `distribution`; `what` begins the message."""
    if isinstance(distribution, Text):
        if not isinstance(value, str):
            raise InvalidTypeError(
                f"{what} observes text, so its value must be a str; got {type(value).__name__} "
                f"({str(value)[:60]!r})."
            )
        return
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise InvalidTypeError(
            f"{what} observes numbers under {type(distribution).__name__}; got {type(value).__name__} "
            f"({str(value)[:60]!r})."
        )
    expected = tuple(distribution.batch_shape) + tuple(distribution.event_shape)
    try:
        np.broadcast_shapes(array.shape, expected)
    except ValueError:
        raise InvalidInputError(
            f"{what} observes a value of shape {array.shape}, which does not broadcast with the shape "
            f"{expected} of {type(distribution).__name__}."
        ) from None


def parameters(distribution: Any) -> tuple[Any, ...]:
    """Gives a comparable value of a distribution: its family and the bytes of its parameters."""
    leaves, tree = jax.tree.flatten(distribution)
    return (tree, *(np.asarray(leaf).tobytes() for leaf in leaves))


def draw(distributions: Sequence[Any], keys: np.ndarray) -> tuple[list[Any], np.ndarray]:
    """Draws one value from each distribution, those of one family together.

    Args:
        distributions: NumPyro distributions.
        keys: `uint32[n, 2]`, one raw key each; draw `i` depends on key `i` only.

    Returns:
        The values as NumPy scalars or arrays, and the log-probability of each, summed over its shape.
    """
    values: list[Any] = [None] * len(distributions)
    log_probs = np.zeros(len(distributions))
    for tree, rows, leaves in _families(distributions):
        padded = _pad([keys[rows], *leaves])
        drawn, scores = _draw(tree, padded[0], padded[1:])
        drawn, scores = np.asarray(drawn), np.asarray(scores)
        for position, row in enumerate(rows):
            values[row] = drawn[position]
            log_probs[row] = scores[position]
    return values, log_probs


def log_probs(distributions: Sequence[Any], values: Sequence[Any]) -> np.ndarray:
    """Scores one value under each distribution, those of one family together.

    Returns:
        `Float64[n]`, nats, summed over the shape of each value.
    """
    result = np.zeros(len(distributions))
    shaped = [np.asarray(value) for value in values]
    shaped = [value.astype(np.float32) if value.dtype == np.float64 else value for value in shaped]
    for tree, rows, leaves in _families(distributions, shaped):
        padded = _pad([np.stack([shaped[row] for row in rows]), *leaves])
        result[rows] = np.asarray(_score(tree, padded[0], padded[1:]))[: len(rows)]
    return result


def support(distribution: Any, what: str, max_values: int) -> Iterator[tuple[Any, float]]:
    """Gives every value of a finite distribution and its log-probability.

    Raises:
        InvalidInputError: The distribution is not finite, or has more than `max_values` values.
    """
    family = type(distribution).__name__
    if not getattr(distribution, "has_enumerate_support", False):
        raise InvalidInputError(
            f"Enumerate needs finite latents, but {what} is drawn from {family}, which is not finite. "
            "Use lp.SMC or lp.IS, or a discrete distribution with finite support."
        )
    try:
        atoms = np.asarray(distribution.enumerate_support(expand=False))
    except NotImplementedError as error:
        raise InvalidInputError(f"Enumerate cannot list the support of {family} at {what}: {error}") from None
    atoms = atoms.reshape(atoms.shape[:1] + tuple(distribution.event_shape))
    batch = tuple(distribution.batch_shape)
    size = int(np.prod(batch, dtype=int))
    if len(atoms) ** size > max_values:
        raise InvalidInputError(
            f"Enumerate would have to list {len(atoms)}^{size} values of {what}; the limit is {max_values:,}."
        )
    combinations = [
        np.stack(c).reshape(batch + atoms.shape[1:]) for c in itertools.product(atoms, repeat=size)
    ]
    values = np.stack(combinations) if batch else np.stack([c[()] for c in combinations])
    scores = np.asarray(distribution.log_prob(jnp.asarray(values))).reshape(len(values), -1).sum(axis=1)
    yield from zip(values, scores.astype(float).tolist(), strict=True)


def _families(
    distributions: Sequence[Any], values: Sequence[np.ndarray] = ()
) -> Iterator[tuple[Any, list[int], list[np.ndarray]]]:
    """Groups rows whose distributions differ in the numbers of their parameters only."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    flat: list[list[np.ndarray]] = []
    for row, distribution in enumerate(distributions):
        leaves, tree = jax.tree.flatten(distribution)
        arrays = [_as_parameter(leaf) for leaf in leaves]
        flat.append(arrays)
        shapes = tuple((array.shape, array.dtype.str) for array in arrays)
        value = (values[row].shape, values[row].dtype.str) if len(values) else None
        groups[tree, shapes, value].append(row)
    for (tree, _, _), rows in groups.items():  # type: ignore[misc]
        stacked = [np.stack(column) for column in zip(*(flat[row] for row in rows), strict=True)]
        yield tree, rows, stacked


def _as_parameter(leaf: Any) -> np.ndarray:
    array = np.asarray(leaf)
    if array.dtype == np.float64:
        return array.astype(np.float32)
    if array.dtype == np.int64:
        return array.astype(np.int32)
    return array


def _pad(columns: list[np.ndarray]) -> list[np.ndarray]:
    """Repeats the last row up to a power of two, so that few shapes are compiled."""
    size = len(columns[0])
    padded = bucket(size)
    if padded == size:
        return columns
    return [np.concatenate([column, np.repeat(column[-1:], padded - size, axis=0)]) for column in columns]


def _one_row(method: Callable[..., Any]) -> Callable[..., Any]:
    """A distribution that went through `vmap` has wrong shapes, so it is rebuilt inside."""
    return lambda tree, first, leaves: jax.vmap(lambda a, row: method(jax.tree.unflatten(tree, row), a))(
        first, leaves
    )


def _draw_one(distribution: Any, key: Any) -> tuple[Any, Any]:
    value = distribution.sample(jax.random.wrap_key_data(key, impl="threefry2x32"))
    return value, jnp.sum(distribution.log_prob(value))


def _score_one(distribution: Any, value: Any) -> Any:
    return jnp.sum(distribution.log_prob(value))


_draw = partial(jax.jit, static_argnums=0)(_one_row(_draw_one))
_score = partial(jax.jit, static_argnums=0)(_one_row(_score_one))
