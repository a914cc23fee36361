"""NumPyro's place under a run: it is not imported before somebody uses it, which takes half a second."""

from __future__ import annotations

import sys
import threading
from contextlib import AbstractContextManager
from typing import Any

from lmppl.handlers import Handler
from lmppl.methods import NumPyroArrived

NUMPYRO_LOCK = threading.RLock()  # held while anything of ours stands on NumPyro's one global stack


def is_imported() -> bool:
    """Says whether a program can have NumPyro sites."""
    return "numpyro.primitives" in sys.modules


def bridge_to(handler: Handler) -> AbstractContextManager[Any]:
    """Gives the context in which a program's NumPyro sites go to a handler of ours.

    Raises, on leaving it:
        NumPyroArrived: NumPyro has been imported in it, so that sites may have been lost.
    """
    if not is_imported():
        return _Without()
    from lmppl.inference.numpyro_models import NumPyroBridge  # imports NumPyro

    return NumPyroBridge(handler)


class _Without:
    """Notices that the program has imported NumPyro."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        if is_imported():
            raise NumPyroArrived


class OwnStack:
    """NumPyro keeps its handlers in one global list: each particle is shown its own part of it.

    Other threads have to wait while a particle runs.
    """

    def __init__(self) -> None:
        self._part: list[Any] = []
        self._base: int | None = None

    def __enter__(self) -> None:
        NUMPYRO_LOCK.acquire()
        stack = _global_stack()
        self._base = None if stack is None else len(stack)
        if stack is not None:
            stack.extend(self._part)

    def __exit__(self, *_: object) -> None:
        stack = _global_stack()
        if stack is not None and self._base is not None:
            self._part = stack[self._base :]
            del stack[self._base :]
        NUMPYRO_LOCK.release()


def _global_stack() -> list[Any] | None:
    primitives: Any = sys.modules.get("numpyro.primitives")
    return None if primitives is None else getattr(primitives, "_PYRO_STACK", None)
