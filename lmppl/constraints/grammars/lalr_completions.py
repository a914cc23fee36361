"""Which stacks of an LALR parser can be completed, where the table alone does not say.

A parser whose conflicts were resolved may stand where everything that it could still be given is refused.
Stacks are too many to look at, so completions are summed up, as reachability in pushdown systems is
(Bouajjani, Esparza & Maler 1997, CONCUR): for a state, what has become of the parser when that state
leaves the stack. Then a rule is being applied, before a token that is read and not shifted yet.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from lmppl.constraints.grammars.lalr_stacks import LalrParser, Stack
from lmppl.constraints.grammars.lalr_tables import END
from lmppl.constraints.stored_compilations import StoredParts

MAX_ANSWERS = 200_000


class Popped(NamedTuple):
    """A rule under way: its nonterminal, and how many more states it takes off the stack."""

    name: int
    more: int


Outcomes = dict[Popped, int]
"""What may become of the parser, each with the bits of the tokens that it may have read."""

_ACCEPTED = Popped(-1, 0)


@dataclass(eq=False)
class Question:
    """What becomes of a state that is on top of the stack.

    Attributes:
        state: Of the parser.
        shifted: The question about the state that it has just shifted to; None if it has not.
        rule: The nonterminal of an empty rule that it applies, and the bit of the token before which it
            does so. Without both, no token is read yet.
        outcomes: As far as they are known.
        readers: Whose outcomes depend on these.
    """

    state: int
    shifted: Question | None = None
    rule: tuple[int, int] | None = None
    outcomes: Outcomes | None = None
    readers: dict[Question, None] = field(default_factory=dict)


class _Actions(NamedTuple):
    """What a state does, by the bits of the tokens before which it does so."""

    shifts: list[tuple[int, Question]]
    reductions: list[tuple[int, Popped]]
    empty: list[tuple[int, Question]]


class KeptAnswers:
    """Answers that an earlier process has kept.

    Args:
        parts: Of the grammar; all that the answers depend on.
        name: What completions these are.
    """

    def __init__(self, parts: StoredParts, name: str):
        self._parts = parts
        self._name = name
        self._found: dict[tuple, tuple[int, ...]] = parts.found(name) or {}

    def given(self, question: Question) -> Question:
        """Gives a question with its answer, if that is known."""
        found = self._found.get(_key(question))
        if found is not None and question.outcomes is None:
            parts = zip(found[::3], found[1::3], found[2::3], strict=True)
            question.outcomes = {Popped(name, more): tokens for name, more, tokens in parts}
        return question

    def keep(self, seconds: float, questions: Callable[[], Iterable[Question]]) -> None:
        """Keeps all answers, once it took long enough to find them.

        Args:
            seconds: What it took since this was called before.
            questions: Gives those that are answered, with whatever they lead to.
        """
        self._parts.spend(seconds)
        if self._parts.are_worth_keeping:
            answered = ((_key(each), each.outcomes) for each in questions() if each.outcomes is not None)
            found = {key: _flat(outcomes) for key, outcomes in answered}
            self._parts.add(self._name, {**self._found, **found})
            self._parts.keep()


def _flat(outcomes: Outcomes) -> tuple[int, ...]:
    return tuple(chain.from_iterable((*popped, tokens) for popped, tokens in outcomes.items()))


def _key(question: Question) -> tuple:
    shifted = -1 if question.shifted is None else question.shifted.state
    return question.state, shifted, *(question.rule or ())


class Completions:
    """What can be completed, for one parser. Questions are answered once, when they come up.

    Args:
        parser: Its stacks are asked about.
        written: Gives the tokens that can be written in a state, as bits; with END if the text can end there.
        kept: Answers for the same parser and tokens.
    """

    def __init__(self, parser: LalrParser, written: Callable[[int], int], kept: KeptAnswers | None = None):
        self._kept = kept
        self._parser = parser
        self._table = parser.table
        self._written = written
        self._actions: dict[int, _Actions] = {}
        self._rules: dict[int, list[tuple[int, Popped]]] = {}
        self._on_top: dict[int, Question] = {}
        self._open: dict[Question, None] = {}
        self._asking: Question | None = None
        self._answers: dict[tuple[Stack, int], bool] = {}
        self._finals: dict[tuple[int, int], Outcomes] = {}

    def exist(self, stack: Stack, first: int | None = None) -> bool:
        """Says whether some tokens, written one after the other, complete what a stack has read.

        Args:
            stack: Right after a token, or the initial one.
            first: What may come first, as bits; None for what can be written.
        """
        if len(self._answers) >= MAX_ANSWERS:
            self._answers.clear()
        if first is None:
            outcomes = self._answer(self._question(stack.state))
        else:
            outcomes = self._final(stack.state, first)
        todo: list[tuple[Stack, Outcomes, _Path | None]] = [(stack, outcomes, None)]
        visited: list[tuple[Stack, int]] = []
        while todo:
            above, outcomes, path = todo.pop()
            for popped, tokens in outcomes.items():
                if popped == _ACCEPTED:
                    self._note(visited, path)
                    return True
                key = (self._applied(above, popped), tokens)
                if key not in self._answers:
                    self._answers[key] = False
                    visited.append(key)
                    todo.append((key[0], self._final(key[0].state, tokens), _Path(key, path)))
                elif self._answers[key]:
                    self._note(visited, path)
                    return True
        return False

    def _note(self, visited: list[tuple[Stack, int]], path: _Path | None) -> None:
        """Remembers the way to a completion; what else was visited on the search stays open."""
        for key in visited:
            del self._answers[key]
        while path is not None:
            self._answers[path.key] = True
            path = path.before

    def _applied(self, stack: Stack, popped: Popped) -> Stack:
        for _ in range(popped.more + 1):
            assert stack.below is not None
            stack = stack.below
        return self._parser.pushed(self._table.gotos[stack.state][popped.name], stack)

    def _final(self, state: int, tokens: int) -> Outcomes:
        """Gives what becomes of a state on top of the stack when one of some tokens is read.

        No question is being answered when this is asked, so that what it gives stays as it is.
        """
        key = state, tokens
        if key not in self._finals:
            if len(self._finals) >= MAX_ANSWERS:
                self._finals.clear()
            self._finals[key] = self._after_rule(state, tokens)
        return self._finals[key]

    def _after_rule(self, state: int, tokens: int) -> Outcomes:
        """Gives what becomes of the state that a rule leads to, when one of some tokens is read."""
        outcomes: Outcomes = defaultdict(int)
        if state == self._table.end and tokens >> END & 1:
            outcomes[_ACCEPTED] = 1
        self._act(state, tokens, outcomes)
        return outcomes

    def _question(self, state: int) -> Question:
        if state not in self._on_top:
            self._on_top[state] = self._given(Question(state))
        return self._on_top[state]

    def _given(self, question: Question) -> Question:
        return question if self._kept is None else self._kept.given(question)

    def _answer(self, question: Question) -> Outcomes:
        """Gives the outcomes as far as they are known, and all of them if no other question is asked."""
        if question.outcomes is None:
            question.outcomes = {}
            self._open[question] = None
        if self._asking is None:
            self._solve()
        else:
            question.readers[self._asking] = None
        return question.outcomes

    def _solve(self) -> None:
        """Answers open questions anew until nothing changes: outcomes only become more."""
        if not self._open:
            return
        started = time.perf_counter()
        while self._open:
            question = next(iter(self._open))
            del self._open[question]
            self._asking = question
            try:
                outcomes = self._evaluated(question)
            except BaseException:  # an interrupt: what is asked next goes on from here
                self._open[question] = None
                raise
            finally:
                self._asking = None
            if outcomes != question.outcomes:
                question.outcomes = outcomes
                self._open.update(question.readers)
        if self._kept is not None:
            self._kept.keep(time.perf_counter() - started, self._questions)

    def _questions(self) -> Iterator[Question]:
        yield from self._on_top.values()
        for shifts, _, empty in self._actions.values():
            for _, question in (*shifts, *empty):
                yield question

    def _evaluated(self, question: Question) -> Outcomes:
        outcomes: Outcomes = defaultdict(int)
        if question.shifted is not None:
            self._resume(question.state, self._answer(question.shifted), outcomes)
        elif question.rule is not None:
            name, token = question.rule
            self._resume(question.state, {Popped(name, 0): token}, outcomes)
        else:
            self._act(question.state, self._written(question.state), outcomes)
        return dict(outcomes)

    def _act(self, state: int, tokens: int, outcomes: Outcomes) -> None:
        """Adds what becomes of a state on top of the stack when one of some tokens is read."""
        shifts, reductions, empty = self._actions.get(state) or self._actions_of(state)
        for before, popped in reductions:
            if tokens & before:
                outcomes[popped] |= tokens & before
        for before, question in (*shifts, *empty):
            if tokens & before:
                for popped, read in self._answer(question).items():
                    outcomes[popped] |= read

    def _resume(self, state: int, left: Outcomes, outcomes: Outcomes) -> None:
        """Adds what becomes of a state when what was above it has left the stack."""
        done: dict[int, int] = defaultdict(int)
        pending: dict[int, int] = defaultdict(int)  # in order, so that tokens gather before their turn
        while True:
            for (name, more), tokens in left.items():
                if name < 0:
                    outcomes[_ACCEPTED] = 1
                elif more:
                    outcomes[Popped(name, more - 1)] |= tokens
                elif tokens & ~done[name]:
                    pending[name] |= tokens & ~done[name]
            if not pending:
                return
            name = next(iter(pending))
            tokens = pending.pop(name)
            done[name] |= tokens
            left = self._after_rule(self._table.gotos[state][name], tokens)

    def _actions_of(self, state: int) -> _Actions:
        shifts: dict[int, int] = defaultdict(int)
        for token, target in self._table.shifts[state].items():
            shifts[target] |= 1 << token
        reductions = self._table.reductions[state]
        self._actions[state] = _Actions(
            [(bits, self._given(Question(state, self._question(target)))) for target, bits in shifts.items()],
            self._popped(reductions),
            [
                (1 << token, self._given(Question(state, rule=(name, 1 << token))))
                for token, (name, length) in reductions.items()
                if not length
            ],
        )
        return self._actions[state]

    def _popped(self, reductions: dict[int, tuple[int, int]]) -> list[tuple[int, Popped]]:
        """Gives the rules that are not empty, by the bits of the tokens; many states share a table."""
        if id(reductions) not in self._rules:
            found: dict[Popped, int] = defaultdict(int)
            for token, (name, length) in reductions.items():
                if length:
                    found[Popped(name, length - 1)] |= 1 << token
            self._rules[id(reductions)] = [(bits, popped) for popped, bits in found.items()]
        return self._rules[id(reductions)]


class _Path(NamedTuple):
    """A stack that was asked about, and how it was come to."""

    key: tuple[Stack, int]
    before: _Path | None
