"""How JSON (RFC 8259) writes strings and numbers, as byte automata."""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np

from lmppl.constraints.regular.automaton import MAX_STATES, ByteAutomaton
from lmppl.constraints.regular.character_automaton import TooLarge
from lmppl.constraints.regular.regular_expression import compiled
from lmppl.constraints.regular.transition_tables import DEAD

QUOTE, BACKSLASH = b'"\\'
_SHORT = {"\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t", '"': '"', "\\": "\\"}

NEEDED_ESCAPES: dict[bytes, bytes] = {
    (f"\\{_SHORT[c]}" if c in _SHORT else f"\\u{ord(c):04x}").encode(): c.encode()
    for c in [*map(chr, range(0x20)), '"', "\\"]
}
"""What cannot stand in a string as it is, by its one spelling here: that of Python's `json.dumps`."""

_HEX = "[0-9a-fA-F]"
_ESCAPES = (
    r'\\["\\/bfnrt]',
    rf"\\u[0-9a-cA-CefEF]{_HEX}{{3}}",
    rf"\\u[dD][0-7]{_HEX}{{2}}",
    rf"\\u[dD][89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}}",  # a pair; a lone surrogate is no character
)


@cache
def number_text() -> ByteAutomaton:
    """Any number of RFC 8259."""
    return compiled(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


@cache
def escape_text() -> ByteAutomaton:
    """Any one escape, from its backslash on. No escape is the beginning of another."""
    return compiled("|".join(_ESCAPES))


@cache
def character_text() -> ByteAutomaton:
    """Any one character inside a string, escaped or not. None is the beginning of another."""
    return compiled(r'[^"\\\x00-\x1f]|' + "|".join(_ESCAPES))


@cache
def any_content() -> ByteAutomaton:
    """What a string may stand for: any text."""
    return compiled("(?s:.*)")


@lru_cache(512)
def quoted(content: ByteAutomaton) -> ByteAutomaton:
    """Gives the JSON strings that stand for the texts of a language.

    Each text has one spelling: quotes, backslashes and control characters are escaped as
    `NEEDED_ESCAPES` says, and nothing else is.

    Raises:
        TooLarge: More than 50,000 states.
    """
    size = content.num_states
    table = content.transitions.copy()
    table[:, :0x20] = DEAD
    table[:, [QUOTE, BACKSLASH]] = DEAD
    rows = list(table) + [np.full(256, DEAD, np.int32) for _ in range(2)]
    opening, closed = size, size + 1
    rows[opening][QUOTE] = content.start
    inner: dict[tuple[tuple[int, int], ...], int] = {}
    for state in range(size):
        if content.accepting[state]:
            rows[state][QUOTE] = closed
        reached = {e: int(content.transitions[state, c[0]]) for e, c in NEEDED_ESCAPES.items()}
        spellings = {e[1:]: target for e, target in reached.items() if target != DEAD}
        if spellings:
            rows[state][BACKSLASH] = _branches(spellings, rows, inner)
    accepting = np.zeros(len(rows), bool)
    accepting[closed] = True
    return ByteAutomaton.of_table(np.stack(rows), opening, accepting)


def _branches(
    spellings: dict[bytes, int], rows: list[np.ndarray], known: dict[tuple[tuple[int, int], ...], int]
) -> int:
    """Adds the tree of some endings of escapes, each with the state that it leads to."""
    edges: dict[int, int] = {}
    for first in sorted({spelling[0] for spelling in spellings}):
        rests = {s[1:]: target for s, target in spellings.items() if s[0] == first}
        edges[first] = rests[b""] if b"" in rests else _branches(rests, rows, known)
    key = tuple(edges.items())
    if key not in known:
        if len(rows) >= MAX_STATES:
            raise TooLarge
        known[key] = len(rows)
        row = np.full(256, DEAD, np.int32)
        for byte, target in edges.items():
            row[byte] = target
        rows.append(row)
    return known[key]
