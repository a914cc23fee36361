"""Automata that took long to compile, kept on disk between processes by what they are made of.

They lie in the folder `automata` of lmppl's cache, 256 MB at most; those used longest ago are dropped. The
name of a file is a digest of the expression, of lmppl's own code and of Python's, whose tables of Unicode it
depends on. A file is plain arrays: reading one runs no code, and one that is damaged is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import time
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from lmppl.cache_places import cache_folder
from lmppl.constraints.automaton import ByteAutomaton
from lmppl.constraints.transition_tables import DEAD

LEAST_SECONDS = 0.05
"""What compiles in less is not kept: reading it would take about as long."""

MAX_BYTES = 256 * 2**20


def stored(description: object, make: Callable[[], ByteAutomaton]) -> ByteAutomaton:
    """Gives the automaton that is kept, or makes it, and keeps it if that took long.

    Args:
        description: Says all that the automaton depends on, by its `repr`.
        make: Compiles it; its errors are not kept.
    """
    root = cache_folder()
    if root is None:
        return make()
    digest = hashlib.sha256(f"{_code()} {description!r}".encode("utf-8", "surrogatepass")).hexdigest()
    path = root / "automata" / f"{digest}.npz"
    found = _read(path)
    if found is None:
        started = time.perf_counter()
        found = make()
        if time.perf_counter() - started >= LEAST_SECONDS:
            with contextlib.suppress(OSError):  # a folder that cannot be written is told of by JAX's cache
                _write(path, found)
    return found


@cache
def _code() -> str:
    digest = hashlib.sha256(platform.python_version().encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read(path: Path) -> ByteAutomaton | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            table, class_of, accepting = arrays["table"], arrays["class_of"], arrays["accepting"]
        transitions = np.ascontiguousarray(table[:, class_of], np.int32)
        is_whole = transitions.shape == (len(accepting), 256) and accepting.dtype == bool
        if not is_whole or transitions.min() < DEAD or transitions.max() >= len(accepting):
            return None
        os.utime(path)
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile):
        return None
    transitions.setflags(write=False)
    accepting.setflags(write=False)
    return ByteAutomaton(transitions, accepting)


def _write(path: Path, machine: ByteAutomaton) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    columns: dict[bytes, int] = {}
    turned = np.ascontiguousarray(machine.transitions.T)
    class_of = np.array([columns.setdefault(column.tobytes(), len(columns)) for column in turned], np.uint8)
    first = [int(np.argmax(class_of == number)) for number in range(len(columns))]
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, table=turned[first].T, class_of=class_of, accepting=machine.accepting)
    unfinished.replace(path)
    _drop_the_oldest(path.parent)


def _drop_the_oldest(folder: Path) -> None:
    entries = sorted(
        (entry.stat().st_mtime, entry.stat().st_size, entry.path) for entry in os.scandir(folder)
    )
    excess = sum(size for _, size, _ in entries) - MAX_BYTES
    for _, size, path in entries:
        if excess <= 0:
            return
        Path(path).unlink(missing_ok=True)
        excess -= size
