"""Whether every prefix that the Earley recogniser lets through can be completed.

A frame can always be completed, since every symbol derives a string; only bets could be lost. An open bet
is one whose terminal may still match more. If it is lost by that longer match, the longer match does what
the shorter did. So it is enough that each terminal can be ended for good wherever it may end, or after
going on from there: a branch without the bet follows it. What ends it is a text of what follows it, or an
ignored character that anything may follow.

Why that comes to an end: a completion is written so that each new bet is won at once. An older one may be
lost, and then the longer match of its terminal ends here, in a branch that has the bets before that one
only. From there another completion is written, and there are fewer bets to lose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from functools import cache, partial

from lmppl.constraints.grammars.earley import Matcher
from lmppl.constraints.grammars.match_automata import NEW, MatchAutomaton
from lmppl.constraints.grammars.numbered_rules import bits
from lmppl.constraints.regular.transition_tables import DEAD

CHARACTERS = [bytes((byte,)) for byte in range(128)]


def can_always_complete(matchers: Sequence[Matcher], follow: Mapping[int, int]) -> bool:
    """Says whether viability is exact for sure. False means that it is not known.

    Args:
        matchers: Of the recogniser.
        follow: For each symbol of a matcher, as bits, those that may come right after it.
    """
    begins = {m.symbol: _beginnings(m.automaton) for m in matchers if m.symbol is not None}
    separators = {
        CHARACTERS[byte]
        for m in matchers
        if m.symbol is None
        for byte in range(128)
        if _separates(m.automaton, byte, list(begins.values()))
    }

    @cache  # in a list of thousands of strings the same may come after each of them
    def ways(symbols: int) -> list[frozenset[bytes]]:
        return [*dict.fromkeys(frozenset(separators | begins[symbol]) for symbol in bits(symbols))]

    everything = sum(1 << symbol for symbol in begins)
    return all(
        _can_always_end(
            matcher.automaton,
            partial(ways, everything if matcher.symbol is None else follow.get(matcher.symbol, 0)),
        )
        for matcher in matchers
        if matcher.only_best
    )


def _open(automaton: MatchAutomaton) -> list[int]:
    """Gives the states in which a match ends that may not be the one that is found."""
    return [
        state for state, label in enumerate(automaton.labels) if label.slots and not automaton.settled[state]
    ]


def _can_always_end(automaton: MatchAutomaton, ways: Callable[[], Sequence[Set[bytes]]]) -> bool:
    """Says whether each open state, or one that it leads to, is ended by some text of each set.

    Args:
        automaton: Of a terminal.
        ways: Gives the sets, if there are open states.
    """
    states = _open(automaton)
    if any(not automaton.labels[s].certain or len(automaton.labels[s].slots or ()) != 1 for s in states):
        return False  # a condition is open, and nothing but what follows decides it
    ends = [
        state for state in states if automaton.labels[state].slots == (NEW,)
    ]  # or the bet was made before
    if not ends:
        return True
    for way in ways():
        ended = {s for s in ends if any(_ends(automaton, s, text) for text in way)}
        if not all(ended & _reached(automaton, s) for s in ends if s not in ended):
            return False
    return True


def _reached(automaton: MatchAutomaton, state: int) -> set[int]:
    found = {state}
    todo = [state]
    for source in todo:  # grows while it is walked
        for byte in automaton.representatives(source):
            after = automaton.flat[256 * source + byte]
            if after not in found:
                found.add(after)
                todo.append(after)
    return found


def _ends(automaton: MatchAutomaton, state: int, text: bytes) -> bool:
    """Says whether a text makes sure that the match before it is the one that is found."""
    for byte in text:
        state = automaton.flat[256 * state + byte]
        if state == DEAD or automaton.labels[state].slots not in ((0,), None):
            return False
        if automaton.settled[state]:
            return True
    return False


def _beginnings(automaton: MatchAutomaton) -> set[bytes]:
    """Gives texts of one character that a match may begin with, and a whole match."""
    found = {CHARACTERS[byte] for byte in range(128) if automaton.flat[byte] != DEAD}
    return found | ({automaton.shortest} - {b""})


def _separates(automaton: MatchAutomaton, byte: int, begins: Sequence[Set[bytes]]) -> bool:
    """Says whether a byte is a whole match, and every terminal can begin right after it."""
    state = automaton.flat[byte]
    if state == DEAD or automaton.labels[state].slots != (NEW,):
        return False
    if automaton.settled[state]:
        return True
    return all(any(_ends(automaton, state, text) for text in begin) for begin in begins)
