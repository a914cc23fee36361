"""`lp.lark`: context-free grammars in Lark's syntax, judged byte by byte."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

from lmppl.constraints.earley import Place, Recogniser
from lmppl.constraints.lark_rules import load_rules
from lmppl.constraints.protocol import Constraint, State
from lmppl.errors import ConstraintError, InvalidTypeError


def lark(grammar: str, start: str = "start") -> Constraint:
    """Allows the strings of a grammar in Lark's syntax.

    The language is that of `lark.Lark(grammar, start=start, parser="earley", lexer="dynamic_complete")`,
    with ignored terminals between any two others and at both ends. It is **scannerless**: a terminal
    may match any string of its pattern, in any place where a rule wants it. Lark's other lexers take the
    longest match, and let keywords and priorities win over identifiers; their language is smaller where
    terminals overlap (`"if" NAME` accepts `iffy` here: the keyword and the name `fy`), and so is that of
    an ignored comment, which may end early here. Where no terminal is a prefix of, or the same as,
    another one that may stand in its place, all agree.

    A prefix is viable exactly when it can be completed, inside a terminal or character too. Time for a
    byte does not depend on the length for deterministic grammars, and is polynomial for any. States
    are made when first met, and remembered.

    Args:
        grammar: The text of the grammar. Imports of Lark's own library work.
        start: The rule that stands for the whole string.

    Raises:
        ConstraintError: Lark refuses the grammar; a terminal uses look-around or back-references; or
            no string is in the language.
    """
    for name, value in (("grammar", grammar), ("start", start)):
        if not isinstance(value, str):
            raise InvalidTypeError(f"`{name}` of lark() is a str, but was given {value!r}.")
    return _lark(grammar, start)


@lru_cache(64)
def _lark(grammar: str, start: str) -> Grammar:
    rules = load_rules(grammar, start)
    if rules.start is None:
        raise ConstraintError(
            f"No string is in the language of the grammar: every derivation of {start!r} goes on for ever. "
            "Give its recursive rules an alternative that ends."
        )
    return Grammar(grammar, start, Recogniser(rules))


@dataclass(frozen=True, repr=False)
class Grammar(Constraint):
    """The strings of a context-free grammar. Made by `lark`.

    Attributes:
        text: The grammar as the user wrote it.
        start: The rule that stands for the whole string.
        recogniser: What knows the states.
    """

    text: str
    start: str
    recogniser: Recogniser = field(compare=False)

    def initial(self) -> State:
        """Gives the state of the empty string."""
        return self.recogniser.initial

    def advance(self, state: State, data: bytes) -> State | None:
        """Gives the state after `data`, or None if no string of the language starts so."""
        place: Place | None = cast(Place, state)
        for byte in data:
            place = self.recogniser.advance(place, byte)
            if place is None:
                return None
        return place

    def accepts(self, state: State) -> bool:
        """Says whether the string that led to `state` is in the language."""
        return self.recogniser.accepts(cast(Place, state))

    def describe(self) -> str:
        """Gives the first line of the grammar."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()] or [""]
        first = lines[0] if len(lines[0]) <= 40 else lines[0][:37] + "..."
        return f"lark({first!r}{', ...' if len(lines) > 1 else ''})"
