"""Few tokens that are enough to complete most of what a parser may have read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from lmppl.constraints.grammars.lalr_tables import GrammarRule, Rest


class Sentence(NamedTuple):
    """A sequence of tokens.

    Attributes:
        length: How many there are.
        tokens: Which, as bits.
        first: The first of them; -1 if there is none.
    """

    length: int
    tokens: int
    first: int


class Ending(NamedTuple):
    """A way to the end of a rule that has been begun.

    Attributes:
        rest: What is still to come of the rule.
        sentence: A shortest one of that.
    """

    rest: Rest
    sentence: Sentence


_NONE = Sentence(0, 0, -1)


def nearest_endings(rules: Sequence[GrammarRule], rests: Sequence[Sequence[Rest]]) -> list[Ending | None]:
    """Gives, by state, what ends the rule that leads to the end of the text with the fewest tokens.

    How many come after the rule is counted wherever that may stand. None where no sentence ends a rule.

    Args:
        rules: Of the parser.
        rests: By state, what is still to come of each rule that has been begun; the text is that of
            the first one.
    """
    shortest = _shortest_sentences(rules)
    whole = rests[0][0]
    left = _left_after(rules, dict.fromkeys((whole.origin, *whole.symbols), 0), shortest)
    repeats = {(rule.origin, rule.side[1:]) for rule in rules if rule.side[:1] == (rule.origin,)}

    def cost(ending: Ending) -> tuple:
        rest, sentence = ending
        leads_back = rest.num_read == 1 and (rest.origin, rest.symbols) in repeats
        return leads_back, left[rest.origin] + sentence.length, ending

    found: list[Ending | None] = []
    for options in rests:
        endings = [
            Ending(rest, sentence)
            for rest in options
            if rest.origin in left and (sentence := _sentence(rest.symbols, shortest)) is not None
        ]
        found.append(min(endings, key=cost, default=None))
    return found


def few_tokens(endings: Iterable[Ending | None]) -> int:
    """Gives the tokens, as bits, of some endings."""
    found = 0
    for ending in endings:
        if ending is not None:
            found |= ending.sentence.tokens
    return found


def _shortest_sentences(rules: Sequence[GrammarRule]) -> dict[int, Sentence]:
    """Gives a shortest sentence of each symbol that has one."""
    origins = {rule.origin for rule in rules}
    tokens = {symbol for rule in rules for symbol in rule.side} - origins
    shortest = {token: Sentence(1, 1 << token, token) for token in tokens}
    changed = True
    while changed:
        changed = False
        for rule in rules:
            sentence = _sentence(rule.side, shortest)
            known = shortest.get(rule.origin)
            if sentence is not None and (known is None or sentence[:2] < known[:2]):
                shortest[rule.origin] = sentence
                changed = True
    return shortest


def _left_after(
    rules: Sequence[GrammarRule], left: dict[int, int], shortest: Mapping[int, Sentence]
) -> dict[int, int]:
    """Gives the fewest tokens to the end of the text after each nonterminal, from those that are known."""
    changed = True
    while changed:
        changed = False
        for rule in rules:
            if rule.origin not in left:
                continue
            most = left[rule.origin]
            for symbol in reversed(rule.side):
                if most < left.get(symbol, most + 1):
                    left[symbol] = most
                    changed = True
                if symbol not in shortest:
                    break
                most += shortest[symbol].length
    return left


def _sentence(symbols: Iterable[int], shortest: Mapping[int, Sentence]) -> Sentence | None:
    length, tokens, first = _NONE
    for symbol in symbols:
        if symbol not in shortest:
            return None
        part = shortest[symbol]
        length += part.length
        tokens |= part.tokens
        first = part.first if first < 0 else first
    return Sentence(length, tokens, first)
