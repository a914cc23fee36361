"""Wall time, processor time and memory of a piece of work; runs that take turns."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Timing:
    """What a piece of work took.

    Attributes:
        wall: Seconds on the clock.
        cpu: Seconds of all threads of this process.
    """

    wall: float
    cpu: float


def timed(work: Callable[[], Any]) -> tuple[Any, Timing]:
    """Does some work, gives its result and what it took."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = work()
    return result, Timing(time.perf_counter() - wall, time.process_time() - cpu)


def taking_turns(
    works: Mapping[str, Callable[[int], Any]], repeats: int, budget: float = float("inf")
) -> Iterator[tuple[int, str, Any, Timing]]:
    """Runs each piece of work once, unseen, and then in `repeats` rounds, every other one backwards.

    So each is compiled before it is measured, and what the machine does in the meantime meets all alike.

    Args:
        works: By name; each is given the number of the round, from 1.
        repeats: How many rounds at most.
        budget: Seconds after which no further round begins; the first is always run.

    Yields:
        The round, the name, the result, the time.
    """
    started = time.perf_counter()
    for work in works.values():
        work(0)
    for number in range(1, repeats + 1):
        if number > 1 and time.perf_counter() - started > budget:
            return
        names = list(works) if number % 2 else list(works)[::-1]
        for name in names:
            gc.collect()
            result, timing = timed(lambda name=name, number=number: works[name](number))
            yield number, name, result, timing


def forget_peak() -> int:
    """Starts the measurement of `peak_bytes` anew and gives the bytes in use now (Linux)."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # else what is freed still counts as ours
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS") or peak_bytes()


def peak_bytes() -> int:
    """Gives the most memory that the process held since `forget_peak`; elsewhere than on Linux, ever."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _status("VmHWM") or (peak if sys.platform == "darwin" else peak * 1024)


def _status(name: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")]
    return found[0] if found else None
