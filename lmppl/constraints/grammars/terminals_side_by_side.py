"""Where terminals end while others, which the lexer tries before them, are still under way.

All are followed at once by the texts that at least two of them read, so that thousands of words cost little
more than their letters. Where that meets too many states, terminals are followed two by two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from lmppl.constraints.grammars.match_automata import NEW, MatchAutomaton
from lmppl.constraints.regular.transition_tables import DEAD

MAX_STEPS = 500_000
"""Of single terminals, while all are followed at once: about half a second."""

Place = tuple[int, int]
"""A terminal by its number, and a state of its automaton."""

Meeting = tuple[int, Place]
"""A state in which a terminal ends, and the place of another one that is under way then."""


class TerminalsSideBySide:
    """The automata of terminals, in the order in which the lexer tries them."""

    def __init__(self, automata: Sequence[MatchAutomaton]):
        self._automata = automata
        self._edges: dict[Place, list[tuple[int, int]]] = {}

    @cached_property
    def beginning(self) -> list[list[int]]:
        """By byte, the terminals that begin with it."""
        found: list[list[int]] = [[] for _ in range(256)]
        for number in range(len(self._automata)):
            for byte, _ in self._edges_of((number, 0)):
                found[byte].append(number)
        return found

    @cached_property
    def meetings(self) -> list[set[Meeting]]:
        """By terminal, where it ends while one that is tried before it may still match, and has not yet."""
        found: list[set[Meeting]] = [set() for _ in self._automata]
        if not self._all_at_once(found):
            for number in range(len(self._automata)):
                for other in range(number):
                    self._follow(((other, 0), (number, 0)), found, None)
        return found

    def _all_at_once(self, found: list[set[Meeting]]) -> bool:
        return self._follow(tuple((number, 0) for number in range(len(self._automata))), found, MAX_STEPS)

    def _follow(self, places: tuple[Place, ...], found: list[set[Meeting]], most: int | None) -> bool:
        """Adds all meetings of some places from there on; False if there are too many steps."""
        seen = {places}
        todo = [places]
        steps = 0
        for together in todo:  # grows while it is walked
            sizes = [len(self._edges_of(place)) for place in together]
            steps += len(sizes) + sum(sizes) - max(sizes)
            if most is not None and steps > most:
                return False
            for moved in self._moved(together):
                self._note(moved, found)
                running = tuple([(n, s) for n, s in moved if self._automata[n].runs[s]])
                if len(running) > 1 and running not in seen:
                    seen.add(running)
                    todo.append(running)
        return True

    def _moved(self, places: tuple[Place, ...]) -> Iterator[list[Place]]:
        """Gives what each byte makes of some places, where two or more are left; nothing twice."""
        widest = max(places, key=lambda place: len(self._edges_of(place)))
        by_byte: dict[int, list[Place]] = {}
        for place in places:
            if place is not widest:
                for byte, after in self._edges_of(place):
                    by_byte.setdefault(byte, []).append((place[0], after))
        number, state = widest
        flat = self._automata[number].flat
        for byte, moved in by_byte.items():
            after = flat[256 * state + byte]
            if after != DEAD:
                moved.append((number, after))
        for moved in {*map(tuple, by_byte.values())}:
            if len(moved) > 1:
                yield sorted(moved)

    def _note(self, places: list[Place], found: list[set[Meeting]]) -> None:
        under_way = []
        for number, state in places:
            automaton = self._automata[number]
            slots = automaton.labels[state].slots
            if slots == (NEW,):
                found[number].update([(state, other) for other in under_way])
            elif not slots and automaton.runs[state]:
                under_way.append((number, state))

    def _edges_of(self, place: Place) -> list[tuple[int, int]]:
        """Gives the bytes after which a match is found or under way, with the states that they lead to."""
        if place not in self._edges:
            number, state = place
            automaton = self._automata[number]
            row = np.array(automaton.flat[256 * state : 256 * state + 256])
            alive = np.flatnonzero(row != DEAD)
            self._edges[place] = [
                (byte, after)
                for byte, after in zip(alive.tolist(), row[alive].tolist(), strict=True)
                if automaton.runs[after] or automaton.labels[after].slots == (NEW,)
            ]
        return self._edges[place]
