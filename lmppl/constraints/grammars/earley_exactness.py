"""Whether every prefix that the Earley recogniser lets through can be completed.

A frame can always be completed, since every symbol derives a string; only bets could be lost. An open bet
is one whose terminal may still match more. If it is lost by that longer match, the longer match does what
the shorter did. So it is enough that each terminal can be ended for good wherever it may end: by a
character of what follows it, or by an ignored one that anything may follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from lmppl.constraints.grammars.earley import Matcher
from lmppl.constraints.grammars.match_automata import NEW, MatchAutomaton
from lmppl.constraints.transition_tables import DEAD

ASCII = range(128)


def can_always_complete(matchers: Sequence[Matcher], follow: Mapping[int, Set[int]]) -> bool:
    """Says whether viability is exact for sure. False means that it is not known.

    Args:
        matchers: Of the recogniser.
        follow: For each symbol of a matcher, those that may come right after it.
    """
    begins = {m.symbol: _beginnings(m.automaton) for m in matchers if m.symbol is not None}
    separators = {
        byte
        for m in matchers
        if m.symbol is None
        for byte in ASCII
        if _separates(m.automaton, byte, list(begins.values()))
    }
    for matcher in matchers:
        after = begins.keys() if matcher.symbol is None else follow.get(matcher.symbol, set())
        ways = [separators | begins[symbol] for symbol in after]
        if matcher.only_best and not all(
            _can_end(matcher.automaton, s, ways) for s in _open(matcher.automaton)
        ):
            return False
    return True


def _open(automaton: MatchAutomaton) -> list[int]:
    """Gives the states in which a match ends that may not be the one that is found."""
    return [
        state for state, label in enumerate(automaton.labels) if label.slots and not automaton.settled[state]
    ]


def _can_end(automaton: MatchAutomaton, state: int, ways: Sequence[Set[int]]) -> bool:
    label = automaton.labels[state]
    if not automaton.runs[state] or not label.certain or len(label.slots or ()) != 1:
        return False  # a condition is open, and nothing but what follows decides it
    if label.slots != (NEW,):
        return True  # the bet was made before
    return all(any(_ends(automaton, state, byte) for byte in way) for way in ways)


def _ends(automaton: MatchAutomaton, state: int, byte: int) -> bool:
    """Says whether a byte makes sure that the match before it is the one that is found."""
    after = automaton.flat[256 * state + byte]
    return after != DEAD and automaton.settled[after] and automaton.labels[after].slots == (0,)


def _beginnings(automaton: MatchAutomaton) -> set[int]:
    return {byte for byte in ASCII if automaton.flat[byte] != DEAD}


def _separates(automaton: MatchAutomaton, byte: int, begins: Sequence[Set[int]]) -> bool:
    """Says whether a byte is a whole match, and every terminal can begin right after it."""
    state = automaton.flat[byte]
    if state == DEAD or automaton.labels[state].slots != (NEW,):
        return False
    if automaton.settled[state]:
        return True
    return all(any(_ends(automaton, state, b) for b in begin) for begin in begins)
