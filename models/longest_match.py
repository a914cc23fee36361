"""Cutting a byte string into tokens, the longest first."""

from __future__ import annotations

from collections.abc import Sequence

from lmppl.errors import InvalidInputError


def utf8(text: str) -> bytes:
    """Gives the UTF-8 of a text.

    Raises:
        InvalidInputError: Half of a surrogate pair, which no UTF-8 stands for.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"The text contains {text[error.start]!r} at {error.start}, half of a surrogate pair: that is no "
            'character. If it comes from decoding bytes, decode them with errors="replace".'
        ) from error


class LongestMatch:
    """Cuts byte strings into the tokens of a vocabulary, at each place the longest that works.

    A token after which the rest could not be cut is passed over for a shorter one. Of several ids
    with the same bytes, the first is taken.

    Args:
        token_bytes: One byte string an id; `b""` is never used.
    """

    def __init__(self, token_bytes: Sequence[bytes]):
        self._ids: dict[bytes, int] = {}
        for index, data in enumerate(token_bytes):
            if data:
                self._ids.setdefault(data, index)
        self._longest = max(map(len, self._ids), default=0)

    def encode(self, text: str) -> tuple[int, ...]:
        """Gives ids whose joined bytes are `text` in UTF-8.

        Raises:
            InvalidInputError: No tokens of the vocabulary spell the text, or it is no Unicode.
        """
        data = utf8(text)
        chosen = self._choices(data)
        if data and chosen[0] is None:
            raise InvalidInputError(self._cannot_spell(data))
        ids, position = [], 0
        while position < len(data):
            piece = chosen[position]
            assert piece is not None
            ids.append(self._ids[piece])
            position += len(piece)
        return tuple(ids)

    def _choices(self, data: bytes) -> list[bytes | None]:
        """Gives, for each position, the longest token from which the end can be reached, or None."""
        chosen: list[bytes | None] = [None] * len(data)
        for start in range(len(data) - 1, -1, -1):
            for end in range(min(len(data), start + self._longest), start, -1):
                if (end == len(data) or chosen[end] is not None) and data[start:end] in self._ids:
                    chosen[start] = data[start:end]
                    break
        return chosen

    def _cannot_spell(self, data: bytes) -> str:
        reached = {0}
        for start in range(len(data)):
            if start in reached:
                ends = range(start + 1, min(len(data), start + self._longest) + 1)
                reached.update(end for end in ends if data[start:end] in self._ids)
        place = max(reached)
        return (
            f"No tokens of this vocabulary spell {_shown(data)}: nothing fits at byte {place}, "
            f"before {_shown(data[place:])}. Use only what the model's tokens can spell."
        )


def _shown(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    return repr(text if len(text) <= 40 else text[:40] + "…")
