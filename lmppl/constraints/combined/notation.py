"""How constraints made of constraints are written in errors and tables: operators and parentheses."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmppl.constraints.protocol import Constraint


class Operator(enum.IntEnum):
    """The outermost operator of a constraint's text, the loosest first, as Python binds them."""

    OR = 0
    AND = 1
    PLUS = 2
    NOT = 3
    CALL = 4


_SIGNS = {Operator.OR: " | ", Operator.AND: " & ", Operator.PLUS: " + "}


def infix(operator: Operator, parts: Iterable[Constraint]) -> str:
    """Gives the text of parts that an operator joins."""
    return _SIGNS[operator].join(grouped(part, operator) for part in parts)


def grouped(part: Constraint, operator: Operator) -> str:
    """Gives the text of a part, in parentheses where the operator would tear it apart."""
    text = part.describe()
    return text if part.operator >= operator else f"({text})"
