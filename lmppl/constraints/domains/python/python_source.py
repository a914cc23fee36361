"""`lp.python_code`: Python modules, each line judged as soon as it is complete."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import NamedTuple, cast

from lmppl.constraints.domains.python.python_blocks import START, Blocks, after_line
from lmppl.constraints.domains.python.python_lines import split_lines
from lmppl.constraints.protocol import Constraint, State, require_bytes
from lmppl.constraints.utf8_decoding import decodable_head


def python_code() -> Constraint:
    """Allows the texts that this Python compiles as a module. Nothing is run.

    A prefix is judged line by line. Each complete logical line must parse inside the blocks that it stands
    in, and be indented as one of them; in the line under way brackets must match and strings end before their
    line does. So a mistake is found at the end of its line, and viability is over-approximate: no prefix of
    a program is refused. What a whole program alone can show, `return` outside of a function for example,
    is judged at the end. A line costs a parse of itself and of the headers around it.

    In Python 3.12 and later an f-string may hold its own quotes; from the first one on, only the end judges.
    """
    return PythonSource()


class Progress(NamedTuple):
    """A state: all bytes, the open blocks, the line under way, and whether lines can still be told apart."""

    whole: bytes
    blocks: Blocks
    line: bytes
    is_clear: bool


@dataclass(frozen=True, repr=False)
class PythonSource(Constraint):
    """Modules of Python. Made by `python_code`."""

    @property
    def viable_is_exact(self) -> bool:
        """False: the line under way is hardly judged."""
        return False

    def initial(self) -> State:
        """Gives the state of the empty module, which is one."""
        return Progress(b"", START, b"", True)

    def advance(self, state: State, data: bytes) -> State | None:
        """Gives the state after `data`, or None if no module begins so."""
        require_bytes(data)
        whole, blocks, line, is_clear = cast(Progress, state)
        whole, line = whole + data, line + data
        text = decodable_head(line)
        if text is None or "\0" in text:
            return None
        if not is_clear:
            return Progress(whole, blocks, line[len(text.encode()) :], False)
        split = split_lines(text)
        if split is None:
            return None
        for complete in split.lines:
            further = after_line(blocks, complete)
            if further is None:
                return None
            blocks = further
        done = len(text.encode()) - len(split.rest.encode())
        return Progress(whole, blocks, line[done:], split.is_clear)

    def accepts(self, state: State) -> bool:
        """Says whether Python compiles the whole text."""
        try:
            source = cast(Progress, state).whole.decode()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                compile(source, "<text>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
            return False
        return True

    def describe(self) -> str:
        """Gives the call."""
        return "python_code()"
