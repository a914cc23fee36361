"""Conditions in Python's syntax as formulas of the solver z3."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from functools import reduce
from types import ModuleType
from typing import Any

from lmppl.constraints.domains.records.arithmetic import Condition, number
from lmppl.errors import ConstraintError

MAX_POWER = 9

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: lambda left, right: left < right,
    ast.LtE: lambda left, right: left <= right,
    ast.Gt: lambda left, right: left > right,
    ast.GtE: lambda left, right: left >= right,
    ast.Eq: lambda left, right: left == right,
    ast.NotEq: lambda left, right: left != right,
}


class _NotKnown(Exception):
    def __init__(self, node: ast.AST):
        super().__init__()
        self.node = node


class Translator:
    """Makes formulas over the terms of some fields.

    Attributes:
        is_linear: False once fields were multiplied with each other.
    """

    def __init__(self, z3: ModuleType, terms: Mapping[str, Any]):
        self.is_linear = True
        self._z3 = z3
        self._terms = terms

    def formula(self, condition: Condition) -> Any:
        """Gives the formula of a condition.

        Raises:
            ConstraintError: It uses what is not known here, mixes numbers and texts, or says nothing.
        """
        try:
            found = self._term(condition.tree)
        except _NotKnown as error:
            raise ConstraintError(
                f"The condition {condition.text!r} holds {ast.unparse(error.node)!r}. Known are and, or, "
                "not, comparisons, + - *, / // % by a positive number, powers up to 9, `if else`, `in (...)`."
            ) from None
        except (self._z3.Z3Exception, TypeError, AttributeError) as error:
            raise ConstraintError(
                f"The condition {condition.text!r} mixes numbers, texts and conditions: {error}."
            ) from error
        if not self._z3.is_bool(found):
            raise ConstraintError(f"The condition {condition.text!r} is a value. Compare it with something.")
        return found

    def _term(self, node: ast.expr) -> Any:
        match node:
            case ast.Name(name):
                return self._terms[name]
            case ast.Constant(str(text)):
                return text_term(self._z3, text)
            case ast.Constant(bool(value)):
                return self._z3.BoolVal(value)
            case ast.Constant() if (value := number(node)) is not None:
                whole = value.denominator == 1
                return self._z3.IntVal(value.numerator) if whole else self._z3.RealVal(str(value))
            case ast.BoolOp(sign, parts):
                joined = self._z3.And if isinstance(sign, ast.And) else self._z3.Or
                return joined(*map(self._term, parts))
            case ast.UnaryOp(ast.Not(), inner):
                return self._z3.Not(self._term(inner))
            case ast.UnaryOp(ast.USub(), inner):
                return -self._term(inner)
            case ast.IfExp(condition, yes, no):
                return self._z3.If(self._term(condition), self._term(yes), self._term(no))
            case ast.Compare(first, signs, others):
                return self._compared([first, *others], signs)
            case ast.BinOp(left, sign, right):
                return self._computed(node, self._term(left), sign, right)
        raise _NotKnown(node)

    def _compared(self, sides: list[ast.expr], signs: list[ast.cmpop]) -> Any:
        found = []
        for left, sign, right in zip(sides, signs, sides[1:], strict=False):
            if isinstance(sign, ast.In | ast.NotIn) and isinstance(right, ast.Tuple | ast.List | ast.Set):
                among = self._z3.Or(*(self._term(left) == self._term(option) for option in right.elts))
                found.append(among if isinstance(sign, ast.In) else self._z3.Not(among))
            elif type(sign) in _COMPARISONS:
                found.append(_COMPARISONS[type(sign)](self._term(left), self._term(right)))
            else:
                raise _NotKnown(right)
        return self._z3.And(*found)

    def _computed(self, node: ast.BinOp, left: Any, sign: ast.operator, right: ast.expr) -> Any:
        match sign:
            case ast.Add():
                return left + self._term(right)
            case ast.Sub():
                return left - self._term(right)
            case ast.Mult():
                other = self._term(right)
                self.is_linear &= self._is_fixed(left) or self._is_fixed(other)
                return left * other
        value = number(right) if isinstance(right, ast.Constant) else None
        if value is None or value <= 0:
            raise _NotKnown(node)
        match sign:
            case ast.Div():
                real = self._z3.ToReal(left) if self._z3.is_int(left) else left
                return real / self._z3.RealVal(str(value))
            case ast.FloorDiv() if self._z3.is_int(left) and value.denominator == 1:
                return left / self._z3.IntVal(value.numerator)  # rounds down where the divisor is positive
            case ast.Mod() if self._z3.is_int(left) and value.denominator == 1:
                return left % self._z3.IntVal(value.numerator)
            case ast.Pow() if value.denominator == 1 and value <= MAX_POWER:
                self.is_linear &= value == 1 or self._is_fixed(left)
                return reduce(lambda product, factor: product * factor, [left] * value.numerator)
        raise _NotKnown(node)

    def _is_fixed(self, term: Any) -> bool:
        simple = self._z3.simplify(term)
        return self._z3.is_int_value(simple) or self._z3.is_rational_value(simple)


def text_term(z3: ModuleType, text: str) -> Any:
    """Gives a text as a term. z3 reads escapes in a literal, so that a backslash has to be one."""
    return z3.StringVal(text.replace("\\", "\\u{5c}"))
