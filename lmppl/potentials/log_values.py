"""What may be a log-weight: one number in `[-inf, inf)`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from lmppl.errors import CheckError

if TYPE_CHECKING:
    from lmppl.potentials.protocol import Potential


def checked_log_weight(potential: Potential, role: str, data: bytes, value: Any) -> float:
    """Gives what a potential said as a float.

    Raises:
        CheckError: It is no number in `[-inf, inf)`.
    """
    return read_log_weight(potential.describe(), role, data, value)


def read_log_weight(what: str, role: str, about: object, value: Any) -> float:
    """Gives an answer as a float; `what`, `role` and `about` say in errors whose it is.

    Raises:
        CheckError: It is no number in `[-inf, inf)`.
    """
    if isinstance(value, bool | np.bool_):
        raise CheckError(
            f"{what} returned {value!r} from `{role}=` on {about!r}; it must return a number of nats. "
            "lp.check makes a constraint of a function that says True or False; or return 0.0 and "
            "-math.inf."
        )
    number = _number(value)
    if number is None or math.isnan(number) or number == math.inf:
        raise CheckError(
            f"{what} returned {str(value)[:60]!r} from `{role}=` on {about!r}, which is no log-weight; "
            "expected one number in [-inf, inf). Look for 0/0, inf - inf, or a probability that was not "
            "turned into its log."
        )
    return number


def _number(value: Any) -> float | None:
    """Strings are no numbers, and neither are arrays of more than one."""
    if isinstance(value, str | bytes) or getattr(value, "size", 1) != 1:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
