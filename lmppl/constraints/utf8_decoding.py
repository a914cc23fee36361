"""What of some bytes is text already, where they may end inside a character."""

from __future__ import annotations


def decodable_head(data: bytes) -> str | None:
    """Gives the whole characters of `data`, or None if no further bytes make it UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            return data[: error.start].decode()
        return None
