"""What may be a log-weight: one number in `[-inf, inf)`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from lmppl.errors import CheckError

if TYPE_CHECKING:
    from lmppl.potentials.protocol import Potential

WANTED = "a number of nats in [-inf, inf)"
ADVICE = (
    "Look for 0/0, inf - inf, or a probability that was not turned into its log. lp.check makes a "
    "constraint of a function that says True or False."
)


def checked_log_weight(potential: Potential, role: str, data: bytes, value: Any) -> float:
    """Gives what a potential said as a float.

    Raises:
        CheckError: It is no number in `[-inf, inf)`.
    """
    number = log_weight_or_none(value)
    if number is None:
        raise CheckError(
            f"{potential.describe()} returned {str(value)[:60]!r} from `{role}` on {data!r}; it must return "
            f"{WANTED}. {ADVICE}"
        )
    return number


def log_weight_or_none(value: Any) -> float | None:
    """Gives one number in `[-inf, inf)` as a float, None for all else: truth values, texts, arrays."""
    if isinstance(value, bool | np.bool_ | str | bytes) or getattr(value, "size", 1) != 1:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(number) or number == math.inf else number
