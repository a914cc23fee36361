"""Calls of expensive functions: memoised over particles, in worker processes where they are timed."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from lmppl.errors import CheckError
from lmppl.sites import Call

_WORKER = Path(__file__).with_name("call_worker.py")
_NUM_WORKERS = 2
_START_SECONDS = 30.0


@dataclass(frozen=True)
class Outcome:
    """What became of a call: a value, or no answer in time."""

    value: Any = None
    timed_out: bool = False


class CallPool:
    """Answers `lp.cached`. Workers start with the first timed call and live as long as the run."""

    def __init__(self) -> None:
        self._outcomes: dict[Any, Outcome] = {}
        self._workers: list[_Worker] = []

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
            self._run_in_workers(timed)
        return [self._outcomes[key] for key in keys]

    def close(self) -> None:
        """Ends the workers."""
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    def _run_in_workers(self, calls: dict[Any, Call]) -> None:
        queue = deque(calls.items())
        while len(self._workers) < min(_NUM_WORKERS, len(queue)):
            self._workers.append(_Worker())
        busy: dict[Connection, tuple[_Worker, Any, Call]] = {}
        while queue or busy:
            for worker in self._workers:
                if queue and worker.connection not in busy:
                    key, call = queue.popleft()
                    worker.send(call)
                    busy[worker.connection] = (worker, key, call)
            soonest = min(worker.deadline for worker, _, _ in busy.values())
            ready = wait(list(busy), timeout=max(0.0, soonest - time.monotonic()))
            for connection, (worker, key, call) in list(busy.items()):
                outcome = worker.receive(call) if connection in ready else None
                if outcome is not None:
                    del busy[connection]
                    self._outcomes[key] = outcome
            for connection, (worker, key, _) in list(busy.items()):
                if time.monotonic() >= worker.deadline:
                    del busy[connection]
                    self._outcomes[key] = Outcome(timed_out=True)
                    worker.kill()
                    self._workers[self._workers.index(worker)] = _Worker()


class _Worker:
    """One process that calls one function at a time. It is killed when a call takes too long."""

    def __init__(self) -> None:
        self.connection, theirs = Pipe()
        self._process = subprocess.Popen(
            [sys.executable, str(_WORKER), str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C is ours to handle
        )
        theirs.close()
        self.connection.send(sys.path)
        self.deadline = 0.0

    def send(self, call: Call) -> None:
        import cloudpickle

        try:
            message = cloudpickle.dumps((call.function, call.args, call.kwargs))
        except Exception as error:
            raise CheckError(
                f"lp.cached({call.name}) with a timeout sends the function and its arguments to another "
                f"process, but they cannot be sent: {error}. Pass plain values, or leave the timeout away."
            ) from error
        self.connection.send_bytes(message)
        self.deadline = time.monotonic() + _START_SECONDS

    def receive(self, call: Call) -> Outcome | None:
        """Gives the outcome; None if this was the message that the call begins now."""
        try:
            message = self.connection.recv_bytes()
        except (EOFError, ConnectionResetError):
            raise CheckError(
                f"The worker process of lp.cached({call.name}) at {call.location} died: it crashed, ran out "
                "of memory, or could not start."
            ) from None
        if not message:
            self.deadline = time.monotonic() + (call.timeout or 0.0)
            return None
        ok, payload = pickle.loads(message)
        if ok:
            return Outcome(payload)
        data, text = payload
        error = None if data is None else pickle.loads(data)
        note = f"raised in a worker process by lp.cached({call.name}) at {call.location}:\n{text}"
        if error is None:
            raise CheckError(f"An exception that cannot be sent between processes was {note}")
        error.add_note(note)
        raise error

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # with the processes that the call has started
        self._process.wait()
        self.connection.close()


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
