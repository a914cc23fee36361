"""What scores tokens: decoders, their caches and checkpoints, tokenizers, and a table to test with.

Importing this package imports none of them; each is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmppl.models.config import DecoderConfig, Llama3Scaling
    from lmppl.models.flax_lm import FlaxLM
    from lmppl.models.loading import load
    from lmppl.models.table import TableLM

__all__ = ["DecoderConfig", "FlaxLM", "Llama3Scaling", "TableLM", "load"]

_HOMES = {
    "DecoderConfig": "lmppl.models.config",
    "FlaxLM": "lmppl.models.flax_lm",
    "Llama3Scaling": "lmppl.models.config",
    "TableLM": "lmppl.models.table",
    "load": "lmppl.models.loading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
