"""Compiled programs: kept on disk between processes, and counted while a run makes them."""

from __future__ import annotations

import functools
import gc
import os
import tempfile
import threading
import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import filelock
import jax

from lmppl.cache_places import COMPILE_CACHE, cache_folder

_MAX_BYTES = 2 * 2**30
_MAX_ENTRIES = 2000  # JAX looks at every entry each time it writes one: 2,000 are some 50 ms
_ENTRY, _USED = "-cache", "-atime"  # JAX's names: a program, and when it was last used
_TRACE = "/jax/core/compile/jaxpr_trace_duration"
_LOWER = "/jax/core/compile/jaxpr_to_mlir_module_duration"
_COMPILE = "/jax/core/compile/backend_compile_duration"
_LOADED = "/jax/compilation_cache/cache_hits"


@functools.cache
def use_compile_cache() -> Path | None:
    """Lets JAX keep compiled programs on disk, unless the user has arranged that otherwise.

    The folder is `$XDG_CACHE_HOME/lmppl/compiled`, or `~/.cache/lmppl/compiled`; the environment
    variable `LMPPL_COMPILE_CACHE` names another, or is `off`. It holds at most 2 GB, those used
    longest ago are dropped. JAX has one such cache a process, so programs that the user compiles
    in this process are kept there too. Only the first call does anything, and none touches a cache
    that the user has set or switched off in JAX (`jax_compilation_cache_dir`,
    `jax_enable_compilation_cache`). A folder that cannot be written gives one warning.

    Returns:
        The folder in use by this call, or None.
    """
    folder = cache_folder()
    if folder is None or not _option("jax_enable_compilation_cache", True):
        return None
    if _option("jax_compilation_cache_dir", None):
        return None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # who can write here can run code as us
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        warnings.warn(
            f"Compiled programs cannot be kept in {str(folder)!r} ({error}), so every process compiles them "
            f"anew. Let the environment variable {COMPILE_CACHE} name a folder that can be written, or "
            "be 'off'.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    _tidy(folder)
    for name, value in (
        ("jax_persistent_cache_min_compile_time_secs", 0.0),
        ("jax_persistent_cache_min_entry_size_bytes", -1),
        ("jax_compilation_cache_max_size", _MAX_BYTES),
    ):
        if hasattr(jax.config, name) and name.upper() not in os.environ:
            jax.config.update(name, value)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    return folder


def compiled(owner: Any, name: Hashable, make: Callable[[], Any]) -> Any:
    """Gives a compiled function that belongs to an object, made at most once and kept with it."""
    functions = vars(owner).setdefault("_compiled", {})
    if name not in functions:
        functions[name] = make()
    return functions[name]


def make_room_for_programs() -> bool:
    """Drops this process's compiled programs where the system would soon refuse to hold more.

    On CPU one large program takes up to a thousand memory mappings (jax 0.10), and Linux gives a process
    65,530 of them (`vm.max_map_count`): behind that JAX crashes. A program that is wanted again is loaded
    from the cache on disk, or compiled again. Cheap where few programs were made since the last call.

    Returns:
        Whether they were dropped, those of the user's own functions included.
    """
    made = compilations().num_programs
    if made - _MAPPINGS.counted_at < _COUNT_EVERY:
        return False
    _MAPPINGS.counted_at = made
    limit = _max_mappings()
    if limit is None or _num_mappings() < (limit + _MAPPINGS.left) // 2:
        return False
    jax.clear_caches()
    gc.collect()
    _MAPPINGS.left = _num_mappings()  # other libraries' own: dropping programs does not free these
    return True


def leave_compile_cache() -> None:
    """Compiles what follows in this process without our cache; one that the user has set stays.

    Programs for several CPU devices of one process, loaded from the cache, crash it every third time
    (jax 0.10.2).
    """
    if use_compile_cache() is not None:
        jax.config.update("jax_enable_compilation_cache", False)


@dataclass
class Compilations:
    """How many programs were made ready to run.

    Attributes:
        num_compiled: Compiled.
        num_loaded: Taken from the cache on disk instead.
        seconds: Wall time of both, with the tracing that comes before.
    """

    num_compiled: int = 0
    num_loaded: int = 0
    seconds: float = 0.0

    @property
    def num_programs(self) -> int:
        """Compiled or loaded: does not depend on what lies on the disk."""
        return self.num_compiled + self.num_loaded


def compilations() -> Compilations:
    """Gives the counts of this process and all of its threads, from the first call on."""
    _listen()
    return replace(_TOTAL)


@contextmanager
def counting(started: Callable[[str], None] | None = None) -> Iterator[Compilations]:
    """Counts what this thread compiles in the body; the counts grow while it runs.

    Args:
        started: Called with the name of each function that begins to be traced or compiled.
    """
    _listen()
    counter = _Counter(Compilations(), threading.get_ident(), started)
    with _LOCK:
        _COUNTERS.append(counter)
    try:
        yield counter.counts
    finally:
        with _LOCK:
            _COUNTERS.remove(counter)


@dataclass(eq=False)
class _Counter:
    counts: Compilations
    thread: int
    started: Callable[[str], None] | None


@dataclass
class _Mappings:
    """What is known of this process's memory mappings.

    Attributes:
        counted_at: How many programs had been made when they were last counted.
        left: How many there were after programs were last dropped.
    """

    counted_at: int = 0
    left: int = 0


_COUNT_EVERY = 16  # programs: to count 30,000 mappings takes some 20 ms
_MAPPINGS = _Mappings()
_LOCK = threading.Lock()
_TOTAL = Compilations()
_COUNTERS: list[_Counter] = []
_THIS_THREAD = threading.local()


@functools.cache
def _listen() -> None:
    """Listens to JAX from now on. Without the event of a start, `started` is never called."""
    jax.monitoring.register_event_listener(_happened)
    jax.monitoring.register_event_duration_secs_listener(_ended)
    if hasattr(jax.monitoring, "register_scalar_listener"):
        jax.monitoring.register_scalar_listener(_began)


def _began(event: str, value: float, **details: Any) -> None:
    if event not in (_TRACE, _LOWER, _COMPILE):
        return
    name = str(details.get("fun_name", "")).removeprefix("jit(").removesuffix(")")
    with _LOCK:
        listening = [c.started for c in _COUNTERS if c.started is not None and c.thread == _thread()]
    if listening:
        listening[-1](name)  # of nested runs the innermost shows it


def _happened(event: str, **details: Any) -> None:
    if event == _LOADED:
        _THIS_THREAD.loaded = True


def _ended(event: str, duration_secs: float, **details: Any) -> None:
    if event not in (_TRACE, _LOWER, _COMPILE):
        return
    compiled = loaded = 0
    if event == _COMPILE:
        loaded = int(getattr(_THIS_THREAD, "loaded", False))
        compiled, _THIS_THREAD.loaded = 1 - loaded, False
    with _LOCK:
        for counts in (_TOTAL, *(counter.counts for counter in _COUNTERS if counter.thread == _thread())):
            counts.num_compiled += compiled
            counts.num_loaded += loaded
            counts.seconds += duration_secs


def _thread() -> int:
    return threading.get_ident()


def _option(name: str, default: Any) -> Any:
    return getattr(jax.config, name, default)  # JAX makes these attributes at run time


def _max_mappings() -> int | None:
    try:
        return int(Path("/proc/sys/vm/max_map_count").read_text())
    except (OSError, ValueError):
        return None  # no Linux


def _num_mappings() -> int:
    with open("/proc/self/maps", "rb") as lines:
        return sum(1 for _ in lines)


def _tidy(folder: Path) -> None:
    """Drops what a killed process left half written, and the oldest of too many entries.

    JAX notes the use of an entry after it has written it, so one without a note is torn; it would
    make JAX fail to write any other. Nothing is done while another process holds JAX's lock.
    """
    try:
        with filelock.FileLock(folder / ".lockfile", timeout=0):
            names = set(os.listdir(folder))
            entries = [name.removesuffix(_ENTRY) for name in names if name.endswith(_ENTRY)]
            whole = [entry for entry in entries if entry + _USED in names]
            drop = {entry for entry in entries if entry + _USED not in names}
            if len(whole) > _MAX_ENTRIES:
                whole.sort(key=lambda entry: (folder / (entry + _USED)).stat().st_mtime)
                drop.update(whole[: len(whole) - _MAX_ENTRIES // 2])
            for entry in drop:
                (folder / (entry + _ENTRY)).unlink(missing_ok=True)
                (folder / (entry + _USED)).unlink(missing_ok=True)
    except (OSError, filelock.Timeout):
        return
