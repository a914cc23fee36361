"""Calls of expensive functions: memoised over particles, in worker processes where they are timed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lmppl.errors import CheckError
from lmppl.sites import Call
from lmppl.worker_processes import Job, JobFailed, Outcome, WorkerPool, pickled

_NUM_WORKERS = 2


class CallPool:
    """Answers `lp.cached`. Workers start with the first timed call and live as long as the run."""

    def __init__(self) -> None:
        self._outcomes: dict[Any, Outcome] = {}
        self._workers = WorkerPool()

    def run(self, calls: Sequence[Call]) -> list[Outcome]:
        """Gives the outcome of each call; equal calls are made once.

        An exception of a function is raised here, with a note on where it comes from.

        Raises:
            CheckError: A function or its arguments cannot be sent to a worker, or the worker died.
        """
        keys = [_identity(call) for call in calls]
        missing = {key: call for key, call in zip(keys, calls, strict=True) if key not in self._outcomes}
        timed = {key: call for key, call in missing.items() if call.timeout is not None}
        for key, call in missing.items():
            if call.timeout is None:
                self._outcomes[key] = Outcome(_call_here(call))
        if timed:
            outcomes = self._run_in_workers(list(timed.values()))
            self._outcomes.update(zip(timed, outcomes, strict=True))
        return [self._outcomes[key] for key in keys]

    def close(self) -> None:
        """Ends the workers."""
        self._workers.close()

    def _run_in_workers(self, calls: Sequence[Call]) -> list[Outcome]:
        try:
            return self._workers.run([_job(call) for call in calls], _NUM_WORKERS)
        except JobFailed as failed:
            if failed.error is not None:
                raise failed.error from None
            raise CheckError(
                "An exception that cannot be sent between processes was raised in a worker process by "
                f"{_job(calls[failed.index]).about}:\n{failed.text}"
            ) from None


def _job(call: Call) -> Job:
    def refused(error: Exception) -> CheckError:
        return CheckError(
            f"lp.cached({call.name}) with a timeout sends the function and its arguments to another "
            f"process, but they cannot be sent: {error}. Pass plain values, or leave the timeout away."
        )

    function, arguments = pickled(call.function, refused), pickled((call.args, call.kwargs), refused)
    return Job(function, arguments, call.timeout, f"lp.cached({call.name}) at {call.location}")


def _call_here(call: Call) -> Any:
    try:
        return call.function(*call.args, **call.kwargs)
    except Exception as error:
        error.add_note(f"raised by lp.cached({call.name}) at {call.location}")
        raise


def _identity(call: Call) -> Any:
    """Equal calls have equal identities: by value and type, where arguments can be hashed or pickled."""
    arguments = (call.args, tuple(sorted(call.kwargs.items())))
    return (call.function, call.timeout, _typed(arguments))


def _typed(value: Any) -> Any:
    """Gives what tells 1 from True and from 1.0, which are equal in Python."""
    kind = type(value)
    if kind in (tuple, list):
        return (kind, *(_typed(item) for item in value))
    if kind in (set, frozenset):
        return (kind, frozenset(_typed(item) for item in value))
    if kind is dict:
        return (kind, frozenset((_typed(key), _typed(item)) for key, item in value.items()))
    if kind in (int, bool, float, complex):
        return (kind, repr(value))
    try:
        hash(value)
    except TypeError:
        import cloudpickle

        return (kind, cloudpickle.dumps(value))
    return (kind, repr(value)) if hasattr(value, "dtype") else (kind, value)
