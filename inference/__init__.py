"""What runs a program: weights, resampling, proposals, and the methods built of them.

Importing this package imports none of them; each is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmppl.inference.diagnostics import Diagnostics, Step
    from lmppl.inference.enumeration import Enumerate
    from lmppl.inference.importance import IS
    from lmppl.inference.proposals import AWRS, Auto, Mask, Proposal
    from lmppl.inference.resampling import multinomial, residual, stratified, systematic
    from lmppl.inference.smc import SMC

__all__ = [
    "AWRS",
    "IS",
    "SMC",
    "Auto",
    "Diagnostics",
    "Enumerate",
    "Mask",
    "Proposal",
    "Step",
    "multinomial",
    "residual",
    "stratified",
    "systematic",
]

_HOMES = {
    "AWRS": "lmppl.inference.proposals",
    "Auto": "lmppl.inference.proposals",
    "Diagnostics": "lmppl.inference.diagnostics",
    "Enumerate": "lmppl.inference.enumeration",
    "IS": "lmppl.inference.importance",
    "Mask": "lmppl.inference.proposals",
    "Proposal": "lmppl.inference.proposals",
    "SMC": "lmppl.inference.smc",
    "Step": "lmppl.inference.diagnostics",
    "multinomial": "lmppl.inference.resampling",
    "residual": "lmppl.inference.resampling",
    "stratified": "lmppl.inference.resampling",
    "systematic": "lmppl.inference.resampling",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
