"""Answers of the user's functions: asked under a time limit, held to True or False, remembered."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from lmppl.constraints.function_values import value_key
from lmppl.constraints.time_limits import TimeLimitReached, call_within
from lmppl.errors import CheckError, InvalidInputError, InvalidTypeError

Judge = Callable[[Any], Any]
Question = tuple[str, Hashable]
"""Which function is asked, and about what."""

MAX_REMEMBERED = 65_536  # a memo
MAX_TIMEOUTS = 2  # in a row
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


Reader = Callable[[str, str, Any, Any], Any]


@dataclass(frozen=True)
class AnswerKind:
    """What is asked, and what counts as an answer.

    Attributes:
        noun: What the user calls it.
        answer: What it answers, in words.
        read: Given name, role, question and answer, gives the answer to remember, or raises `CheckError`.
    """

    noun: str
    answer: str
    read: Reader


def _read_truth_value(name: str, role: str, about: Any, answer: Any) -> bool:
    if not isinstance(answer, bool | np.bool_):
        raise CheckError(
            f"The check {name!r} returned {answer!r} from `{role}=` on {about!r}; it must "
            "return True or False. Wrap the value in bool(...) if that is what you mean."
        )
    return bool(answer)


CHECKED = AnswerKind("check", "True or False", _read_truth_value)


class Answers:
    """What the functions of one check say, and have said.

    Checks whose functions are the same by value (`function_values`) share what is remembered, and have
    equal keys. One that closes over something mutable has no key and remembers for itself.

    Attributes:
        name: Of the check, for errors.
        functions: By role: the keyword under which the user passed them.
        timeout: Seconds for one call; None waits for ever.
        kind: What counts as an answer; truth values by default.
        key: Equal for checks that can never answer differently; None if there is no such key.
    """

    def __init__(
        self,
        name: str,
        functions: Mapping[str, Judge],
        timeout: float | None,
        kind: AnswerKind | None = None,
    ):
        self.name = name
        self._kind = CHECKED if kind is None else kind
        self.functions = dict(functions)
        self.timeout = timeout
        self.key = self._current_key()
        codes = (getattr(function, "__code__", type(function)) for function in self.functions.values())
        self._timeouts = _timeouts_of(name, *codes)

    def ask(self, role: str, about: Hashable) -> Any:
        """Gives a function's answer; yes if there is no function of that role.

        Raises:
            CheckError: It raised, or returned no truth value.
            CheckTimedOut: It did not return in time.
        """
        function = self.functions.get(role)
        if function is None:
            return True
        known, answer = self._memo.get((role, about))
        if known and answer is None and not self._timeouts.are_recent:
            known = False
        if not known and not self._timeouts.are_too_many:
            answer = self._asked(role, function, about)
            self._timeouts.count(answer)
            if not self._was_rebound():
                self._memo.put((role, about), answer)
        if answer is None:
            raise CheckTimedOut(self.name, about, self.timeout or math.inf)
        return answer

    def ask_together(self, role: str, abouts: Sequence[Hashable]) -> list[Any]:
        """Gives the answers about many things of a function that takes a list and gives one.

        It is called once, with what is not known.

        Raises:
            CheckError: It raised, or gave what is no answer for each.
            CheckTimedOut: It did not return in time.
        """
        known = {about: self._memo.get((role, about)) for about in abouts}
        missing = [about for about, (is_known, _) in known.items() if not is_known]
        answers = {about: answer for about, (_, answer) in known.items()}
        if missing:
            found = None
            if not self._timeouts.are_too_many:
                found = self._asked(role, self.functions[role], missing, self._read_together)
                self._timeouts.count(found)
            if found is None:
                raise CheckTimedOut(self.name, missing[0], self.timeout or math.inf)
            answers.update(zip(missing, found, strict=True))
            if not self._was_rebound():
                for about in missing:
                    self._memo.put((role, about), answers[about])
        return [answers[about] for about in abouts]

    def _read_together(self, name: str, role: str, abouts: Any, answers: Any) -> list[Any]:
        try:
            answers = list(answers)
        except TypeError:
            answers = [answers]
        if len(answers) != len(abouts):
            raise CheckError(
                f"The {self._kind.noun} {name!r} was asked about {len(abouts)} texts in `{role}=` and gave "
                f"{len(answers)} answers. With batch=True a function takes a list of texts and "
                "returns one answer for each."
            )
        return [self._kind.read(name, role, *pair) for pair in zip(abouts, answers, strict=True)]

    def _asked(self, role: str, function: Judge, about: Any, read: Reader | None = None) -> Any:
        noun = self._kind.noun
        try:
            answer = function(about) if self.timeout is None else call_within(self.timeout, function, about)
        except TimeLimitReached:
            return None
        except Exception as error:
            raise CheckError(
                f"The {noun} {self.name!r} raised {type(error).__name__} in `{role}=` on {about!r}: {error}\n"
                f"A {noun} answers {self._kind.answer} for everything it is asked, what is unfinished "
                "included."
            ) from error
        return (read or self._kind.read)(self.name, role, about, answer)

    def _current_key(self) -> Hashable | None:
        functions = value_key(tuple(sorted(self.functions.items())))
        return None if functions is None else (self._kind, self.name, self.timeout, functions)

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
    name: object, functions: Mapping[str, object], timeout: object, noun: str = "check"
) -> None:
    """Raises for a name, function or time limit that no check can use."""
    if not isinstance(name, str) or not name:
        raise InvalidInputError(f"A {noun} needs a name for results and errors, but was given {name!r}.")
    for role, function in functions.items():
        if not callable(function):
            raise InvalidTypeError(f"`{role}=` of the {noun} {name!r} is a function, not {function!r}.")
    if timeout is not None and not (isinstance(timeout, int | float) and 0 < timeout < math.inf):
        raise InvalidInputError(
            f"`timeout=` of the {noun} {name!r} is {timeout!r}; give seconds above 0, or None."
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

    def put(self, question: Question, answer: Any) -> None:
        with self._lock:
            self._answers[question] = answer
            if len(self._answers) > MAX_REMEMBERED:
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
