"""Strings as constraints: what lets one write `"(" + constraint + ")"`."""

from __future__ import annotations

from lmppl.constraints.protocol import Constraint
from lmppl.constraints.regular.alternatives import automaton_of, encoded
from lmppl.constraints.regular.regular_language import RegularLanguage
from lmppl.errors import InvalidTypeError


def literal(text: str) -> RegularLanguage:
    """Allows exactly one string."""
    return RegularLanguage(automaton_of([encoded(text)]), repr(text))


def operand(value: object, sign: str) -> Constraint:
    """Gives what stands beside an operator as a constraint.

    Raises:
        InvalidTypeError: It is neither a constraint nor a string.
    """
    if isinstance(value, Constraint):
        return value
    if isinstance(value, str):
        return literal(value)
    raise InvalidTypeError(
        f"`{sign}` joins constraints and strings, but was given {value!r}. A distribution is conditioned on "
        f"the whole: `lm(prompt) & (a {sign} b)`."
    )
