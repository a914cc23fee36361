"""One training step of the embedded model: the weighted loss, the optimizer, the learning rate's course."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from lmppl.models.config import DecoderConfig
from lmppl.models.decoder import Params, forward, initial_params
from lmppl.models.embedded.batches import Rows

MUON_RATE = 2e-2
ADAM_RATE = 3e-3


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainingState:
    """What a run carries from step to step."""

    params: Params
    optimizer: Any


def optimizer() -> optax.GradientTransformation:
    """Gives Muon on the matrices and Adam on embedding and norms, after clipping the gradient to norm 1.

    Rates are for a factor of 1; `step_function` multiplies the update by the factor of the moment.

    Reference:
        Jordan et al. (2024), Muon: an optimizer for hidden layers in neural networks.
    """

    def matrices(params: Any) -> Any:
        def of_leaf(path: Any, leaf: Array) -> Any:
            hidden = any(getattr(entry, "key", None) == "weight" for entry in path)
            by_outputs = optax.contrib.MuonDimensionNumbers(reduction_axis=1, output_axis=0)
            return by_outputs if hidden and leaf.ndim == 2 else None

        return jax.tree_util.tree_map_with_path(of_leaf, params)

    return optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.contrib.muon(
            MUON_RATE,
            adam_learning_rate=ADAM_RATE,
            adam_b2=0.98,
            muon_weight_dimension_numbers=matrices,  # pyright: ignore[reportArgumentType]
        ),
    )


def initial_state(config: DecoderConfig, seed: int) -> TrainingState:
    """Draws the weights that a run starts from."""
    params = initial_params(config, jax.random.key(seed))
    return TrainingState(params, optimizer().init(params))


def rate_factor(progress: float) -> float:
    """Gives the factor on the learning rates: up over the first 4 %, flat, down to 1 % from 30 % on."""
    if progress < 0.04:
        return max(progress / 0.04, 1e-3)
    return 1.0 if progress < 0.3 else max(1.0 - (progress - 0.3) / 0.7, 0.01)


def token_losses(
    config: DecoderConfig, params: Params, tokens: Int[Array, "rows length"]
) -> Float[Array, "rows length"]:
    """Gives the nats of each token given those before it in its row; 0 for the first one."""
    logits = forward(config, params, tokens)[:, :-1]
    nats = optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])
    return jnp.pad(nats, ((0, 0), (1, 0)))


def step_function(
    config: DecoderConfig,
) -> Callable[[TrainingState, tuple[Rows, ...], float], tuple[TrainingState, Float[Array, ""]]]:
    """Gives the compiled step: from a state, a batch and the rate's factor to the next state and the loss.

    The loss is the weighted mean over all tokens of the batch, in nats. The state that is passed is given up.
    """

    def loss(params: Params, parts: list[tuple[Array, Array]]) -> Float[Array, ""]:
        total = sum(jnp.sum(token_losses(config, params, tokens) * weights) for tokens, weights in parts)
        return jnp.asarray(total) / sum(jnp.sum(weights) for _, weights in parts)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: TrainingState, parts: list[tuple[Array, Array]], factor: Array) -> Any:
        value, gradient = jax.value_and_grad(loss)(state.params, parts)
        update, optimizer_state = optimizer().update(gradient, state.optimizer, state.params)
        update = jax.tree.map(lambda leaf: leaf * factor, update)
        params: Any = optax.apply_updates(state.params, update)
        return TrainingState(params, optimizer_state), value

    return lambda state, batch, factor: step(
        state, [(jnp.asarray(r.tokens), jnp.asarray(r.weights)) for r in batch], jnp.float32(factor)
    )
