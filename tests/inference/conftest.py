"""A small neural model, and how programs are compiled."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import jax
import pytest

import lmppl as lp
from lmppl import keys
from lmppl.inference import expert_reading, resampling, text_sites
from lmppl.models.flax_lm import FlaxLM
from lmppl.shape_buckets import bucket

LAYERS = (0, 4)  # of the embedded model's five: without those between, its text still has words


@pytest.fixture(scope="session")
def lm() -> FlaxLM:
    """The embedded model without its middle layers, so that its programs compile in half the time."""
    whole = lp.load(dtype="float32")
    assert isinstance(whole, FlaxLM)
    blocks = {place: whole.params["blocks"][layer] for place, layer in enumerate(LAYERS)}
    config = dataclasses.replace(whole.config, num_layers=len(LAYERS))
    return FlaxLM("two layers", config, whole.params | {"blocks": blocks}, whole.codec)


@pytest.fixture
def few_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pads up to 32 rows to 32, so that one program is compiled for them and not one for each of eight sizes.

    For tests in which the number of rows at a site varies. Padding changes no draw: see test_determinism.py.
    """
    for module in (expert_reading, keys, resampling, text_sites):
        monkeypatch.setattr(module, "row_bucket", lambda size: bucket(size, 32))


@pytest.fixture
def optimised() -> Iterator[None]:
    """Lets XLA optimise: for tests whose programs run for longer than that takes."""
    name = "jax_disable_most_optimizations"
    before = jax.config.values[name]
    jax.config.update(name, False)
    yield
    jax.config.update(name, before)
