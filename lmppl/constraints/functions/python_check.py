"""`lp.check`: any Python condition on the text as a constraint, remembered by text and timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from lmppl.constraints.functions.remembered_answers import Answers, CheckTimedOut, require_askable
from lmppl.constraints.protocol import Constraint, State, in_rows, require_bytes
from lmppl.constraints.utf8_decoding import decodable_head
from lmppl.errors import InvalidInputError


def check(
    name: str,
    prefix: Callable[..., Any] | None = None,
    complete: Callable[..., Any] | None = None,
    timeout: float | None = 5.0,
    *,
    batch: bool = False,
    workers: int | None = None,
) -> Constraint:
    """Allows the strings that Python functions say yes to.

    The functions are given the text so far, must return True or False, and must be pure: answers are
    remembered by text, and checks that are made again and again inside a program share them as long
    as what their functions close over is immutable. Viability is over-approximate: a prefix that
    passes may have no completion. Neither `batch=` nor `workers=` changes what is drawn.

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
        batch: The functions are given lists of texts, and return a list or array with True or False for
            each, in order: those of all particles together, or of a whole mask, at most 1,024 in a call. If
            a list takes too long its texts are asked about one by one.
        workers: Call the functions in so many processes, for checks that take a millisecond or more.
            They are sent there with what they close over, so that must be possible to pickle; what they
            import is imported anew, once a process. A call that takes too long is killed. The processes
            start with the first call, are shared by all checks and end with this process.

    Raises:
        InvalidInputError: Neither function was given, or the name, timeout or workers cannot be used.
        InvalidTypeError: An argument is of another type.
    """
    given = (("prefix", prefix), ("complete", complete))
    functions = {role: function for role, function in given if function is not None}
    require_askable(name, functions, timeout, batch=batch, workers=workers)
    if not functions:
        raise InvalidInputError(f"The check {name!r} checks nothing. Give `prefix=`, `complete=`, or both.")
    return Check(Answers(name, functions, timeout, batch=batch, workers=workers))


@dataclass(frozen=True, repr=False)
class Check(Constraint):
    """A condition in Python. Made by `check`. A state is the bytes so far.

    Two checks are equal when name, options and functions are the same by value (`function_values`);
    one that closes over something mutable is equal to itself only.

    Attributes:
        answers: Of `prefix=` and `complete=`.
    """

    answers: Answers

    @property
    def viable_is_exact(self) -> bool:
        """False: whether a completion exists is not known."""
        return False

    @property
    def takes_long(self) -> bool:
        """Whether the functions are called in worker processes, which is meant for those that take long."""
        return self.answers.has_workers

    @property
    def gains_from_lists(self) -> bool:
        """Whether the functions take lists, or are called in worker processes."""
        return self.answers.takes_lists

    def initial(self) -> State:
        """Gives the state of the empty string."""
        return b""

    def advance(self, state: State, data: bytes) -> State | None:
        """Gives the state after `data`, or None if it can be no UTF-8 or `prefix` says False.

        Raises:
            CheckError: The function raised, or returned no truth value.
            CheckTimedOut: It did not return in time.
        """
        try:
            whole = cast(bytes, state) + data
            text = decodable_head(whole)
            if text is None or not self.answers.ask("prefix", text):
                return None
            return whole
        except TypeError:
            require_bytes(data)
            raise

    def accepts(self, state: State) -> bool:
        """Says whether the text is good as a whole. Raises as `advance`."""
        text = _decoded(cast(bytes, state))
        if text is None:
            return False
        return self.answers.ask("prefix", text) and self.answers.ask("complete", text)

    def check(
        self, states: Sequence[State], candidates: Sequence[Sequence[bytes]]
    ) -> list[list[State | CheckTimedOut | None]]:
        """Asks about all candidates of all states together. Raises CheckError as `advance`."""
        pairs = zip(cast(Sequence[bytes], states), candidates, strict=True)
        wholes = [state + data for state, row in pairs for data in row]
        texts = [decodable_head(whole) for whole in wholes]
        answers = self._ask_all("prefix", texts)
        said = zip(wholes, answers, strict=True)
        found = [whole if answer is True else answer or None for whole, answer in said]
        return in_rows(found, candidates)

    def check_ends(self, states: Sequence[State]) -> list[bool | CheckTimedOut]:
        """Asks about all texts together whether they are good as a whole."""
        texts = [_decoded(cast(bytes, state)) for state in states]
        answers = self._ask_all("prefix", texts)
        passed = [text if answer is True else None for text, answer in zip(texts, answers, strict=True)]
        complete = self._ask_all("complete", passed)
        return [last if first is True else first for first, last in zip(answers, complete, strict=True)]

    def _ask_all(self, role: str, texts: Sequence[str | None]) -> list[bool | CheckTimedOut]:
        """Gives the answers, False for what is no text, and what to say of one that took too long."""
        asked = [text for text in texts if text is not None]
        answers = iter(self.answers.ask_all(role, asked))
        found = (False if text is None else next(answers) for text in texts)
        return [
            self.answers.timed_out(text) if answer is None else answer
            for text, answer in zip(texts, found, strict=True)
        ]

    def describe(self) -> str:
        """Gives the name."""
        return f"check({self.answers.name!r})"


def _decoded(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
