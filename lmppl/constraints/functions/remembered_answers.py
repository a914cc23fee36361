"""Answers of the user's functions: remembered, and not asked for again where they take too long."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any
from weakref import WeakValueDictionary

from lmppl.constraints.functions.check_calls import MAX_TIMEOUTS, TRUTH, AnswerKind, Asked, Manner
from lmppl.constraints.functions.function_values import value_key
from lmppl.constraints.functions.time_limits import one_alarm
from lmppl.constraints.mistaken_values import hint
from lmppl.errors import InvalidInputError, InvalidTypeError

Judge = Callable[..., Any]
Question = tuple[str, Hashable]
"""Which function is asked, and about what."""

MAX_REMEMBERED = 65_536  # a memo
FORGET_TIMEOUTS = 30.0  # seconds: what was slow then, a first import say, may be quick now
MAX_KEPT_MEMOS = 64  # of checks that no longer exist, so that the next particle's equal check finds them


class CheckTimedOut(Exception):
    """A check did not return in time. The engine counts it as lost mass; it is no error.

    Attributes:
        name: The check's name.
        asked: What it was asked about.
    """

    def __init__(self, name: str, asked: object, timeout: float):
        super().__init__(f"The check {name!r} did not return within {timeout:g} s on {asked!r}.")
        self.name = name
        self.asked = asked
        self.timeout = timeout

    def __reduce__(self):
        return CheckTimedOut, (self.name, self.asked, self.timeout)


class Answers:
    """What the functions of one check say, and have said.

    Checks whose functions are the same by value (`function_values`) share what is remembered, and have
    equal keys. One that closes over something mutable has no key and remembers for itself.

    Attributes:
        name: Of the check, for errors.
        functions: By role: the keyword under which the user passed them.
        timeout: Seconds for one call; None waits for ever.
        kind: What counts as an answer.
        key: Equal for checks that can never answer differently; None if there is no such key.
    """

    def __init__(
        self,
        name: str,
        functions: Mapping[str, Judge],
        timeout: float | None,
        *,
        batch: bool = False,
        workers: int | None = None,
        kind: AnswerKind = TRUTH,
    ):
        self.name = name
        self._kind = kind
        self.functions = dict(functions)
        self.timeout = timeout
        manner = self._manner = Manner(batch, workers, timeout)
        self.key = self._current_key()
        self._asked = {
            role: Asked(name, role, function, manner, kind) for role, function in functions.items()
        }
        codes = (getattr(function, "__code__", type(function)) for function in self.functions.values())
        self._timeouts = _timeouts_of(name, *codes)

    @property
    def has_workers(self) -> bool:
        """Whether the functions are called in other processes."""
        return self._manner.workers is not None

    @property
    def takes_lists(self) -> bool:
        """Whether many questions at once take less than one after the other."""
        return self._manner.batch or self.has_workers

    def ask(self, role: str, about: Hashable) -> Any:
        """Gives a function's answer; yes if there is no function of that role.

        Raises:
            CheckError: It raised, or returned no truth value.
            CheckTimedOut: It did not return in time.
        """
        if role not in self.functions:
            return True
        known, answer = self._memo.get((role, about))
        if answer is None and self.takes_lists:
            answer = self._answers(role, [about])[0]
        elif answer is None:
            answer = self._one_answer(role, about, known)
        if answer is None:
            raise self.timed_out(about)
        return answer

    def ask_all(self, role: str, abouts: Sequence[Hashable]) -> list[Any]:
        """Gives the answers to many questions, asked together; None for one that took too long.

        Raises:
            CheckError: As `ask`.
        """
        if role not in self.functions:
            return [True] * len(abouts)
        return self._answers(role, abouts)

    def timed_out(self, about: object) -> CheckTimedOut:
        """Gives what to raise about a question that took too long."""
        return CheckTimedOut(self.name, about, self.timeout or math.inf)

    def _answers(self, role: str, abouts: Sequence[Hashable]) -> list[Any]:
        known = self._memo.get_all(role, abouts)
        forgets = not self._timeouts.are_recent
        missing = [
            about
            for about in dict.fromkeys(abouts)
            if about not in known or (forgets and known[about] is None)
        ]
        if missing and not self._timeouts.are_too_many:
            self._ask_anew(role, missing, known)
        return [known.get(about) for about in abouts]

    def _one_answer(self, role: str, about: Hashable, known: bool) -> Any:
        """Gives what `_answers` would: None if the call took too long, or did so before."""
        if (known and self._timeouts.are_recent) or self._timeouts.are_too_many:
            return None
        answer = self._asked[role].answer(about)
        self._timeouts.count(answer)
        if not self._was_rebound():
            self._memo.put_all(role, {about: answer})
        return answer

    def _ask_anew(self, role: str, missing: list[Hashable], known: dict[Hashable, Any]) -> None:
        """Asks until the check counts as one that does not return."""
        fresh: dict[Hashable, Any] = {}
        with one_alarm():
            for about, answer in zip(missing, self._asked[role].answers(missing), strict=False):
                fresh[about] = answer
                self._timeouts.count(answer)
                if self._timeouts.are_too_many:
                    break
        known.update(fresh)
        if not self._was_rebound():
            self._memo.put_all(role, fresh)

    def _current_key(self) -> Hashable | None:
        functions = value_key(tuple(sorted(self.functions.items())))
        return None if functions is None else (self._kind, self.name, self._manner, functions)

    def _was_rebound(self) -> bool:
        """Says whether a name that the functions close over has another value than at first."""
        if self.key is None or not self._closes_over_names:
            return False
        return self.key != self._current_key()

    @cached_property
    def _closes_over_names(self) -> bool:
        return any(getattr(function, "__closure__", ()) is not None for function in self.functions.values())

    @cached_property
    def _memo(self) -> _Memo:
        return _Memo() if self.key is None else _shared_memo(self.key)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Answers):
            return NotImplemented
        return self is other or (self.key is not None and self.key == other.key)

    def __hash__(self) -> int:
        return id(self) if self.key is None else hash(self.key)


def require_askable(
    name: object,
    functions: Mapping[str, object],
    timeout: object,
    *,
    batch: object = False,
    workers: object = None,
    noun: str = "check",
) -> None:
    """Raises for a name, function, time limit or way of calling that no check can use."""
    if not isinstance(name, str) or not name:
        first = f" It comes first: lp.{noun}('name', ...)." if callable(name) else hint(name)
        raise InvalidInputError(
            f"A {noun} needs a name for results and errors, which is a str, but was given {name!r}.{first}"
        )
    for role, function in functions.items():
        if not callable(function):
            raise InvalidTypeError(
                f"`{role}=` of the {noun} {name!r} is a function, not {function!r}.{hint(function)}"
            )
    if timeout is not None and not (isinstance(timeout, int | float) and 0 < timeout < math.inf):
        raise InvalidInputError(
            f"`timeout=` of the {noun} {name!r} is {timeout!r}; give seconds above 0, or None."
        )
    if not isinstance(batch, bool):
        raise InvalidTypeError(f"`batch=` of the {noun} {name!r} is {batch!r}; give True or False.")
    if workers is None:
        return
    if not isinstance(workers, int) or isinstance(workers, bool):
        raise InvalidTypeError(
            f"`workers=` of the {noun} {name!r} is {workers!r}; give a number of processes, or None."
        )
    if workers < 1:
        raise InvalidInputError(
            f"`workers={workers}` of the {noun} {name!r} is too small; give at least 1, or None to call its "
            "functions in this process."
        )


class _Memo:
    """Answers by question, the least recently used forgotten first."""

    def __init__(self):
        self._answers: OrderedDict[Question, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, question: Question) -> tuple[bool, Any]:
        """Gives whether the answer is known, and the answer; None is a call that timed out."""
        with self._lock:
            answer = self._answers.get(question)
            if question not in self._answers:
                return False, None
            self._answers.move_to_end(question)
            return True, answer

    def get_all(self, role: str, abouts: Iterable[Hashable]) -> dict[Hashable, Any]:
        """Gives the answers that are known."""
        with self._lock:
            found = {}
            for about in abouts:
                question = (role, about)
                if question in self._answers:
                    found[about] = self._answers[question]
                    self._answers.move_to_end(question)
            return found

    def put_all(self, role: str, answers: Mapping[Hashable, Any]) -> None:
        with self._lock:
            for about, answer in answers.items():
                self._answers[role, about] = answer
            while len(self._answers) > MAX_REMEMBERED:
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

    def count(self, answer: Any) -> None:
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
