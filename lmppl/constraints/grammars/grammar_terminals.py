"""The terminals of a grammar, with the automaton of what each matches."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from lmppl.constraints import regex_package
from lmppl.constraints.character_sets import CharacterSet
from lmppl.constraints.grammars.listed_words import word_automaton
from lmppl.constraints.grammars.match_automata import MatchAutomaton
from lmppl.constraints.grammars.pattern_automata import looked_at_before, match_automaton
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
        common_flags: Flags of `re` that every terminal has.
        by_regex: Whether the package `regex` says what it matches, instead of `re`.
        before: The character that stands before it, empty where the text begins. None if that does not
            matter, or is not known.
    """

    name: str
    token: int
    pattern: str
    word: str | None
    flags: frozenset[str]
    priority: int
    common_flags: int = 0
    by_regex: bool = False
    before: str | None = None

    @cached_property
    def automaton(self) -> MatchAutomaton:
        """What it matches.

        Raises:
            ConstraintError: No automaton can.
        """
        if self.word is not None and self.flags <= {"i"}:
            flags = self.common_flags | (re.IGNORECASE if self.flags else 0)
            return word_automaton(self.word, int(flags), self.by_regex)
        try:
            return match_automaton(self.pattern, self.before, self.common_flags, self.by_regex)
        except ConstraintError as error:
            raise self._refusal(error) from error

    @cached_property
    def looked_at(self) -> tuple[CharacterSet, ...]:
        """Sets of characters by which the one before it matters; there are none if it does not.

        Raises:
            ConstraintError: No automaton can match it.
        """
        if self.word is not None and self.flags <= {"i"}:
            return ()
        try:
            return looked_at_before(self.pattern, self.common_flags, self.by_regex)
        except ConstraintError as error:
            raise self._refusal(error) from error

    def after(self, before: str) -> Terminal:
        """Gives the same terminal where a character stands before it, or none if the text begins there."""
        return replace(self, before=before)

    def _refusal(self, error: ConstraintError) -> ConstraintError:
        needs_regex = not self.by_regex and regex_package.PROPERTY.search(self.pattern)
        hint = " Properties of characters need regex=True, here as in Lark." if needs_regex else ""
        return ConstraintError(f"Terminal {self.name} of the grammar: {error}{hint}")

    def takes(self, word: str) -> bool:
        """Says whether its pattern matches a word as a whole, without being asked to."""
        return (regex_package.takes if self.by_regex else _takes)(self.pattern, word, self.common_flags)

    @staticmethod
    def of_lark(terminal: Any, token: int, common_flags: int = 0, by_regex: bool = False) -> Terminal:
        """Reads a terminal of Lark's, as the options say."""
        pattern = terminal.pattern
        return Terminal(
            str(terminal.name),
            token,
            pattern.to_regexp(),
            pattern.value if pattern.type == "str" else None,
            frozenset(pattern.flags),
            terminal.priority,
            common_flags,
            by_regex,
        )


@lru_cache(100_000)
def _takes(pattern: str, word: str, flags: int) -> bool:
    found = re.match(pattern, word, flags)
    return found is not None and found[0] == word
