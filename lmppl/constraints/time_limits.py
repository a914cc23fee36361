"""Calls of the user's functions that may never return, given up after some seconds."""

from __future__ import annotations

import contextvars
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


class TimeLimitReached(Exception):
    """The call did not return in time."""


class _Alarm(BaseException):
    """Raised inside a call that is over time. No Exception, so that `except Exception` lets it pass."""


def call_within(seconds: float, function: Callable[[Any], Result], argument: object) -> Result:
    """Gives `function(argument)`, or raises after some seconds.

    In the main thread the call is interrupted by SIGALRM, for some 5 us; whatever handler and timer
    were set before (pytest-timeout, an outer call) still fire when they are due. A call inside one
    long operation of C code ends only with it. In other threads, and on Windows, the call runs in a
    thread of its own, which is abandoned when over time: it goes on in the background.

    Raises:
        TimeLimitReached: The call took longer.
        Exception: Whatever the function raised.
    """
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        return _Interruption(seconds).call(function, argument)
    return _call_in_thread(seconds, function, argument)


class _Interruption:
    """One call under an alarm, and what was set before it."""

    def __init__(self, seconds: float):
        self.alarm = _Alarm()
        self.running = True
        self.seconds = seconds
        self.deadline = float("inf")
        self.previous: Any = signal.SIG_DFL
        self.previous_deadline = float("inf")
        self.previous_interval = 0.0

    def call(self, function: Callable[[Any], Result], argument: object) -> Result:
        delay, self.previous_interval = signal.setitimer(signal.ITIMER_REAL, 0)
        now = time.monotonic()
        self.deadline = now + self.seconds
        if delay:
            self.previous_deadline = now + delay
        self.previous = signal.signal(signal.SIGALRM, self.ring) or signal.SIG_DFL  # None: set by C code
        try:
            try:
                self.arm()
                return function(argument)
            finally:
                self.running = False
                self.restore()
        except _Alarm as alarm:
            if alarm is not self.alarm:
                raise
            self.restore()  # it rang before `running` was cleared
        raise TimeLimitReached

    def arm(self) -> None:
        wait = min(self.deadline, self.previous_deadline) - time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, max(wait, 1e-6))

    def ring(self, number: int, frame: object) -> None:
        if self.previous_deadline <= self.deadline and time.monotonic() >= self.previous_deadline:
            self.ring_previous(number, frame)
        if not self.running:
            return
        if time.monotonic() >= self.deadline:
            raise self.alarm
        self.arm()

    def ring_previous(self, number: int, frame: object) -> None:
        interval = self.previous_interval
        self.previous_deadline = time.monotonic() + interval if interval else float("inf")
        if callable(self.previous):
            self.previous(number, frame)
        elif self.previous == signal.SIG_DFL:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGALRM)

    def restore(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.previous)
        if self.previous_deadline < float("inf"):
            wait = max(self.previous_deadline - time.monotonic(), 1e-6)
            signal.setitimer(signal.ITIMER_REAL, wait, self.previous_interval)


def _call_in_thread(seconds: float, function: Callable[[Any], Result], argument: object) -> Result:
    outcome: list[tuple[bool, Any]] = []
    context = contextvars.copy_context()

    def run() -> None:
        try:
            outcome.append((True, context.run(function, argument)))
        except BaseException as error:  # handed over to the caller
            outcome.append((False, error))

    thread = threading.Thread(target=run, daemon=True, name="lmppl-time-limit")
    thread.start()
    thread.join(min(seconds, threading.TIMEOUT_MAX))
    if not outcome:
        raise TimeLimitReached
    returned, value = outcome[0]
    if returned:
        return value
    raise value
