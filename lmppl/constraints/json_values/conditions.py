"""What a schema asks of a value, by the numbers of schemas: literals, and sets of them."""

from __future__ import annotations

from typing import NamedTuple


class Literal(NamedTuple):
    """A schema by its number, or what that schema refuses."""

    schema: int
    positive: bool


Wanted = frozenset[Literal]
"""What a value must satisfy: all of some literals."""

ANYTHING: Wanted = frozenset()
NOTHING: Wanted = frozenset({Literal(-1, True)})

MAX_COUNTED = 4
"""How many conditions on some item, or some property, a shape may have: each doubles the ways to read it."""


class TooManyShapes(Exception):
    """A schema has more alternatives, or more conditions at once, than are read side by side."""


def joined(one: Wanted, other: Wanted) -> Wanted:
    """Gives what both want."""
    if one <= other or other <= one:  # neither contradicts itself
        return max(one, other, key=len)
    both = one | other
    if both >= NOTHING or any(Literal(schema, not positive) in both for schema, positive in both):
        return NOTHING
    return both


def negated(wanted: Wanted) -> list[Wanted]:
    """Gives what a value must satisfy, any one of them, in order not to satisfy what is wanted."""
    if wanted == NOTHING:
        return [ANYTHING]
    return [frozenset({Literal(schema, not positive)}) for schema, positive in sorted(wanted)]
