"""SQL text as words, signs and quoted pieces, by SQLite's rules, where it may stop anywhere."""

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
        where cross full inner left natural outer right indexed window over filter offset
        """,
    )
)
"""Keywords that are no alias where they stand without `AS`."""

_LEXEME = re.compile(
    r"""(?P<space>\s+|--[^\n]*(?:\n|$)|/\*.*?(?:\*/|$))
      | (?P<string>[xX]?'(?:[^']|'')*(?:'|$))
      | (?P<double>"(?:[^"]|"")*(?:"|$))
      | (?P<quoted>`(?:[^`]|``)*(?:`|$)|\[[^\]]*(?:\]|$))
      | (?P<number>0[xX][0-9a-fA-F]*|(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?[\d_]*)?)
      | (?P<word>[^\W\d][\w$]*)
      | (?P<sign>->>|\|\||<<|>>|<=|>=|<>|!=|==|->|[-+*/%&|~<>=!(),.;])""",
    re.VERBOSE | re.DOTALL,
)


class Lexeme(NamedTuple):
    """A piece of SQL that is no space.

    Attributes:
        kind: `word`, `string`, `double` (in double quotes: a name or a string), `quoted` (a name in
            backticks or brackets), `number` or `sign`.
        text: In lower case, without its quotes.
        closed: Whether more text cannot change it.
    """

    kind: str
    text: str
    closed: bool

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


def lexemes(text: str) -> list[Lexeme] | None:
    """Gives the pieces of a text that may stop anywhere; None if no text that begins so is SQL."""
    found, position = [], 0
    while position < len(text):
        match = _LEXEME.match(text, position)
        if match is None:
            return None
        position = match.end()
        kind, piece = match.lastgroup or "", match.group()
        if kind == "number" and re.match(r"[^\W\d]", text[position:]):
            return None  # a number that a letter follows is nothing
        if kind != "space":
            found.append(_lexeme(kind, piece, at_end=position == len(text)))
    return found


def _lexeme(kind: str, piece: str, *, at_end: bool) -> Lexeme:
    if kind == "string":
        return Lexeme(kind, "", not at_end)
    if kind in ("double", "quoted"):
        quote = {"[": "]"}.get(piece[0], piece[0])
        ended = len(piece) > 1 and piece.endswith(quote)
        inside = piece[1:-1] if ended else piece[1:]
        inside = inside if quote == "]" else inside.replace(quote * 2, quote)
        return Lexeme(kind, inside.lower(), ended and not at_end)
    return Lexeme(kind, piece.lower(), not at_end)
