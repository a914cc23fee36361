"""`lp.check`: any Python condition on the text as a constraint, remembered by text and timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from lmppl.constraints.protocol import Constraint, State
from lmppl.constraints.remembered_answers import Answers, require_askable
from lmppl.constraints.utf8_decoding import decodable_head
from lmppl.errors import InvalidInputError


def check(
    name: str,
    prefix: Callable[[str], bool] | None = None,
    complete: Callable[[str], bool] | None = None,
    timeout: float | None = 5.0,
) -> Constraint:
    """Allows the strings that Python functions say yes to.

    The functions are given the text so far, must return True or False, and must be pure: answers are
    remembered by text, and checks that are made again and again inside a program share them as long
    as what their functions close over is immutable. Viability is over-approximate: a prefix that
    passes may have no completion.

    Args:
        name: Says in results and errors what was checked.
        prefix: Whether the text so far can still become good. Once False it must stay False for
            every longer text. It sees whole characters only: the bytes of an unfinished one are left
            out. Without it every prefix passes.
        complete: Whether the finished text is good. Without it, `prefix` of the whole text. If both
            are given, both must say True.
        timeout: Seconds for one call. A call that takes longer is lost mass (`check timed out`), not
            False. After two such calls with no answer in between, the check counts as one that does not
            return, and is not called again for half a minute. None waits for ever.

    Raises:
        InvalidInputError: Neither function was given, or the name or timeout cannot be used.
    """
    given = (("prefix", prefix), ("complete", complete))
    functions = {role: function for role, function in given if function is not None}
    require_askable(name, functions, timeout)
    if not functions:
        raise InvalidInputError(f"The check {name!r} checks nothing. Give `prefix=`, `complete=`, or both.")
    return Check(Answers(name, functions, timeout))


@dataclass(frozen=True, repr=False)
class Check(Constraint):
    """A condition in Python. Made by `check`. A state is the bytes so far.

    Two checks are equal when name, timeout and functions are the same by value (`function_values`);
    one that closes over something mutable is equal to itself only.

    Attributes:
        answers: Of `prefix=` and `complete=`.
    """

    answers: Answers

    @property
    def viable_is_exact(self) -> bool:
        """False: whether a completion exists is not known."""
        return False

    def initial(self) -> State:
        """Gives the state of the empty string."""
        return b""

    def advance(self, state: State, data: bytes) -> State | None:
        """Gives the state after `data`, or None if it can be no UTF-8 or `prefix` says False.

        Raises:
            CheckError: The function raised, or returned no truth value.
            CheckTimedOut: It did not return in time.
        """
        whole = cast(bytes, state) + data
        text = decodable_head(whole)
        if text is None or not self.answers.ask("prefix", text):
            return None
        return whole

    def accepts(self, state: State) -> bool:
        """Says whether the text is good as a whole. Raises as `advance`."""
        try:
            text = cast(bytes, state).decode()
        except UnicodeDecodeError:
            return False
        return self.answers.ask("prefix", text) and self.answers.ask("complete", text)

    def describe(self) -> str:
        """Gives the name."""
        return f"check({self.answers.name!r})"
