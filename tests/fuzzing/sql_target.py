"""`lp.sql` against SQLite: queries, queries with a token changed and pieces of text, prefix by prefix."""

from __future__ import annotations

import re
import sqlite3
from functools import lru_cache

from drawn_bytes import Draws
from drawn_queries import SCHEMA, drawn_query, spaced
from viable_prefixes import stepped

from lmppl.constraints.domains.sql.memory_databases import MemoryDatabase
from lmppl.constraints.domains.sql.sql_cores import Names
from lmppl.constraints.domains.sql.sql_names import nothing_read, read_on
from lmppl.constraints.domains.sql.sql_queries import sql

MAX_BYTES = 160
_MOST_CHARACTERS = 240  # of a text

PIECES = (
    *(
        " ",
        "\n",
        "\x0b",
        "\x00",
        "\ufeff",
        "\u00a0",
        "'",
        '"',
        "`",
        "[",
        "]",
        "x'",
        "X'0f'",
        "''",
        '""',
        "--",
    ),
    *("/*", "*/", "*", "/", "-", "->", ">", "<", "=", "!", "|", "||", ".", ".5", "1", "0x", "1e", "1_0", "+"),
    *(
        "(",
        ")",
        ",",
        ";",
        "&",
        "~",
        "%",
        "?",
        ":a",
        "@",
        "#",
        "$",
        "é",
        "🔔",
        "\x01",
        "a",
        "b",
        "t",
        "u",
        "_",
    ),
    *(
        " FROM ",
        " WHERE ",
        " AS ",
        " OVER ",
        " FILTER ",
        " WINDOW ",
        " w ",
        " OVER(",
        " AS(",
        "sum(a)",
        " JOIN ",
    ),
    *(" LEFT ", " NATURAL ", " ON ", "USING(a)", " ORDER BY ", " GROUP BY ", " LIMIT ", " UNION ", "SELECT "),
    *(
        "VALUES(1)",
        "WITH ",
        " NOT ",
        " IN ",
        " IS ",
        " NULL ",
        " CASE ",
        " WHEN ",
        " THEN ",
        " END ",
        " LIKE ",
    ),
    *(" DELETE ", " INTO ", " RAISE(", " key ", " INDEXED ", "BY ", "EXISTS(", "CAST(", " ESCAPE ", " over "),
)
_BEGINNINGS = (
    "SELECT ",
    "select a from t ",
    "",
    "WITH w AS (SELECT 1) ",
    "SELECT 1;",
    "SELECT a FROM t WHERE ",
)
_TAILS = (
    "",
    " 1",
    " a",
    "a",
    ")",
    " FROM t",
    "1",
    "'",
    "*/",
    '"',
    "` FROM t",
    "0'",
    " JOIN u",
    "(1)",
    " AS (",
    "=1",
)
_STARTS = re.compile(r"(?:[ \t-\r\ufeff]|--[^\n]*\n|/\*.*?\*/)*(?:select|values|with)\b", re.DOTALL | re.I)
_NAMED = re.compile(r"near \"(?!\").*: syntax error|unrecognized token: \"(?![\"'`\[]|[xX]').*", re.DOTALL)
_UNDECIDED = re.compile(r"\b(?:over|filter|window)\b.{0,40}\Z", re.DOTALL | re.IGNORECASE)

SEEDS = (
    bytes(160),
    bytes(range(160)),
    bytes(range(255, 95, -1)),
    bytes((1, *range(3, 255, 2))),
    b"\x02" * 60,
)


def drawn(data: bytes) -> tuple[str]:
    """Draws a query, one with some tokens changed, or a beginning of one with any pieces behind it."""
    draws = Draws(data)
    kind = draws.below(4)
    if kind == 3:
        begins = draws.one_of(_BEGINNINGS)
        return (begins + "".join(PIECES[byte % len(PIECES)] for byte in data[2:20]),)
    tokens = drawn_query(draws)
    if kind == 2:
        tokens = mutated(tokens, draws)
    return (spaced(tokens, draws)[:_MOST_CHARACTERS] + draws.one_of(("", "", ";", "; -- end")),)


def mutated(tokens: list[str], draws: Draws) -> list[str]:
    """Deletes, doubles, inserts or swaps a token."""
    at, tokens = draws.below(min(len(tokens), 256)), list(tokens)
    change = draws.below(4)
    if change == 0:
        del tokens[at]
    elif change == 1:
        tokens.insert(at, tokens[at])
    elif change == 2:
        tokens.insert(at, draws.one_of(PIECES).strip() or ",")
    else:
        other = draws.below(min(len(tokens), 256))
        tokens[at], tokens[other] = tokens[other], tokens[at]
    return tokens


def judged(text: str) -> str:
    """Compares what is accepted, and where a text that is not accepted dies."""
    constraint = sql(SCHEMA)
    data = text.encode()
    states = stepped(constraint, data)
    is_viable = len(states) > len(data)
    is_query = takes(text)
    assert (is_viable and constraint.accepts(states[-1])) == is_query, text
    if not is_viable:
        died = data[: len(states)].decode(errors="ignore")
        assert not any(takes(died + tail) for tail in _TAILS), f"{died!r} has a completion"
    lived = data[: len(states) - 1].decode(errors="ignore")
    if not _UNDECIDED.search(lived) and _NAMED.fullmatch(complaint(lived + "\n")):
        assert constraint.advance(constraint.initial(), lived.encode() + b"\n") is None, (
            f"SQLite names the token that is wrong in {lived!r}"
        )
    return "compared" if is_query else "no query"


def takes(text: str) -> bool:
    """Says whether SQLite compiles a text as one query that only reads."""
    return _STARTS.match(text) is not None and complaint(text) == ""


def complaint(text: str) -> str:
    """Gives what SQLite says against a text; nothing if it compiles it."""
    try:
        _connection().execute(f"EXPLAIN {text}").close()
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        return str(error) or "it cannot be read"
    return ""


def can_exist(text: str, names: Names) -> bool:
    """Says whether the names in the beginning of a query can all exist, read at once."""
    return read_on(nothing_read(names), text) is not None


@lru_cache(1)
def _connection() -> sqlite3.Connection:
    connection = MemoryDatabase()
    for table, columns in SCHEMA.items():
        connection.execute(f'CREATE TABLE "{table}" ({", ".join(map(repr, columns))})')
    changes = (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE)
    connection.execute("SELECT 1 FROM json_each('[]')")
    connection.set_authorizer(
        lambda action, *_: sqlite3.SQLITE_DENY if action in changes else sqlite3.SQLITE_OK
    )
    return connection
