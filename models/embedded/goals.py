"""The written form of a PDDL goal: one line, conjuncts in a fixed order."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lmppl.errors import InvalidInputError

Conjunct = tuple[str, ...]
"""A predicate and its arguments, as in `("on", "red", "blue")`."""

PREDICATES = (
    "on", "in", "at", "on-table", "clear", "holding",
    "washed", "sliced", "cooked", "open", "closed", "turned-on", "turned-off",
)  # fmt: skip
"""Every predicate that a goal may use, in the order in which conjuncts are written."""

_CONJUNCT = re.compile(r"\(([a-z0-9-]+(?: [a-z0-9-]+)*)\)")
_GOAL = re.compile(r"\(and(?: \([a-z0-9-]+(?: [a-z0-9-]+)*\))+\)")


def canonical(conjuncts: Iterable[Conjunct]) -> tuple[Conjunct, ...]:
    """Puts conjuncts into the order in which goals are written.

    Predicates follow the order of `PREDICATES`. The `on` conjuncts follow their towers from top to bottom,
    and towers are ordered by the name of their top block; all others are ordered by their arguments.
    """
    conjuncts = set(conjuncts)
    below = {c[1]: c[2] for c in conjuncts if c[0] == "on"}
    towers = []
    for top in sorted(set(below) - set(below.values())):
        while top in below:
            towers.append(("on", top, below.pop(top)))
            top = towers[-1][2]
    rest = sorted(conjuncts - set(towers), key=lambda c: (PREDICATES.index(c[0]), c[1:]))
    return (*towers, *rest)


def render(conjuncts: Iterable[Conjunct]) -> str:
    """Writes a goal: `(and (on red blue) (on-table blue))`."""
    return "(and " + " ".join(f"({' '.join(c)})" for c in canonical(conjuncts)) + ")"


def parse(text: str) -> tuple[Conjunct, ...]:
    """Reads a goal as `render` writes it, in any order of conjuncts.

    Raises:
        InvalidInputError: `text` is not of that form.
    """
    if not _GOAL.fullmatch(text):
        raise InvalidInputError(
            f"{text!r} is no goal. A goal is one line such as '(and (on red blue) (clear red))': "
            "lower case, one space between words, at least one conjunct."
        )
    return tuple(tuple(match.split(" ")) for match in _CONJUNCT.findall(text[len("(and") : -1]))
