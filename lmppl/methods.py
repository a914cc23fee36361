"""What an inference method is, and `infer`, which runs a program under one."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from lmppl.compilation import counting, make_room_for_programs, use_compile_cache
from lmppl.errors import InvalidTypeError
from lmppl.keys import run_key
from lmppl.posterior import Posterior
from lmppl.progress import Progress, progress_bar
from lmppl.representation import compact_repr


@dataclass(frozen=True, repr=False)
class Method(abc.ABC):
    """A way to find a program's posterior: a frozen value. All methods target the same measure."""

    def __repr__(self) -> str:
        return compact_repr(self)

    @abc.abstractmethod
    def run(self, program: Callable[[], Any], key: Any, progress: Progress) -> Posterior:
        """Finds the posterior of a program whose arguments are bound.

        Args:
            program: Called without arguments, any number of times.
            key: A typed JAX key; the only source of randomness.
            progress: Is told how far the run has come.
        """


class NumPyroArrived(BaseException):
    """A run that began without NumPyro has imported it, and may have lost sites: it has to begin anew.

    No Exception, so that the user's code does not catch it.
    """


def infer(
    program: Callable[..., Any],
    *args: Any,
    method: Method | None = None,
    key: Any = 0,
    progress: bool | None = None,
    **kwargs: Any,
) -> Posterior:
    """Finds the posterior of a program.

    Args:
        program: An `@lp.program`, a plain function with statements, or a NumPyro model.
        *args: Passed to the program, as are other keyword arguments.
        method: Such as `lp.SMC(64)`, which is the default.
        key: An int or a JAX key. The same key gives the same posterior.
        progress: Show a progress bar on stderr; None shows one in a terminal or notebook only.

    Raises:
        NoPosterior: Every particle was lost; the message says where and why.
        ProgramNotDeterministic: The program takes another path over the same values.
    """
    if not callable(program):
        raise InvalidTypeError(
            f"lp.infer expects a program, got {type(program).__name__} ({str(program)[:60]!r}). Pass the "
            "function itself and its arguments beside it: lp.infer(program, lm, 3), not "
            "lp.infer(program(lm, 3))."
        )
    if method is None:
        from lmppl import SMC  # the language does not import its engines; this looks the default up by name

        method = SMC(64)
    if not isinstance(method, Method):
        got = (
            f"the class {method.__name__}"
            if isinstance(method, type)
            else f"{type(method).__name__} ({str(method)[:60]!r})"
        )
        raise InvalidTypeError(f"lp.infer(method=...) expects a method such as lp.SMC(64), got {got}.")
    use_compile_cache()
    make_room_for_programs()
    program = partial(program, *args, **kwargs)
    with progress_bar(progress) as bar, counting(bar.compiling):
        try:
            return method.run(program, run_key(key), bar)
        except NumPyroArrived:
            return method.run(program, run_key(key), bar)
