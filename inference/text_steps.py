"""The compiled side of a text site: from logits to candidates, for all particles in one call."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lmppl.inference.awrs import weigh_mask
from lmppl.inference.draws import candidates, remove
from lmppl.language_model import LanguageModel
from lmppl.scoring import log_softmax_of_text


def make_decode(lm: LanguageModel) -> Any:
    """Gives the compiled step of a model: one token in, candidates for the next one out."""

    def decode(params, cache, tokens, possible, temperature, keys, steps, local, mask, num_candidates):  # type: ignore[no-untyped-def]
        cache, logits = lm.decode(params, cache, tokens)
        # Without the barrier the head is computed again inside each fused reduction (jax 0.11).
        logits = jax.lax.optimization_barrier(logits)
        return cache, propose_tokens(logits, possible, temperature, keys, steps, local, mask, num_candidates)

    return jax.jit(decode, static_argnums=9, donate_argnums=1)


def propose_tokens(
    logits: Any,
    possible: Any,
    temperature: Any,
    keys: Any,
    steps: Any,
    local: Any,
    mask: Any,
    num_candidates: int,
) -> tuple[Any, Any, Any, Any, Any]:
    """Gives each row's candidates in drawn order. Traceable.

    Returns:
        ids and log-probabilities `[rows, candidates]` under what the masks leave, log tail mass `[rows]`,
        log mass of the mask `[rows]`, and the whole rows `[rows, vocab]`, which stay on the device.
    """
    log_probs = log_softmax_of_text(logits, possible, temperature)
    if local is not None:
        log_probs = weigh_mask(log_probs, local).log_probs
        log_mass = jnp.where(local.any(axis=-1), 0.0, -jnp.inf)
    else:
        log_mass = jnp.zeros(log_probs.shape[0], log_probs.dtype)
    if mask is not None:
        masked = weigh_mask(log_probs, mask)
        log_probs, log_mass = masked.log_probs, log_mass + masked.log_weight
    step_keys = jax.vmap(_step_key)(keys, steps)
    ids, chosen, log_tail = candidates(step_keys, log_probs, num_candidates)[:3]
    return ids, chosen, log_tail, log_mass, log_probs


def refill_tokens(log_probs: Any, tried: Any, keys: Any, steps: Any, number: Any) -> tuple[Any, Any]:
    """Draws on from what is left of each row; the last candidate was looked at but not used."""
    left = remove(log_probs, tried[:, :-1])
    fresh = jax.vmap(lambda key, step: jax.random.fold_in(_step_key(key, step), number))(keys, steps)
    return left, candidates(fresh, left, tried.shape[1])[:3]


def _step_key(key: Any, step: Any) -> Any:
    return jax.random.fold_in(jax.random.wrap_key_data(key, impl="threefry2x32"), step)


def _uniforms_of(keys: Any, steps: Any, num_candidates: int, rounds: int) -> Any:
    def one(key: Any, step: Any) -> Any:
        return jax.random.uniform(jax.random.fold_in(_step_key(key, step), 0), (num_candidates, rounds + 1))

    return jax.vmap(one)(keys, steps)


repeat_uniforms = jax.jit(_uniforms_of, static_argnums=(2, 3))
