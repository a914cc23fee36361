"""The rules of a grammar as numbers, without those that derive no string."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

from lmppl.constraints.grammars.lark_readings import LarkSymbol, Reading
from lmppl.errors import ConstraintError

Sides = Mapping[int, Mapping[tuple[int, ...], None]]


@dataclass(frozen=True)
class Rules:
    """A context-free grammar whose every symbol can derive some string.

    Symbols are numbers: terminals below `first_nonterminal`, nonterminals from there on.

    Attributes:
        first_nonterminal: The least number of a nonterminal.
        productions: Nonterminal -> right-hand sides, without duplicates.
        nullable: Nonterminals that derive the empty string.
        start: A nonterminal.
    """

    first_nonterminal: int
    productions: dict[int, tuple[tuple[int, ...], ...]]
    nullable: frozenset[int]
    start: int


def grammar_rules(reading: Reading, start: str, terminals: Mapping[str, int], live: Set[int]) -> Rules:
    """Gives the rules of a grammar that Lark has read: imports, templates and EBNF are expanded.

    Args:
        reading: The grammar as Lark reads it.
        start: The rule that stands for the whole text.
        terminals: The number of each terminal.
        live: The terminals that may occur in a text.

    Raises:
        ConstraintError: No string is in the language.
    """
    first = max(terminals.values(), default=-1) + 1
    rules: dict[str, int] = {}
    sides: dict[int, dict[tuple[int, ...], None]] = defaultdict(dict)

    def number(symbol: LarkSymbol) -> int:
        name, is_term = symbol
        return terminals[name] if is_term else rules.setdefault(name, first + len(rules))

    for rule in reading.rules:
        sides[number(rule.origin)][tuple(map(number, rule.expansion))] = None
    derive = _closed(live, sides)
    productions = {
        origin: tuple(side for side in options if derive.issuperset(side))
        for origin, options in sides.items()
        if origin in derive
    }
    if rules[start] not in derive:
        declared = sorted(terminals.keys() - {terminal.name for terminal in reading.terminals})
        hint = "".join(
            f" Terminal {n} is declared but has no pattern, so it matches nothing." for n in declared
        )
        others = sorted({name for name, token in terminals.items() if token not in live} - {*declared})
        hint += "".join(
            f" Terminal {n} is never found: its texts are taken for another one, or ignored."
            for n in others[:3]
        )
        advice = (
            "Where two terminals match a text, give that which is meant a greater priority, as in NAME.1."
            if others
            else "Give its recursive rules an alternative that ends."
        )
        raise ConstraintError(
            f"No string is in the language of the grammar: every derivation of {start!r} goes on for ever, "
            f"or needs a terminal that is never found.{hint} {advice}"
        )
    return Rules(first, productions, frozenset(_closed(set(), sides)), rules[start])


def _closed(symbols: Set[int], sides: Sides) -> set[int]:
    """Adds nonterminals that have a right-hand side inside the set, until there are none."""
    uses: dict[int, list[tuple[int, int]]] = defaultdict(list)
    missing: dict[tuple[int, int], int] = {}
    closed = set(symbols)
    for origin, options in sides.items():
        for which, side in enumerate(options):
            missing[origin, which] = len(side)
            for symbol in side:
                uses[symbol].append((origin, which))
            if not side:
                closed.add(origin)
    todo = list(closed)
    while todo:
        for rule in uses[todo.pop()]:
            missing[rule] -= 1
            if not missing[rule] and rule[0] not in closed:
                closed.add(rule[0])
                todo.append(rule[0])
    return closed


def bits(symbols: int) -> Iterator[int]:
    """Gives the symbols of a set that is written as the bits of an int, the least first."""
    while symbols:
        low = symbols & -symbols
        yield low.bit_length() - 1
        symbols ^= low
