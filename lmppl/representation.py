"""A short text of a frozen value: its class and the options that are not the default."""

from __future__ import annotations

import dataclasses
from typing import Any


def compact_repr(value: Any) -> str:
    """Gives such as `SMC(64, proposal=AWRS(lookahead=8))`; a field without a default needs no name."""
    shown = []
    for field in dataclasses.fields(value):
        option = getattr(value, field.name)
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        text = getattr(option, "__name__", None) or repr(option)
        if default is dataclasses.MISSING:
            shown.append(text)
        elif option != default:
            shown.append(f"{field.name}={text}")
    return f"{type(value).__name__}({', '.join(shown)})"
