"""One particle: a program's run that is suspended at a statement, resumed with a value, and replayed."""

from __future__ import annotations

import contextvars
import math
from collections.abc import Callable
from typing import Any

import greenlet

from lmppl.handlers import Handler, handling
from lmppl.inference.numpyro_presence import OwnStack, bridge_to
from lmppl.inference.replay import Recording
from lmppl.sites import Call, Deterministic, Factor, Statement, Twist
from lmppl.traces import Trace


class Particle(Handler):
    """Runs a program in a greenlet of its own, which switches away at every statement that must wait.

    `Factor`, `Twist` and `Deterministic` are answered at once; their weight is collected in
    `log_weight` and `log_twist`, which the scheduler reads and resets.

    Attributes:
        request: The statement at which the particle waits; None when it has returned.
        returned: Whether the program has come to its end.
        answer: What it returned.
    """

    def __init__(self, run: Callable[[], Any], recording: Recording | None = None):
        self._run = run
        self._recording = Recording() if recording is None else recording
        self._numpyro_stack = OwnStack()
        self._closed = False
        self._greenlet: greenlet.greenlet | None = None
        self.request: Statement | None = None
        self.returned = False
        self.answer: Any = None
        self.log_weight = 0.0
        self.log_twist = 0.0

    @property
    def trace(self) -> Trace:
        """What the particle has drawn and observed so far."""
        return self._recording.trace()

    @property
    def recording(self) -> Recording:
        """The answered statements."""
        return self._recording

    def start(self) -> None:
        """Runs to the first statement that must wait, or to the end."""
        self._greenlet = greenlet.greenlet(self._body, parent=greenlet.getcurrent())
        self._greenlet.gr_context = contextvars.copy_context()  # the caller's variables are seen inside
        self._switch()

    def resume(self, value: Any, detail: Any = None) -> None:
        """Answers the request and runs to the next one, or to the end.

        Args:
            value: The value of the statement.
            detail: What the trace keeps beside it.
        """
        assert self.request is not None
        self._recording.record(self.request, value, detail)
        self.request = None
        self._switch(value)

    def fork(self) -> Particle:
        """Gives a new particle with the same past, by replay.

        Raises:
            ProgramNotDeterministic: The program took another path over the same values.
        """
        if self.returned:
            return self.copy_of_trace()
        assert self.request is not None
        copy = Particle(self._run, self._recording.fork())
        copy.start()
        copy._recording.check_arrival(copy.request, self.request)
        return copy

    def copy_of_trace(self) -> Particle:
        """Gives a particle with the same past that will not go on."""
        copy = Particle(self._run, self._recording.fork())
        copy.returned, copy.answer = self.returned, self.answer
        return copy

    def close(self) -> None:
        """Ends the run, so that the user's `finally` clauses run."""
        self._closed = True
        running = self._greenlet
        self._greenlet = None
        if running is not None and not running.dead:
            with self._numpyro_stack:
                running.throw(greenlet.GreenletExit)

    def handle(self, statement: Statement) -> Any:
        if self._closed:  # the user's code caught what ends it
            raise greenlet.GreenletExit
        recorded = self._recording.next_recorded(statement)
        if recorded is not None:
            return recorded.value
        if not isinstance(statement, Call):
            self._recording.claim(statement)
        if isinstance(statement, Deterministic):
            self._recording.record(statement, statement.value)
            return None
        if isinstance(statement, (Factor, Twist)) and statement.log_weight > -math.inf:
            self._recording.record(statement, statement.log_weight)
            if isinstance(statement, Factor):
                self.log_weight += statement.log_weight
            else:
                self.log_twist += statement.log_weight
            return None
        self.request = statement
        scheduler = greenlet.getcurrent().parent
        assert scheduler is not None
        return scheduler.switch()

    def _body(self) -> None:
        with handling(self), bridge_to(self):
            self.answer = self._run()
        self._recording.check_end()
        self.request = None
        self.returned = True

    def _switch(self, value: Any = None) -> None:
        assert self._greenlet is not None
        self._greenlet.parent = greenlet.getcurrent()
        with self._numpyro_stack:
            if self._greenlet:  # it has started
                self._greenlet.switch(value)
            else:
                self._greenlet.switch()
