"""Whether SQLite's own parser can go on behind the beginning of a query.

The parser reads one token after the other and never goes back, so an error in front of the end of a text
stays whatever is added. It stops at the first token that it cannot use. So a text is given to it with a piece
behind it that is no token: if that is what it complains about, it has taken all that stands in front. No name
has been looked up yet, for that is done at the end of the query.

Two mistakes it notices some tokens later: a kind of join that does not exist, and ON or USING without a join.
So behind words of a join, ON and USING it is also asked about a text that goes on from there.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import product

from lmppl.constraints.domains.sql.memory_databases import MemoryDatabase
from lmppl.constraints.domains.sql.sql_words import KEYWORDS, Lexeme

_NO_TOKEN = "\x01"
_MAX_REMEMBERED = 4_096  # beginnings
_CHANGES = ("delete", "insert", "update", "into")  # reserved words of statements that do not only read
_SORTED = sorted(KEYWORDS.difference(_CHANGES, ("replace",)))  # which begins a statement, or is a name
_EXAMPLES = {"double": ('""',), "quoted": ("``",), "number": ("1", "1.5")}
_PLAIN_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?")  # of others it depends on SQLite's version what they are
_JOIN_WORDS = ("natural", "left", "outer", "right", "full", "inner", "cross")
_MORE_JOIN_WORDS = [" ".join(words) for num in (1, 2) for words in product(_JOIN_WORDS, repeat=num)]
_LONGER = {"<": ("<<", "<>"), ">": (">>",), "|": ("||",), "!": ("!=",), ".": (".5",)}


def can_go_on(text: str, found: Sequence[Lexeme]) -> bool:
    """Says whether the parser takes some text that begins so, whatever tables and columns there are.

    The last piece, if it may still grow, is judged by all that it can become.

    Args:
        text: The beginning of one query, without a semicolon.
        found: Its last pieces, four at least. Those before it was let pass with.
    """
    if not found:
        return True
    if any(lexeme.is_word(*_CHANGES) for lexeme in found):
        return False
    if any(each.is_word("on", "using") and _lacks_join(text[: each.end]) for each in found[:-1]):
        return False
    last, before = found[-1], found[-2] if len(found) > 1 else None
    is_join = any(each.is_word(*_JOIN_WORDS) for each in found[-4:-1])
    head = "" if before is None else text[: before.end]
    after_window = before is not None and before.is_word("window")
    return any(
        _takes(f"{head} {form}{rest}")
        for form in _forms(last, text[last.start : last.end])
        if not (is_join and _is_no_join(f"{head} {form}", form))
        if not (form in ("on", "using") and _lacks_join(f"{head} {form}"))
        for rest in _rests(form, after_window)
    )


@lru_cache(_MAX_REMEMBERED)
def _is_no_join(text: str, last: str) -> bool:
    """Says whether a text ends with words of a join that is of no kind. It may go on with words up to JOIN.

    Once the parser has taken them for words of a join, only others can follow, three in all, and JOIN.
    """
    if last == "join":
        return "join type" in _said(f"{text} x")
    if "join type" not in _said(f"{text} join x"):
        return False
    return not any(_takes(f"{text} {more} join x") for more in _MORE_JOIN_WORDS)


@lru_cache(_MAX_REMEMBERED)
def _lacks_join(text: str) -> bool:
    """Says whether ON or USING, the last word of a text, stands behind the first table of a list."""
    condition = "(x)" if text[-5:].lower() == "using" else "1"
    return "JOIN clause is required" in _said(f"{text} {condition} ,")


def _forms(last: Lexeme, piece: str) -> Iterable[str]:
    """Gives one text for each kind of token that the last piece is or may become.

    Of a token that nothing stands behind the parser has looked at the kind only.
    """
    if last.kind == "word":
        if last.closed:
            return (last.text if last.text in KEYWORDS and piece.isascii() else "x",)
        words = (word for word in _SORTED if word.startswith(last.text))
        return ("x", *(("x''",) if last.text == "x" else ()), *words)
    if last.kind == "sign":
        return (piece, *(() if last.closed else _LONGER.get(piece, ())))
    if last.kind == "string":
        return ("''" if piece[0] == "'" else "x''",)
    is_odd = last.closed and last.kind == "number" and not _PLAIN_NUMBER.fullmatch(piece)
    return (piece,) if is_odd else _EXAMPLES[last.kind]


def _rests(form: str, after_window: bool) -> Iterator[str]:
    """Gives what may follow at the end, as far as it makes WINDOW, OVER and FILTER words or names.

    These are keywords before certain tokens and names before others: `OVER (` or `OVER x`, `FILTER (`, and
    `WINDOW x AS`.
    """
    yield ""
    if form in ("over", "filter"):
        yield " ("
    elif form == "window":
        yield " x AS"
    if after_window:
        yield " AS"


@lru_cache(_MAX_REMEMBERED)
def _takes(text: str) -> bool:
    """Says whether the parser takes all tokens of a text."""
    return _said(text) == _parser()[2]


def _said(text: str) -> str:
    parser, lock, _ = _parser()
    with lock:
        return _said_of(parser, text)


@lru_cache(1)
def _parser() -> tuple[sqlite3.Connection, threading.Lock, str]:
    """Gives a connection that parses, and what it says when it has taken all tokens of a text."""
    connection = MemoryDatabase()
    return connection, threading.Lock(), _said_of(connection, "SELECT")


def _said_of(connection: sqlite3.Connection, text: str) -> str:
    """Gives the error that stops the parser. There is one in any case, so nothing is ever run."""
    try:
        connection.execute(f"EXPLAIN {text} {_NO_TOKEN}")
    except (sqlite3.Error, sqlite3.Warning) as error:
        return str(error)
    return ""
