"""How blocks are indented, as an `Indenter` of Lark says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from lmppl.errors import InvalidTypeError

_NAMES = {
    "newline": "NL_type",
    "openers": "OPEN_PAREN_types",
    "closers": "CLOSE_PAREN_types",
    "indent": "INDENT_type",
    "dedent": "DEDENT_type",
    "tab_length": "tab_len",
}
_METHODS = ("process", "_process", "handle_NL", "always_accept")


@dataclass(frozen=True)
class Indentation:
    """What an `Indenter` of Lark says: the names of terminals, and how many spaces a tab stands for."""

    newline: str
    openers: tuple[str, ...]
    closers: tuple[str, ...]
    indent: str
    dedent: str
    tab_length: int

    @staticmethod
    def of(postlex: Any) -> Indentation:
        """Checks what a user passed.

        Raises:
            InvalidTypeError: It is no `Indenter`, or one that does something else with the tokens.
        """
        from lark.indenter import Indenter

        example = "an instance of a subclass of lark.indenter.Indenter, such as PythonIndenter()"
        if not isinstance(postlex, Indenter):
            raise InvalidTypeError(
                f"`postlex` of lark() is {example}, but was given {postlex!r}. What else may do with tokens "
                "cannot be followed byte by byte."
            )
        own = [name for name in _METHODS if getattr(type(postlex), name) is not getattr(Indenter, name)]
        if own:
            raise InvalidTypeError(
                f"`postlex` of lark() is a {type(postlex).__name__} with a {own[0]} of its own; what that "
                "does with tokens cannot be followed byte by byte. Leave it as Lark's Indenter has it."
            )
        said: dict[str, Any] = {ours: getattr(postlex, theirs) for ours, theirs in _NAMES.items()}
        said |= {name: tuple(map(str, said[name])) for name in ("openers", "closers")}
        return Indentation(**said)

    def indenter(self) -> Any:
        """Gives an `Indenter` that says the same."""
        from lark.indenter import Indenter

        said: dict[str, Any] = {theirs: getattr(self, ours) for ours, theirs in _NAMES.items()}
        return type("_Indenter", (Indenter,), said)()

    def numbered(self, tokens: Mapping[str, int]) -> NumberedIndentation:
        """Gives the same with numbers instead of names. No token has the number of an unknown name."""
        openers, closers = (
            frozenset(tokens[name] for name in names if name in tokens)
            for names in (self.openers, self.closers)
        )
        newline, indent, dedent = (tokens.get(name, -1) for name in (self.newline, self.indent, self.dedent))
        return NumberedIndentation(newline, indent, dedent, openers, closers, self.tab_length)


class NumberedIndentation(NamedTuple):
    """The numbers of the tokens that make blocks, and how many spaces a tab stands for."""

    newline: int
    indent: int
    dedent: int
    openers: frozenset[int]
    closers: frozenset[int]
    tab_length: int

    def column(self, before: int | None, byte: int) -> int | None:
        """Gives how far the last line of a lexeme is indented after a byte; None before a line break.

        As in Lark, spaces and tabs behind other characters count too.
        """
        if byte == ord("\n"):
            return 0
        if before is None:
            return None
        return before + (1 if byte == ord(" ") else self.tab_length if byte == ord("\t") else 0)
