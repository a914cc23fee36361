"""Texts that a lexer cuts into tokens for a parser, byte by byte: the states of `lp.lark` with a lexer.

A state is given only if it can be completed, as far as that is known. Where all that the parser wants can
be written and ended, only a refused lexeme that may not end needs a search. Elsewhere each state is judged:
it is sure, or a completion is searched for. States beside another are not judged before they are all that
is left.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Generic, Protocol

from lmppl.constraints.grammars.completion_search import CompletionSearch
from lmppl.constraints.grammars.lexed_readings import Reading, Stack, ways
from lmppl.constraints.grammars.scanner import IGNORED, Point, Scanner

MAX_STATES = 200_000
MAX_STEPS = 400_000


class TokenParser(Protocol[Stack]):
    """An incremental parser of tokens, whose stacks are values."""

    @property
    def initial(self) -> Stack:
        """The stack before the first token."""
        ...

    def after(self, stack: Stack, token: int, /) -> Stack | None:
        """Gives the stack after a token, or None if the parser refuses it."""
        ...

    def ends(self, stack: Stack, /) -> bool:
        """Says whether the text may end here."""
        ...


Moved = dict[Reading[Stack] | None, Reading[Stack] | None]


class LexedTexts(Generic[Stack]):
    """The states of one parser and its scanners.

    Args:
        parser: Of the tokens.
        scanner: Gives the scanner of a place.
        can_complete: Says whether there are tokens that complete what a stack has read; None if there
            always are.
        all_can_be_written: Whether all tokens that a stack wants can be written in any order, and ended.
        is_sure: Where that is not so: says of what is read before a lexeme, the scanner there, and the point
            in the lexeme, whether some text completes it for sure. None if that is not known of any.
    """

    def __init__(
        self,
        parser: TokenParser[Stack],
        scanner: Callable[[Stack], Scanner],
        can_complete: Callable[[Stack], bool] | None,
        all_can_be_written: bool,
        is_sure: Callable[[Stack, Scanner, Point], bool] | None = None,
    ):
        self._can_complete = can_complete
        self._is_sure = is_sure
        self._search: CompletionSearch[Stack] | None = None
        if all_can_be_written or is_sure is not None:
            self._search = CompletionSearch(self._step, self._is_settled, self._ways, ends=is_sure is None)
        self._parser = parser
        self._scanner = scanner
        self._readings: dict[tuple, Reading[Stack]] = {}
        self._steps: dict[tuple[Reading[Stack], int], Reading[Stack] | None] = {}
        self._live: dict[Stack, bool] = {}
        self._judgements: dict[Reading[Stack], bool] = {} if self._search is None else self._search.known

    @cached_property
    def initial(self) -> Reading[Stack] | None:
        """The state of the empty text, or None if nothing is in the language."""
        return self._judged(self._between(self._parser.initial))

    @property
    def is_exact(self) -> bool:
        """Whether every state that has been given so far can be completed."""
        return self._search is not None and not self._search.has_given_up

    def advance(self, reading: Reading[Stack] | None, data: bytes) -> Reading[Stack] | None:
        """Gives the state after some bytes, or None if nothing that starts so is in the language."""
        steps = self._steps
        for byte in data:
            if reading is None:
                return None
            try:
                reading = steps[reading, byte]
            except KeyError:
                if len(steps) >= MAX_STEPS:
                    steps.clear()
                before = reading
                reading = self._step(before, byte)
                if reading is not None and not self._judgements.get(reading):
                    reading = self._judged(reading)
                steps[before, byte] = reading
        return reading

    def accepts(self, reading: Reading[Stack] | None) -> bool:
        """Says whether the text so far is in the language."""
        while reading is not None and not reading.is_between:
            end = reading.point.end
            reading = reading.slots[end] if end >= 0 else None
        return reading is not None and self._parser.ends(reading.stack)

    def _step(self, reading: Reading[Stack] | None, byte: int) -> Reading[Stack] | None:
        """Moves by one byte."""
        while reading is not None:
            point = reading.scanner.after(reading.point, byte)
            if point is None:
                return None
            if max(point.slots, default=-1) < 0:
                return self._moved(reading, point, byte, {})
            if not point.settled or point.slots[0] < 0:
                return self._moved_by_parts(reading, byte)
            reading = reading.slots[point.slots[0]]
        return None

    def _moved_by_parts(self, reading: Reading[Stack], byte: int) -> Reading[Stack] | None:
        """Moves what a state has beside it first, each once and without recursion: there may be thousands."""
        done: Moved[Stack] = {None: None}
        todo = [reading]
        while todo:
            each = todo[-1]
            point = None if each in done else each.scanner.after(each.point, byte)
            if point is not None:
                slots = point.slots[:1] if point.settled else point.slots
                beside = [each.slots[slot] for slot in slots if slot >= 0]
                missing = [slot for slot in beside if slot is not None and slot not in done]
                if missing:
                    todo += missing
                    continue
                done[each] = self._moved(each, point, byte, done)
            else:
                done.setdefault(each, None)
            todo.pop()
        return done[reading]

    def _moved(
        self, reading: Reading[Stack], point: Point, byte: int, done: Moved[Stack]
    ) -> Reading[Stack] | None:
        """Gives the state at the next point, when what is beside has been moved."""
        stack = self._within(reading.stack, byte)
        slots = [
            done[reading.slots[slot]] if slot >= 0 else self._cut(stack, ~slot)
            for slot in (point.slots[:1] if point.settled else point.slots)
        ]
        return slots[0] if point.settled else self._made(stack, reading.scanner, point, tuple(slots))

    def _within(self, stack: Stack, byte: int) -> Stack:
        """Gives the stack after a byte of the lexeme under way, of which a parser's own sees nothing."""
        return stack

    def _cut(self, stack: Stack, token: int) -> Reading[Stack] | None:
        """Gives the state where a lexeme has just ended."""
        after = stack if token == IGNORED else self._parser.after(stack, token)
        return None if after is None else self._between(after)

    def _between(self, stack: Stack) -> Reading[Stack] | None:
        scanner = self._scanner(stack)
        return self._known(stack, scanner, scanner.start, ()) if self._is_live(stack) else None

    def _is_live(self, stack: Stack) -> bool:
        if stack not in self._live:
            if len(self._live) >= MAX_STATES:
                self._live.clear()
            scanner = self._scanner(stack)
            is_sure = self._is_sure is not None and self._is_sure(stack, scanner, scanner.start)
            self._live[stack] = is_sure or (
                self._goes_on(stack, scanner) and (self._can_complete is None or self._can_complete(stack))
            )
        return self._live[stack]

    def _goes_on(self, stack: Stack, scanner: Scanner) -> bool:
        return self._parser.ends(stack) or scanner.finds(
            scanner.start,
            lambda token: token != IGNORED and self._parser.after(stack, token) is not None,
        )

    def _made(
        self, stack: Stack, scanner: Scanner, point: Point, slots: tuple[Reading[Stack] | None, ...]
    ) -> Reading[Stack] | None:
        """Gives a state within a lexeme, or None if the parser wants nothing that can come of it."""
        is_decided = False
        if not any(slots):
            is_decided = self._is_sure is not None and self._is_sure(stack, scanner, point)
            if not is_decided:
                if not scanner.finds(point, lambda token: self._leads_on(stack, token)):
                    return None
                is_decided = self._is_sure is None
        made = self._known(stack, scanner, point, slots)
        if is_decided:
            self._judgements[made] = True
        return made

    def _is_open(self, reading: Reading[Stack]) -> bool:
        """Says whether all that can come of a state is a lexeme whose end is still open since before."""
        alive = (slot for slot, kept in zip(reading.point.slots, reading.slots, strict=True) if kept)
        return all(slot >= 0 for slot in alive)

    def _judged(self, reading: Reading[Stack] | None) -> Reading[Stack] | None:
        """Gives a state back, or None if it has no completion; what it has beside it is not judged."""
        if reading is None or self._search is None or self._search.has_completion(reading):
            return reading
        return None

    def _is_settled(self, reading: Reading[Stack]) -> bool:
        """Says whether it needs no more bytes to be sure that there is a completion."""
        stack, scanner, point = reading.stack, reading.scanner, reading.point
        if self._is_sure is not None:
            return self._is_sure(stack, scanner, point) or self.accepts(reading)
        if reading.is_between or not self._is_open(reading):
            return True
        return scanner.finds(point, lambda token: self._leads_on(stack, token))

    def _ways(self, readings: list[Reading[Stack]]) -> list[int]:
        """Gives one byte out of each class of bytes that lead a state and its parts to the same ones."""
        return ways(readings)

    def _leads_on(self, stack: Stack, token: int) -> bool:
        if token == IGNORED:
            return True
        after = self._parser.after(stack, token)
        return after is not None and self._is_live(after)

    def _known(
        self, stack: Stack, scanner: Scanner, point: Point, slots: tuple[Reading[Stack] | None, ...]
    ) -> Reading[Stack]:
        key = (stack, id(point), slots)
        if key not in self._readings:
            if len(self._readings) >= MAX_STATES:
                self._readings.clear()
            self._readings[key] = Reading(stack, scanner, point, slots)
        return self._readings[key]
