"""A z-test of whether an estimator's mean is what it should be, with its false-alarm rate named."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from lmppl.errors import InvalidInputError


def assert_unbiased(estimates: Sequence[float] | np.ndarray, expected: float, *, failure_rate: float) -> None:
    """Raises unless the mean of independent estimates is what it should be.

    Compare estimates of the evidence, never of its log, which is biased. The normal law is used, so the
    estimates should be many enough for their mean to be near normal.

    Args:
        estimates: Independent of each other.
        expected: The exact value.
        failure_rate: Chance of raising although the mean is right; two-sided.

    Raises:
        AssertionError: The mean lies too far from `expected`.
    """
    values = np.asarray(estimates, float)
    if values.ndim != 1 or len(values) < 30:
        raise InvalidInputError(
            f"assert_unbiased needs at least 30 estimates in one row, got shape {values.shape}."
        )
    threshold = NormalDist().inv_cdf(1 - failure_rate / 2)
    spread = values.std(ddof=1) / np.sqrt(len(values))
    difference = values.mean() - expected
    allowed = threshold * spread + 1e-6 * abs(expected)  # the second term is float32's
    if not abs(difference) <= allowed:
        raise AssertionError(
            f"The mean of {len(values)} estimates is {values.mean():.6g}, expected {expected:.6g}: off by "
            f"{difference / max(spread, 1e-300):.1f} standard errors; {threshold:.1f} are allowed at a "
            f"false-alarm rate of {failure_rate:g}."
        )
