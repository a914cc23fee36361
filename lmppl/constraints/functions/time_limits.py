"""Calls of the user's functions that may never return, given up after some seconds."""

from __future__ import annotations

import contextvars
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

Result = TypeVar("Result")


class TimeLimitReached(Exception):
    """The call did not return in time."""


class _Alarm(BaseException):
    """Raised inside a call that is over time. No Exception, so that `except Exception` lets it pass."""

    def __init__(self, call: _Call):
        super().__init__()
        self.call = call


@dataclass(eq=False)
class _Call:
    deadline: float


def call_within(seconds: float, function: Callable[[Any], Result], argument: object) -> Result:
    """Gives `function(argument)`, or raises after some seconds.

    In the main thread the call is interrupted by SIGALRM; whatever handler and timer were set before
    (pytest-timeout, an outer call) still fire when they are due. A call inside one long operation of C
    code ends only with it. In other threads, and on Windows, the call runs in a thread of its own, which
    is abandoned when over time: it goes on in the background.

    Raises:
        TimeLimitReached: The call took longer.
        Exception: Whatever the function raised.
    """
    if not _may_interrupt():
        return _call_in_thread(seconds, function, argument)
    if _alarm_clock is not None:
        return _alarm_clock.call(seconds, function, argument)
    with one_alarm():
        return call_within(seconds, function, argument)


@contextmanager
def one_alarm() -> Iterator[None]:
    """Lets the calls in the body share one handler and one timer: a limit then costs little."""
    global _alarm_clock
    if _alarm_clock is not None or not _may_interrupt():
        yield
        return
    clock = _AlarmClock()
    clock.start()
    _alarm_clock = clock
    try:
        yield
    finally:
        _alarm_clock = None
        clock.stop()


def _may_interrupt() -> bool:
    return _HAS_TIMERS and threading.get_ident() == threading.main_thread().ident


_HAS_TIMERS = hasattr(signal, "setitimer")
_AGAIN = 0.05  # seconds; what is raised inside a finaliser or a callback of the garbage collector is lost
# Without the search for a name of the handler, which takes longer than all else that a call does: CPython's
# own function, where `signal` wraps it.
_handler_of: Callable[[int], Any] = getattr(sys.modules.get("_signal"), "getsignal", signal.getsignal)


class _AlarmClock:
    """The main thread's calls under way, the outermost first, and what was set before them."""

    def __init__(self) -> None:
        self.calls: list[_Call] = []
        self.previous: Any = signal.SIG_DFL
        self.previous_deadline = float("inf")
        self.previous_interval = 0.0

    def start(self) -> None:
        delay, self.previous_interval = signal.setitimer(signal.ITIMER_REAL, 0)
        if delay:
            self.previous_deadline = time.monotonic() + delay
        self.previous = signal.signal(signal.SIGALRM, self.ring) or signal.SIG_DFL  # None: set by C code
        self.arm()

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.previous)
        if self.previous_deadline < float("inf"):
            wait = max(self.previous_deadline - time.monotonic(), 1e-6)
            signal.setitimer(signal.ITIMER_REAL, wait, self.previous_interval)

    def call(self, seconds: float, function: Callable[[Any], Result], argument: object) -> Result:
        call, outer = _Call(time.monotonic() + seconds), len(self.calls)
        try:
            try:
                self.calls.append(call)
                self.see_that_it_rings(seconds)
                return function(argument)
            finally:
                del self.calls[outer:]
        except _Alarm as alarm:
            if alarm.call is not call:
                raise
            del self.calls[outer:]  # it rang before they were gone
        raise TimeLimitReached

    def see_that_it_rings(self, seconds: float) -> None:
        """Sets handler and timer if nothing would ring so soon: an earlier call may have set its own.

        The timer of a call that has returned is left to ring. It is then set anew for those under way.
        """
        if _handler_of(signal.SIGALRM) != self.ring:
            signal.signal(signal.SIGALRM, self.ring)
        if not 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= seconds:
            self.arm()

    def arm(self) -> None:
        deadline = min([self.previous_deadline, *(call.deadline for call in self.calls)])
        if deadline < float("inf"):
            signal.setitimer(signal.ITIMER_REAL, max(deadline - time.monotonic(), 1e-6))

    def ring(self, number: int, frame: object) -> None:
        now = time.monotonic()
        for call in self.calls:
            if now >= call.deadline and call.deadline < self.previous_deadline:
                signal.setitimer(signal.ITIMER_REAL, _AGAIN)
                raise _Alarm(call)
        if now >= self.previous_deadline:
            self.ring_previous(number, frame)
        self.arm()

    def ring_previous(self, number: int, frame: object) -> None:
        interval = self.previous_interval
        self.previous_deadline = time.monotonic() + interval if interval else float("inf")
        if callable(self.previous):
            self.previous(number, frame)
        elif self.previous == signal.SIG_DFL:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGALRM)


_alarm_clock: _AlarmClock | None = None


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
