"""Threads of a match program: places in it, and what the text from here on must and must not be.

A look-ahead is followed by threads of its own, beside the match that it stands in. They may come to
look-aheads in turn, so a condition of a thread is a set of threads again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from lmppl.constraints.grammars.match_program import Ahead, Behind, Choice, Program, Step
from lmppl.constraints.grammars.numbered_rules import bits
from lmppl.constraints.grammars.preceding_texts import NOTHING_BEGUN, Begun, WordsBehind
from lmppl.errors import ConstraintError

MAX_LOOKED = 500_000  # steps of look-aheads: some seconds


class Past(NamedTuple):
    """What stands before a place, as far as the program looks behind it.

    Attributes:
        begun: The words that it looks for there, as far as they have begun.
        known: How many of the characters are known, those before the start of the text included; at most as
            many as it looks at.
    """

    begun: Begun
    known: int


NOTHING_KNOWN = Past(NOTHING_BEGUN, 0)


class LooksBefore(ConstraintError):
    """What a pattern matches depends on more of what stands before it than is known."""


class Thread(NamedTuple):
    """One way to have read the text. All of its conditions have to come true.

    Attributes:
        place: In the program, 0 for a match.
        conditions: None that is settled.
    """

    place: int
    conditions: frozenset[Condition]


class Condition(NamedTuple):
    """That one of some threads comes to a match, or that none does. It is settled if there are none."""

    negative: bool
    threads: frozenset[Thread]


NO_CONDITIONS: frozenset[Condition] = frozenset()
SURE = Thread(0, NO_CONDITIONS)


class Threads:
    """How the threads of a program go on.

    Args:
        program: What they are in.
        before: What stands before the text: see `match_automaton`.

    Attributes:
        initial_past: That, as far as it matters.
    """

    def __init__(self, program: Program, before: str | None = None):
        self._program = program
        self._code = program.instructions
        self._symbols: dict[int, tuple[int, ...]] = {}
        self._context = self._contexts()
        self._behind = WordsBehind(program.looked_at, program.partition)
        self.initial_past = NOTHING_KNOWN
        if before is not None:
            self.initial_past = Past(NOTHING_BEGUN, program.look_behind)
            for character in before:
                self.initial_past = self.past_after(self.initial_past, program.partition.class_of(character))
        self._looked = 0

    def past_after(self, past: Past, symbol: int) -> Past:
        """Gives what stands before the next place."""
        known = min(past.known + 1, self._program.look_behind)
        return Past(self._behind.after(past.begun, symbol), known)

    def symbols(self, place: int) -> tuple[int, ...]:
        """Gives the classes that the step at a place reads."""
        if place not in self._symbols:
            step = self._code[place]
            assert isinstance(step, Step)
            self._symbols[place] = tuple(bits(step.classes))
        return self._symbols[place]

    def alike(self, threads: Iterable[Thread]) -> list[list[int]]:
        """Gives the classes of characters in groups that threads and their conditions do not tell apart."""
        todo = [*threads]
        places: dict[int, None] = {}
        for place, conditions in todo:  # grows while it is walked
            places[place] = None
            for _, others in conditions:
                todo += others
        read: list[list[int]] = [[context] for context in self._context]
        for place in places:
            for symbol in self.symbols(place) if place else ():
                read[symbol].append(place)
        groups: dict[tuple[int, ...], list[int]] = {}
        for symbol, by in enumerate(read):
            groups.setdefault(tuple(by), []).append(symbol)
        return list(groups.values())

    def next(self, thread: Thread, past: Past) -> Sequence[Thread] | None:
        """Gives what a thread goes on to without a character, best first; None if it has to wait for one."""
        place, conditions = thread
        match self._code[place]:
            case Choice(options):
                return [Thread(option, conditions) for option in options]
            case Behind(negative, _, _, _, after) as behind:
                return () if self._is_behind(behind, past) == negative else (Thread(after, conditions),)
            case Ahead(negative, begin, after):
                reached = self._closed([Thread(begin, NO_CONDITIONS)], past)
                left = _with(conditions, Condition(negative, reached))
                return () if left is None else (Thread(after, left),)
        return None

    def conditions_after(
        self, conditions: frozenset[Condition], symbol: int, past: Past
    ) -> frozenset[Condition] | None:
        """Gives the conditions that are still open after a character; None if one is broken.

        Args:
            conditions: Those before.
            symbol: The class of the character.
            past: With that character.
        """
        left: frozenset[Condition] | None = NO_CONDITIONS
        for negative, threads in conditions:
            reached = self._closed(self._moved(threads, symbol, past), past)
            left = _with(left, Condition(negative, reached))
            if left is None:
                return None
        return left

    def hold_at_end(self, conditions: frozenset[Condition]) -> bool:
        """Says whether all conditions come true if the text ends here."""
        return all(
            negative != any(place == 0 and self.hold_at_end(others) for place, others in threads)
            for negative, threads in conditions
        )

    def _moved(self, threads: Iterable[Thread], symbol: int, past: Past) -> Iterator[Thread]:
        for place, conditions in threads:
            after = place
            if place != 0:
                step = self._code[place]
                assert isinstance(step, Step)
                if not step.classes >> symbol & 1:
                    continue
                after = step.after
            left = self.conditions_after(conditions, symbol, past)
            if left is not None:
                yield Thread(after, left)

    def _closed(self, threads: Iterable[Thread], past: Past) -> frozenset[Thread]:
        """Gives the threads of a look-ahead that wait for a character; only SURE if it holds by now."""
        met = set(threads)
        todo = list(met)
        waiting: set[Thread] = set()
        while todo:
            thread = todo.pop()
            if thread == SURE:
                return frozenset((SURE,))
            following = self.next(thread, past)
            if following is None:
                waiting.add(thread)
            else:
                new = set(following) - met
                met |= new
                todo.extend(new)
        self._looked += len(met)
        if self._looked > MAX_LOOKED:
            raise ConstraintError(
                f"The pattern {self._program.pattern[:60]!r} has look-ahead that takes too many steps to "
                "follow. Write smaller bounds or `*` in it."
            )
        return _undominated(waiting)

    def _is_behind(self, behind: Behind, past: Past) -> bool:
        if past.known < behind.width:
            raise LooksBefore(self._program.refused("depends on what stands before it", behind.position))
        return behind.width == 0 or any((word, behind.width) in past.begun for word in behind.words)

    def _contexts(self) -> list[int]:
        """Gives each class the first one that no look-behind tells apart from it."""
        sets = {options for word in self._program.looked_at for options in word}
        looked_at = [self._program.classes(options) for options in sets]
        first: dict[tuple[int, ...], int] = {}
        return [
            first.setdefault(tuple(bits >> c & 1 for bits in looked_at), c)
            for c in range(self._program.partition.num_classes)
        ]


def _with(conditions: frozenset[Condition] | None, new: Condition) -> frozenset[Condition] | None:
    """Adds a condition, unless it is settled; None if it is broken."""
    negative, threads = new
    if conditions is None or (SURE in threads if negative else not threads):
        return None
    return conditions if SURE in threads or not threads else conditions | {new}


def _undominated(threads: set[Thread]) -> frozenset[Thread]:
    """Leaves out the threads with more conditions than another one at the same place."""
    least: dict[int, list[frozenset[Condition]]] = {}
    for place, conditions in sorted(threads, key=lambda thread: len(thread.conditions)):
        kept = least.setdefault(place, [])
        if not any(other <= conditions for other in kept):
            kept.append(conditions)
    return frozenset(Thread(place, conditions) for place, several in least.items() for conditions in several)
