"""Who answers a program's statements: one handler at a time, installed by a context manager."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from lmppl.errors import OutsideProgramError
from lmppl.sites import Statement


class Handler(abc.ABC):
    """Answers the statements of one run of one program."""

    @abc.abstractmethod
    def handle(self, statement: Statement) -> Any:
        """Gives the value of a statement; None for statements that have no value."""


_HANDLER: ContextVar[Handler | None] = ContextVar("lmppl_handler", default=None)


@contextmanager
def handling(handler: Handler) -> Iterator[None]:
    """Installs a handler for the body, and restores the old one whatever happens."""
    token = _HANDLER.set(handler)
    try:
        yield
    finally:
        _HANDLER.reset(token)


def current_handler(what: str) -> Handler:
    """Gives the installed handler.

    Raises:
        OutsideProgramError: No program is being run; `what` is named in the message.
    """
    handler = _HANDLER.get()
    if handler is None:
        raise OutsideProgramError(
            f"{what} was reached outside of a run. A program is run by "
            "`lp.infer(program, *args, method=lp.SMC(64))`; calling it like a function does nothing."
        )
    return handler
