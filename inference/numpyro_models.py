"""Plain NumPyro models under `lp.infer`: their primitives become statements of ours."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions.distribution import MaskedDistribution
from numpyro.primitives import Messenger

from lmppl.errors import InvalidInputError
from lmppl.handlers import Handler
from lmppl.sites import Deterministic, Factor, Observe, Sample
from lmppl.statements import as_log_weight, check_name, user_location


class NumPyroBridge(Messenger):
    """Stands below all of the model's own handlers and hands its sites on."""

    def __init__(self, handler: Handler):
        super().__init__(None)
        self._handler = handler

    def process_message(self, msg: dict[str, Any]) -> None:
        """Answers one message of a NumPyro primitive."""
        kind = msg["type"]
        msg["stop"] = True  # a run inside a run is not seen by the outer one
        if kind == "sample":
            self._sample(msg)
        elif kind == "deterministic":
            value = msg["value"] if msg["value"] is not None else msg["fn"](*msg["args"], **msg["kwargs"])
            self._handler.handle(
                Deterministic(name=msg["name"], location=user_location(), value=np.asarray(value))
            )
            msg["value"] = value
        elif kind == "plate" and msg["args"][1] not in (None, msg["args"][0]):
            raise InvalidInputError(
                f"numpyro.plate({msg['name']!r}) takes a random subsample, which lp.infer does not support: "
                "the evidence of a subsample is not that of the data. Use the plate without subsample_size."
            )
        elif kind in ("param", "mutable", "prng_key", "control_flow"):
            raise InvalidInputError(
                f"numpyro.{kind}({msg.get('name')!r}) has no meaning under lp.infer, which integrates over "
                "latents and optimises nothing. Use numpyro.sample with a prior, or a constant."
            )

    def _sample(self, msg: dict[str, Any]) -> None:
        name, distribution, location = msg["name"], msg["fn"], user_location()
        check_name(name, location)
        if np.ndim(msg["scale"] if msg["scale"] is not None else 1.0):
            raise InvalidInputError(
                f"The scale at numpyro.sample({name!r}) is an array; expected one number."
            )
        scale = 1.0 if msg["scale"] is None else float(msg["scale"])
        if msg["is_observed"] and not _has(distribution, dist.Unit):
            value = msg["value"]
            self._handler.handle(
                Observe(name=name, location=location, distribution=distribution, value=value, scale=scale)
            )
        elif msg["value"] is not None:  # numpyro.factor, or a latent that a handler of the model's fixed
            total = scale * jnp.sum(distribution.log_prob(msg["value"]))
            weight = as_log_weight("numpyro.factor", name, total)
            self._handler.handle(Factor(name=name, location=location, log_weight=weight))
        else:
            if _has(distribution, MaskedDistribution):
                raise InvalidInputError(
                    f"numpyro.handlers.mask covers the latent {name!r}: without its prior it has no "
                    "distribution to be drawn from. Mask observations only."
                )
            distribution = distribution.expand_by(msg["kwargs"].get("sample_shape", ()))
            statement = Sample(name=name, location=location, distribution=distribution, scale=scale)
            msg["value"] = jnp.asarray(self._handler.handle(statement))


def _has(distribution: Any, kind: type) -> bool:
    """Says whether a distribution is of a kind, or wraps one that is."""
    while not isinstance(distribution, kind):
        if not hasattr(distribution, "base_dist"):
            return False
        distribution = distribution.base_dist
    return True
