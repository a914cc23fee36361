"""What took long to compile, kept on disk between processes by what it is made of.

It lies in the folder `constraints` of lmppl's cache, 256 MB and 4,096 files at most; what was used longest
ago is dropped. The name of a file is a digest of what it was compiled from, of lmppl's own code, of Python's
version, on whose tables of Unicode it depends, and of those of the packages that had a part in it. A file is
plain data: reading one runs no code, and one that is damaged, or was written for something else, is made
again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lmppl.cache_places import cache_folder
from lmppl.constraints.plain_values import Damaged, Kind, Kinds, NotPlain, read, written
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.transition_tables import DEAD

LEAST_SECONDS = 0.05
"""What compiles in less is not kept: reading it would take about as long."""

MAX_BYTES = 256 * 2**20
MAX_FILES = 4_096

Value = TypeVar("Value")


def _classes_of(machine: ByteAutomaton) -> tuple:
    return (*by_classes(machine.transitions), machine.accepting)


def _of_classes(table: np.ndarray, class_of: np.ndarray, accepting: np.ndarray) -> ByteAutomaton:
    transitions = by_bytes(table, class_of)
    if len(transitions) != len(accepting) or accepting.dtype != bool:
        raise ValueError
    return ByteAutomaton(transitions, accepting)


def by_classes(transitions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gives a table over classes of bytes, and the class of each, which takes little room."""
    columns: dict[bytes, int] = {}
    turned = np.ascontiguousarray(transitions.T)
    class_of = np.array([columns.setdefault(column.tobytes(), len(columns)) for column in turned], np.uint8)
    first = [int(np.argmax(class_of == number)) for number in range(len(columns))]
    return np.ascontiguousarray(turned[first].T, np.int32), class_of


def by_bytes(table: np.ndarray, class_of: np.ndarray) -> np.ndarray:
    """Gives the table over bytes, read-only.

    Raises:
        ValueError: It leads to states that it has not.
    """
    transitions = np.ascontiguousarray(table[:, class_of], np.int32)
    if transitions.shape != (len(table), 256) or not len(table):
        raise ValueError
    if table.min() < DEAD or table.max() >= len(table):
        raise ValueError
    transitions.setflags(write=False)
    return transitions


AUTOMATA: Kinds = {ByteAutomaton: Kind("automaton", _classes_of, _of_classes)}


class StoredParts:
    """The parts of one compilation by name, those that an earlier process has kept.

    Only what was on the disk is given again. What is made here is kept once it took long enough in all.

    Args:
        description: Says all that the parts depend on, by its `repr`; None if nothing is to be kept.
        kinds: The classes of the parts.
        is_current: Says whether parts that were found are still what would be made.
        share: Of `LEAST_SECONDS`, for what is read in much less.
    """

    def __init__(
        self,
        description: object,
        kinds: Kinds = AUTOMATA,
        is_current: Callable[[Mapping[str, Any]], bool] = lambda found: True,
        share: float = 1.0,
    ):
        self._kinds = kinds
        self._share = share
        self._seconds = 0.0
        self._made: dict[str, Any] = {}
        self._found: Mapping[str, Any] = {}
        self._key: str | None = None
        root = cache_folder()
        if root is None or description is None or not _code():
            return
        text = f"{_code()} {description!r}"
        self._key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        self._path = root / "constraints" / self._key
        found = self._read()
        if found is not None and is_current(found):
            self._found = found

    def get(self, name: str, make: Callable[[], Value]) -> Value:
        """Gives the part that was found, or makes it; errors are not kept."""
        if name in self._found:
            return self._found[name]
        started = time.perf_counter()
        made = make()
        self.spend(time.perf_counter() - started)
        self.add(name, made)
        return made

    def found(self, name: str) -> Any:
        """Gives the part that was found, or None."""
        return self._found.get(name)

    def add(self, name: str, made: Any) -> None:
        """Takes a part that was made."""
        if self._key is not None:
            self._made[name] = made

    def spend(self, seconds: float) -> None:
        """Takes note of how long it took to make something."""
        self._seconds += seconds

    @property
    def are_worth_keeping(self) -> bool:
        """Whether what was made and is not kept yet took long enough."""
        return self._key is not None and self._seconds >= self._share * LEAST_SECONDS

    def keep(self) -> None:
        """Writes all parts, if those that are new took long to make."""
        if not self._made or not self.are_worth_keeping:
            return
        self._seconds = 0.0
        with contextlib.suppress(
            OSError, NotPlain
        ):  # a folder that cannot be written is told of by JAX's cache
            self._write(written({**self._found, **self._made}, self._kinds, self._purpose))

    @property
    def _purpose(self) -> bytes:
        return (self._key or "").encode()

    def _read(self) -> Mapping[str, Any] | None:
        try:
            found = read(self._path.read_bytes(), self._kinds, self._purpose)
        except (OSError, Damaged):
            return None
        with contextlib.suppress(OSError):  # of a folder that is only read
            os.utime(self._path)
        return found if isinstance(found, dict) else None

    def _write(self, data: bytes) -> None:
        folder = self._path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = folder / f"{self._key}.{os.getpid()}.{threading.get_ident()}"
        unfinished.write_bytes(data)
        unfinished.replace(self._path)
        _drop_the_oldest(folder)


def stored(
    description: object,
    make: Callable[[], Value],
    kinds: Kinds = AUTOMATA,
    share: float = 1.0,
) -> Value:
    """Gives what is kept, or makes it, and keeps it if that took long.

    Args:
        description: As of `StoredParts`.
        make: Compiles it; its errors are not kept.
        kinds: The classes that it consists of.
        share: As of `StoredParts`.
    """
    parts = StoredParts(description, kinds, share=share)
    found = parts.get("", make)
    parts.keep()
    return found


@cache
def _code() -> str:
    """Gives a digest of the code that compiles; empty where there are no files of it to tell versions by."""
    paths = sorted(Path(__file__).parent.rglob("*.py"))
    digest = hashlib.sha256(f"{sys.implementation.name} {platform.python_version()}".encode())
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest() if paths else ""


def _drop_the_oldest(folder: Path) -> None:
    entries = []
    for entry in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):  # another process drops too
            entries.append((entry.stat().st_mtime, entry.stat().st_size, entry.path))
    excess = sum(size for _, size, _ in entries) - MAX_BYTES
    excess_files = len(entries) - MAX_FILES
    for _, size, path in sorted(entries):
        if excess <= 0 and excess_files <= 0:
            return
        Path(path).unlink(missing_ok=True)
        excess -= size
        excess_files -= 1
