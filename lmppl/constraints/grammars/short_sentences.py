"""Few tokens that are enough to complete most of what a parser may have read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lmppl.constraints.grammars.lalr_tables import GrammarRule

Size = tuple[int, int]
"""How many tokens a sentence has, and which, as bits."""


def few_tokens(rules: Sequence[GrammarRule], rests: Iterable[Sequence[tuple[int, ...]]]) -> int:
    """Gives the tokens, as bits, of the shortest ends of what is begun in each state.

    Args:
        rules: Of the parser.
        rests: By state, what is still to come of each rule that has been begun.
    """
    shortest = _shortest_sentences(rules)
    found = 0
    for options in rests:
        ends = [end for rest in options if (end := _size(rest, shortest)) is not None]
        found |= min(ends, default=(0, 0))[1]
    return found


def _shortest_sentences(rules: Sequence[GrammarRule]) -> dict[int, Size]:
    """Gives the size of a shortest sentence of each symbol that has one."""
    origins = {rule.origin for rule in rules}
    tokens = {symbol for rule in rules for symbol in rule.side} - origins
    shortest = {token: (1, 1 << token) for token in tokens}
    changed = True
    while changed:
        changed = False
        for rule in rules:
            size = _size(rule.side, shortest)
            if size is not None and size < shortest.get(rule.origin, (size[0] + 1, 0)):
                shortest[rule.origin] = size
                changed = True
    return shortest


def _size(symbols: Iterable[int], shortest: Mapping[int, Size]) -> Size | None:
    length, tokens = 0, 0
    for symbol in symbols:
        if symbol not in shortest:
            return None
        length += shortest[symbol][0]
        tokens |= shortest[symbol][1]
    return length, tokens
