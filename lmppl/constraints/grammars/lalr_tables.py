"""LALR(1) tables as Lark makes them, in a tenth of the time.

DeRemer & Pennello (1982), TOPLAS 4(4): look-aheads by the relations `reads` and `includes` on the
transitions over nonterminals; sets of tokens are the bits of an int. Lark takes more pairs into `includes`
than the paper does, so its look-aheads are sometimes larger than LALR(1) has them; the contextual lexer
sees that, and so the same pairs are taken here. Conflicts are resolved as Lark resolves them: a rule of
higher priority, and then shifting, is preferred.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lmppl.constraints.grammars.numbered_rules import bits

END = 0
"""The token after the last one. Others are numbers from 1 on, below those of the nonterminals."""


@dataclass(frozen=True)
class GrammarRule:
    """A nonterminal, what it stands for, and how much it is preferred."""

    origin: int
    side: tuple[int, ...]
    priority: int = 0


class Rest(NamedTuple):
    """What is still to come of a rule that has been begun.

    Attributes:
        symbols: These.
        origin: The nonterminal of the rule.
        num_read: How many symbols have been read.
    """

    symbols: tuple[int, ...]
    origin: int
    num_read: int


class NotLalr(Exception):
    """Two rules apply at the same place, and none is preferred; or `reads` has a cycle.

    A grammar with such a cycle is LR(k) for no k, and what Lark makes of it depends on chance.
    """


@dataclass(frozen=True)
class LalrTable:
    """What an LALR(1) parser does.

    Attributes:
        shifts: By state, the next state by token.
        reductions: By state, the rule by token: its nonterminal and its length.
        gotos: By state, the next state by nonterminal.
        end: The state after the whole text. The first state is 0.
        has_conflicts: Whether there was more than one thing to do somewhere.
        rests: By state, what is still to come of each rule that has been begun.
    """

    shifts: list[dict[int, int]]
    reductions: list[dict[int, tuple[int, int]]]
    gotos: list[dict[int, int]]
    end: int
    has_conflicts: bool
    rests: list[tuple[Rest, ...]]


def lalr_table(rules: Sequence[GrammarRule], first_nonterminal: int, start: int) -> LalrTable:
    """Makes the table of a grammar.

    Args:
        rules: Without duplicates.
        first_nonterminal: The least number of a nonterminal; tokens are below.
        start: The nonterminal that stands for the whole text.

    Raises:
        NotLalr: The grammar is not LALR(1).
    """
    return _Construction(rules, first_nonterminal, start).table()


class _Construction:
    """Items are numbers: those of one rule in a row, by how much of it has been read."""

    def __init__(self, rules: Sequence[GrammarRule], first_nonterminal: int, start: int):
        root = max((rule.origin for rule in rules), default=first_nonterminal) + 1
        self.rules = [GrammarRule(root, (start,)), *rules]
        self.first_nonterminal = first_nonterminal
        self.rule_of: list[int] = []
        self.next: list[int] = []  # the symbol after the dot, -1 at the end
        self.begins: dict[int, list[int]] = defaultdict(list)
        for number, rule in enumerate(self.rules):
            self.begins[rule.origin].append(len(self.next))
            self.rule_of += [number] * (len(rule.side) + 1)
            self.next += [*rule.side, -1]
        self.predicted: dict[int, tuple[int, ...]] = {}
        self.nullable = self._nullable()
        self.kernels: list[tuple[int, ...]] = []
        self.closures: list[tuple[int, ...]] = []
        self.transitions: list[dict[int, int]] = []
        self.shared: dict[tuple[int, int, int], dict[int, tuple[int, int]]] = {}

    def table(self) -> LalrTable:
        self._make_states()
        lookaheads = self._lookaheads()
        shifts, gotos = [], []
        for moves in self.transitions:
            shifts.append({s: t for s, t in moves.items() if s < self.first_nonterminal})
            gotos.append({s: t for s, t in moves.items() if s >= self.first_nonterminal})
        reductions: list[dict[int, tuple[int, int]]] = []
        has_conflicts = False
        for state, masks in enumerate(lookaheads):
            chosen, conflicting = self._chosen(masks, shifts[state])
            reductions.append(chosen)
            has_conflicts |= conflicting
        rests = [tuple(map(self._rest, kernel)) for kernel in self.kernels]
        return LalrTable(shifts, reductions, gotos, gotos[0][self.rules[0].side[0]], has_conflicts, rests)

    def _rest(self, item: int) -> Rest:
        symbols = tuple(self.next[item : self.next.index(-1, item)])
        rule = self.rules[self.rule_of[item]]
        return Rest(symbols, rule.origin, len(rule.side) - len(symbols))

    def _chosen(
        self, masks: dict[int, int], shifts: dict[int, int]
    ) -> tuple[dict[int, tuple[int, int]], bool]:
        if len(masks) == 1 and not shifts:
            return self._reducing(*next(iter(masks.items()))), False
        options: dict[int, list[GrammarRule]] = defaultdict(list)
        for rule, mask in masks.items():
            for token in bits(mask):
                options[token].append(self.rules[rule])
        chosen: dict[int, tuple[int, int]] = {}
        conflicting = False
        for token, found in options.items():
            best = max(found, key=lambda rule: rule.priority)
            if len(found) > 1:
                conflicting = True
                if sum(rule.priority == best.priority for rule in found) > 1:
                    raise NotLalr
            if token in shifts:
                conflicting = True
            else:
                chosen[token] = (best.origin, len(best.side))
        return chosen, conflicting

    def _reducing(self, number: int, mask: int) -> dict[int, tuple[int, int]]:
        """Gives what a state does that applies one rule before all of some tokens; equal ones are one."""
        rule = self.rules[number]
        key = rule.origin, len(rule.side), mask
        if key not in self.shared:
            self.shared[key] = dict.fromkeys(bits(mask), key[:2])
        return self.shared[key]

    def _nullable(self) -> set[int]:
        nullable: set[int] = set()
        size = -1
        while size != len(nullable):
            size = len(nullable)
            nullable |= {rule.origin for rule in self.rules if nullable.issuperset(rule.side)}
        return nullable

    def _predictions(self, nonterminal: int) -> tuple[int, ...]:
        if nonterminal not in self.predicted:
            found: dict[int, None] = {}
            todo = [nonterminal]
            seen = {nonterminal}
            for origin in todo:  # grows while it is walked
                for item in self.begins[origin]:
                    found[item] = None
                    after = self.next[item]
                    if after >= self.first_nonterminal and after not in seen:
                        seen.add(after)
                        todo.append(after)
            self.predicted[nonterminal] = tuple(found)
        return self.predicted[nonterminal]

    def _make_states(self) -> None:
        kernels: dict[tuple[int, ...], int] = {(0,): 0}
        todo: list[tuple[int, ...]] = [(0,)]
        for kernel in todo:  # grows while it is walked
            closure = dict.fromkeys(kernel)
            for item in kernel:
                if self.next[item] >= self.first_nonterminal:
                    closure.update(dict.fromkeys(self._predictions(self.next[item])))
            self.closures.append(tuple(closure))
            moved: dict[int, list[int]] = defaultdict(list)
            for item in closure:
                if self.next[item] >= 0:
                    moved[self.next[item]].append(item + 1)
            moves: dict[int, int] = {}
            for symbol, items in moved.items():
                target = tuple(sorted(items))
                if target not in kernels:
                    kernels[target] = len(todo)
                    todo.append(target)
                moves[symbol] = kernels[target]
            self.transitions.append(moves)
        self.kernels = todo

    def _lookaheads(self) -> list[dict[int, int]]:
        """Gives for each state the tokens, as bits, before which each complete rule is reduced."""
        pairs = {
            (state, symbol): number
            for number, (state, symbol) in enumerate(
                (state, symbol)
                for state, moves in enumerate(self.transitions)
                for symbol in moves
                if symbol >= self.first_nonterminal
            )
        }
        follow = self._reads(pairs)
        includes, lookback = self._includes(pairs)
        _close(follow, includes)
        masks: list[dict[int, int]] = [defaultdict(int) for _ in self.transitions]
        for number, (state, rule) in lookback:
            masks[state][rule] |= follow[number]
        return masks

    def _reads(self, pairs: dict[tuple[int, int], int]) -> list[int]:
        direct: list[int] = []
        reads: list[list[int]] = []
        for state, symbol in pairs:
            target = self.transitions[state][symbol]
            moves = self.transitions[target]
            mask = sum(1 << token for token in moves if token < self.first_nonterminal)
            if state == 0 and symbol == self.rules[0].side[0]:
                mask |= 1 << END
            direct.append(mask)
            reads.append([pairs[target, s] for s in moves if s in self.nullable])
        if _has_cycle(reads):
            raise NotLalr
        _close(direct, reads)
        return direct

    def _includes(
        self, pairs: dict[tuple[int, int], int]
    ) -> tuple[list[list[int]], list[tuple[int, tuple[int, int]]]]:
        includes: list[list[int]] = [[] for _ in pairs]
        lookback: list[tuple[int, tuple[int, int]]] = []
        for state, closure in enumerate(self.closures):
            for item in closure:
                rule = self.rules[self.rule_of[item]]
                number = pairs.get((state, rule.origin))
                if number is None:
                    continue
                at, end = state, item
                tail: list[tuple[int, int]] = []
                while self.next[end] >= 0:
                    tail.append((at, self.next[end]))
                    at = self.transitions[at][self.next[end]]
                    end += 1
                for pair in reversed(tail):
                    if pair in pairs:
                        includes[pairs[pair]].append(number)
                    if pair[1] not in self.nullable:
                        break
                if item in self.begins[rule.origin]:
                    lookback.append((number, (at, self.rule_of[item])))
        return includes, lookback


def _close(masks: list[int], edges: list[list[int]]) -> None:
    """Adds to each mask those that its edges lead to, until nothing changes."""
    sources: list[list[int]] = [[] for _ in masks]
    for source, targets in enumerate(edges):
        for target in targets:
            sources[target].append(source)
    todo = set(range(len(masks)))
    while todo:
        target = todo.pop()
        mask = masks[target]
        for source in sources[target]:
            if masks[source] | mask != masks[source]:
                masks[source] |= mask
                todo.add(source)


def _has_cycle(edges: list[list[int]]) -> bool:
    """Says whether a path leads from one place over another one back to it."""
    num_open = [len(set(targets) - {source}) for source, targets in enumerate(edges)]
    sources: list[list[int]] = [[] for _ in edges]
    for source, targets in enumerate(edges):
        for target in set(targets) - {source}:
            sources[target].append(source)
    done = [place for place, count in enumerate(num_open) if not count]
    for place in done:  # grows while it is walked
        for source in sources[place]:
            num_open[source] -= 1
            if not num_open[source]:
                done.append(source)
    return len(done) < len(edges)
