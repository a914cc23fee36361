"""Worker processes that call functions of the user's, one at a time each, and are killed when one is late."""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from lmppl.errors import CheckError

_WORKER = Path(__file__).with_name("call_worker.py")
_START_SECONDS = 60.0  # for a process to start and to import what the function needs
_NUM_FUNCTIONS = 8  # that a worker keeps, so that they are sent once
_FEW_BYTES = 16_384  # so little can be sent to a worker that is not reading, and neither waits for the other


@dataclass(frozen=True)
class Job:
    """A call for a worker.

    Attributes:
        function: Pickled.
        arguments: `(args, kwargs)`, pickled.
        timeout: Seconds, from when the function begins; None waits for ever.
        about: Says in errors whose call it is.
        quick: Its arguments are plain and calls are many: it may be sent while the worker is busy.
    """

    function: bytes
    arguments: bytes
    timeout: float | None
    about: str
    quick: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a call: a value, or no answer in time."""

    value: Any = None
    timed_out: bool = False


class JobFailed(Exception):
    """A function raised in a worker.

    Attributes:
        index: Of the job.
        error: What it raised, with a note on where; None if that cannot be sent between processes.
        text: Its traceback.
    """

    def __init__(self, index: int, error: Exception | None, text: str):
        super().__init__(text)
        self.index = index
        self.error = error
        self.text = text


class WorkerPool:
    """Processes that run jobs. They start when they are first needed, and live until `close`."""

    def __init__(self) -> None:
        self._workers: list[_Worker] = []
        self._lock = threading.Lock()
        self._owner = os.getpid()

    def run(self, jobs: Sequence[Job], num_workers: int, most_late: float = float("inf")) -> list[Outcome]:
        """Gives the outcome of each job.

        Args:
            jobs: To be done in any order.
            num_workers: At least 1.
            most_late: After so many late jobs with no answer in between all others count as late.

        Raises:
            JobFailed: A function raised. Jobs that are under way are given up.
            CheckError: A worker died, or could not start.
        """
        with self._lock:
            team = self._team(min(num_workers, len(jobs)))
            try:
                return _run(team, jobs, most_late)
            finally:
                for worker in team:
                    if worker.sent:  # its answers are nobody's any more
                        worker.kill()

    def close(self) -> None:
        """Ends the workers."""
        if os.getpid() == self._owner:  # and not in a child that was forked
            for worker in self._workers:
                worker.kill()
        self._workers.clear()

    def _team(self, size: int) -> list[_Worker]:
        self._workers = [worker for worker in self._workers if worker.is_alive]
        while len(self._workers) < size:
            self._workers.append(_Worker())
        return self._workers[:size]


def shared_pool() -> WorkerPool:
    """Gives the pool that all checks of this process share. It ends with the process."""
    return _shared_pool(os.getpid())


@lru_cache(maxsize=1)
def _shared_pool(process: int) -> WorkerPool:
    pool = WorkerPool()
    atexit.register(pool.close)
    return pool


def pickled(value: Any, refused: Callable[[Exception], Exception]) -> bytes:
    """Gives a value as bytes for a worker, functions and classes of scripts and notebooks included.

    Args:
        refused: Gives the error for a value that cannot be sent.
    """
    import cloudpickle

    try:
        return cloudpickle.dumps(value)
    except Exception as error:
        raise refused(error) from error


def _run(team: list[_Worker], jobs: Sequence[Job], most_late: float) -> list[Outcome]:
    rest = deque(enumerate(jobs))
    outcomes: list[Outcome] = [Outcome(timed_out=True)] * len(jobs)
    num_late = 0
    while (rest or any(worker.sent for worker in team)) and num_late < most_late:
        _hand_out(team, rest)
        busy = {worker.connection: worker for worker in team if worker.sent}
        soonest = min(worker.deadline for worker in busy.values())
        seconds = None if soonest == float("inf") else max(0.0, soonest - time.monotonic())
        ready = set(wait(list(busy), timeout=seconds))
        now = time.monotonic()
        for connection, worker in busy.items():
            if connection in ready:
                answered = worker.receive()
                if answered is not None:
                    outcomes[answered[0]] = Outcome(answered[1])
                    num_late = 0
            elif now >= worker.deadline:
                worker.require_started()
                _, *waiting = worker.sent
                rest.extendleft(reversed(waiting))
                worker.kill()
                num_late += 1
    return outcomes


def _hand_out(team: list[_Worker], rest: deque[tuple[int, Job]]) -> None:
    """Gives a job to each idle worker, then a second one to each while there are enough for all."""
    for worker in team:
        if rest and not worker.sent:
            if worker.connection.closed:
                worker.start()
            worker.send(*rest.popleft())
    for worker in team:
        if len(rest) >= len(team) and len(worker.sent) == 1 and _may_wait(rest[0][1], worker.sent[0][1]):
            worker.send(*rest.popleft())


def _may_wait(job: Job, before: Job) -> bool:
    return job.quick and before.quick and len(job.function) + len(job.arguments) < _FEW_BYTES


class _Worker:
    """One process that calls one function at a time.

    Attributes:
        sent: The jobs that it has not answered yet, by number.
        deadline: When the first of them is late.
    """

    def __init__(self) -> None:
        self.connection: Connection
        self.start()

    def start(self) -> None:
        """Starts the process; the one before, if there is one, was killed."""
        self.connection, theirs = Pipe()
        self._process = subprocess.Popen(
            [sys.executable, str(_WORKER), str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C is ours to handle
        )
        theirs.close()
        self.sent: deque[tuple[int, Job]] = deque()
        self.deadline = float("inf")
        self._slots: OrderedDict[bytes, int] = OrderedDict()
        self._starts: deque[bool] = deque()

    @property
    def is_alive(self) -> bool:
        return not self.connection.closed and self._process.poll() is None

    def send(self, index: int, job: Job) -> None:
        is_new = job.function not in self._slots
        slot = len(self._slots) if is_new else self._slots[job.function]
        if is_new and slot == _NUM_FUNCTIONS:
            slot = self._slots.popitem(last=False)[1]
        self._slots[job.function] = slot
        self._slots.move_to_end(job.function)
        says_when_it_starts = is_new or not job.quick
        new = (job.function, sys.path) if is_new else None
        try:
            self.connection.send_bytes(pickle.dumps((slot, new, job.arguments, says_when_it_starts)))
        except OSError:
            raise _died(job) from None
        self.sent.append((index, job))
        self._starts.append(says_when_it_starts)
        if len(self.sent) == 1:
            self._begin()

    def receive(self) -> tuple[int, Any] | None:
        """Gives number and value of an answer; None if this was the message that the call begins now."""
        index, job = self.sent[0]
        try:
            message = self.connection.recv_bytes()
        except (EOFError, OSError):
            raise _died(job) from None
        if not message:
            self._starts[0] = False
            self._begin()
            return None
        ok, payload = pickle.loads(message)
        if not ok:
            data, text = payload
            error = None if data is None else pickle.loads(data)
            if error is not None:
                error.add_note(f"raised in a worker process by {job.about}:\n{text}")
            raise JobFailed(index, error, text)
        self.sent.popleft()
        self._starts.popleft()
        self._begin()
        return index, payload

    def require_started(self) -> None:
        """Raises if it is not the function that is late: particles must not be lost for that."""
        if self._starts[0]:
            raise CheckError(
                f"A worker process of {self.sent[0][1].about} has not come to call the function after "
                f"{_START_SECONDS:g} s. Either the machine is overloaded, or the function's module imports "
                "too much: move the function to a module that imports only what it needs."
            )

    def _begin(self) -> None:
        """Sets the clock for the first of the jobs."""
        if not self.sent:
            return
        timeout = self.sent[0][1].timeout
        limit = _START_SECONDS if self._starts[0] else float("inf") if timeout is None else timeout
        self.deadline = time.monotonic() + limit

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # with the processes that the call has started
        self._process.wait()
        self.connection.close()
        self.sent.clear()


def _died(job: Job) -> CheckError:
    return CheckError(
        f"The worker process of {job.about} died: it crashed, ran out of memory, or could not start."
    )
