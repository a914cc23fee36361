"""What is left of a grammar's rules at a place inside them, as numbers, with what may be worked out ahead.

Tails of rules that began in one Earley set stay together: they are one bundle, and what becomes of it behind
some symbols depends on the grammar alone, so it is found once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import NamedTuple

from lmppl.constraints.grammars.numbered_rules import Rules

TOP = -1  # the owner of the tail that waits for the start symbol
NOTHING = -1  # the first symbol of an empty tail

MAX_BUNDLES = 20_000


class Outcome(NamedTuple):
    """What becomes of tails of rules that all began in one set.

    Attributes:
        keeps: Tails that are waited with; None if there are none.
        elides: Last nonterminal and owner of tails that are nothing but that nonterminal: it is waited for,
            and behind it comes what waits for the owner.
        completes: Nonterminals that are complete.
    """

    keeps: Bundle | None
    elides: tuple[tuple[int, int], ...]
    completes: tuple[int, ...]


class Bundle:
    """Tails of rules that began in one set. Equal to itself only; made once for the same tails.

    Attributes:
        tails: At least one.
        wants: The symbols that come first in them, as bits.
        outcome: What becomes of them when they are reached.
    """

    __slots__ = ("_moved", "_outcome", "_rests", "_tails", "tails", "wants")

    def __init__(self, tails: Tails, members: frozenset[int]):
        self.tails = members
        self._tails = tails
        wants = 0
        for tail in members:
            wants |= tails.wants[tail]
        self.wants = wants
        self._outcome: Outcome | None = None
        self._moved: dict[int, Outcome] = {}
        self._rests: dict[int, Bundle] = {}

    @property
    def outcome(self) -> Outcome:
        found = self._outcome
        if found is None:
            found = self._outcome = self._tails.merged(self.tails)
        return found

    def moved(self, symbols: int) -> Outcome:
        """Gives what becomes of the tails behind some symbols, of which it wants all: they are bits."""
        found = self._moved.get(symbols)
        if found is None:
            found = self._moved[symbols] = self._tails.merged(self._behind(symbols))
        return found

    def rest(self, symbols: int) -> Bundle:
        """Gives the tails behind some symbols, of which it wants all."""
        found = self._rests.get(symbols)
        if found is None:
            found = self._rests[symbols] = self._tails.bundle(self._behind(symbols))
        return found

    def forget(self) -> None:
        """Drops what leads to other bundles, and can be found again."""
        self._outcome = None
        self._moved.clear()
        self._rests.clear()

    def _behind(self, symbols: int) -> list[int]:
        wants, nexts = self._tails.wants, self._tails.nexts
        return [nexts[tail] for tail in self.tails if wants[tail] & symbols]


class Tails:
    """The tails of one grammar.

    Attributes:
        firsts: By tail, the symbol that must come next, or `NOTHING`.
        wants: The same as a bit, or 0.
        nexts: By tail, the tail after that symbol; 0 if there is none.
        owners: By tail, the nonterminal that is complete after it, or `TOP`.
        sides: By nonterminal, the tails that are its whole right-hand sides.
        accepted: The tail of a text that is complete.
        whole: The tail of a text that has not begun.
    """

    def __init__(self, rules: Rules):
        self.firsts: list[int] = []
        self.wants: list[int] = []
        self.nexts: list[int] = []
        self.owners: list[int] = []
        self._first_nonterminal = rules.first_nonterminal
        self._nullable = rules.nullable
        self._stays: list[bool] = []  # whether it is waited with, and that is all
        self._before: dict[tuple[int, int], int] = {}
        self._bundles: dict[frozenset[int], Bundle] = {}
        self.accepted = self._added(NOTHING, 0, TOP)
        self.whole = self._with_before(self.accepted, rules.start)
        self.sides = {owner: self._sides(owner, sides) for owner, sides in rules.productions.items()}

    def bundle(self, tails: Iterable[int]) -> Bundle:
        """Gives the bundle of some tails."""
        key = frozenset(tails)
        found = self._bundles.get(key)
        if found is None:
            if len(self._bundles) >= MAX_BUNDLES:
                for bundle in self._bundles.values():
                    bundle.forget()
                self._bundles.clear()
            found = self._bundles[key] = Bundle(self, key)
        return found

    def merged(self, tails: Iterable[int]) -> Outcome:
        """Gives what becomes of several tails when they are reached."""
        stays = self._stays
        keeps: set[int] = set()
        elides: dict[tuple[int, int], None] = {}
        completes: dict[int, None] = {}
        for tail in tails:
            if stays[tail]:
                keeps.add(tail)
                continue
            while True:
                first, after, owner = self.firsts[tail], self.nexts[tail], self.owners[tail]
                if owner == TOP:
                    keeps.add(tail)
                elif first == NOTHING:
                    completes[owner] = None
                elif first >= self._first_nonterminal and self.firsts[after] == NOTHING:
                    elides[first, owner] = None
                else:
                    keeps.add(tail)
                if first == NOTHING or first not in self._nullable:
                    break
                tail = after
        return Outcome(self.bundle(keeps) if keeps else None, tuple(elides), tuple(completes))

    def _sides(self, owner: int, sides: Iterable[Sequence[int]]) -> list[int]:
        end = self._added(NOTHING, 0, owner)
        return [reduce(self._with_before, reversed(side), end) for side in sides]

    def _with_before(self, tail: int, symbol: int) -> int:
        """Gives a tail with a symbol before it."""
        key = symbol, tail
        if key not in self._before:
            self._before[key] = self._added(symbol, tail, self.owners[tail])
        return self._before[key]

    def _added(self, first: int, after: int, owner: int) -> int:
        self.firsts.append(first)
        self.wants.append(0 if first == NOTHING else 1 << first)
        self.nexts.append(after)
        self.owners.append(owner)
        changes = first in self._nullable or (
            first >= self._first_nonterminal and self.firsts[after] == NOTHING
        )
        self._stays.append(first != NOTHING and not changes)
        return len(self.firsts) - 1
