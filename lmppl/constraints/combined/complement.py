"""Constraints made of constraints: `~a`, the texts that a constraint does not allow."""

from __future__ import annotations

from lmppl.constraints.combined.notation import Operator, grouped
from lmppl.constraints.protocol import Constraint
from lmppl.constraints.regular import automaton_algebra
from lmppl.constraints.regular.character_automaton import TooLarge
from lmppl.constraints.regular.regular_language import RegularLanguage
from lmppl.constraints.regular.utf8_encoding import all_texts
from lmppl.errors import ConstraintError


def all_but(constraint: Constraint) -> Constraint:
    """Allows every text that a constraint does not allow; written `~constraint`.

    A text is any string of whole characters in UTF-8, so `~lp.regex("a")` allows `é`, but not half of it.
    There must be an automaton: `lp.regex`, `lp.choices`, `lp.length`, and what is made of them alone.

    Raises:
        ConstraintError: There is no automaton, or its complement has more than 20,000 states, or the
            constraint allows every text.
    """
    text = f"~{grouped(constraint, Operator.NOT)}"
    machine = constraint.automaton()
    if machine is None:
        raise ConstraintError(
            f"`{text}` needs an automaton, which {constraint.describe()} does not have: it holds a check or "
            "a grammar, or is too large. Negate parts of it that are lp.regex or lp.choices, or write "
            "lp.check(name, complete=lambda text: not ...)."
        )
    try:
        rest = automaton_algebra.difference(all_texts(), machine)
    except TooLarge:
        raise ConstraintError(
            f"`{text}` needs more than {automaton_algebra.MAX_PAIRS:,} states: the automaton of "
            f"{constraint.describe()} has {machine.num_states:,}. Negate something smaller."
        ) from None
    if rest.is_empty:
        raise ConstraintError(
            f"`{text}` allows no string, because {constraint.describe()} allows every text. Change it."
        )
    return RegularLanguage(rest, text, Operator.NOT)
