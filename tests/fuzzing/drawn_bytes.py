"""Choices drawn out of a fuzzer's bytes, so that a small change of them is a small one of the case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


class Draws:
    """Reads one byte a choice; where the bytes have ended, every choice is the first one."""

    def __init__(self, data: bytes):
        self._data = data
        self._position = 0

    def below(self, size: int) -> int:
        """Draws an int in `[0, size)`; `size` is at most 256."""
        byte = self._data[self._position] if self._position < len(self._data) else 0
        self._position += 1
        return byte % size

    def one_of(self, items: Sequence[Item]) -> Item:
        """Draws an item."""
        return items[self.below(len(items))]

    def some_of(self, items: Sequence[Item], most: int) -> list[Item]:
        """Draws up to `most` items, each of which may come again."""
        return [self.one_of(items) for _ in range(self.below(most + 1))]
