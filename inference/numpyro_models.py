"""Plain NumPyro models under `lp.infer`: their primitives become statements of ours."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.primitives import Messenger

from lmppl.errors import InvalidInputError
from lmppl.handlers import Handler
from lmppl.sites import Deterministic, Factor, Observe, Sample
from lmppl.statements import user_location


class NumPyroBridge(Messenger):
    """Stands below all of the model's own handlers and hands its sites on."""

    def __init__(self, handler: Handler):
        super().__init__(None)
        self._handler = handler

    def process_message(self, msg: dict[str, Any]) -> None:
        """Answers one message of a NumPyro primitive."""
        kind = msg["type"]
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
                f"numpyro.plate({msg['name']!r}) takes a random subsample, which lp.infer does not "
                "support: the "
                "evidence of a subsample is not that of the data. Use the plate without subsample_size."
            )
        elif kind in ("param", "mutable", "prng_key", "control_flow"):
            raise InvalidInputError(
                f"numpyro.{kind}({msg.get('name')!r}) has no meaning under lp.infer, which integrates "
                "over latents "
                "and optimises nothing. Use numpyro.sample with a prior, or a constant."
            )

    def _sample(self, msg: dict[str, Any]) -> None:
        name, distribution, location = msg["name"], msg["fn"], user_location()
        scale = 1.0 if msg["scale"] is None else float(msg["scale"])
        if msg["is_observed"]:
            if _is_unit(distribution):
                weight = scale * float(jnp.sum(distribution.log_prob(msg["value"])))
                self._handler.handle(Factor(name=name, location=location, log_weight=weight))
            else:
                self._handler.handle(
                    Observe(
                        name=name,
                        location=location,
                        distribution=distribution,
                        value=msg["value"],
                        scale=scale,
                    )
                )
        elif msg["value"] is None:
            statement = Sample(name=name, location=location, distribution=distribution, scale=scale)
            msg["value"] = jnp.asarray(self._handler.handle(statement))


def _is_unit(distribution: Any) -> bool:
    """Says whether a site comes from `numpyro.factor`."""
    while not isinstance(distribution, dist.Unit):
        if not hasattr(distribution, "base_dist"):
            return False
        distribution = distribution.base_dist
    return True
