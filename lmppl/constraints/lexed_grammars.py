"""From a grammar that Lark has loaded with a lexer to the states of its texts."""

from __future__ import annotations

from typing import Any

from lmppl.constraints.earley_sets import EarleySets, Frame
from lmppl.constraints.grammar_rules import Rules, grammar_rules
from lmppl.constraints.grammar_terminals import Terminal
from lmppl.constraints.lalr_stacks import LalrParser, LalrTable, Stack
from lmppl.constraints.lexed_texts import LexedTexts
from lmppl.constraints.scanner import Scanner


def lalr_texts(loaded: Any, start: str, contextual: bool) -> LexedTexts[Stack]:
    """Gives the texts of a grammar that Lark has loaded for its LALR parser.

    Raises:
        ConstraintError: A terminal has no automaton.
    """
    scanners = _Scanners(loaded)
    table = LalrTable.of_lark(loaded.parser.parser._parse_table, start, scanners.tokens)
    lexer = loaded.parser.lexer
    if not contextual:
        only = scanners.of(lexer)
        return LexedTexts(LalrParser(table), lambda stack: only)
    return LexedTexts(LalrParser(table), lambda stack: scanners.of(lexer.lexers[stack.state]))


def earley_texts(loaded: Any, start: str) -> LexedTexts[Frame]:
    """Gives the texts of a grammar that Lark has loaded for its Earley parser with the basic lexer.

    Raises:
        ConstraintError: A terminal has no automaton; or no string is in the language.
    """
    scanners = _Scanners(loaded)
    scanner = scanners.of(loaded.parser.lexer)
    numbers = {name: token for name, token in scanners.tokens.items()}
    found = frozenset(scanner.later(scanner.start))
    rules = grammar_rules(loaded, start, numbers, found)
    return LexedTexts(_EarleyParser(rules), lambda frame: scanner)


class _Scanners:
    """The scanners of a grammar, by Lark's basic lexer, which has put its terminals in order."""

    def __init__(self, loaded: Any):
        names = [str(terminal.name) for terminal in loaded.terminals]
        names += sorted({str(s.name) for rule in loaded.rules for s in rule.expansion if s.is_term} - {*names})
        self.tokens = {name: token for token, name in enumerate(names, 1)}
        self._terminals = {
            str(terminal.name): Terminal.of_lark(terminal, self.tokens[str(terminal.name)])
            for terminal in loaded.terminals
        }
        for terminal in self._terminals.values():
            _ = terminal.automaton  # so that one that is not supported is refused now
        self._ignored = frozenset(map(str, loaded.ignore_tokens))
        self._scanners: dict[int, Scanner] = {}

    def of(self, lexer: Any) -> Scanner:
        key = id(lexer)
        if key not in self._scanners:
            terminals = [self._terminals[str(terminal.name)] for terminal in lexer.terminals]
            self._scanners[key] = Scanner(terminals, self._ignored)
        return self._scanners[key]


class _EarleyParser:
    """Earley sets as the stacks of a parser of tokens."""

    def __init__(self, rules: Rules):
        self._sets = EarleySets(rules)
        self._after: dict[tuple[Frame, int], Frame | None] = {}
        self.initial = self._sets.initial

    def after(self, stack: Frame, token: int) -> Frame | None:
        """Gives the set after a token, or None if no rule wants it."""
        items = self._sets.waiting(stack, token)
        return self._sets.frame(items) if items else None

    def ends(self, stack: Frame) -> bool:
        """Says whether the text may end here."""
        return self._sets.accepts(stack)
