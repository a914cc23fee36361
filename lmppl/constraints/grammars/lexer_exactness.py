"""Whether every token that a parser wants can be written next, and ended, under a lexer.

A lexeme that could go on to a longer or preferred match is only cut off by what follows it. Where anything
may be left out, such as white space, that can be written there, and the parser alone decides what can be
completed. This module says whether a list of terminals is of that kind. It looks at pairs of terminals,
and so may say no where yes is true.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from lmppl.constraints.grammars.grammar_terminals import Terminal
from lmppl.constraints.grammars.match_automata import NEW, MatchAutomaton
from lmppl.constraints.grammars.terminals_side_by_side import TerminalsSideBySide
from lmppl.constraints.regular.transition_tables import DEAD

Pair = tuple[int, int]
"""States of two automata; the first is DEAD if it has come to its end."""


def lexemes_can_be_ended(terminals: Sequence[Terminal], ignored: frozenset[str]) -> bool:
    """Says whether each lexeme can be ended for sure, and any other begin then.

    Args:
        terminals: In the order in which the lexer tries them.
        ignored: The names of those that are left out.
    """
    if any(terminal.automaton.has_conditions for terminal in terminals):
        return False
    return _Lexemes(terminals, ignored).can_be_ended()


class _Lexemes:
    """The terminals of a lexer, of which none has conditions."""

    def __init__(self, terminals: Sequence[Terminal], ignored: frozenset[str]):
        self._terminals = terminals
        self._automata = [terminal.automaton for terminal in terminals]
        self._is_ignored = [terminal.name in ignored for terminal in terminals]
        self._together = TerminalsSideBySide(self._automata)
        self._endless: dict[int, set[int]] = {}
        self._cut: dict[tuple[int, int], set[int]] = {}

    def can_be_ended(self) -> bool:
        return all(self._can_be_ended(number) for number in range(len(self._terminals)))

    @cached_property
    def _separators(self) -> dict[int, int]:
        """Bytes that are lexemes which any other terminal ends by beginning, and is not begun by."""
        return {
            byte: number
            for number, is_ignored in enumerate(self._is_ignored)
            if is_ignored and self._is_ended_by_all(number)
            for byte in range(128)
            if self._is_lexeme(number, byte)
        }

    def _can_be_ended(self, number: int) -> bool:
        automaton = self._automata[number]
        ends = [state for state, label in enumerate(automaton.labels) if label.slots == (NEW,)]
        if not self._gaps_are_short(number, number, ((state, state) for state in ends)):
            words = (terminal.word for terminal in self._terminals if terminal.word is not None)
            if any(map(self._terminals[number].takes, words)):
                return False  # a match that goes on might be another token, which the parser might refuse
        allowed: dict[int, set[int] | None] = {}  # separators that end it in a state; None: none is needed
        for state in ends:
            ways = {byte for byte in self._separators if _is_cut(automaton, state, byte)}
            allowed[state] = None if automaton.settled[state] else ways
            if not automaton.settled[state] and number in self._separators.values():
                allowed[state] = {*self._separators}  # white space itself: what comes after it ends it
        running: dict[int, list[Pair]] = {}
        for state, (other, beside) in self._together.meetings[number]:
            dead = self._dead(other, beside)
            before = allowed[state]
            allowed[state] = dead if before is None else before & dead
            running.setdefault(other, []).append((state, beside))
        return all(ways is None or ways for ways in allowed.values()) and all(
            self._is_ignored[other] or self._gaps_are_short(number, other, pairs)
            for other, pairs in running.items()
        )

    def _dead(self, number: int, state: int) -> set[int]:
        """Gives the separators that are refused in a state."""
        key = number, state
        if key not in self._cut:
            flat = self._automata[number].flat
            self._cut[key] = {byte for byte in self._separators if flat[256 * state + byte] == DEAD}
        return self._cut[key]

    def _is_lexeme(self, number: int, byte: int) -> bool:
        """Says whether a byte is a lexeme, and no other terminal begins with it."""
        automaton = self._automata[number]
        state = automaton.flat[byte]
        if state == DEAD or automaton.labels[state].slots != (NEW,):
            return False
        return self._together.beginning[byte] == [number]

    def _is_ended_by_all(self, number: int) -> bool:
        """Says whether whatever character another one begins with makes sure of a match before it."""
        automaton = self._automata[number]
        todo: dict[tuple[int, int, int], None] = {}  # within a character: state, other, its state
        for state, label in enumerate(automaton.labels):
            if label.slots != (NEW,) or automaton.settled[state]:
                continue
            for byte, begun in enumerate(self._together.beginning):
                after = automaton.flat[256 * state + byte]
                if after == DEAD or not begun or begun == [number]:
                    continue
                if automaton.labels[after].slots is None:
                    flats = ((other, self._automata[other].flat) for other in begun if other != number)
                    todo |= {(after, other, flat[byte]): None for other, flat in flats}
                elif not _is_before(automaton, after):
                    return False
        return self._are_ended(number, todo)

    def _are_ended(self, number: int, todo: dict[tuple[int, int, int], None]) -> bool:
        automaton = self._automata[number]
        places = list(todo)
        for state, other, beside in places:  # grows by the bytes within a character
            flat = self._automata[other].flat
            for byte in range(256):
                after, then = automaton.flat[256 * state + byte], flat[256 * beside + byte]
                if DEAD in (after, then):
                    continue
                if automaton.labels[after].slots is None:
                    if (after, other, then) not in todo:
                        todo[after, other, then] = None
                        places.append((after, other, then))
                elif not _is_before(automaton, after):
                    return False
        return True

    def _gaps_are_short(self, number: int, other: int, pairs: Iterable[Pair]) -> bool:
        """Says whether it is decided within a bounded number of bytes if the other finds a match.

        Args:
            number: What has found a match, and may find a longer one; then all begins anew.
            other: What is preferred, and under way.
            pairs: Where the two stand.
        """
        mine, theirs = self._automata[number], self._automata[other]
        waiting: dict[Pair, set[Pair]] = {}
        todo = list(pairs)
        for pair in todo:  # grows while it is walked
            if pair in waiting:
                continue
            state, beside = pair
            waiting[pair] = set()
            if mine.settled[state]:
                if self._is_endless(other, beside):
                    return False
                continue
            rows = mine.flat[256 * state : 256 * state + 256], theirs.flat[256 * beside : 256 * beside + 256]
            for after, then in {*zip(*rows, strict=True)}:
                if not _is_waiting(theirs, then) or (after != DEAD and mine.labels[after].slots == (NEW,)):
                    continue
                if after != DEAD:
                    waiting[pair].add((after, then))
                elif self._is_endless(other, then):
                    return False
            todo.extend(waiting[pair])
        return not _leading_to_circles(waiting)

    def _is_endless(self, number: int, state: int) -> bool:
        """Says whether a terminal may go on from a state for ever and find no match."""
        automaton = self._automata[number]
        if not automaton.runs[state]:
            return False
        if number not in self._endless:
            self._endless[number] = _running_on(automaton)
        return state in self._endless[number]


def _is_waiting(automaton: MatchAutomaton, state: int) -> bool:
    return state != DEAD and automaton.runs[state] and automaton.labels[state].slots != (NEW,)


def _running_on(automaton: MatchAutomaton) -> set[int]:
    """Gives the states from which it may go on for ever and find no match."""
    flat = automaton.flat
    waiting = {
        state: {
            after
            for byte in automaton.representatives(state)
            if _is_waiting(automaton, after := flat[256 * state + byte])
        }
        for state in range(len(automaton.labels))
    }
    return _leading_to_circles(waiting)


def _leading_to_circles(targets: Mapping) -> set:
    """Gives the nodes of a graph from which there is a way without end."""
    sources: dict = {}
    left = {}
    for node, after in targets.items():
        left[node] = len(after)
        for target in after:
            sources.setdefault(target, []).append(node)
    todo = [node for node, number in left.items() if not number]
    for node in todo:  # grows while it is walked
        for source in sources.get(node, ()):
            left[source] -= 1
            if not left[source]:
                todo.append(source)
    return left.keys() - {*todo}


def _is_cut(automaton: MatchAutomaton, state: int, byte: int) -> bool:
    after = automaton.flat[256 * state + byte]
    return after != DEAD and _is_before(automaton, after)


def _is_before(automaton: MatchAutomaton, state: int) -> bool:
    """Says whether it is sure in a state that the match ends before the last character."""
    return automaton.settled[state] and automaton.labels[state].slots == (0,)
