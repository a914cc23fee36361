"""Lark grammars as plain rules over byte automata. Lark itself reads the grammar."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from lmppl.constraints.automaton import ByteAutomaton
from lmppl.constraints.regular_expression import compiled
from lmppl.errors import ConstraintError, MissingExtraError


@dataclass(frozen=True)
class Rules:
    """A context-free grammar whose every symbol can derive some string.

    Symbols are numbers: terminals from 0 on, nonterminals after them.

    Attributes:
        terminals: Their automata. None of them accepts the empty string.
        ignored: Terminals that may stand anywhere between two others.
        productions: Nonterminal -> right-hand sides, without duplicates.
        nullable: Nonterminals that derive the empty string.
        start: A nonterminal, or None if the language is empty.
    """

    terminals: tuple[ByteAutomaton, ...]
    ignored: frozenset[int]
    productions: dict[int, tuple[tuple[int, ...], ...]]
    nullable: frozenset[int]
    start: int | None


def load_rules(grammar: str, start: str) -> Rules:
    """Reads a grammar: imports, templates and EBNF are expanded by Lark.

    Raises:
        ConstraintError: Lark refuses the grammar (its message has line and column), or a terminal is
            not regular or too large.
        MissingExtraError: Lark is not installed.
    """
    compiled_grammar = _read(grammar, start)
    automata = {terminal.name: _terminal_automaton(terminal) for terminal in compiled_grammar.terminals}
    for name, automaton in automata.items():
        if automaton.accepts(automaton.start):
            raise ConstraintError(
                f"Terminal {name} of the grammar matches the empty string, which Lark refuses."
            )
    used = {
        str(symbol.name) for rule in compiled_grammar.rules for symbol in rule.expansion if symbol.is_term
    }
    for name in sorted(used - automata.keys()):
        raise ConstraintError(f"Terminal {name} of the grammar is declared but has no pattern. Give it one.")
    numbers = {("terminal", name): i for i, name in enumerate(automata)}
    sides: dict[int, dict[tuple[int, ...], None]] = defaultdict(dict)
    for rule in compiled_grammar.rules:
        origin = numbers.setdefault(("rule", str(rule.origin.name)), len(numbers))
        side = tuple(
            numbers.setdefault(("terminal" if symbol.is_term else "rule", str(symbol.name)), len(numbers))
            for symbol in rule.expansion
        )
        sides[origin][side] = None
    ignored = frozenset(numbers["terminal", str(name)] for name in compiled_grammar.ignore_tokens)
    return _productive(tuple(automata.values()), ignored, sides, numbers["rule", start])


def _read(grammar: str, start: str) -> Any:
    try:
        import lark
    except ImportError as error:
        raise MissingExtraError("lp.lark needs the package lark: pip install lark") from error
    try:
        return lark.Lark(grammar, start=start, parser="earley", lexer="dynamic")
    except lark.exceptions.LarkError as error:
        raise ConstraintError(f"Lark cannot read the grammar: {error}") from error
    except RecursionError as error:
        raise ConstraintError("The grammar is nested too deeply for Lark. Give its parts names.") from error


def _terminal_automaton(terminal: Any) -> ByteAutomaton:
    try:
        return compiled(terminal.pattern.to_regexp())
    except ConstraintError as error:
        raise ConstraintError(f"Terminal {terminal.name} of the grammar: {error}") from error


def _productive(
    terminals: tuple[ByteAutomaton, ...],
    ignored: frozenset[int],
    sides: dict[int, dict[tuple[int, ...], None]],
    start: int,
) -> Rules:
    """Drops every rule that derives no string, so that what is left can always be completed."""
    live = _closed({i for i, automaton in enumerate(terminals) if not automaton.is_empty}, sides)
    productions = {
        origin: tuple(side for side in options if live.issuperset(side))
        for origin, options in sides.items()
        if origin in live
    }
    nullable = frozenset(_closed(set(), sides))
    return Rules(terminals, ignored & live, productions, nullable, start if start in live else None)


def _closed(symbols: set[int], sides: dict[int, dict[tuple[int, ...], None]]) -> set[int]:
    """Adds nonterminals that have a right-hand side inside the set, until there are none."""
    uses: dict[int, list[tuple[int, int]]] = defaultdict(list)
    missing: dict[tuple[int, int], int] = {}
    todo = list(symbols)
    for origin, options in sides.items():
        for which, side in enumerate(options):
            missing[origin, which] = len(side)
            for symbol in side:
                uses[symbol].append((origin, which))
            if not side:
                todo.append(origin)
    closed = set(symbols)
    closed.update(todo)
    todo = list(closed)
    while todo:
        for rule in uses[todo.pop()]:
            missing[rule] -= 1
            if not missing[rule] and rule[0] not in closed:
                closed.add(rule[0])
                todo.append(rule[0])
    return closed
