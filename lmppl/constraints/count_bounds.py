"""Bounds on a count: `least=` and `most=`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

from lmppl.errors import InvalidInputError, InvalidTypeError


@dataclass(frozen=True)
class Bounds:
    """The counts from `least` to `most`; no `most` is no limit."""

    least: int
    most: int | None

    @staticmethod
    def of(owner: str, least: object, most: object) -> Bounds:
        """Checks the arguments of what the user called, `owner` in errors."""
        if not _is_int(least):
            raise InvalidTypeError(f"{owner}(least=...) expects an int, got {least!r}.")
        if most is not None and not _is_int(most):
            raise InvalidTypeError(f"{owner}(most=...) expects an int, or None for no limit, got {most!r}.")
        if least < 0:
            raise InvalidInputError(f"{owner}(least={least}) is below 0; no count is. Give 0 or more.")
        if most is not None and most < least:
            raise InvalidInputError(
                f"{owner}(least={least}, most={most}) allows no count. Give a `most` of at least {least}, "
                "or None for no limit."
            )
        return Bounds(least, most)

    @property
    def highest(self) -> int:
        """The count above which nothing new is known: it is refused, or all the same."""
        return self.least if self.most is None else self.most

    def describe(self) -> str:
        """Gives them as arguments."""
        return f"least={self.least}" if self.most is None else f"least={self.least}, most={self.most}"


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
