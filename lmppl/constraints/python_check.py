"""`lp.check`: any Python condition on the text as a constraint, remembered by text and timed."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import cached_property, lru_cache
from typing import cast
from weakref import WeakValueDictionary

import numpy as np

from lmppl.constraints.function_values import value_key
from lmppl.constraints.protocol import Constraint, State
from lmppl.constraints.time_limits import TimeLimitReached, call_within
from lmppl.errors import CheckError, InvalidInputError, InvalidTypeError

Judge = Callable[[str], bool]

MAX_REMEMBERED_TEXTS = 65_536  # a memo
MAX_TIMEOUTS = 2  # in a row
FORGET_TIMEOUTS = 30.0  # seconds: what was slow then, a first import say, may be quick now
MAX_KEPT_MEMOS = 64  # of checks that no longer exist, so that the next particle's equal check finds them


class CheckTimedOut(Exception):
    """A check did not return in time. The engine counts it as lost mass; it is no error.

    Attributes:
        name: The check's name.
        text: What it was asked about.
    """

    def __init__(self, name: str, text: str, timeout: float):
        super().__init__(f"The check {name!r} did not return within {timeout:g} s on {text!r}.")
        self.name = name
        self.text = text
        self.timeout = timeout

    def __reduce__(self):
        return CheckTimedOut, (self.name, self.text, self.timeout)


def check(
    name: str, prefix: Judge | None = None, complete: Judge | None = None, timeout: float | None = 5.0
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
    if not isinstance(name, str) or not name:
        raise InvalidInputError(f"A check needs a name that says what it checks, but was given {name!r}.")
    for role, function in (("prefix", prefix), ("complete", complete)):
        if function is not None and not callable(function):
            raise InvalidTypeError(
                f"`{role}=` of the check {name!r} is a function of the text, not {function!r}."
            )
    if prefix is None and complete is None:
        raise InvalidInputError(f"The check {name!r} checks nothing. Give `prefix=`, `complete=`, or both.")
    if timeout is not None and not (isinstance(timeout, int | float) and 0 < timeout < math.inf):
        raise InvalidInputError(
            f"`timeout=` of the check {name!r} is {timeout!r}; give seconds above 0, or None."
        )
    return Check(name, prefix, complete, timeout)


class _Memo:
    """Answers by (role, text), the least recently used forgotten first."""

    def __init__(self):
        self._answers: OrderedDict[tuple[str, str], bool | None] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, question: tuple[str, str]) -> tuple[bool, bool | None]:
        """Gives whether the answer is known, and the answer; None is a call that timed out."""
        with self._lock:
            answer = self._answers.get(question)
            if question not in self._answers:
                return False, None
            self._answers.move_to_end(question)
            return True, answer

    def put(self, question: tuple[str, str], answer: bool | None) -> None:
        with self._lock:
            self._answers[question] = answer
            if len(self._answers) > MAX_REMEMBERED_TEXTS:
                self._answers.popitem(last=False)


class _Timeouts:
    """How often in a row the same code took too long, whatever it closes over."""

    def __init__(self):
        self._in_a_row = 0
        self._last = -math.inf

    @property
    def are_recent(self) -> bool:
        """Whether the last is not long ago."""
        return time.monotonic() - self._last < FORGET_TIMEOUTS

    @property
    def are_too_many(self) -> bool:
        """Whether the code counts, for now, as code that does not return."""
        return self._in_a_row >= MAX_TIMEOUTS and self.are_recent

    def count(self, answer: bool | None) -> None:
        """Takes note of a call."""
        self._in_a_row = self._in_a_row + 1 if answer is None else 0
        if answer is None:
            self._last = time.monotonic()


@lru_cache(maxsize=256)
def _timeouts_of(name: str, *codes: object) -> _Timeouts:
    return _Timeouts()


_living: WeakValueDictionary[Hashable, _Memo] = WeakValueDictionary()
_kept: OrderedDict[Hashable, _Memo] = OrderedDict()
_memos_lock = threading.Lock()


def _shared_memo(key: Hashable) -> _Memo:
    with _memos_lock:
        memo = _living.get(key) or _Memo()
        _living[key] = memo
        _kept[key] = memo
        _kept.move_to_end(key)
        if len(_kept) > MAX_KEPT_MEMOS:
            _kept.popitem(last=False)
        return memo


class Check(Constraint):
    """A condition in Python. Made by `check`. A state is the bytes so far.

    Two checks are equal when name, timeout and functions are the same by value (`function_values`);
    one that closes over something mutable is equal to itself only.
    """

    def __init__(self, name: str, prefix: Judge | None, complete: Judge | None, timeout: float | None):
        self.name = name
        self.prefix = prefix
        self.complete = complete
        self.timeout = timeout
        self._key = self._current_key()
        codes = (getattr(function, "__code__", type(function)) for function in (prefix, complete))
        self._timeouts = _timeouts_of(name, *codes)

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
        text = _decodable_head(whole)
        if text is None or not self._judged("prefix", self.prefix, text):
            return None
        return whole

    def accepts(self, state: State) -> bool:
        """Says whether the text is good as a whole. Raises as `advance`."""
        try:
            text = cast(bytes, state).decode()
        except UnicodeDecodeError:
            return False
        return self._judged("prefix", self.prefix, text) and self._judged("complete", self.complete, text)

    def describe(self) -> str:
        """Gives the name."""
        return f"check({self.name!r})"

    def _judged(self, role: str, function: Judge | None, text: str) -> bool:
        if function is None:
            return True
        known, answer = self._memo.get((role, text))
        if known and answer is None and not self._timeouts.are_recent:
            known = False
        if not known and not self._timeouts.are_too_many:
            answer = self._asked(role, function, text)
            self._timeouts.count(answer)
            if not self._was_rebound():
                self._memo.put((role, text), answer)
        if answer is None:
            raise CheckTimedOut(self.name, text, self.timeout or math.inf)
        return answer

    def _asked(self, role: str, function: Judge, text: str) -> bool | None:
        try:
            answer = function(text) if self.timeout is None else call_within(self.timeout, function, text)
        except TimeLimitReached:
            return None
        except Exception as error:
            raise CheckError(
                f"The check {self.name!r} raised {type(error).__name__} in `{role}=` on {text!r}: {error}\n"
                "A check answers True or False for every text, unfinished ones included."
            ) from error
        if not isinstance(answer, bool | np.bool_):
            raise CheckError(
                f"The check {self.name!r} returned {answer!r} from `{role}=` on {text!r}; it must "
                "return True or False. Wrap the value in bool(...) if that is what you mean."
            )
        return bool(answer)

    def _current_key(self) -> Hashable | None:
        functions = value_key((self.prefix, self.complete))
        return None if functions is None else (self.name, self.timeout, functions)

    def _was_rebound(self) -> bool:
        """Says whether a name that the functions close over has another value than at first."""
        if self._key is None or not self._closes_over_names:
            return False
        return self._key != self._current_key()

    @cached_property
    def _closes_over_names(self) -> bool:
        functions = [function for function in (self.prefix, self.complete) if function is not None]
        return any(getattr(function, "__closure__", ()) is not None for function in functions)

    @cached_property
    def _memo(self) -> _Memo:
        return _Memo() if self._key is None else _shared_memo(self._key)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Check):
            return NotImplemented
        return self is other or (self._key is not None and self._key == other._key)

    def __hash__(self) -> int:
        return id(self) if self._key is None else hash(self._key)


def _decodable_head(data: bytes) -> str | None:
    """Gives the whole characters of `data`, or None if no further bytes make it UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            return data[: error.start].decode()
        return None
