"""Conditions on fields, written as Python expressions."""

from __future__ import annotations

import ast
import difflib
import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

from lmppl.errors import ConstraintError

MAX_LENGTH = 1_000  # characters


class Condition(NamedTuple):
    """A condition: its text, what it says, and the fields that it names."""

    text: str
    tree: ast.expr
    names: frozenset[str]


class Row(NamedTuple):
    """A linear inequality: `sum(weight * field) <= bound`, or `<` where it is strict."""

    weights: dict[str, Fraction]
    bound: Fraction
    is_strict: bool


def parse(text: str, fields: Iterable[str]) -> Condition:
    """Reads a condition. Only its outermost form is looked at: what is allowed inside is up to its use.

    Raises:
        ConstraintError: It is no expression, or names what is no field.
    """
    if len(text) > MAX_LENGTH:
        raise ConstraintError(
            f"The condition {text[:60]!r}... has {len(text):,} characters; at most {MAX_LENGTH:,} are read. "
            "Write several conditions."
        )
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConstraintError(f"The condition {text[:80]!r} is no Python expression: {error}.") from error
    known = list(fields)
    names = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    for name in sorted(names):
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ConstraintError(
                f"The condition {text!r} names {name!r}. The fields are: {', '.join(map(repr, known))}.{hint}"
            )
    return Condition(text, tree, names)


def number(node: ast.Constant) -> Fraction | None:
    """Gives the value of a literal number, decimals as they are written; None for anything else."""
    if (
        isinstance(node.value, bool)
        or not isinstance(node.value, int | float)
        or not math.isfinite(node.value)
    ):
        return None
    return Fraction(repr(node.value))


def rows(condition: Condition) -> list[Row]:
    """Gives the inequalities of a condition that joins comparisons of sums by `and`.

    Raises:
        ConstraintError: It is not linear, or says `or`, `not` or `!=`.
    """
    try:
        return list(_rows(condition.tree))
    except _NotLinear as error:
        raise ConstraintError(
            f"The condition {condition.text!r} is not linear: it holds {ast.unparse(error.node)!r}. "
            "Comparisons (<=, <, >=, >, ==) of sums of fields times numbers are, joined by `and`. "
            "lp.smt takes others."
        ) from None


class _NotLinear(Exception):
    def __init__(self, node: ast.AST):
        super().__init__()
        self.node = node


def _rows(node: ast.expr) -> Iterator[Row]:
    match node:
        case ast.BoolOp(ast.And(), parts):
            for part in parts:
                yield from _rows(part)
        case ast.Compare(first, signs, others):
            sides = [_sum(side) for side in (first, *others)]
            for left, sign, right in zip(sides, signs, sides[1:], strict=False):
                yield from _compared(left, sign, right, node)
        case _:
            raise _NotLinear(node)


Sum = dict[str, Fraction]
"""Weights by field; that of the name `""` is the number without one."""


def _compared(left: Sum, sign: ast.cmpop, right: Sum, node: ast.expr) -> Iterator[Row]:
    if isinstance(sign, ast.LtE | ast.Lt | ast.Eq):
        yield _row(left, right, isinstance(sign, ast.Lt))
    if isinstance(sign, ast.GtE | ast.Gt | ast.Eq):
        yield _row(right, left, isinstance(sign, ast.Gt))
    if not isinstance(sign, ast.LtE | ast.Lt | ast.Eq | ast.GtE | ast.Gt):
        raise _NotLinear(node)


def _row(left: Sum, right: Sum, is_strict: bool) -> Row:
    weights = _added(left, right, -1)
    bound = -weights.pop("", Fraction(0))
    return Row({name: weight for name, weight in weights.items() if weight}, bound, is_strict)


def _sum(node: ast.expr) -> Sum:
    match node:
        case ast.Name(name):
            return {name: Fraction(1)}
        case ast.Constant() if (value := number(node)) is not None:
            return {"": value}
        case ast.UnaryOp(ast.USub(), inner):
            return _added({}, _sum(inner), -1)
        case ast.UnaryOp(ast.UAdd(), inner):
            return _sum(inner)
        case ast.BinOp(left, ast.Add(), right):
            return _added(_sum(left), _sum(right), 1)
        case ast.BinOp(left, ast.Sub(), right):
            return _added(_sum(left), _sum(right), -1)
        case ast.BinOp(left, ast.Mult(), right):
            one, other = _sum(left), _sum(right)
            for factor, rest in ((one, other), (other, one)):
                if set(factor) <= {""}:
                    return _added({}, rest, factor.get("", Fraction(0)))
        case ast.BinOp(left, ast.Div(), right):
            divisor = _sum(right)
            if set(divisor) == {""} and divisor[""]:
                return _added({}, _sum(left), 1 / divisor[""])
    raise _NotLinear(node)


def _added(left: Sum, right: Sum, factor: Fraction | int) -> Sum:
    total = dict(left)
    for name, weight in right.items():
        total[name] = total.get(name, Fraction(0)) + factor * weight
    return total
