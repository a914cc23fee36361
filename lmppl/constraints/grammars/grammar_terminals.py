"""The terminals of a grammar, with the automaton of what each matches."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from lmppl.constraints.grammars.listed_words import word_automaton
from lmppl.constraints.grammars.match_automata import MatchAutomaton
from lmppl.constraints.grammars.pattern_automata import match_automaton
from lmppl.errors import ConstraintError


@dataclass(frozen=True)
class Terminal:
    """A terminal of a grammar.

    Attributes:
        name: In the grammar.
        token: Its number, from 1 on.
        pattern: What it matches, in the syntax of `re`.
        word: The string that it stands for, if it is no regular expression.
        flags: Letters of the flags of `re`.
        priority: Greater ones are tried first.
    """

    name: str
    token: int
    pattern: str
    word: str | None
    flags: frozenset[str]
    priority: int

    @cached_property
    def automaton(self) -> MatchAutomaton:
        """What it matches.

        Raises:
            ConstraintError: No automaton can.
        """
        if self.word is not None and self.flags <= {"i"}:
            return word_automaton(self.word, "i" in self.flags)
        try:
            return match_automaton(self.pattern)
        except ConstraintError as error:
            raise ConstraintError(f"Terminal {self.name} of the grammar: {error}") from error

    def takes(self, word: str) -> bool:
        """Says whether `re` matches a word as a whole, without being asked to."""
        return _takes(self.pattern, word)

    @staticmethod
    def of_lark(terminal: Any, token: int) -> Terminal:
        """Reads a terminal of Lark's."""
        pattern = terminal.pattern
        return Terminal(
            str(terminal.name),
            token,
            pattern.to_regexp(),
            pattern.value if pattern.type == "str" else None,
            frozenset(pattern.flags),
            terminal.priority,
        )


@lru_cache(100_000)
def _takes(pattern: str, word: str) -> bool:
    found = re.match(pattern, word)
    return found is not None and found[0] == word
