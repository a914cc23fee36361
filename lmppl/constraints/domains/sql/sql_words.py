"""SQL text as words, signs and quoted pieces, cut as SQLite cuts it, where it may stop anywhere."""

from __future__ import annotations

import re
from typing import NamedTuple

KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        """
        abort action add after all alter always analyze and as asc attach autoincrement before begin
        between by cascade case cast check collate column commit conflict constraint create cross
        current current_date current_time current_timestamp database default deferrable deferred delete
        desc detach distinct do drop each else end escape except exclude exclusive exists explain fail
        filter first following for foreign from full generated glob group groups having if ignore
        immediate in index indexed initially inner insert instead intersect into is isnull join key last
        left like limit match materialized natural no not nothing notnull null nulls of offset on or
        order others outer over partition plan pragma preceding primary query raise range recursive
        references regexp reindex release rename replace restrict returning right rollback row rows
        savepoint select set table temp temporary then ties to transaction trigger unbounded union
        unique update using vacuum values view virtual when where window with within without true false
        """,
    )
)
RESERVED = frozenset(
    re.findall(
        r"\w+",
        """
        add all alter and as autoincrement between case check collate commit constraint create default
        deferrable delete distinct drop else escape except exists foreign from group having in index
        insert intersect into is isnull join limit not notnull null nothing on or order primary
        references returning select set table then to transaction union unique update using values when
        where cross full inner left natural outer right indexed
        """,
    )
)
"""Keywords that are no alias where they stand without `AS`."""

_WORD = r"(?![xX]')[A-Za-z_\x80-\ufefe\uff00-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*"
_LEXEME = re.compile(
    rf"""(?P<space>(?:[ \t\n\f\r][ \t-\r]*|\ufeff)+)
      | (?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))
      | (?P<string>'(?:[^']++|'')*+(?:'|\Z)|[xX]'(?:[0-9a-fA-F]{{2}})*(?:'|[0-9a-fA-F]?\Z))
      | (?P<double>"(?:[^"]++|"")*+(?:"|\Z))
      | (?P<quoted>`(?:[^`]++|``)*+(?:`|\Z)|\[[^\]]*(?:\]|\Z))
      | (?P<number>(?>0[xX][0-9a-fA-F_]*
          | (?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE](?:[+-]?[0-9][0-9_]*|[+-]?\Z))?)
          (?![A-Za-z0-9_$\x80-\U0010ffff]))
      | (?P<word>{_WORD})
      | (?P<sign>->>|\|\||<<|>>|<=|>=|<>|!=|==|->|!\Z|[-+*/%&|~<>=(),.;])""",
    re.VERBOSE | re.DOTALL,
)
_MAY_GROW = ("-", "->", "/", "=", "<", ">", "!", "|", ".")  # the signs that another character may belong to
_MAY_BE_COMMENT = ("-", "/")


class Lexeme(NamedTuple):
    """A piece of SQL that is no space and no comment.

    Attributes:
        kind: `word`, `string` (also a blob), `double` (in double quotes: a name or a string), `quoted` (a
            name in backticks or brackets), `number` or `sign`.
        text: In lower case, without its quotes.
        closed: Whether more text cannot change it.
        start: Where it begins in the text.
        end: Where it ends.
    """

    kind: str
    text: str
    closed: bool
    start: int = 0
    end: int = 0

    def is_word(self, *words: str) -> bool:
        """Says whether it is one of these words, closed."""
        return self.kind == "word" and self.closed and self.text in words

    def is_sign(self, sign: str) -> bool:
        """Says whether it is this sign."""
        return self.kind == "sign" and self.text == sign

    @property
    def is_name(self) -> bool:
        """Whether it can be nothing but a name: a word that is no keyword, or a name in quotes of its own."""
        return self.kind == "quoted" or (self.kind == "word" and self.text not in KEYWORDS)


def lexemes(text: str, start: int = 0) -> list[Lexeme] | None:
    """Gives the pieces of a text that may stop anywhere; None if no text that begins so is SQL.

    A sign at the end that may begin a comment is left out. All but the last piece stay as they are, whatever
    is added to the text.

    Args:
        text: From its first character on.
        start: The end of a piece that is known.
    """
    found, position = [], start
    if text.find("\0", start) >= 0:
        return None
    while position < len(text):
        match = _LEXEME.match(text, position)
        if match is None:
            return None
        position = match.end()
        kind, piece = match.lastgroup or "", match.group()
        at_end = position == len(text)
        if kind not in ("space", "comment") and not (at_end and piece in _MAY_BE_COMMENT):
            found.append(_lexeme(kind, piece, match.start(), at_end=at_end))
    return found


def _lexeme(kind: str, piece: str, start: int, *, at_end: bool) -> Lexeme:
    end = start + len(piece)
    if kind == "sign":
        return Lexeme(kind, piece, not (at_end and piece in _MAY_GROW), start, end)
    if kind == "string":
        is_blob = piece[0] != "'"
        inside = "" if is_blob else piece[1:].removesuffix("'").replace("''", "'").lower()
        return Lexeme(kind, inside, not at_end or (is_blob and piece[2:].endswith("'")), start, end)
    if kind in ("double", "quoted"):
        quote = {"[": "]"}.get(piece[0], piece[0])
        ended = len(piece) > 1 and piece.endswith(quote)
        inside = piece[1:-1] if ended else piece[1:]
        inside = inside if quote == "]" else inside.replace(quote * 2, quote)
        return Lexeme(kind, inside.lower(), ended and (not at_end or quote == "]"), start, end)
    return Lexeme(kind, piece.lower(), not at_end, start, end)
