"""Which terminals may follow one another in a grammar, left-out ones aside; which need not occur."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Set

from lmppl.constraints.grammars.numbered_rules import Rules, bits

Productions = Mapping[int, tuple[tuple[int, ...], ...]]


def followers(productions: Productions, nullable: Set[int], first_nonterminal: int) -> dict[int, int]:
    """Gives for each terminal, as bits, those that may come right after it; one at the end has none.

    Args:
        productions: Nonterminal -> right-hand sides.
        nullable: Nonterminals that derive the empty string.
        first_nonterminal: The least number of a nonterminal; terminals are below.
    """
    first = _edge_symbols(productions, nullable, 1)
    last = _edge_symbols(productions, nullable, -1)
    behind: dict[int, int] = defaultdict(int)  # by symbol, as bits
    for sides in productions.values():
        for side in sides:
            for i, left in enumerate(side):
                for right in side[i + 1 :]:
                    behind[left] |= first.get(right, 1 << right)
                    if right not in nullable:
                        break
    terminals = (1 << first_nonterminal) - 1
    after: dict[int, int] = defaultdict(int)
    for left, found in behind.items():
        for terminal in bits(last.get(left, 1 << left) & terminals):
            after[terminal] |= found & terminals
    return dict(after)


def avoidable(terminals: Set[int], rules: Rules) -> bool:
    """Says whether every place of a text can be gone on from without some terminals.

    They may begin right-hand sides, and every nonterminal derives a string without those. Then whatever
    is left of a rule that has been begun has none of them.
    """
    needed = {
        origin: [set(side) for side in sides if not side or side[0] not in terminals]
        for origin, sides in rules.productions.items()
    }
    if any(not terminals.isdisjoint(side[1:]) for sides in rules.productions.values() for side in sides):
        return False
    derive = set(range(rules.first_nonterminal))
    size = -1
    while size != len(derive):
        size = len(derive)
        derive |= {origin for origin, sides in needed.items() if any(side <= derive for side in sides)}
    return rules.productions.keys() <= derive


def _edge_symbols(productions: Productions, nullable: Set[int], step: int) -> dict[int, int]:
    """Gives for each nonterminal the symbols that its strings may begin (1) or end (-1) with, as bits."""
    nearest: dict[int, list[int]] = {}
    for origin, sides in productions.items():
        symbols: dict[int, None] = {}
        for side in sides:
            for symbol in side[::step]:
                symbols[symbol] = None
                if symbol not in nullable:
                    break
        nearest[origin] = list(symbols)
    edges = dict.fromkeys(nearest, 0)
    order = [*nearest]
    changed = True
    while changed:
        changed = False
        for origin in order:
            found = edges[origin]
            for symbol in nearest[origin]:
                found |= 1 << symbol | edges.get(symbol, 0)
            changed |= found != edges[origin]
            edges[origin] = found
        order.reverse()  # a chain of rules is as often written in the one order as in the other
    return edges
