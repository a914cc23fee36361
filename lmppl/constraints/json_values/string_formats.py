"""The formats of strings that a finite automaton can judge."""

from __future__ import annotations

from functools import lru_cache

from lmppl.constraints.automaton import ByteAutomaton
from lmppl.constraints.regular_expression import compiled

# RFC 3339 with the Gregorian calendar's leap years.
_LEAP = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
_DATE = (
    "(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    f"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP}-02-29)"
)
_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_HEX = "[0-9a-fA-F]"

FORMATS = {
    "date": _DATE,
    "uuid": f"{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}",
    "ipv4": rf"(?:{_BYTE}\.){{3}}{_BYTE}",
}
"""A pattern for each format. `date-time` is none of them: its leap seconds depend on the zone."""


@lru_cache(16)
def format_text(name: str) -> ByteAutomaton:
    """Gives the texts of a format."""
    return compiled(FORMATS[name])
