"""The terminals of a grammar, with the automaton of what each matches."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from lmppl.constraints.grammars.lark_readings import LarkTerminal
from lmppl.constraints.grammars.listed_words import word_automaton
from lmppl.constraints.grammars.match_automata import MatchAutomaton
from lmppl.constraints.grammars.pattern_automata import looked_at_before, match_automaton
from lmppl.constraints.grammars.preceding_texts import PrecedingTexts, Word
from lmppl.constraints.regular import regex_package
from lmppl.constraints.stored_compilations import StoredParts
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
        before: A text that stands before it, empty where it begins. None if that does not matter, or is not
            known.
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
    def looked_at(self) -> tuple[Word, ...]:
        """Words that are looked for in the text before it; there are none if that does not matter.

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
        """Gives the same terminal where a text stands before it."""
        made = replace(self, before=before)
        if before in self._variants:
            vars(made)["automaton"] = self._variants[before]
        return made

    @cached_property
    def _variants(self) -> dict[str | None, MatchAutomaton]:
        """The automata that are known by what stands before the terminal; None if that does not matter."""
        return {}

    def _compiled(self) -> Compiled:
        if not self.looked_at:
            return (), {None: self.automaton}
        try:
            examples = PrecedingTexts(self.looked_at).examples
        except ConstraintError as error:
            raise self._refusal(error) from error
        return self.looked_at, {before: self.after(before).automaton for before in examples}

    def _remember(self, compiled: Compiled) -> None:
        looked_at, automata = compiled
        vars(self).update(looked_at=looked_at, _variants=automata)
        if not looked_at:
            vars(self)["automaton"] = automata[None]

    def _refusal(self, error: ConstraintError) -> ConstraintError:
        needs_regex = not self.by_regex and regex_package.PROPERTY.search(self.pattern)
        hint = " Properties of characters need regex=True, here as in Lark." if needs_regex else ""
        return ConstraintError(f"Terminal {self.name} of the grammar: {error}{hint}")

    def takes(self, word: str) -> bool:
        """Says whether its pattern matches a word as a whole, without being asked to."""
        return (regex_package.takes if self.by_regex else _takes)(self.pattern, word, self.common_flags)

    @staticmethod
    def of_lark(
        terminal: LarkTerminal, token: int, common_flags: int = 0, by_regex: bool = False
    ) -> Terminal:
        """Gives a terminal of Lark's its number, and reads it as the options say."""
        name, pattern, value, is_word, flags, priority, _ = terminal
        word = value if is_word else None
        return Terminal(name, token, pattern, word, flags, priority, common_flags, by_regex)


Compiled = tuple[tuple[Word, ...], dict[str | None, MatchAutomaton]]
"""What a terminal looks for before it, and its automata by what stands there; None if for nothing."""


def compile_terminals(terminals: Iterable[Terminal], parts: StoredParts) -> None:
    """Compiles the terminals of a grammar, or reads those that are kept.

    Raises:
        ConstraintError: One has no automaton.
    """
    slow = [terminal for terminal in terminals if terminal.word is None or terminal.flags]
    compiled = parts.get("terminals", lambda: {t.name: t._compiled() for t in slow})
    for terminal in slow:
        terminal._remember(compiled[terminal.name])


@lru_cache(100_000)
def _takes(pattern: str, word: str, flags: int) -> bool:
    found = re.match(pattern, word, flags)
    return found is not None and found[0] == word
