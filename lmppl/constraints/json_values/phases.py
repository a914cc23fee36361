"""What is being read at a place of a JSON text, and which bytes may come there."""

from __future__ import annotations

from lmppl.constraints.protocol import EVERY_BYTE

VALUE, ITEM_OR_END, NAME_OR_END, NAME_START, COLON, AFTER, END = range(7)  # between tokens
WORD, NUMBER, STRING, NAME = range(7, 11)  # inside one

SPACES = b" \n\t\r"
IN_NUMBER = frozenset(b"+-.eE0123456789")
STARTS = frozenset(b'"[{ntf-0123456789')  # of values

NEXT = {
    VALUE: STARTS.union(SPACES),
    ITEM_OR_END: STARTS.union(SPACES, b"]"),
    NAME_OR_END: frozenset(b'"}' + SPACES),
    NAME_START: frozenset(b'"' + SPACES),
    COLON: frozenset(b":" + SPACES),
    AFTER: frozenset(b",]}" + SPACES),
    END: frozenset(SPACES),
    NUMBER: IN_NUMBER.union(b",]}", SPACES),
    STRING: EVERY_BYTE,
}
"""The bytes that may come next, at most; within words and names it depends on what they are."""
