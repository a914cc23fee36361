"""From a pattern to the automaton of what `re` finds first: a subset construction with ordered subsets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lmppl.constraints.grammars.listed_words import words_automaton, words_of
from lmppl.constraints.grammars.match_automata import MAX_STATES, NEW, Label, MatchAutomaton, running
from lmppl.constraints.grammars.match_program import Program, Step
from lmppl.constraints.grammars.match_threads import (
    NO_CONDITIONS,
    NOTHING_KNOWN,
    SURE,
    Condition,
    LooksBefore,
    Past,
    Thread,
    Threads,
)
from lmppl.constraints.grammars.preceding_texts import Word
from lmppl.constraints.regular.back_references import parsed
from lmppl.constraints.regular.character_automaton import TooLarge
from lmppl.constraints.regular.regex_syntax import Node
from lmppl.constraints.regular.transition_tables import DEAD, canonical
from lmppl.constraints.regular.utf8_encoding import byte_rows
from lmppl.errors import ConstraintError

MAX_THREADS = 500_000  # over all states: some seconds


@lru_cache(4096)
def match_automaton(
    pattern: str, before: str | None = None, flags: int = 0, by_regex: bool = False
) -> MatchAutomaton:
    """Makes the automaton of a pattern in the syntax of `re`, look-around included.

    Matches of the empty string are left out.

    Args:
        pattern: As it is written.
        before: The text that stands before the match, empty if it begins there. None if that is not known.
        flags: Of `re`.
        by_regex: Whether the package `regex` says what it matches, instead of `re`.

    Raises:
        LooksBefore: It needs to know more of what stands before it.
        ConstraintError: It is no pattern, is too large, or has back-references to groups of many texts or
            what else is not supported.
    """
    try:
        tree = parsed(pattern, flags, True, by_regex)
        words = words_of(tree)
        return ordered_subsets(pattern, tree, before) if words is None else words_automaton(words)
    except TooLarge as error:
        raise _too_large(pattern) from error
    except RecursionError as error:
        raise ConstraintError(
            f"The pattern {pattern[:60]!r} is nested too deeply. Use fewer groups."
        ) from error


@lru_cache(4096)
def looked_at_before(pattern: str, flags: int = 0, by_regex: bool = False) -> tuple[Word, ...]:
    """Gives words: what a pattern matches depends on which of them the text before it may come to end with.

    There are none if what stands before it does not matter.

    Args:
        pattern: As of `match_automaton`, with the other arguments.
        flags: Of `re`.
        by_regex: Whether the package `regex` says what it matches.

    Raises:
        ConstraintError: As of `match_automaton`.
    """
    try:
        match_automaton(pattern, None, flags, by_regex)  # as a terminal asks for it
    except LooksBefore:
        return Program(pattern, parsed(pattern, flags, True, by_regex)).looked_at
    return ()


def ordered_subsets(pattern: str, tree: Node, before: str | None = None) -> MatchAutomaton:
    """Makes the automaton of any pattern.

    Args:
        pattern: As it is written.
        tree: What it means.
        before: What stands before it: see `match_automaton`.
    """
    return _Construction(Program(pattern, tree), before).automaton()


class _State(NamedTuple):
    """Threads in order of preference, what stands before them, and the slots of the matches among them."""

    threads: tuple[Thread, ...]
    past: Past
    slots: tuple[int, ...]


class _Construction:
    """The subset construction, with subsets that are ordered."""

    def __init__(self, program: Program, before: str | None):
        self.program = program
        self.code = program.instructions
        self.threads = Threads(program, before)
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
        past = self.threads.initial_past
        threads = [thread for thread in self.closed(begin, past, set()) if thread.place]
        first = _State(tuple(threads), past, ())
        numbers = {first: 0}
        states = [first]
        rows: list[list[int]] = []
        for state in states:  # grows while it is walked
            row = [DEAD] * self.program.partition.num_classes
            for symbols, threads in self.readers(state):
                target = self.after(state, symbols[0], threads)
                self.work += 1 + len(threads) + (len(target.threads) if target else 0)
                if target is not None:
                    if target not in numbers:
                        numbers[target] = len(states)
                        states.append(target)
                    for symbol in symbols:
                        row[symbol] = numbers[target]
                if len(states) > MAX_STATES or self.work > MAX_THREADS:
                    raise _too_large(self.program.pattern)
            rows.append(row)
        return states, np.array(rows, np.int32)

    def readers(self, state: _State) -> Iterator[tuple[Sequence[int], Sequence[Thread]]]:
        """Gives classes of characters that lead on alike, with the threads that stay or read them."""
        if any(conditions for _, conditions in state.threads):
            for symbols in self.threads.alike(state.threads):
                yield symbols, state.threads
            return
        reading: dict[int, list[Thread]] = {}
        found: list[Thread] = []
        for thread in state.threads:
            if thread.place == 0:
                found.append(thread)
                for threads in reading.values():
                    threads.append(thread)
            else:
                for symbol in self.threads.symbols(thread.place):
                    reading.setdefault(symbol, [*found]).append(thread)
        for symbol, threads in reading.items():
            yield (symbol,), threads
        if found:
            others: dict[Past, list[int]] = {}
            for symbol in range(self.program.partition.num_classes):
                if symbol not in reading:
                    others.setdefault(self.threads.past_after(state.past, symbol), []).append(symbol)
            for symbols in others.values():
                yield symbols, found

    def after(self, state: _State, symbol: int, reading: Sequence[Thread]) -> _State | None:
        """Gives the state after a character of a class.

        Args:
            state: Before it.
            symbol: The class.
            reading: Those of its threads that read it, and all that have come to a match.
        """
        past = self.threads.past_after(state.past, symbol)
        threads: list[Thread] = []
        slots: list[int] = []
        seen: set[Thread] = set()
        kept: dict[int, list[frozenset[Condition]]] = {}
        slot = -1
        for place, conditions in reading:
            slot += place == 0
            left = conditions and self.threads.conditions_after(conditions, symbol, past)
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
        return _State(tuple(threads), past if looks_on else NOTHING_KNOWN, tuple(slots))

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
    runs = running(table, labels)
    settled = np.array([label.certain and len(label.slots or ()) == 1 for label in labels]) & ~runs
    trimmed = np.where((table != DEAD) & (useful | runs)[table], table, DEAD)
    trimmed[settled] = DEAD
    return trimmed.astype(np.int32)


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
