"""Texts that a lexer cuts into tokens, with blocks by indentation: `lp.lark` with an `Indenter`.

What a line break means depends on how far the next line is indented, so a state also counts the column of
a lexeme that may be a line break. Nothing searches whether an indentation fits a block, so states are let
through that cannot be completed.
"""

from __future__ import annotations

from collections.abc import Callable

from lmppl.constraints.grammars.indented_blocks import Block, IndentedParser
from lmppl.constraints.grammars.lexed_readings import Reading, Stack
from lmppl.constraints.grammars.lexed_texts import LexedTexts
from lmppl.constraints.grammars.scanner import IGNORED, Point, Scanner


class IndentedTexts(LexedTexts[Block[Stack]]):
    """The states of one parser with blocks, and its scanners.

    Args:
        parser: Of the tokens.
        scanner: Gives the scanner of a place.
        can_complete: As for `LexedTexts`, where tokens of blocks may come anywhere.
    """

    def __init__(
        self,
        parser: IndentedParser[Stack],
        scanner: Callable[[Stack], Scanner],
        can_complete: Callable[[Stack], bool] | None,
    ):
        super().__init__(
            parser,
            lambda block: scanner(block.stack),
            None if can_complete is None else lambda block: can_complete(block.stack),
            all_can_be_written=False,
        )
        self._blocks = parser
        self._newline = parser.indentation.newline

    def _within(self, stack: Block[Stack], byte: int) -> Block[Stack]:
        column = self._blocks.indentation.column(stack.column, byte)
        return stack if column == stack.column else stack._replace(column=column)

    def _made(
        self,
        stack: Block[Stack],
        scanner: Scanner,
        point: Point,
        slots: tuple[Reading[Block[Stack]] | None, ...],
    ) -> Reading[Block[Stack]] | None:
        if stack.column is not None and not scanner.finds(point, lambda token: token == self._newline):
            stack = stack._replace(column=None)
        return super()._made(stack, scanner, point, slots)

    def _cut(self, stack: Block[Stack], token: int) -> Reading[Block[Stack]] | None:
        return super()._cut(stack._replace(column=None) if token == IGNORED else stack, token)

    def _goes_on(self, stack: Block[Stack], scanner: Scanner) -> bool:
        return self._parser.ends(stack) or scanner.finds(
            scanner.start, lambda token: token != IGNORED and bool(self._all_after(stack, token))
        )

    def _leads_on(self, stack: Block[Stack], token: int) -> bool:
        return token == IGNORED or any(map(self._is_live, self._all_after(stack, token)))

    def _all_after(self, stack: Block[Stack], token: int) -> list[Block[Stack]]:
        if token == self._newline:
            return self._blocks.newlines(stack)
        after = self._blocks.after(stack, token)
        return [] if after is None else [after]
