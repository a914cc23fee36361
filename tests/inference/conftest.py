"""How programs are compiled."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import pytest

from lmppl import keys
from lmppl.inference import expert_reading, resampling, text_sites
from lmppl.shape_buckets import bucket


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
