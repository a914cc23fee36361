"""What `^ $ \\A \\Z \\b \\B` require of the characters around them, as sets of what may come next."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lmppl.constraints.regular.character_sets import CharacterSet, Partition, single
from lmppl.constraints.regular.regex_syntax import Assertion

START = -1
"""The context of a place with no character before it."""

_NEWLINE = single("\n")
_EMPTY_HAS_NO_WORD_EDGE = re.fullmatch(r"\B", "") is not None  # true from Python 3.14 on


def sets_seen(assertion: Assertion) -> Iterator[CharacterSet]:
    """Gives the sets of characters that an assertion tells apart."""
    if assertion.words:
        yield assertion.words
    if "line" in assertion.kind:
        yield _NEWLINE


class Contexts:
    """The character before a place, as far as assertions see it, and bits for what may follow.

    Bit `c` allows a character of class `c` next. Two more bits stand for the end, and for a `\\n` that
    is the last character: `$` holds before either. A context is START or one class that stands for
    all that the assertions of this pattern do not tell apart.

    Attributes:
        end: The bit of the end.
        anything: The bits of a place where no assertion holds anything back.
    """

    def __init__(self, partition: Partition, asserted: list[Assertion]):
        self.end = 1 << partition.num_classes
        self._last_newline = self.end << 1
        self.anything = 2 * self._last_newline - 1
        self._bits = {
            members: sum(1 << c for c in partition.members[members])
            for assertion in asserted
            for members in sets_seen(assertion)
        }
        self._newlines = self._bits.get(_NEWLINE, 0)
        first: dict[tuple[int, ...], int] = {}
        self._context = [
            first.setdefault(tuple(bits >> c & 1 for bits in self._bits.values()), c)
            for c in range(partition.num_classes)
        ]

    def after(self, symbol: int, allowed: int) -> tuple[int, int] | None:
        """Gives the context and the bits after a character of class `symbol`; None if it may not come."""
        if allowed >> symbol & 1:
            return self._context[symbol], self.anything
        if allowed & self._last_newline and self._newlines >> symbol & 1:
            return self._context[symbol], self.end
        return None

    def allowed(self, assertion: Assertion, before: int) -> int:
        """Gives the bits of what may follow where an assertion holds after the context `before`."""
        match assertion.kind:
            case "text start":
                return self.anything if before == START else 0
            case "line start":
                return self.anything if before == START or self._newlines >> before & 1 else 0
            case "text end":
                return self.end
            case "last line end":
                return self.end | self._last_newline
            case "line end":
                return self.end | self._last_newline | self._newlines
        words = self._bits[assertion.words]
        inside = before != START and bool(words >> before & 1)
        if (assertion.kind == "word edge") != inside:
            return words
        if before == START and not _EMPTY_HAS_NO_WORD_EDGE:
            return self.anything & ~words & ~self.end
        return self.anything & ~words
