"""What `re.match` finds at the beginning of a text, byte by byte: the ends of matches as they are met.

`re` looks ahead without bound: whether it takes a match that ends here depends on whether one that it
likes better comes later. So a state keeps a list of **slots**, one for each match that has been met and
may be the one, best first; whoever follows the automaton keeps for each what comes of ending there.
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from lmppl.constraints.character_automaton import TooLarge
from lmppl.constraints.character_sets import case_variants
from lmppl.constraints.grammars.match_program import Program, Step
from lmppl.constraints.grammars.match_threads import (
    NO_CONDITIONS,
    SURE,
    Condition,
    Past,
    Thread,
    Threads,
)
from lmppl.constraints.transition_tables import DEAD, canonical
from lmppl.constraints.utf8_encoding import byte_rows
from lmppl.errors import ConstraintError

NEW = -1
MAX_STATES = 5_000
MAX_THREADS = 500_000  # over all states: some seconds


class Label(NamedTuple):
    """What entering a state says.

    Attributes:
        slots: For each slot, the one before this character that it was, or NEW for a match that ends
            here. None within a character: all slots stay as they are.
        certain: Whether the last slot is a match in any case, so that there is one.
        end: The slot that is found if the text ends here, or -1.
    """

    slots: tuple[int, ...] | None
    certain: bool
    end: int


class MatchAutomaton:
    """The states of one pattern; 0 is the start.

    Attributes:
        flat: The next state of `state` is at `256 * state + byte`, -1 if nothing is found that way.
        labels: By state.
        settled: By state, whether nothing but its only slot can be found any more. It has no next one.
        runs: By state, whether more matches may be met.
    """

    def __init__(self, table: np.ndarray, labels: list[Label]):
        self.flat = np.ascontiguousarray(table, np.int32).reshape(-1).data
        self.labels = labels
        self.settled = [
            label.certain and label.slots is not None and len(label.slots) == 1 and not goes_on
            for label, goes_on in zip(labels, (table != DEAD).any(1).tolist(), strict=True)
        ]
        self.runs = _running(table, labels).tolist()
        self._representatives: dict[int, list[int]] = {}
        self._endings: dict[int, bytes | None] = {}

    @property
    def has_conditions(self) -> bool:
        """Whether a match may depend on what follows it, by look-ahead."""
        return any(label.slots and not (label.certain and len(label.slots) == 1) for label in self.labels)

    @cached_property
    def shortest(self) -> bytes:
        """A shortest text with a match that ends with it; empty if there is none."""
        return self.ending(0) or b""

    def ending(self, state: int) -> bytes | None:
        """Gives a shortest text after which a match ends that has come to a state; None if there is none."""
        if state not in self._endings:
            self._endings[state] = self._ending(state)
        return self._endings[state]

    def _ending(self, start: int) -> bytes | None:
        seen = {start}
        todo = [(start, b"")]
        for state, data in todo:  # grows while it is walked
            for byte in self.representatives(state):
                after = self.flat[256 * state + byte]
                if NEW in (self.labels[after].slots or ()):
                    return data + bytes((byte,))
                if after not in seen:
                    seen.add(after)
                    todo.append((after, data + bytes((byte,))))
        return None

    def representatives(self, state: int) -> list[int]:
        """Gives one byte for each next state."""
        if state not in self._representatives:
            row = np.array(self.flat[256 * state : 256 * state + 256])
            targets, first = np.unique(row, return_index=True)
            self._representatives[state] = first[targets != DEAD].tolist()
        return self._representatives[state]

    def find(self, data: bytes) -> int | None:
        """Gives the length of the match at the beginning of a whole text, None if there is none."""
        slots: list[int] = []
        state = 0
        for position, byte in enumerate(data, 1):
            state = self.flat[256 * state + byte]
            if state == DEAD:
                return None
            label = self.labels[state]
            if label.slots is not None:
                slots = [position if slot == NEW else slots[slot] for slot in label.slots]
            if self.settled[state]:
                return slots[0]
        end = self.labels[state].end
        return slots[end] if end >= 0 else None


@lru_cache(4096)
def match_automaton(pattern: str) -> MatchAutomaton:
    """Makes the automaton of a pattern in the syntax of `re`, look-around included.

    Matches of the empty string are left out.

    Raises:
        ConstraintError: It is no pattern, needs what stands before it, is too large, or has
            back-references or what else is not supported.
    """
    try:
        return _Construction(Program(pattern)).automaton()
    except TooLarge as error:
        raise _too_large(pattern) from error
    except RecursionError as error:
        raise ConstraintError(
            f"The pattern {pattern[:60]!r} is nested too deeply. Use fewer groups."
        ) from error


@lru_cache(4096)
def word_automaton(word: str, ignore_case: bool) -> MatchAutomaton:
    """Makes the automaton of a literal string, without the cost of a pattern."""
    rows = [np.full(256, DEAD, np.int32)]
    at = 0
    for character in word:
        spellings = [character.encode()]
        if ignore_case:
            numbers = (n for span in case_variants(character, re.IGNORECASE) for n in range(*span))
            spellings = [chr(n if n < 0xD800 else n + 0x800).encode() for n in numbers]
        after = len(rows)
        rows.append(np.full(256, DEAD, np.int32))
        for spelling in spellings:
            state = at
            for byte in spelling[:-1]:
                if rows[state][byte] == DEAD:
                    rows[state][byte] = len(rows)
                    rows.append(np.full(256, DEAD, np.int32))
                state = rows[state][byte]
            rows[state][spelling[-1]] = after
        at = after
    labels = [Label((), False, -1)] * len(rows)
    labels[at] = Label((NEW,), True, 0)
    return MatchAutomaton(np.stack(rows), labels)


class _State(NamedTuple):
    """Threads in order of preference, the last characters, and the slots of the matches among them."""

    threads: tuple[Thread, ...]
    past: Past
    slots: tuple[int, ...]


class _Construction:
    """The subset construction, with subsets that are ordered."""

    def __init__(self, program: Program):
        self.program = program
        self.code = program.instructions
        self.threads = Threads(program)
        self.work = 0

    def automaton(self) -> MatchAutomaton:
        states, table = self._explored()
        labels = [self._label(state) for state in states]
        table, labels = _smallest(_trimmed(table, labels), labels)
        rows = byte_rows(self.program.partition, table)  # where equal states within characters are one
        labels += [Label(None, False, -1)] * (len(rows) - len(labels))
        return MatchAutomaton(rows, labels)

    def _explored(self) -> tuple[list[_State], np.ndarray]:
        begin = Thread(self.program.begin, NO_CONDITIONS)
        threads = [thread for thread in self.closed(begin, (), set()) if thread.place]
        first = _State(tuple(threads), (), ())
        numbers = {first: 0}
        states = [first]
        rows: list[list[int]] = []
        for state in states:  # grows while it is walked
            row = []
            for symbol in range(self.program.partition.num_classes):
                target = self.after(state, symbol)
                if target is not None and target not in numbers:
                    numbers[target] = len(states)
                    states.append(target)
                row.append(DEAD if target is None else numbers[target])
            rows.append(row)
            self.work += len(state.threads) * len(row)
            if len(states) > MAX_STATES or self.work > MAX_THREADS:
                raise _too_large(self.program.pattern)
        return states, np.array(rows, np.int32)

    def after(self, state: _State, symbol: int) -> _State | None:
        past = self.threads.past_after(state.past, symbol)
        threads: list[Thread] = []
        slots: list[int] = []
        seen: set[Thread] = set()
        kept: dict[int, list[frozenset[Condition]]] = {}
        slot = -1
        for place, conditions in state.threads:
            slot += place == 0
            left = self.threads.conditions_after(conditions, symbol, past)
            if left is None:
                continue
            if place == 0:
                new = [Thread(0, left)]
            else:
                step = self.code[place]
                assert isinstance(step, Step)
                is_read = step.classes >> symbol & 1
                new = self.closed(Thread(step.after, left), past, seen) if is_read else []
            for thread in new:
                better = kept.setdefault(thread.place, [])
                if any(conditions <= thread.conditions for conditions in better):
                    continue  # where this one is good, a better one is
                better.append(thread.conditions)
                threads.append(thread)
                if thread.place == 0:
                    slots.append(slot if place == 0 else NEW)
            if threads and threads[-1] == SURE:
                break
        if not threads:
            return None
        looks_on = any(thread != SURE for thread in threads)
        return _State(tuple(threads), past if looks_on else (), tuple(slots))

    def closed(self, thread: Thread, past: Past, seen: set[Thread]) -> list[Thread]:
        """Follows choices and assertions in order; what comes after a sure match is dropped."""
        found: list[Thread] = []
        todo = [thread]
        while todo:
            thread = todo.pop()
            if thread in seen:
                continue
            if thread.place:
                seen.add(thread)
            following = self.threads.next(thread, past)
            if following is None:
                found.append(thread)
                if thread == SURE:
                    break
            else:
                todo.extend(reversed(following))
        return found

    def _label(self, state: _State) -> Label:
        matches = [conditions for place, conditions in state.threads if place == 0]
        at_end = [i for i, conditions in enumerate(matches) if self.threads.hold_at_end(conditions)]
        return Label(state.slots, bool(matches) and not matches[-1], at_end[0] if at_end else -1)


def _too_large(pattern: str) -> ConstraintError:
    return ConstraintError(
        f"The pattern {pattern[:60]!r} needs too large an automaton. Write smaller bounds or `*`."
    )


def _trimmed(table: np.ndarray, labels: list[Label]) -> np.ndarray:
    """Drops ways to states from which nothing can be found, and all ways out of settled ones."""
    useful = np.array([bool(label.slots) for label in labels])
    runs = _running(table, labels)
    settled = np.array([label.certain and len(label.slots or ()) == 1 for label in labels]) & ~runs
    trimmed = np.where((table != DEAD) & (useful | runs)[table], table, DEAD)
    trimmed[settled] = DEAD
    return trimmed.astype(np.int32)


def _running(table: np.ndarray, labels: list[Label]) -> np.ndarray:
    """Gives the states from which a match can be met that is not there yet."""
    brings = np.array([NEW in (label.slots or ()) for label in labels])
    runs = np.zeros(len(labels), bool)
    while True:
        reached = np.any(np.where(table == DEAD, False, (brings | runs)[table]), axis=1)
        if np.array_equal(reached, runs):
            return runs
        runs = reached


def _smallest(rows: np.ndarray, labels: list[Label]) -> tuple[np.ndarray, list[Label]]:
    """Merges states that nothing tells apart: a label is one more symbol, with a sink behind it."""
    num_symbols = rows.shape[1]
    kinds = {label: kind for kind, label in enumerate(dict.fromkeys(labels))}
    table = np.full((len(rows) + 1, num_symbols + len(kinds)), DEAD, np.int32)
    table[:-1, :num_symbols] = rows
    table[np.arange(len(rows)), [num_symbols + kinds[label] for label in labels]] = len(rows)
    ends = np.zeros(len(table), bool)
    ends[-1] = True
    small, ends = canonical(table, 0, ends)
    keep = np.flatnonzero(~ends)
    number = np.full(len(small) + 1, DEAD, np.int32)
    number[keep] = np.arange(len(keep))
    kind_of = (small[keep, num_symbols:] != DEAD).argmax(1).tolist()
    by_kind = list(kinds)
    return number[small[keep, :num_symbols]], [by_kind[kind] for kind in kind_of]
