"""Blocks by indentation, as Lark's `Indenter` makes them of line breaks: values around a parser's stacks."""

from __future__ import annotations

from typing import Generic, NamedTuple

from lmppl.constraints.grammars.indentation import NumberedIndentation
from lmppl.constraints.grammars.lexed_readings import Stack
from lmppl.constraints.grammars.lexed_texts import TokenParser


class Block(NamedTuple, Generic[Stack]):
    """A parser's stack, and where in the blocks it stands.

    Attributes:
        stack: The parser's own.
        columns: Those of the blocks around, the outermost first.
        num_open: Parentheses that are open: within them line breaks do not count.
        column: What the lexeme under way would give a line break: see `NumberedIndentation.column`.
    """

    stack: Stack
    columns: tuple[int, ...]
    num_open: int
    column: int | None


class IndentedParser(Generic[Stack]):
    """A parser of tokens that puts those of blocks between them."""

    def __init__(self, parser: TokenParser[Stack], indentation: NumberedIndentation):
        self._parser = parser
        self.indentation = indentation
        self.initial = Block(parser.initial, (0,), 0, None)

    def after(self, block: Block[Stack], token: int) -> Block[Stack] | None:
        """Gives the block after a token; None if it is refused, or an indentation fits no block."""
        names = self.indentation
        if token == names.newline:
            moved = self._after_newline(block)
        else:
            stack = self._parser.after(block.stack, token)
            moved = None if stack is None else block._replace(stack=stack, column=None)
        if moved is None or (token not in names.openers and token not in names.closers):
            return moved
        num_open = moved.num_open + (1 if token in names.openers else -1)
        return None if num_open < 0 else moved._replace(num_open=num_open)

    def _after_newline(self, block: Block[Stack]) -> Block[Stack] | None:
        if block.num_open:
            return block._replace(column=None)
        if block.column is None:  # a lexeme without a line break, of which Lark can make nothing
            return None
        columns = block.columns
        stack = self._parser.after(block.stack, self.indentation.newline)
        if block.column > columns[-1]:
            columns = (*columns, block.column)
            stack = None if stack is None else self._parser.after(stack, self.indentation.indent)
        while block.column < columns[-1]:
            columns = columns[:-1]
            stack = None if stack is None else self._parser.after(stack, self.indentation.dedent)
        if stack is None or block.column != columns[-1]:
            return None
        return Block(stack, columns, 0, None)

    def ends(self, block: Block[Stack]) -> bool:
        """Says whether the text may end here: all blocks end there too."""
        stack: Stack | None = block.stack
        for _ in block.columns[1:]:
            stack = self._parser.after(stack, self.indentation.dedent)
            if stack is None:
                return False
        return self._parser.ends(stack)

    def newlines(self, block: Block[Stack]) -> list[Block[Stack]]:
        """Gives what a block may be after a line break, one for each block that it may end or begin."""
        columns = (*block.columns, block.columns[-1] + 1)
        moved = (self.after(block._replace(column=column), self.indentation.newline) for column in columns)
        return [each for each in moved if each is not None]
