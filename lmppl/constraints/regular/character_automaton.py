"""From the tree of a regular expression to a deterministic automaton over classes of characters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from lmppl.constraints.regular.character_sets import CharacterSet, Partition
from lmppl.constraints.regular.look_around import LookArounds, Pending, undominated
from lmppl.constraints.regular.regex_assertions import START, Contexts, sets_seen
from lmppl.constraints.regular.regex_syntax import (
    Alternation,
    Assertion,
    Character,
    Look,
    Node,
    Repetition,
    Sequence,
    walk,
)
from lmppl.constraints.regular.transition_tables import DEAD, Accepting, Table, canonical

MAX_CHARACTER_STATES = 50_000
MAX_NFA_STATES = 100_000
MAX_WORK = 1_000_000  # epsilon steps: some seconds
MAX_CELLS = 20_000_000  # states times classes of characters: 240 MB while it is built

Place = tuple[int, int, int, Pending]
"""Where a run stands: NFA state, context of the character before it, bits of what may follow, look-around."""


class TooLarge(Exception):
    """The automaton has more states than allowed, or takes too long to build."""


CharacterAutomaton = tuple[Partition, Table, Accepting]
"""Classes of characters, where each leads to from each state, and the states where a text may end."""


def determinised(tree: Node) -> CharacterAutomaton:
    """Makes the smallest automaton over the classes of characters that a pattern tells apart.

    Thompson's construction with counted repeats written out, then subsets. An assertion is an epsilon
    edge that narrows the set of characters that may come next; `\\n` followed by the end is a case of
    its own, because `$` stands before it too. Look-around is automata that run beside.

    Raises:
        TooLarge: More than 50,000 states, or an exponential number of steps.
    """
    subsets = Subsets.of(tree)
    return (subsets.partition, *subsets.table())


def size(tree: Node) -> int:
    """Gives the number of NFA states that a tree takes, without building them."""
    match tree:
        case Sequence(items) | Alternation(items):
            return 1 + sum(map(size, items))
        case Repetition(item, low, high, _):
            return 2 + size(item) * max(1, low + 1 if high is None else high)
        case _:
            return 1


def _sets(tree: Node) -> Iterator[CharacterSet]:
    for node in walk(tree):
        if isinstance(node, Character):
            yield node.options
        elif isinstance(node, Assertion):
            yield from sets_seen(node)


class _Nfa:
    """Edges over classes of characters, and epsilon edges that may carry an assertion."""

    def __init__(self, partition: Partition):
        self.partition = partition
        self.edges: list[tuple[CharacterSet, int] | None] = []
        self.epsilons: list[list[tuple[Assertion | Look | None, int]]] = []
        self.looks: list[Look] = []

    def new(self) -> int:
        self.edges.append(None)
        self.epsilons.append([])
        return len(self.edges) - 1

    def add(self, tree: Node, start: int, end: int) -> None:
        """Adds a tree between two states. `start` has no other way out, or only epsilon edges."""
        match tree:
            case Character(options):
                state = self.new()
                self.edges[state] = (options, end)
                self.epsilons[start].append((None, state))
            case Assertion():
                self.epsilons[start].append((tree, end))
            case Look():
                self.looks.append(tree)
                self.epsilons[start].append((tree, end))
            case Sequence(items):
                for item in items[:-1]:
                    middle = self.new()
                    self.add(item, start, middle)
                    start = middle
                if items:
                    self.add(items[-1], start, end)
                else:
                    self.epsilons[start].append((None, end))
            case Alternation(options):
                for option in options:
                    self.add(option, start, end)
            case Repetition():
                self._repeat(tree, start, end)

    def _repeat(self, tree: Repetition, start: int, end: int) -> None:
        for _ in range(tree.low):
            middle = self.new()
            self.add(tree.item, start, middle)
            start = middle
        if tree.high is None:
            loop = self.new()
            self.epsilons[start].append((None, loop))
            self.add(tree.item, loop, loop)
            self.epsilons[loop].append((None, end))
            return
        for _ in range(tree.high - tree.low):
            self.epsilons[start].append((None, end))
            middle = self.new()
            self.add(tree.item, start, middle)
            start = middle
        self.epsilons[start].append((None, end))


class Subsets:
    """The subset construction: sets of places, each closed under epsilon edges, met in turn.

    Attributes:
        first: The set before the first character.
        most_work: Epsilon steps in all; None for no bound.
    """

    def __init__(self, nfa: _Nfa, start: int, end: int, contexts: Contexts, looks: LookArounds):
        self.nfa = nfa
        self.looks = looks
        self.end = end
        self.contexts = contexts
        self.most_work: int | None = MAX_WORK
        self.closures: dict[Place, frozenset[Place]] = {}
        self.moves: dict[Place, list[tuple[int, frozenset[Place]]]] = {}
        self.work = 0
        self.first = self.closure((start, START, contexts.anything, looks.initial))

    @staticmethod
    def of(tree: Node) -> Subsets:
        """Gives those of a pattern.

        Raises:
            TooLarge: The NFA has more than 100,000 states.
        """
        if size(tree) > MAX_NFA_STATES:
            raise TooLarge
        partition = Partition.of(_sets(tree))
        nfa = _Nfa(partition)
        start, end = nfa.new(), nfa.new()
        nfa.add(tree, start, end)
        contexts = Contexts(partition, [node for node in walk(tree) if isinstance(node, Assertion)])
        return Subsets(nfa, start, end, contexts, LookArounds(partition, nfa.looks, determinised))

    @property
    def partition(self) -> Partition:
        """The classes of characters that the pattern tells apart."""
        return self.nfa.partition

    def table(self) -> tuple[Table, Accepting]:
        """Gives the smallest deterministic table."""
        numbers = {self.first: 0}
        todo = [self.first]
        rows: list[list[int]] = []
        for subset in todo:  # grows while it is walked
            row = [DEAD] * self.nfa.partition.num_classes
            for symbol, target in self.step(subset).items():
                if target not in numbers:
                    numbers[target] = len(todo)
                    todo.append(target)
                row[symbol] = numbers[target]
            rows.append(row)
            if len(todo) > MAX_CHARACTER_STATES or len(rows) * len(row) > MAX_CELLS:
                raise TooLarge
        ends = np.array([self.accepts(subset) for subset in todo])
        return canonical(np.array(rows, np.int32), 0, ends)

    def accepts(self, subset: frozenset[Place]) -> bool:
        """Says whether the text may end at one of the places."""
        return any(map(self.may_end, subset))

    def step(self, subset: frozenset[Place]) -> dict[int, frozenset[Place]]:
        """Gives the set after a character of each class, where there is one."""
        found: dict[int, list[frozenset[Place]]] = defaultdict(list)
        for place in subset:
            for symbol, closed in self.moves.get(place) or self.moves_of(place):
                found[symbol].append(closed)
        self.spend(sum(len(closed) for parts in found.values() for closed in parts))
        targets = {symbol: parts[0].union(*parts[1:]) for symbol, parts in found.items()}
        if self.nfa.looks:
            return {symbol: undominated(target) for symbol, target in targets.items()}
        return targets

    def moves_of(self, place: Place) -> list[tuple[int, frozenset[Place]]]:
        if place in self.moves:
            return self.moves[place]
        moves = []
        state, _, allowed, pending = place
        edge = self.nfa.edges[state]
        if edge is not None:
            options, target = edge
            for symbol in self.nfa.partition.members[options]:
                after = self.contexts.after(symbol, allowed)
                left = self.looks.after(pending, symbol) if pending else pending
                if after is not None and left is not None:
                    moves.append((symbol, self.closure((target, *after, left))))
        self.moves[place] = moves
        return moves

    def closure(self, place: Place) -> frozenset[Place]:
        """Gives the places that epsilon edges lead to and from which something can be read or ended."""
        if place in self.closures:
            return self.closures[place]
        met = {place}
        todo = [place]
        while todo:
            state, before, allowed, pending = todo.pop()
            for assertion, target in self.nfa.epsilons[state]:
                bits, left = allowed, pending
                if isinstance(assertion, Look):
                    left = self.looks.begun(pending, assertion, before == START)
                elif assertion:
                    bits &= self.contexts.allowed(assertion, before)
                if left is None:
                    continue
                new = (target, before, bits, left)
                if bits and new not in met:
                    met.add(new)
                    todo.append(new)
        self.spend(len(met))
        closed = frozenset(p for p in met if self.nfa.edges[p[0]] is not None or self.may_end(p))
        self.closures[place] = closed
        return closed

    def may_end(self, place: Place) -> bool:
        return place[0] == self.end and bool(place[2] & self.contexts.end) and self.looks.may_end(place[3])

    def spend(self, steps: int) -> None:
        self.work += steps
        if self.most_work is not None and self.work > self.most_work:
            raise TooLarge
