"""Sizes that arrays are padded to, so that few shapes are compiled."""

from __future__ import annotations


def bucket(size: int, smallest: int = 1) -> int:
    """Gives the next power of two, and at least `smallest`."""
    return max(smallest, 1 << max(0, size - 1).bit_length())


def row_bucket(size: int) -> int:
    """Gives the next of 1, 2, 4, 8, 16, 24, 32, 48, 64, ...

    Rows that are padding cost time, but not up to the next 8: a product on CPU takes 8 vectors at once, and
    12 take it longer than 16.
    """
    power = bucket(size)
    between = power // 4 * 3
    return between if between % 8 == 0 and size <= between else power
