"""What Lark makes of a grammar, as plain data: terminals, rules, and the files that it has imported."""

from __future__ import annotations

from typing import NamedTuple

from lmppl.constraints.grammars.imported_files import Where, digest, looked_up


class LarkTerminal(NamedTuple):
    """A terminal as Lark reads it.

    Attributes:
        name: In the grammar.
        pattern: What it matches, in the syntax of `re`, flags included.
        value: The string that it stands for, or the expression, without flags.
        is_word: Whether `value` is a string.
        flags: Letters of the flags of `re`.
        priority: Greater ones are tried first.
        max_width: How long a match may be, as Lark counts it.
    """

    name: str
    pattern: str
    value: str
    is_word: bool
    flags: frozenset[str]
    priority: int
    max_width: int


class LarkSymbol(NamedTuple):
    """A terminal or a nonterminal by its name."""

    name: str
    is_term: bool


class LarkRule(NamedTuple):
    """A nonterminal, what it stands for, and how much it is preferred."""

    origin: LarkSymbol
    expansion: tuple[LarkSymbol, ...]
    priority: int


class Reading(NamedTuple):
    """What Lark makes of a grammar.

    Attributes:
        files: Where imported grammars were looked for (folder or function, grammar that imports, name), and
            the digest of what was found; None if nothing.
        terminals: Those that are used.
        rules: Imports, templates and EBNF are expanded.
        ignored: Names of the terminals that are left out.
    """

    files: tuple[tuple[Where, str | None], ...]
    terminals: tuple[LarkTerminal, ...]
    rules: tuple[LarkRule, ...]
    ignored: tuple[str, ...]

    def is_current(self) -> bool:
        """Says whether the same files would be found, and hold the same."""
        return all(digest(looked_up(*where)) == before for where, before in self.files)
