"""Lark's scanner, byte by byte: which terminal the lexer takes at one place, and how much of the text.

Lark tries the terminals in a fixed order, and the first one that matches at all is taken, with the match
that `re` finds for it. That may be known only long after the match has ended. So a state keeps the
terminals that may still match, and slots as in `match_automaton`, best first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from lmppl.constraints.grammars.grammar_terminals import Terminal
from lmppl.constraints.grammars.match_automata import NEW, MatchAutomaton
from lmppl.constraints.regular.transition_tables import DEAD
from lmppl.errors import ConstraintError

MAX_POINTS = 20_000

IGNORED = 0
"""The token of what is matched and left out. No parser sees it."""


@dataclass(eq=False)
class Point:
    """A place in a lexeme, or before it.

    Attributes:
        entries: The terminals that may match, best first: number, state, how many slots it has.
        watched: Words that the lexeme may turn out to be: number in the scanner, and state.
        slots: For each slot the one before this byte that it was; or `~token` for a match that ends
            here.
        settled: Whether the first slot is found, whatever follows.
        end: The slot that is found if the text ends here, or -1.
        following: Points by byte, as far as they are known.
        later: Tokens that may be found further on, as far as it has been asked for.
        later_is_complete: Whether those are all.
        representatives: One byte out of each class of bytes that lead on alike, once it has been asked for.
    """

    entries: tuple[tuple[int, int, int], ...]
    watched: tuple[tuple[int, int], ...]
    slots: tuple[int, ...]
    settled: bool
    end: int
    following: dict[int, Point | None] = field(default_factory=dict)
    later: set[int] = field(default_factory=set)
    later_is_complete: bool = False
    representatives: list[int] | None = None


class Scanner:
    """The points of one list of terminals.

    Args:
        terminals: In the order in which Lark tries them.
        ignored: The names of those that are left out.

    Attributes:
        ignores: Whether there are any.
    """

    def __init__(self, terminals: Sequence[Terminal], ignored: frozenset[str]):
        self._words = [terminal for terminal in terminals if terminal.word is not None]
        names: dict[str, list[int]] = {}
        embedded: set[str] = set()
        for terminal in terminals:
            if terminal.word is not None:
                continue
            for number, word in enumerate(self._words):
                if word.priority == terminal.priority and terminal.takes(word.word or ""):
                    names.setdefault(terminal.name, []).append(number)
                    if word.flags <= terminal.flags:
                        embedded.add(word.name)
        self.terminals = [terminal for terminal in terminals if terminal.name not in embedded]
        self._named = [tuple(names.get(terminal.name, ())) for terminal in self.terminals]
        self._tokens = [IGNORED if t.name in ignored else t.token for t in self.terminals]
        self.ignores = IGNORED in self._tokens
        self._points: dict[tuple, Point] = {}

    @cached_property
    def start(self) -> Point:
        """The point before a lexeme."""
        watched = sorted({word for named in self._named for word in named})
        entries = tuple((i, 0, 0) for i in range(len(self.terminals)))
        return Point(entries, tuple((word, 0) for word in watched), (), False, -1)

    def after(self, point: Point, byte: int) -> Point | None:
        """Gives the point after one byte, or None if no terminal matches and no match is left."""
        try:
            return point.following[byte]
        except KeyError:
            found = point.following[byte] = self._after(point, byte)
            return found

    def _after(self, point: Point, byte: int) -> Point | None:
        watched = self._watched(point, byte)
        entries: list[tuple[int, int, int]] = []
        slots: list[int] = []
        first = 0
        end = -1
        for number, state, num_slots in point.entries:
            automaton = self._automata[number]
            same = range(first, first + num_slots)
            first += num_slots
            if automaton.settled[state]:
                found, certain, ends = same, True, 0
            else:
                state = automaton.flat[256 * state + byte]
                if state == DEAD:
                    continue
                label = automaton.labels[state]
                certain, ends = label.certain, label.end
                if label.slots is None:
                    found = same
                else:
                    new = ~self._token(number, watched) if NEW in label.slots else 0
                    found = [new if slot == NEW else same[slot] for slot in label.slots]
            if end < 0 <= ends:
                end = len(slots) + ends
            slots += found
            entries.append((number, state, len(found)))
            if certain:
                break
        return self._point(tuple(entries), watched, tuple(slots), end) if entries else None

    def _point(
        self,
        entries: tuple[tuple[int, int, int], ...],
        watched: tuple[tuple[int, int], ...],
        slots: tuple[int, ...],
        end: int,
    ) -> Point:
        number, state, _ = entries[0]
        settled = self._automata[number].settled[state]
        if watched:
            open_ones = [n for n, s, _ in entries if not self._automata[n].settled[s]]
            useful = {word for n in open_ones for word in self._named[n]}
            watched = tuple(pair for pair in watched if pair[0] in useful)
        key = (entries, watched, slots, end)
        if key not in self._points:
            self._points[key] = Point(entries, watched, slots, settled, end)
        return self._points[key]

    def _watched(self, point: Point, byte: int) -> tuple[tuple[int, int], ...]:
        moved = []
        for word, state in point.watched:
            after = self._words[word].automaton.flat[256 * state + byte]
            if after != DEAD:
                moved.append((word, after))
        return tuple(moved)

    def _token(self, number: int, watched: tuple[tuple[int, int], ...]) -> int:
        """Gives the token of a match that ends here: a word goes before the expression that takes it."""
        token = self._tokens[number]
        if token != IGNORED and watched:
            complete = {word for word, state in watched if self._words[word].automaton.labels[state].certain}
            for word in self._named[number]:
                if word in complete:
                    return self._words[word].token
        return token

    @cached_property
    def _automata(self) -> list[MatchAutomaton]:
        return [terminal.automaton for terminal in self.terminals]

    def targets(self, point: Point) -> Iterator[Point]:
        """Gives every point that one byte leads to; some more than once."""
        for byte in self.representatives(point):
            target = self.after(point, byte)
            if target is not None:
                yield target

    def endings(self, point: Point) -> Iterator[bytes]:
        """Gives a shortest text for each match that may be under way at a point."""
        automata = [(self._automata[number], state) for number, state, _ in point.entries]
        automata += [(self._words[word].automaton, state) for word, state in point.watched]
        for automaton, state in automata:
            ending = automaton.ending(state)
            if ending is not None:
                yield ending

    def representatives(self, point: Point) -> list[int]:
        """Gives one byte out of each class of bytes that a point does not tell apart."""
        if point.representatives is None:
            if len(point.entries) == 1 and not point.watched:
                number, state, _ = point.entries[0]
                point.representatives = self._automata[number].representatives(state)
            else:
                point.representatives = first_of_each(self.rows(point))
        return point.representatives

    def rows(self, point: Point) -> list[Sequence[int]]:
        """Gives what each byte leads to, for each automaton that has a part in a point."""
        automata = [(self._automata[number], state) for number, state, _ in point.entries]
        automata += [(self._words[word].automaton, state) for word, state in point.watched]
        return [automaton.flat[256 * state : 256 * state + 256] for automaton, state in automata]

    def finds(self, point: Point, wanted: Callable[[int], bool]) -> bool:
        """Says whether a wanted token may be found on the way from a point on, whatever the text."""
        if any(map(wanted, tuple(point.later))):
            return True
        if point.later_is_complete:
            return False
        if point is self.start and self.samples(wanted):
            return True
        for token in self._search_from_start if point is self.start else self._search(point):
            point.later.add(token)
            if wanted(token):
                return True
        if not point.later_is_complete:
            raise self._too_many_points()  # a search that was broken off cannot go on
        return False

    def samples(self, wanted: Callable[[int], bool]) -> bool:
        """Says whether a wanted token is found in a shortest text of its terminal; else it still may be."""
        for terminal in (*self._words, *self.terminals):
            if wanted(terminal.token) and self._is_sampled(terminal):
                self.start.later.add(terminal.token)
                return True
        return False

    @property
    def sampled(self) -> frozenset[int]:
        """All tokens that are found so."""
        return frozenset(t.token for t in (*self._words, *self.terminals) if self._is_sampled(t))

    def tokens(self, known: frozenset[int]) -> frozenset[int]:
        """Gives every token that may be found in some text, with those that are known to be."""
        found = {*known}
        named = {self._words[word].token for words in self._named for word in words}
        most = named | {*self._tokens}
        if not found >= most:
            for token in self._search(self.start):
                found.add(token)
                if found >= most:
                    break
        return frozenset(found)

    def can_find(self, token: int) -> bool:
        """Says whether a token may be found in some text."""
        if token in self.start.later or self.start.later_is_complete:
            return token in self.start.later
        if any(self._is_sampled(terminal) for terminal in self._by_token.get(token, ())):
            self.start.later.add(token)
            return True
        return self.finds(self.start, lambda found: found == token)

    @cached_property
    def _by_token(self) -> dict[int, list[Terminal]]:
        found: dict[int, list[Terminal]] = {}
        for terminal in (*self._words, *self.terminals):
            found.setdefault(terminal.token, []).append(terminal)
        return found

    def _is_sampled(self, terminal: Terminal) -> bool:
        """Says whether a shortest text of a terminal is found as such; if not, another one may be."""
        sample = terminal.automaton.shortest if terminal.word is None else terminal.word.encode()
        return self.find(sample) == terminal.token

    def find(self, data: bytes) -> int | None:
        """Gives the token at the beginning of a whole text, None if there is none."""
        point: Point | None = self.start
        tokens: list[int] = []
        for byte in data:
            point = self.after(point, byte)
            if point is None:
                return None
            tokens = [tokens[slot] if slot >= 0 else ~slot for slot in point.slots]
            if point.settled:
                return tokens[0]
        return tokens[point.end] if point.end >= 0 else None

    @cached_property
    def _search_from_start(self) -> Iterator[int]:
        """Goes on where it was left, so that asking for one token after the other costs one search."""
        return self._search(self.start)

    def _search(self, point: Point) -> Iterator[int]:
        """Gives the tokens as they are met; when it runs to the end, all points met know all theirs."""
        met = {id(point): point}
        edges: list[tuple[Point, Point]] = []
        todo = [point]
        for source in todo:  # grows while it is walked
            yield from tuple(source.later)
            if source.settled or source.later_is_complete:
                continue
            for target in self.targets(source):
                edges.append((source, target))
                yield from (~slot for slot in target.slots if slot < 0)
                if id(target) not in met:
                    met[id(target)] = target
                    todo.append(target)
            if len(todo) > MAX_POINTS:
                raise self._too_many_points()
        _spread(edges)
        for each in todo:
            each.later_is_complete = True

    def _too_many_points(self) -> ConstraintError:
        return ConstraintError(
            f"The {len(self.terminals)} terminals that may stand in one place need more than "
            f"{MAX_POINTS:,} states together. Write fewer, or simpler ones."
        )


def _spread(edges: list[tuple[Point, Point]]) -> None:
    """Tells every source what its targets find, until nothing is new."""
    for source, target in edges:
        source.later.update(~slot for slot in target.slots if slot < 0)
    changed = True
    while changed:
        changed = False
        for source, target in reversed(edges):
            size = len(source.later)
            source.later |= target.later
            changed |= len(source.later) != size


def first_of_each(rows: Iterable[Sequence[int]]) -> list[int]:
    """Gives one byte out of each class that has the same in all rows."""
    first: dict[tuple[int, ...], int] = {}
    for byte, found in enumerate(zip(*rows, strict=True)):
        first.setdefault(found, byte)
    return list(first.values())
