"""How the functions of a check are called: here or in worker processes, for one text or for a list."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmppl.constraints.functions.time_limits import TimeLimitReached, call_within
from lmppl.errors import CheckError
from lmppl.worker_processes import Job, JobFailed, pickled, shared_pool

MAX_TIMEOUTS = 2  # in a row
MAX_LIST = 1_024  # texts in one call: a mask has tens of thousands, and a limit is for one call
_SHOWN = 200  # characters of what was asked about, in errors


@dataclass(frozen=True)
class Manner:
    """How functions are called.

    Attributes:
        batch: With lists of at most `MAX_LIST`, and they give lists.
        workers: In so many processes; None is here.
        timeout: Seconds for one call; None waits for ever.
    """

    batch: bool = False
    workers: int | None = None
    timeout: float | None = None


@dataclass(frozen=True)
class AnswerKind:
    """What is asked, and what counts as an answer.

    Attributes:
        noun: What the user calls it.
        answer: What one answer is, in words.
        advice: What to do about one that is none.
        read: Gives an answer as it is remembered, or None for what is none.
    """

    noun: str
    answer: str
    advice: str
    read: Callable[[Any], Any]


def _truth(answer: Any) -> bool | None:
    return bool(answer) if isinstance(answer, bool | np.bool_) else None


TRUTH = AnswerKind("check", "True or False", "Wrap the value in bool(...) if that is what you mean.", _truth)


@dataclass(frozen=True, eq=False)
class Asked:
    """A function of a check, or of a potential, as it is called.

    Attributes:
        name: Of the check.
        role: The keyword under which the user passed the function.
        kind: What it answers.
    """

    name: str
    role: str
    function: Callable[..., Any]
    manner: Manner
    kind: AnswerKind = TRUTH

    @property
    def _what(self) -> str:
        return f"{self.kind.noun} {self.name!r}"

    def answers(self, abouts: Sequence[Any]) -> Iterator[Any]:
        """Gives the answers in order; None for a call that took too long.

        Nothing is asked any more when nobody takes the next answer.

        Raises:
            CheckError: It raised, returned something else, or cannot be sent to a worker.
        """
        if self.manner.workers is not None:
            return iter(self._in_workers(abouts))
        return self._in_a_list(abouts) if self.manner.batch else self._one_by_one(abouts)

    def answer(self, about: Any) -> Any:
        """Gives one answer, asked for here."""
        timeout = self.manner.timeout
        try:
            answer = self.function(about) if timeout is None else call_within(timeout, self.function, about)
        except TimeLimitReached:
            return None
        except Exception as error:
            raise self._raised(error, about) from error
        return self._judged(answer, about)

    def _one_by_one(self, abouts: Sequence[Any]) -> Iterator[Any]:
        return map(self.answer, abouts)

    def _in_a_list(self, abouts: Sequence[Any]) -> Iterator[Any]:
        """Asks about as many at once as may be, and, should that take too long, about each alone."""
        for part in _parts(abouts, MAX_LIST):
            answers = self._of_list(part)
            if answers is None and len(part) > 1:
                for about in part:
                    alone = self._of_list([about])
                    yield None if alone is None else alone[0]
            else:
                yield from (None,) if answers is None else answers

    def _of_list(self, abouts: list[Any]) -> list[Any] | None:
        timeout = self.manner.timeout
        try:
            asked = list(abouts)  # a function may empty its list, and errors are to name what was asked
            answer = self.function(asked) if timeout is None else call_within(timeout, self.function, asked)
        except TimeLimitReached:
            return None
        except Exception as error:
            raise self._raised(error, abouts) from error
        return self._judged_list(answer, abouts)

    def _in_workers(self, abouts: Sequence[Any]) -> list[Any]:
        if not self.manner.batch:
            answers = self._sent(abouts)
            return [
                None if answer is _LATE else self._judged(answer, about)
                for answer, about in zip(answers, abouts, strict=True)
            ]
        assert self.manner.workers is not None
        parts = _parts(abouts, min(MAX_LIST, -(-len(abouts) // self.manner.workers)))
        found: list[Any] = []
        for answer, part in zip(self._sent(parts), parts, strict=True):
            if answer is not _LATE:
                found.extend(self._judged_list(answer, part))
            elif len(part) == 1:
                found.append(None)
            else:
                alone = zip(self._sent([[about] for about in part]), part, strict=True)
                found.extend(None if a is _LATE else self._judged_list(a, [about])[0] for a, about in alone)
        return found

    def _sent(self, arguments: Sequence[Any]) -> list[Any]:
        """Gives what workers return; `_LATE` where one did not in time."""
        manner, about = self.manner, f"`{self.role}=` of the {self._what}"
        assert manner.workers is not None
        function = pickled(self.function, self._refused)  # anew: what it closes over may have changed
        jobs = [
            Job(function, pickle.dumps(((argument,), {})), manner.timeout, about, quick=True)
            for argument in arguments
        ]
        try:
            outcomes = shared_pool().run(jobs, manner.workers, MAX_TIMEOUTS)
        except JobFailed as failed:
            error = failed.error if failed.error is not None else RuntimeError(failed.text)
            raise self._raised(error, arguments[failed.index]) from error
        return [_LATE if outcome.timed_out else outcome.value for outcome in outcomes]

    def _refused(self, error: Exception) -> CheckError:
        return CheckError(
            f"The {self._what} has `workers=`, so `{self.role}=` is sent to other processes, but it "
            f"cannot be sent: {error}. Let it close over plain values only, and open files, connections and "
            "models inside the function; or leave `workers=` away."
        )

    def _raised(self, error: Exception, about: Any) -> CheckError:
        return CheckError(
            f"The {self._what} raised {type(error).__name__} in `{self.role}=` on {_shown(about)}: "
            f"{error}\n"
            f"A {self.kind.noun} answers {self.kind.answer} for everything it is asked, what is unfinished "
            "included."
        )

    def _judged(self, answer: Any, about: Any) -> Any:
        found = self.kind.read(answer)
        if found is None:
            raise CheckError(
                f"The {self._what} returned {answer!r} from `{self.role}=` on "
                f"{_shown(about)}; it must return {self.kind.answer}. {self.kind.advice}"
            )
        return found

    def _judged_list(self, answer: Any, abouts: list[Any]) -> list[Any]:
        where = f"The {self._what} has `batch=True`, and `{self.role}=`"
        wanted = f"it must return {len(abouts)} times {self.kind.answer}, in a list or an array"
        found = answer.tolist() if hasattr(answer, "tolist") else answer
        if not isinstance(found, list | tuple):
            raise CheckError(f"{where} returned {answer!r} for a list of {len(abouts)}; {wanted}.")
        read = [self.kind.read(each) for each in found]
        for about, each, value in zip(abouts, found, read, strict=False):
            if value is None:
                raise CheckError(f"{where} returned {each!r} for {_shown(about)}; {wanted}.")
        if len(found) != len(abouts):
            raise CheckError(
                f"{where} returned {len(found)} answers for {len(abouts)} texts; {wanted}, in their order."
            )
        return read


_LATE = object()


def _parts(items: Sequence[Any], size: int) -> list[list[Any]]:
    return [list(items[at : at + size]) for at in range(0, len(items), size)]


def _shown(about: Any) -> str:
    text = repr(about)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
