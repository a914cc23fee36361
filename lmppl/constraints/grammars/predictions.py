"""What begins in an Earley set by itself: the rules of what is waited for there, found once for a grammar."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Set
from typing import NamedTuple

from lmppl.constraints.grammars.numbered_rules import Rules, bits
from lmppl.constraints.grammars.rule_tails import NOTHING, Bundle, Outcome, Tails

MAX_PREDICTIONS = 5_000
MAX_PREPARED = 300  # bundles: some 30 ms
MAX_PREPARED_ENDS = 200_000  # nonterminals that end with others: 0.2 s; Python's grammar has 24,000

Corner = dict[int, set[int]]
"""For each symbol that may come first, the tails after it."""


class Ended(NamedTuple):
    """What a complete nonterminal does to what was predicted where it began.

    Attributes:
        reached: The nonterminals that end with it, itself among them, as bits.
        rest: What is left of rules; None if nothing is.
        outcome: Of that.
    """

    reached: int
    rest: Bundle | None
    outcome: Outcome


class Prediction:
    """What begins in a set that waits for some nonterminals.

    Attributes:
        firsts: The symbols that may come first, as bits.
        terminals: The terminals among them.
    """

    def __init__(self, tails: Tails, corners: list[Corner], firsts: int, terminals: int):
        self._tails = tails
        self._corners = corners
        self._shifted: dict[int, Outcome] = {}
        self._ended: dict[int, Ended] = {}
        self.firsts = firsts
        self.terminals = firsts & terminals

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
            found = self._ended[symbol] = self._end(symbol)
        return found

    def _end(self, symbol: int) -> Ended:
        tails = self._tails
        left: set[int] = set()
        reached = [symbol]
        seen = {symbol}
        for each in reached:  # grows while it is walked
            for tail in self._after(each):
                if tails.firsts[tail] != NOTHING:
                    left.add(tail)
                elif (owner := tails.owners[tail]) not in seen:
                    seen.add(owner)
                    reached.append(owner)
        rest = tails.bundle(left) if left else None
        outcome = tails.merged(()) if rest is None else rest.outcome
        return Ended(sum(1 << each for each in reached), rest, outcome)

    def _after(self, symbol: int) -> Set[int]:
        found = [corner[symbol] for corner in self._corners if symbol in corner]
        return found[0] if len(found) == 1 else set[int]().union(*found)


class Predictions:
    """The predictions of one grammar, remembered up to a bound."""

    def __init__(self, tails: Tails, rules: Rules):
        self._tails = tails
        self._rules = rules
        self._corners: dict[int, Corner] = {}
        self._firsts: dict[int, int] = {}
        self._terminals = (1 << rules.first_nonterminal) - 1
        self._known: dict[int, Prediction] = {}
        self._prepare()

    def of(self, called: int) -> Prediction:
        """Gives what begins where some nonterminals, as bits, are waited for."""
        found = self._known.get(called)
        if found is None:
            if len(self._known) >= MAX_PREDICTIONS:
                self._known.clear()
            found = self._known[called] = self._made(called)
        return found

    def _made(self, called: int) -> Prediction:
        enough = 0
        reached = 0
        for symbol in sorted(bits(called), key=lambda c: -self._firsts_of(c).bit_count()):
            if not reached >> symbol & 1:  # else all of its corner is there
                enough |= 1 << symbol
                reached |= self._firsts_of(symbol)
        if enough != called and enough in self._known:
            return self._known[enough]
        corners = [self._corners[symbol] for symbol in bits(enough)]
        found = self._known[enough] = Prediction(self._tails, corners, reached, self._terminals)
        return found

    def _firsts_of(self, symbol: int) -> int:
        """Gives the symbols that may come first in a nonterminal, as bits; it finds their tails too."""
        if symbol not in self._corners:
            self._corners[symbol] = _left_corner(symbol, self._tails, self._rules)
            self._firsts[symbol] = sum(1 << first for first in self._corners[symbol])
        return self._firsts[symbol]

    def _prepare(self) -> None:
        """Works out what first texts ask for: sets of one bundle, or with what is waited for only.

        It stops early in grammars of long chains of rules, where that is quadratic, or more.
        """
        todo: list[tuple[int, Bundle | None]] = [(1 << symbol, None) for symbol in self._tails.sides]
        seen: set[Bundle] = set()
        num_ends = 0
        for called, bundle in todo:  # grows while it is walked
            for outcome, ends in self._outcomes(called, bundle):
                num_ends += ends
                if num_ends > MAX_PREPARED_ENDS:
                    return
                keeps = outcome.keeps
                if keeps is not None and keeps not in seen and len(seen) < MAX_PREPARED:
                    seen.add(keeps)
                    todo.append((keeps.wants & ~self._terminals, keeps))

    def _outcomes(self, called: int, bundle: Bundle | None) -> Iterator[tuple[Outcome, int]]:
        """Gives what becomes of a bundle, and of what begins beside it, behind each symbol.

        With it comes how many nonterminals end with the symbol.
        """
        prediction = self.of(called)
        wants = 0 if bundle is None else bundle.wants
        for symbol in bits(prediction.firsts & self._terminals):
            yield prediction.shifted(symbol), 1
        for symbol in bits((prediction.firsts | called) & ~self._terminals):
            ended = prediction.ended(symbol)
            yield ended.outcome, ended.reached.bit_count()
            if bundle is not None and (reached := ended.reached & wants):
                yield bundle.moved(reached), 1
        if bundle is not None:
            for symbol in bits(wants & self._terminals):
                yield bundle.moved(1 << symbol), 1


def _left_corner(symbol: int, tails: Tails, rules: Rules) -> Corner:
    """Gives, for each symbol that may come first in `symbol`, the tails after it."""
    corner: defaultdict[int, set[int]] = defaultdict(set)
    seen = {symbol}
    todo = [symbol]
    for owner in todo:  # grows while it is walked
        for tail in tails.sides[owner]:
            while (first := tails.firsts[tail]) != NOTHING:
                tail = tails.nexts[tail]
                corner[first].add(tail)
                if first >= rules.first_nonterminal and first not in seen:
                    seen.add(first)
                    todo.append(first)
                if first not in rules.nullable:
                    break
    return dict(corner)
