"""Potentials made of potentials and constraints: `a & b`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lmppl.constraints.combined.combinators import both
from lmppl.constraints.combined.notation import Operator, grouped
from lmppl.constraints.protocol import Constraint
from lmppl.errors import InvalidTypeError
from lmppl.potentials.protocol import Potential


def product(left: Any, right: Any) -> Potential:
    """Adds the log-weights of potentials, and takes all mass from what constraints refuse: `left & right`.

    A potential that is joined with itself counts twice.

    Raises:
        InvalidTypeError: One of them is neither a potential nor a constraint.
    """
    factors: list[Potential] = []
    constraint: Constraint | None = None
    for side in (left, right):
        own, refused = factors_of(side)
        factors += own
        constraint = _joined(constraint, refused)
    return Product(tuple(factors), constraint)


def factors_of(value: Any) -> tuple[tuple[Potential, ...], Constraint | None]:
    """Takes apart what stands beside `&`: the potentials, and all constraints as one."""
    if isinstance(value, Product):
        return value.factors, value.constraint
    if isinstance(value, Potential):
        return (value,), None
    if isinstance(value, Constraint):
        return (), value
    raise InvalidTypeError(
        f"`&` joins a potential with a potential or a constraint, but was given {type(value).__name__} "
        f"({str(value)[:60]!r}). lp.potential(name, complete=function) makes one of a function."
    )


@dataclass(frozen=True, repr=False)
class Product(Potential):
    """Several potentials at once, and a constraint. Made by `product`.

    Attributes:
        factors: Whose log-weights are added.
        constraint: Which strings have mass at all; None for all.
    """

    factors: tuple[Potential, ...]
    constraint: Constraint | None

    def prefix(self, data: bytes) -> float:
        """Gives the sum of the forecasts; `-inf` where the constraint allows no completion."""
        if self.constraint is not None and self.constraint.advance(self.constraint.initial(), data) is None:
            return -math.inf
        return _sum(factor.prefix(data) for factor in self.factors)

    def complete(self, data: bytes) -> float:
        """Gives the sum of the log-weights; `-inf` for what the constraint does not allow."""
        if self.constraint is not None:
            state = self.constraint.advance(self.constraint.initial(), data)
            if state is None or not self.constraint.accepts(state):
                return -math.inf
        return _sum(factor.complete(data) for factor in self.factors)

    def describe(self) -> str:
        """Gives the factors and the constraint, joined by `&`."""
        texts = [factor.describe() for factor in self.factors]
        texts += [grouped(self.constraint, Operator.AND)] if self.constraint is not None else []
        return " & ".join(texts)

    def support(self) -> Constraint | None:
        """Gives the constraint and what the factors support, joined."""
        support = self.constraint
        for factor in self.factors:
            support = _joined(support, factor.support())
        return support

    def parts(self) -> tuple[Potential, ...]:
        """Gives the factors. The constraint is no part."""
        return self.factors


def _joined(left: Constraint | None, right: Constraint | None) -> Constraint | None:
    if left is None or right is None:
        return right if left is None else left
    return both(left, right)


def _sum(values: Any) -> float:
    total = 0.0
    for value in values:
        if value == -math.inf:
            return value
        total += value
    return total
