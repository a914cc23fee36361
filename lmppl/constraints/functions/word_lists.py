"""`lp.words`: a Python condition on the list of words, asked whenever a word is complete."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, cast

from lmppl.constraints.functions.remembered_answers import Answers, require_askable
from lmppl.constraints.mistaken_values import hint
from lmppl.constraints.protocol import Constraint, State, require_bytes
from lmppl.constraints.utf8_decoding import decodable_head
from lmppl.errors import InvalidTypeError


def words(
    function: Callable[[tuple[str, ...]], bool], name: str | None = None, timeout: float | None = 5.0
) -> Constraint:
    """Allows the texts whose words a Python function allows, one after the other.

    Words are what `str.split()` gives: runs without whitespace, punctuation included. Each time a word is
    complete, because whitespace or the end of the text follows, the function is given all words up to it,
    and must return True or False. A text is allowed if it says True every time, so that a function which
    looks at the last word only is right too. It is never asked about no words, nor about half a word. How
    much whitespace stands between words does not matter.

    Like those of `lp.check`, the function must be pure; answers are remembered by words. Viability is
    over-approximate: an unfinished word always passes. Join it with `lp.regex`, say, to restrict how words
    are written.

    Args:
        function: Whether the words so far are allowed.
        name: Says in results and errors what was checked; the function's own name by default.
        timeout: Seconds for one call, as for `lp.check`.

    Raises:
        InvalidInputError: The name or timeout cannot be used.
        InvalidTypeError: `function` is no function.
    """
    if not callable(function):
        of_this = " Write words(function, name)." if callable(name) else hint(function)
        raise InvalidTypeError(
            "words() takes a function of all words up to the last that is complete, such as "
            f"`lambda words: words[-1] not in words[:-1]`, but was given {function!r}.{of_this}"
        )
    shown = str(getattr(function, "__name__", "words")) if name is None else name
    require_askable(shown, {"function": function}, timeout)
    return Words(Answers(shown, {"function": function}, timeout))


class Progress(NamedTuple):
    """A state: the words that are complete, and the bytes of the one under way."""

    complete: tuple[str, ...]
    unfinished: bytes


@dataclass(frozen=True, repr=False)
class Words(Constraint):
    """A condition in Python on the words so far. Made by `words`. A state is a `Progress`.

    Equal by name, timeout and the value of the function, as checks are.

    Attributes:
        answers: Of the function.
    """

    answers: Answers

    @property
    def viable_is_exact(self) -> bool:
        """False: whether a word can be completed is not known."""
        return False

    def initial(self) -> State:
        """Gives the state of the empty string."""
        return Progress((), b"")

    def advance(self, state: State, data: bytes) -> State | None:
        """Gives the state after `data`, or None if it can be no UTF-8 or a complete word is not allowed.

        Raises:
            CheckError: The function raised, or returned no truth value.
            CheckTimedOut: It did not return in time.
        """
        try:
            complete, unfinished = cast(Progress, state)
            unfinished += data
            text = decodable_head(unfinished)
            if text is None:
                return None
            found = text.split()
            tail = len(text.encode())
            if found and not text[-1].isspace():
                tail -= len(found.pop().encode())
            for word in found:
                complete = (*complete, word)
                if not self.answers.ask("function", complete):
                    return None
            return Progress(complete, unfinished[tail:])
        except TypeError:
            require_bytes(data)
            raise

    def accepts(self, state: State) -> bool:
        """Says whether the last word, which the end completes, is allowed too. Raises as `advance`."""
        complete, unfinished = cast(Progress, state)
        try:
            last = unfinished.decode()
        except UnicodeDecodeError:
            return False
        return not last or self.answers.ask("function", (*complete, last))

    def describe(self) -> str:
        """Gives the name."""
        return f"words({self.answers.name!r})"
