"""Python source as logical lines: where one ends, among strings, brackets and comments."""

from __future__ import annotations

import re
import sys
from typing import NamedTuple

_PIECE = re.compile(
    r"""(?P<comment>\#[^\r\n]*)
      | (?P<string>'''(?:\\.|[^\\])*?'''|\"\"\"(?:\\.|[^\\])*?\"\"\")
      | (?P<begun>'''(?:\\.|[^\\])*\\?\Z|\"\"\"(?:\\.|[^\\])*\\?\Z)
      | (?P<short>'(?:\\(?:\r\n|.)|[^\\\r\n'])*'|"(?:\\(?:\r\n|.)|[^\\\r\n"])*")
      | (?P<begun_short>'(?:\\(?:\r\n|.)|[^\\\r\n'])*\\?\Z|"(?:\\(?:\r\n|.)|[^\\\r\n"])*\\?\Z)
      | (?P<joined>\\(?:\r\n|\r|\n))
      | (?P<newline>\r\n|\r|\n)
      | (?P<space>[ \t\f]+)
      | (?P<word>\w+)
      | (?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
_INDENTATION = re.compile(r"(?:(?:[ \t\f]*\f)?\\(?:\r\n|\r|\n))*([ \t\f]*)")
_FIRST_WORD = re.compile(r"(?:\s|\\(?:\r\n|\r|\n))*(\w+|@|.)")
_CLOSING = {")": "(", "]": "[", "}": "{"}
_NESTING_STRINGS = (
    frozenset({"f", "fr", "rf", "t", "tr", "rt"}) if sys.version_info >= (3, 12) else frozenset()
)
"""Prefixes of strings that may hold their own quote, and newlines: such a string's end is not looked for."""


class LogicalLine(NamedTuple):
    """A line that is complete, without its newline.

    Attributes:
        text: With its indentation and comments.
        opens_block: Whether a colon ends it.
    """

    text: str
    opens_block: bool

    @property
    def indentation(self) -> str:
        """The whitespace that it begins with; where that has no width, what follows a joined line counts."""
        match = _INDENTATION.match(self.text)
        return match[1] if match else ""

    @property
    def first_word(self) -> str:
        """The keyword or name that it begins with, or the sign."""
        match = _FIRST_WORD.match(self.text)
        return match[1] if match else ""

    @property
    def column(self) -> int:
        """The width of the indentation, with a tab stop every 8 columns."""
        return len(self.indentation.rpartition("\f")[2].expandtabs(8))


class Split(NamedTuple):
    """The complete lines of a text, the beginning of the next, and whether its end can be found at all."""

    lines: tuple[LogicalLine, ...]
    rest: str
    is_clear: bool


def split_lines(text: str) -> Split | None:
    """Gives the logical lines of a text that begins at one; None if no Python begins so.

    Lines of nothing but space and comments are left out.
    """
    lines, start, position = [], 0, 0
    brackets: list[str] = []
    last = word = ""
    while position < len(text):
        match = _PIECE.match(text, position)
        if match is None:
            return None  # a string that its line ends before its quote
        kind, piece = match.lastgroup, match.group()
        if piece[0] in "'\"" and word.lower() in _NESTING_STRINGS:
            return Split(tuple(lines), text[start:], is_clear=False)
        position = match.end()
        word = piece if kind == "word" else ""
        if kind == "sign" and not _matches(brackets, piece):
            return None
        if kind == "newline" and not brackets:
            if last:
                lines.append(LogicalLine(text[start : match.start()], last == ":"))
            start, last = position, ""
        if kind not in ("comment", "space", "newline", "joined"):
            last = piece[-1]
    return Split(tuple(lines), text[start:], is_clear=True)


def _matches(brackets: list[str], sign: str) -> bool:
    """Keeps the open brackets; False for one that closes another, and for a quote that begins no string."""
    if sign in "([{":
        brackets.append(sign)
    elif sign in _CLOSING:
        return bool(brackets) and brackets.pop() == _CLOSING[sign]
    return sign not in "'\""
