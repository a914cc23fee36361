"""Texts that a lexer cuts into tokens, where terminals look at what stands before them.

What a lexer finds depends on the character before the lexeme. So a state also keeps the context that a
lexeme leaves behind which ends here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple

from lmppl.constraints.grammars.left_contexts import START, LeftContexts
from lmppl.constraints.grammars.lexed_readings import Reading, Stack
from lmppl.constraints.grammars.lexed_texts import LexedTexts, TokenParser
from lmppl.constraints.grammars.scanner import IGNORED, Point, Scanner, first_of_each
from lmppl.constraints.grammars.sure_completions import State, SureCompletions
from lmppl.constraints.grammars.written_in_context import WrittenInContext


class Situation(NamedTuple, Generic[Stack]):
    """A parser's stack, and what stands before the place that the text has come to.

    Attributes:
        stack: The parser's own.
        context: The number of `LeftContexts` after all that has been read, the lexeme under way included.
    """

    stack: Stack
    context: int


class SureInContext(Generic[State]):
    """The sure states of one parser."""

    def __init__(self, sure: SureCompletions[State], texts: WrittenInContext):
        self._sure = sure
        self._texts = texts

    def exist(self, situation: Situation[State], scanner: Scanner, point: Point) -> bool:
        """Says whether a text completes for sure what has been read and the lexeme at a point."""
        stack, context = situation
        is_filler = point is not scanner.start and self._texts.is_filler(scanner, point, context)
        if is_filler and self._sure.complete(stack, self._texts.filled):
            return True
        return self._sure.exist(stack, scanner, point)


class _ParserInContext(Generic[Stack]):
    """A parser of tokens that does not mind the context."""

    def __init__(self, parser: TokenParser[Stack]):
        self._parser = parser
        self.initial = Situation(parser.initial, START)

    def after(self, situation: Situation[Stack], token: int) -> Situation[Stack] | None:
        stack = self._parser.after(situation.stack, token)
        return None if stack is None else Situation(stack, situation.context)

    def ends(self, situation: Situation[Stack]) -> bool:
        return self._parser.ends(situation.stack)


class TextsInContext(LexedTexts[Situation[Stack]]):
    """The states of one parser, and its scanners in each context.

    Args:
        parser: Of the tokens.
        contexts: Of the terminals.
        scanner: Gives the scanner of a place in a context.
        can_complete: As for `LexedTexts`, where tokens may be found that some context lets be found.
        is_sure: As for `LexedTexts`.
    """

    def __init__(
        self,
        parser: TokenParser[Stack],
        contexts: LeftContexts,
        scanner: Callable[[Stack, int], Scanner],
        can_complete: Callable[[Stack], bool] | None,
        is_sure: Callable[[Situation[Stack], Scanner, Point], bool] | None,
    ):
        super().__init__(
            _ParserInContext(parser),
            lambda situation: scanner(situation.stack, situation.context),
            None if can_complete is None else lambda situation: can_complete(situation.stack),
            all_can_be_written=False,
            is_sure=is_sure,
        )
        self._contexts = contexts

    def _within(self, stack: Situation[Stack], byte: int) -> Situation[Stack]:
        return stack._replace(context=self._contexts.after(stack.context, byte))

    def _goes_on(self, stack: Situation[Stack], scanner: Scanner) -> bool:
        def is_wanted(token: int) -> bool:
            return token != IGNORED and self._parser.after(stack, token) is not None

        if self._parser.ends(stack) or scanner.samples(is_wanted):
            return True
        others = []
        if scanner.ignores and scanner.finds(scanner.start, lambda token: token == IGNORED):
            others = [self._scanner(other) for other in self._everywhere(stack)]
        return any(other.samples(is_wanted) for other in others) or any(
            each.finds(each.start, is_wanted) for each in (scanner, *others)
        )

    def _ways(self, readings: list[Reading[Situation[Stack]]]) -> list[int]:
        rows = [row for each in readings for row in each.scanner.rows(each.point)]
        return first_of_each([*rows, self._contexts.row(readings[0].stack.context)])

    def _leads_on(self, stack: Situation[Stack], token: int) -> bool:
        after = self._parser.after(stack, token) if token != IGNORED else None
        return token == IGNORED or (after is not None and any(map(self._is_live, self._everywhere(after))))

    def _everywhere(self, situation: Situation[Stack]) -> list[Situation[Stack]]:
        """Gives the same in each context: what is left out changes it, and so does a lexeme that goes on."""
        return [situation._replace(context=context) for context in self._contexts.numbers]
