"""Sizes that arrays are padded to, so that few shapes are compiled."""

from __future__ import annotations


def bucket(size: int, smallest: int = 1) -> int:
    """Gives the next power of two, and at least `smallest`."""
    return max(smallest, 1 << max(0, size - 1).bit_length())
