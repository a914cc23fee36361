"""How late a constraint refuses: which prefixes that it lets through have a completion, by bounded search."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lmppl.constraints.functions.remembered_answers import CheckTimedOut
from lmppl.constraints.protocol import Constraint, State
from lmppl.errors import ConstraintError

_MOST_CALLS = (60_000, 6_000)  # of `advance`: in all searches together, and of one kind in one search
_MOST_CALLS_OF_OTHERS = (6_000, 1_000)  # where no exactness is claimed, and a user's function may be asked
_MOST_CALLS_THAT_TAKE_LONG = (300, 300)
_MOST_TAILS = 40


@dataclass(frozen=True)
class Lateness:
    """How many bytes are let through from the first mistake on, after which no text is accepted any more.

    Attributes:
        at_least: By prefixes for which the search for a completion ended without one.
        at_most: By prefixes for which a completion is known.
        text: The prefix with the greatest `at_most`.
        dead: The shortest prefix that was let through and is known to have no completion.
    """

    at_least: int = 0
    at_most: int = 0
    text: bytes = b""
    dead: bytes | None = None


def lateness_of(constraint: Constraint, texts: Iterable[bytes], accepted: Sequence[bytes]) -> Lateness:
    """Gives the greatest lateness on texts; those that are accepted have none.

    Args:
        constraint: Asked about single bytes and about ends of accepted strings.
        texts: Strings in the language and outside.
        accepted: Strings in the language. Their bytes and ends are tried first.
    """
    completions = Completions.of(constraint, accepted)
    order = list(dict.fromkeys(texts))
    random.Random(0).shuffle(order)  # if not all can be searched, then some of each kind
    worst = Lateness()
    for text in order:
        states = _let_through(constraint, text)
        at_least, at_most = _late(completions, states)
        dead = text[: len(states) - at_least] if at_least else None
        shortest = min((each for each in (worst.dead, dead) if each is not None), key=len, default=None)
        worst = Lateness(
            max(worst.at_least, at_least),
            max(worst.at_most, at_most),
            text[: len(states) - 1] if at_most > worst.at_most else worst.text,
            shortest,
        )
    return worst


def _let_through(constraint: Constraint, text: bytes) -> list[State]:
    """Gives the states of all prefixes that are let through, the empty one first."""
    states = [constraint.initial()]
    for byte in text:
        after = constraint.advance(states[-1], bytes((byte,)))
        if after is None:
            break
        states.append(after)
    return states


def _late(completions: Completions, states: list[State]) -> tuple[int, int]:
    """Gives how many of the last states have no completion, and of how many none is known."""
    at_least = 0
    for late, state in enumerate(reversed(states)):
        has_one = completions.has_one(state)
        if has_one:
            completions.known.update(states[: len(states) - late])
            return at_least, late
        if has_one is False:
            at_least = late + 1
    return at_least, len(states)


@dataclass
class Completions:
    """What is known of states: which can be completed, and which cannot.

    Attributes:
        constraint: Whose states they are.
        tails: Ends of accepted strings.
        alphabet: All bytes, those of accepted strings first.
        num_own: How many these are.
        calls_left: Of `advance`.
        most_calls: Of `advance` in one search.
        known: States with a completion.
        dead: States without one: every state that they lead to was met, and none is accepting.
        open: States whose search was given up.
    """

    constraint: Constraint
    tails: list[bytes]
    alphabet: list[bytes]
    num_own: int
    calls_left: int
    most_calls: int
    known: set[State] = field(default_factory=set)
    dead: set[State] = field(default_factory=set)
    open: set[State] = field(default_factory=set)

    @staticmethod
    def of(constraint: Constraint, accepted: Sequence[bytes]) -> Completions:
        """Begins with the states of accepted strings, which can be completed."""
        own = dict.fromkeys(byte for string in accepted for byte in string)
        tails = dict.fromkeys(string[i:] for string in accepted for i in range(len(string)))
        most = _MOST_CALLS if constraint.viable_is_exact else _MOST_CALLS_OF_OTHERS
        most = _MOST_CALLS_THAT_TAKE_LONG if constraint.takes_long else most
        completions = Completions(
            constraint,
            sorted(tails, key=len)[:_MOST_TAILS],
            [bytes((byte,)) for byte in dict.fromkeys([*own, *range(256)])],
            len(own),
            *most,
        )
        for string in accepted:
            completions.known.update(_let_through(constraint, string))
        return completions

    def has_one(self, state: State) -> bool | None:
        """Says whether a completion exists; None where the search is given up."""
        if state in self.known:
            return True
        if state in self.dead:
            return False
        if state in self.open:
            return None
        try:
            found = self.constraint.accepts(state) or self._has_a_tail(state) or self._search(state)
        except (ConstraintError, CheckTimedOut):  # too much to be followed
            found = None
        (self.known if found else self.open if found is None else self.dead).add(state)
        return found

    def _has_a_tail(self, state: State) -> bool:
        for tail in self.tails:
            if self.calls_left <= 0:
                return False
            self.calls_left -= 1
            after = self.constraint.advance(state, tail)
            if after is not None and (after in self.known or self.constraint.accepts(after)):
                return True
        return False

    def _search(self, state: State) -> bool | None:
        """Breadth first: by the bytes of accepted strings, and if these lead nowhere by all."""
        found = self._reaches_an_end(state, self.alphabet[: self.num_own])
        return self._reaches_an_end(state, self.alphabet) if found is False else found

    def _reaches_an_end(self, state: State, alphabet: list[bytes]) -> bool | None:
        most = min(self.calls_left, self.most_calls)
        seen, todo = {state}, deque([state])
        while todo:
            at = todo.popleft()
            if most < len(alphabet):
                return None
            most -= len(alphabet)
            self.calls_left -= len(alphabet)
            for byte in alphabet:
                after = self.constraint.advance(at, byte)
                if after is None or after in seen or after in self.dead:
                    continue
                if after in self.known or self.constraint.accepts(after):
                    return True
                seen.add(after)
                todo.append(after)
        return False
