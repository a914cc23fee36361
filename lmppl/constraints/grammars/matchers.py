"""Terminals that are matched side by side, each on its own: where they begin and what ends them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmppl.constraints.grammars.match_automata import NEW, MatchAutomaton
from lmppl.constraints.grammars.numbered_rules import bits
from lmppl.constraints.regular.transition_tables import DEAD

MAX_BEGUN = 200_000
MAX_PREPARED = 2_000  # states: some 2 ms

Bet = tuple[int, int, int]
"""That a slot is what the automaton of a matcher finds: matcher, state, slot."""

Bets = frozenset[Bet]


@dataclass(frozen=True)
class Matcher:
    """A terminal in one of its roles.

    Attributes:
        automaton: What it matches.
        symbol: In the rules, or None if what it matches is left out.
        only_best: Whether the match that `re` finds is the only one, or any shorter one does as well.
        context: The number of what stands before it; None if that does not matter.
    """

    automaton: MatchAutomaton
    symbol: int | None
    only_best: bool
    context: int | None = None


Effect = tuple[bool, tuple[Bets, ...], int | None]
"""What it means that a matcher has come to a state: whether more matches may be met; for each way in which
one ends here, what must then turn out so; and the symbol of the matcher."""


class Matchers:
    """The terminals of one grammar that occur in its rules, and those that are left out.

    Args:
        matchers: They.
        num_contexts: How many contexts there are.

    Attributes:
        flats: The transitions of their automata.
        effects: By matcher and state, as far as it was asked for.
    """

    def __init__(self, matchers: list[Matcher], num_contexts: int = 1):
        self._matchers = matchers
        self._begun: dict[tuple[int, int, int], tuple[tuple[int, int], ...]] = {}
        self.effects: list[dict[int, Effect]] = [{} for _ in matchers]
        self.flats = [m.automaton.flat for m in matchers]
        if sum(len(m.automaton.labels) for m in matchers) <= MAX_PREPARED:
            for number, matcher in enumerate(matchers):
                for state in range(len(matcher.automaton.labels)):
                    self.effect(number, state)
        self._beginnings = [_Beginnings(matchers, context) for context in range(num_contexts)]

    def begun(self, terminals: int, byte: int, context: int = 0) -> tuple[tuple[int, int], ...]:
        """Gives the matchers that a byte may begin, with their states, where some terminals are expected.

        Args:
            terminals: Their symbols, as bits.
            byte: The first of the match.
            context: What stands before it.
        """
        beginnings = self._beginnings[context]
        beginning = terminals & beginnings.symbols[byte]
        found = self._begun.get((beginning, byte, context))
        if found is None:
            if len(self._begun) >= MAX_BEGUN:
                self._begun.clear()
            numbers = [beginnings.of_symbol[symbol] for symbol in bits(beginning)] + beginnings.ignoring[byte]
            found = tuple([(n, self.flats[n][byte]) for n in numbers])
            self._begun[beginning, byte, context] = found
        return found

    def effect(self, number: int, state: int) -> Effect:
        """Says what it means that a matcher has come to a state."""
        found = self.effects[number].get(state)
        if found is None:
            found = self.effects[number][state] = _effect(self._matchers[number], number, state)
        return found

    def kept(self, bets: Bets, byte: int) -> Bets | None:
        """Gives the bets that are still open after a byte; None if one is lost."""
        kept: set[Bet] = set()
        for number, state, slot in bets:
            automaton = self._matchers[number].automaton
            state = automaton.flat[256 * state + byte]
            if state == DEAD:
                return None
            slots = automaton.labels[state].slots
            if slots is not None:
                if slot not in slots:
                    return None
                slot = slots.index(slot)
            if not automaton.settled[state]:
                kept.add((number, state, slot))
        return frozenset(kept)

    def are_won(self, bets: Bets) -> bool:
        """Says whether all bets are won if the text ends here."""
        return all(self._matchers[n].automaton.labels[state].end == slot for n, state, slot in bets)


def _effect(matcher: Matcher, number: int, state: int) -> Effect:
    automaton = matcher.automaton
    new = [slot for slot, before in enumerate(automaton.labels[state].slots or ()) if before == NEW]
    ways = [frozenset[Bet]()] if new else []
    if matcher.only_best and not automaton.settled[state]:
        ways = [frozenset(((number, state, slot),)) for slot in new]
    return automaton.runs[state], tuple(ways), matcher.symbol


class _Beginnings:
    """The matchers that may begin in one context.

    Attributes:
        of_symbol: The matcher of each symbol.
        symbols: By byte, the symbols of those that it may begin, as bits.
        ignoring: By byte, those of what is left out that it may begin.
    """

    def __init__(self, matchers: list[Matcher], context: int):
        here = [(i, m) for i, m in enumerate(matchers) if m.context in (None, context)]
        self.of_symbol = {m.symbol: i for i, m in here if m.symbol is not None}
        begins = np.zeros((256, max(self.of_symbol, default=0) + 1), bool)
        for symbol, number in self.of_symbol.items():
            begins[:, symbol] = np.array(matchers[number].automaton.flat[:256]) != DEAD
        self.symbols = [int.from_bytes(row.tobytes(), "little") for row in np.packbits(begins, 1, "little")]
        ignoring = [(i, m.automaton.flat) for i, m in here if m.symbol is None]
        self.ignoring = [[i for i, flat in ignoring if flat[byte] != DEAD] for byte in range(256)]
