"""Texts that Lark's Earley parser reads without a lexer, byte by byte.

At every place of the text, each terminal that a rule wants there is matched on its own, by `re`. Terminals
are automata that run side by side, so a state may lie inside several of them. Where Lark takes the one
match that `re` finds, ending a terminal here is a bet on what follows: `[a-z]+` ends before something
that is no letter. A state is a set of branches, each with the bets that it has made and not yet won.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from lmppl.constraints.grammars.earley_sets import EarleySets, Frame
from lmppl.constraints.grammars.match_automata import NEW, MatchAutomaton
from lmppl.constraints.grammars.numbered_rules import Rules
from lmppl.constraints.transition_tables import DEAD

MAX_STEPS = 200_000

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
    """

    automaton: MatchAutomaton
    symbol: int | None
    only_best: bool


class Branch(NamedTuple):
    """One way to have read the text.

    Attributes:
        bets: What must still turn out so.
        threads: Terminals under way: matcher, state of its automaton, frame in which it began.
        frame: Where terminals may begin; None where none ends.
    """

    bets: Bets
    threads: frozenset[tuple[int, int, Frame]]
    frame: Frame | None


Place = frozenset[Branch]
"""A state."""


@dataclass
class _Growth:
    """What a byte makes of the branches with some bets."""

    threads: set[tuple[int, int, Frame]] = field(default_factory=set)
    reached: set[Frame] = field(default_factory=set)


class Recogniser:
    """The states of one grammar, made as they are met and remembered up to a bound.

    Args:
        rules: Of the grammar.
        matchers: The terminals that occur in them, and those that are left out.
        is_exact: Whether every state can be completed.
    """

    def __init__(self, rules: Rules, matchers: list[Matcher], is_exact: bool):
        self.is_exact = is_exact
        self._sets = EarleySets(rules)
        self._matchers = matchers
        self._of_symbol = {m.symbol: i for i, m in enumerate(matchers) if m.symbol is not None}
        self._ignoring = [i for i, m in enumerate(matchers) if m.symbol is None]
        self._steps: dict[tuple[Place, int], Place | None] = {}
        self._starts: dict[tuple[tuple[int, ...], int], list[tuple[int, int]]] = {}
        self.initial: Place = frozenset([Branch(frozenset(), frozenset(), self._sets.initial)])

    def advance(self, place: Place | None, data: bytes) -> Place | None:
        """Gives the state after some bytes, or None if nothing that starts so is in the language."""
        for byte in data:
            if place is None:
                return None
            key = (place, byte)
            if key not in self._steps:
                if len(self._steps) >= MAX_STEPS:
                    self._steps.clear()
                self._steps[key] = self._step(place, byte)
            place = self._steps[key]
        return place

    def accepts(self, place: Place) -> bool:
        """Says whether the text so far is in the language."""
        return any(
            branch.frame is not None
            and self._sets.accepts(branch.frame)
            and all(self._matchers[i].automaton.labels[state].end == slot for i, state, slot in branch.bets)
            for branch in place
        )

    def _step(self, place: Place, byte: int) -> Place | None:
        grown: dict[Bets, _Growth] = defaultdict(_Growth)
        for branch in place:
            bets = self._kept(branch.bets, byte)
            if bets is not None:
                moved = [
                    (m, self._matchers[m].automaton.flat[256 * s + byte], f) for m, s, f in branch.threads
                ]
                if branch.frame is not None:
                    moved += [(m, s, branch.frame) for m, s in self._begun(branch.frame, byte)]
                self._grow(bets, moved, grown)
        branches = set()
        for bets, growth in grown.items():
            frame = self._sets.union(growth.reached) if growth.reached else None
            branches.add(Branch(bets, frozenset(growth.threads), frame))
        return frozenset(branches) or None

    def _begun(self, frame: Frame, byte: int) -> list[tuple[int, int]]:
        """Gives the terminals that a byte may begin in a frame: matcher, state."""
        key = (self._sets.expected(frame), byte)
        found = self._starts.get(key)
        if found is None:
            if len(self._starts) >= MAX_STEPS:
                self._starts.clear()
            begun = (*(self._of_symbol[symbol] for symbol in key[0]), *self._ignoring)
            states = ((number, self._matchers[number].automaton.flat[byte]) for number in begun)
            found = self._starts[key] = [pair for pair in states if pair[1] != DEAD]
        return found

    def _grow(self, bets: Bets, threads: list[tuple[int, int, Frame]], grown: dict[Bets, _Growth]) -> None:
        """Takes terminals under way into account that a byte has moved."""
        for number, after, frame in threads:
            if after == DEAD:
                continue
            matcher = self._matchers[number]
            automaton = matcher.automaton
            if automaton.runs[after]:
                grown[bets].threads.add((number, after, frame))
            slots = automaton.labels[after].slots
            if not slots or NEW not in slots:
                continue
            bet = matcher.only_best and not automaton.settled[after]
            growth = grown[bets | {(number, after, slots.index(NEW))} if bet else bets]
            growth.reached.add(frame if matcher.symbol is None else self._sets.after(frame, matcher.symbol))

    def _kept(self, bets: Bets, byte: int) -> Bets | None:
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
