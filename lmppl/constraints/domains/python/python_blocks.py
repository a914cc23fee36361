"""Whether a logical line of Python can stand where it does, judged by the blocks around it alone.

What is complete in front of a line need not be parsed again: the line is parsed inside the headers of its
blocks, each with an empty body, so that its cost does not grow with the text.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass, replace

from lmppl.constraints.domains.python.python_lines import LogicalLine

_CONTINUES = ("elif", "else", "except", "finally")


@dataclass(frozen=True)
class Block:
    """A block that is not closed yet.

    Attributes:
        column: Of its lines; None before the first.
        opener: The statement that it belongs to, up to its own header, other bodies left empty.
        closer: What that statement needs behind the block to be complete.
        statement: The last statement in it, bodies left empty, if another clause may follow; else empty.
        begins_with: That statement's first word.
    """

    column: int | None
    opener: str = ""
    closer: str = ""
    statement: str = ""
    begins_with: str = ""


Blocks = tuple[Block, ...]

START: Blocks = (Block(0),)


def after_line(blocks: Blocks, line: LogicalLine) -> Blocks | None:
    """Gives the blocks that are open after a line; None if no Python has it here."""
    placed = _placed(blocks, line)
    if placed is None:
        return None
    block = placed[-1]
    continues = bool(block.statement) and (block.begins_with == "@" or line.first_word in _CONTINUES)
    statement = f"{block.statement}\n{line.text}" if continues else line.text
    begins_with = _first_word(block, line) if continues else line.first_word
    closer = _closer(line, begins_with)
    body = _body(line)
    context = "".join(f"{outer.opener}\n" for outer in placed[1:])
    closers = "".join(outer.closer for outer in reversed(placed[1:]))
    if not parses(f"{context}{statement}{body}\n{closer}{closers}"):
        return None
    shown = statement if line.first_word == "@" else f"{statement}{body}"
    kept = replace(block, statement=shown, begins_with=begins_with)
    inner = (Block(None, statement, closer),) if line.opens_block else ()
    return (*placed[:-1], kept, *inner)


def parses(source: str) -> bool:
    """Says whether Python parses a text as a module."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return False
    return True


def _placed(blocks: Blocks, line: LogicalLine) -> Blocks | None:
    """Gives the blocks that a line belongs to, by its indentation."""
    if blocks[-1].column is None:
        outer = blocks[-2].column or 0
        return (*blocks[:-1], replace(blocks[-1], column=line.column)) if line.column > outer else None
    kept = tuple(block for block in blocks if (block.column or 0) <= line.column)
    return kept if kept[-1].column == line.column else None


def _first_word(block: Block, line: LogicalLine) -> str:
    return line.first_word if block.begins_with == "@" else block.begins_with


def _body(line: LogicalLine) -> str:
    """Gives a body for a header."""
    if not line.opens_block:
        return f"\n{line.indentation}def f(): pass" if line.first_word == "@" else ""
    inside = "case _: pass" if line.first_word == "match" else "pass"
    return f"\n{line.indentation} {inside}"


def _closer(line: LogicalLine, begins_with: str) -> str:
    """Gives a clause that makes a `try` complete."""
    if begins_with != "try" or line.first_word == "finally":
        return ""
    return f"{line.indentation}finally: pass\n"
