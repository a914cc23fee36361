"""What `@lp.program` makes of a plain function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from lmppl.errors import InvalidTypeError


class Program:
    """A probabilistic program: a plain function whose statements sample, constrain and observe.

    It is deterministic between its statements and has no side effects outside itself: a particle is
    forked by running the function again over the values that were recorded.
    """

    def __init__(self, function: Callable[..., Any]):
        self.function = function
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the body inside the program that calls it; its sites join the caller's."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<program {self.function.__qualname__}{inspect.signature(self.function)}>"


def program(function: Callable[..., Any]) -> Program:
    """Makes a program of a plain function. Used as `@lp.program`.

    Args:
        function: Any function. It may call helpers and other programs that make statements.

    Raises:
        InvalidTypeError: `function` is not callable, or is a coroutine or generator function.
    """
    if not callable(function):
        raise InvalidTypeError(
            f"@lp.program expects a function, got {type(function).__name__}. Write `@lp.program` on the line "
            "above `def`, without parentheses."
        )
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise InvalidTypeError(
            f"@lp.program expects a plain function, but {getattr(function, '__name__', function)!r} is a "
            "coroutine or a generator. Use `def` without `async` and `yield`; statements wait by "
            "themselves."
        )
    return Program(function)
