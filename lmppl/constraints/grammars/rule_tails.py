"""What is left of a grammar's rules at a place inside them, as numbers, with what may be worked out ahead.

An Earley item is a tail of a rule and the set in which the rule began. All that depends on the tail alone
is found once for a grammar here: which symbol comes next, what is skipped, and what is then complete.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import reduce
from typing import NamedTuple

from lmppl.constraints.grammars.numbered_rules import Rules

TOP = -1  # the owner of the tail that waits for the start symbol
NOTHING = -1  # the first symbol of an empty tail

MAX_PREDICTIONS = 5_000


class Outcome(NamedTuple):
    """What becomes of tails of rules that all began in one set.

    Attributes:
        keeps: Tails that are waited with.
        elides: Last nonterminal and owner of tails that are nothing but that nonterminal: what waits for
            the owner is put in their place.
        completes: Nonterminals that are complete.
    """

    keeps: tuple[int, ...]
    elides: tuple[tuple[int, int], ...]
    completes: tuple[int, ...]


class Tails:
    """The tails of one grammar, and the outcomes of what is predicted.

    Attributes:
        firsts: By tail, the symbol that must come next, or `NOTHING`.
        nexts: By tail, the tail after that symbol; 0 if there is none.
        owners: By tail, the nonterminal that is complete after it, or `TOP`.
        stays: By tail, whether it is waited with for sure: it neither may be empty nor is one nonterminal.
        first_nonterminal: The least number of a nonterminal.
        accepted: The tail of a text that is complete.
        whole: The tail of a text that has not begun.
    """

    def __init__(self, rules: Rules):
        self.firsts: list[int] = []
        self.nexts: list[int] = []
        self.owners: list[int] = []
        self.first_nonterminal = rules.first_nonterminal
        self._nullable = rules.nullable
        self.stays: list[bool] = []
        self._outcomes: dict[int, Outcome] = {}
        self._before: dict[int, _Extended] = {}
        self._predictions: dict[frozenset[int], Prediction] = {}
        self.accepted = self.added(NOTHING, 0, TOP)
        self.whole = self.before(rules.start, self.accepted)
        productions = {owner: self._sides(owner, sides) for owner, sides in rules.productions.items()}
        self._left_corners = {symbol: self._left_corner(symbol, productions) for symbol in productions}
        self._prepare()

    def before(self, symbol: int, tail: int) -> int:
        """Gives a tail with a symbol before it."""
        return self.all_before(symbol)[tail]

    def all_before(self, symbol: int) -> Mapping[int, int]:
        """Gives, by tail, that with a symbol before it; one that is asked for is made."""
        found = self._before.get(symbol)
        if found is None:
            found = self._before[symbol] = _Extended(self, symbol)
        return found

    def outcome(self, tail: int) -> Outcome:
        """Gives what becomes of a tail when that is reached."""
        found = self._outcomes.get(tail)
        if found is None:
            found = self._outcomes[tail] = self._outcome(tail)
        return found

    def prediction(self, called: frozenset[int]) -> Prediction:
        """Gives what begins where some nonterminals are waited for."""
        found = self._predictions.get(called)
        if found is None:
            if len(self._predictions) >= MAX_PREDICTIONS:
                self._predictions.clear()
            corners = self._left_corners
            enough: list[int] = []
            for symbol in sorted(called, key=lambda c: -len(corners[c])):
                if not any(symbol in corners[other] for other in enough):  # then all of its corner is there
                    enough.append(symbol)
            key = frozenset(enough)
            if key not in self._predictions:
                self._predictions[key] = Prediction(self, [corners[c] for c in enough])
            found = self._predictions[called] = self._predictions[key]
        return found

    def merged(self, tails: Iterable[int]) -> Outcome:
        """Gives the outcome of several tails together."""
        keeps: dict[int, None] = {}
        elides: dict[tuple[int, int], None] = {}
        completes: dict[int, None] = {}
        for tail in tails:
            if self.stays[tail]:
                keeps[tail] = None
            else:
                outcome = self.outcome(tail)
                keeps.update(dict.fromkeys(outcome.keeps))
                elides.update(dict.fromkeys(outcome.elides))
                completes.update(dict.fromkeys(outcome.completes))
        return Outcome(tuple(keeps), tuple(elides), tuple(completes))

    def _prepare(self) -> None:
        """Works out what any first text would ask for."""
        last_of: dict[int, set[int]] = defaultdict(set)
        for tail in range(len(self.firsts)):
            for last, owner in self.outcome(tail).elides:
                last_of[owner].add(last)
        for called, corner in self._left_corners.items():
            prediction = self.prediction(frozenset({called}))
            for symbol in {called, *corner}:
                if symbol < self.first_nonterminal:
                    prediction.shifted(symbol)
                    continue
                for tail in prediction.ended(symbol).tails:
                    for last in last_of.get(symbol, ()):
                        self.before(last, tail)

    def _sides(self, owner: int, sides: Iterable[tuple[int, ...]]) -> list[int]:
        end = self.added(NOTHING, 0, owner)
        return [reduce(lambda tail, symbol: self.before(symbol, tail), reversed(side), end) for side in sides]

    def added(self, first: int, after: int, owner: int) -> int:
        """Adds a tail that is not there, and gives its number."""
        self.firsts.append(first)
        self.nexts.append(after)
        self.owners.append(owner)
        changes = first >= self.first_nonterminal and (
            first in self._nullable or self.firsts[after] == NOTHING
        )
        self.stays.append(first != NOTHING and not changes)
        return len(self.firsts) - 1

    def _outcome(self, tail: int) -> Outcome:
        """Skips what may be empty, too."""
        keeps: list[int] = []
        elides: list[tuple[int, int]] = []
        completes: list[int] = []
        owner = self.owners[tail]
        while True:
            first, after = self.firsts[tail], self.nexts[tail]
            if owner == TOP:
                keeps.append(tail)
            elif first == NOTHING:
                completes.append(owner)
            elif first >= self.first_nonterminal and self.firsts[after] == NOTHING:
                elides.append((first, owner))
            else:
                keeps.append(tail)
            if first == NOTHING or first not in self._nullable:
                return Outcome(tuple(keeps), tuple(elides), tuple(completes))
            tail = after

    def _left_corner(self, symbol: int, productions: Mapping[int, Sequence[int]]) -> dict[int, set[int]]:
        """Gives, for each symbol that may come first in `symbol`, the tails after it."""
        corner: dict[int, set[int]] = defaultdict(set)
        seen = {symbol}
        todo = [symbol]
        for owner in todo:  # grows while it is walked
            for tail in productions[owner]:
                while (first := self.firsts[tail]) != NOTHING:
                    tail = self.nexts[tail]
                    corner[first].add(tail)
                    if first >= self.first_nonterminal and first not in seen:
                        seen.add(first)
                        todo.append(first)
                    if first not in self._nullable:
                        break
        return dict(corner)


class _Extended(dict[int, int]):
    """By tail, that with a symbol before it."""

    def __init__(self, tails: Tails, symbol: int):
        super().__init__()
        self._tails = tails
        self._symbol = symbol

    def __missing__(self, tail: int) -> int:
        found = self[tail] = self._tails.added(self._symbol, tail, self._tails.owners[tail])
        return found


class Prediction:
    """What begins in a set that waits for some nonterminals.

    Attributes:
        terminals: The terminals that may come first, as bits.
    """

    def __init__(self, tails: Tails, corners: list[dict[int, set[int]]]):
        self._tails = tails
        self._corners = corners
        self._shifted: dict[int, Outcome] = {}
        self._ended: dict[int, Ended] = {}
        self.terminals = 0
        for symbol in {symbol for corner in corners for symbol in corner}:
            if symbol < tails.first_nonterminal:
                self.terminals |= 1 << symbol

    def shifted(self, terminal: int) -> Outcome:
        """Gives what becomes of the rules that begin with a terminal, once it has come."""
        found = self._shifted.get(terminal)
        if found is None:
            found = self._shifted[terminal] = self._tails.merged(self._after(terminal))
        return found

    def ended(self, symbol: int) -> Ended:
        """Gives what becomes of the rules that begin with a nonterminal, once it is complete."""
        found = self._ended.get(symbol)
        if found is None:
            left: dict[int, None] = {}
            reached = [symbol]
            for each in reached:  # grows while it is walked
                for tail in self._after(each):
                    if self._tails.firsts[tail] != NOTHING:
                        left[tail] = None
                    elif (owner := self._tails.owners[tail]) not in reached:
                        reached.append(owner)
            found = self._ended[symbol] = Ended(frozenset(reached), tuple(left), self._tails.merged(left))
        return found

    def _after(self, symbol: int) -> Set[int]:
        found = [corner[symbol] for corner in self._corners if symbol in corner]
        return found[0] if len(found) == 1 else set[int]().union(*found)


class Ended(NamedTuple):
    """What a complete nonterminal does to what was predicted where it began.

    Attributes:
        reached: The nonterminals that end with it, itself among them.
        tails: What is left of rules, where something is.
        outcome: Of these.
    """

    reached: frozenset[int]
    tails: tuple[int, ...]
    outcome: Outcome
