"""Whether every token that a parser wants can be written next, and ended, under a lexer.

A lexeme that could go on to a longer or preferred match is only cut off by what follows it. Where anything
may be left out, such as white space, that can be written there, and the parser alone decides what can be
completed. This module says whether a list of terminals is of that kind. It looks at pairs of terminals,
and so may say no where yes is true.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from lmppl.constraints.grammars.grammar_terminals import Terminal
from lmppl.constraints.grammars.match_automata import NEW, MatchAutomaton
from lmppl.constraints.transition_tables import DEAD


def lexemes_can_be_ended(terminals: Sequence[Terminal], ignored: frozenset[str]) -> bool:
    """Says whether each lexeme can be ended for sure, and any other begin then.

    Args:
        terminals: In the order in which the lexer tries them.
        ignored: The names of those that are left out.
    """
    if any(terminal.automaton.has_conditions for terminal in terminals):
        return False
    separators = {
        byte: number
        for number, terminal in enumerate(terminals)
        if terminal.name in ignored
        for byte in range(128)
        if _separates(terminals, number, byte)
    }
    return all(_can_be_ended(terminals, number, separators, ignored) for number in range(len(terminals)))


def _can_be_ended(
    terminals: Sequence[Terminal], number: int, separators: dict[int, int], ignored: frozenset[str]
) -> bool:
    automaton = terminals[number].automaton
    has_names = any(t.word is not None and terminals[number].takes(t.word) for t in terminals)
    own = {(state, state) for state in _ends(automaton)}
    if has_names and not _gaps_are_short(automaton, automaton, own):
        return False  # a match that goes on might be another token, which the parser might refuse
    allowed: dict[
        int, set[int] | None
    ] = {}  # separators that end a lexeme in a state; None if none is needed
    for state in _ends(automaton):
        ways = {byte for byte in separators if _is_cut(automaton, state, byte)}
        allowed[state] = None if automaton.settled[state] else ways
        if not automaton.settled[state] and number in separators.values():
            allowed[state] = {*separators}  # white space itself: what comes after it ends it
    for other in terminals[:number]:
        running = {
            (state, beside)
            for state, beside in _pairs(automaton, other.automaton)
            if state in allowed and other.automaton.runs[beside] and not other.automaton.labels[beside].slots
        }
        for state, beside in running:
            dead = {byte for byte in separators if other.automaton.flat[256 * beside + byte] == DEAD}
            before = allowed[state]
            allowed[state] = dead if before is None else before & dead
        if other.name not in ignored and not _gaps_are_short(automaton, other.automaton, running):
            return False
    return all(ways is None or ways for ways in allowed.values())


def _ends(automaton: MatchAutomaton) -> list[int]:
    return [state for state, label in enumerate(automaton.labels) if label.slots == (NEW,)]


def _is_cut(automaton: MatchAutomaton, state: int, byte: int) -> bool:
    after = automaton.flat[256 * state + byte]
    return after != DEAD and automaton.settled[after] and automaton.labels[after].slots == (0,)


def _separates(terminals: Sequence[Terminal], number: int, byte: int) -> bool:
    """Says whether a byte is a lexeme, and any other terminal ends it by beginning."""
    automaton = terminals[number].automaton
    state = automaton.flat[byte]
    if state == DEAD or automaton.labels[state].slots != (NEW,):
        return False
    others = [t.automaton for i, t in enumerate(terminals) if i != number]
    if any(other.flat[byte] != DEAD for other in others):
        return False
    return all(_is_ended_by(automaton, end, other) for other in others for end in _ends(automaton))


def _is_ended_by(automaton: MatchAutomaton, state: int, other: MatchAutomaton) -> bool:
    """Says whether whatever character the other begins with makes sure of the match before it."""
    if automaton.settled[state]:
        return True
    todo = [(state, 0)]
    for mine, theirs in todo:  # grows by the bytes within a character
        for after, beside in _steps(automaton, mine, other, theirs):
            if automaton.labels[after].slots is None:
                if (after, beside) not in todo:
                    todo.append((after, beside))
            elif not automaton.settled[after] or automaton.labels[after].slots != (0,):
                return False
    return True


def _steps(
    automaton: MatchAutomaton, state: int, other: MatchAutomaton, beside: int
) -> Iterator[tuple[int, int]]:
    """Gives the pairs of states that one byte leads to."""
    mine = np.array(automaton.flat[256 * state : 256 * state + 256])
    theirs = np.array(other.flat[256 * beside : 256 * beside + 256])
    alive = (mine != DEAD) & (theirs != DEAD)
    yield from dict.fromkeys(zip(mine[alive].tolist(), theirs[alive].tolist(), strict=True))


def _pairs(automaton: MatchAutomaton, other: MatchAutomaton) -> list[tuple[int, int]]:
    """Gives the pairs of states that some text leads both to."""
    seen = {(0, 0)}
    todo = [(0, 0)]
    for state, beside in todo:  # grows while it is walked
        for pair in _steps(automaton, state, other, beside):
            if pair not in seen:
                seen.add(pair)
                todo.append(pair)
    return todo


def _gaps_are_short(
    automaton: MatchAutomaton, other: MatchAutomaton, pairs: Iterable[tuple[int, int]]
) -> bool:
    """Says whether it is decided within a bounded number of bytes if the other finds a match.

    Args:
        automaton: What has found a match, and may find a longer one; then all begins anew.
        other: What is preferred, and under way.
        pairs: Where the two stand; -1 for one that has come to its end.
    """
    waiting: dict[tuple[int, int], set[tuple[int, int]]] = {}
    todo = list(pairs)
    for mine, theirs in todo:  # grows while it is walked
        if (mine, theirs) in waiting:
            continue
        row = automaton.flat[256 * mine : 256 * mine + 256] if mine != DEAD else [DEAD] * 256
        moves = {*zip(row, other.flat[256 * theirs : 256 * theirs + 256], strict=True)}
        waiting[mine, theirs] = {
            (after, beside)
            for after, beside in moves
            if beside != DEAD
            and other.runs[beside]
            and other.labels[beside].slots != (NEW,)
            and (after == DEAD or automaton.labels[after].slots != (NEW,))
        }
        todo.extend(waiting[mine, theirs])
    while waiting:
        done = [pair for pair, targets in waiting.items() if not targets & waiting.keys()]
        if not done:
            return False
        for pair in done:
            del waiting[pair]
    return True
