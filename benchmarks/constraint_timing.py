"""How every constraint engine, ours and others, is timed. Imports no engine."""

from __future__ import annotations

import dataclasses
import gc
import json
import random
import signal
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from constraint_tasks import Task

NUM_CANDIDATES = 64  # asked about at each place of a sample
LONG = 0.5  # seconds, after which nothing is measured once more
COMPILE_LIMIT = 20.0  # seconds
STATES_SECONDS = 4.0


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        repeats: Of everything that is quick.
        places: Of a sample, at most, at which candidates are checked.
        check_seconds: For all checks of a task; places behind are left out.
        mask_places: At most, at which whole masks are made.
        mask_seconds: After which a mask is given up. No other is made after a tenth of it.
        states: That are kept, to see what they take.
    """

    repeats: int = 5
    places: int = 16
    check_seconds: float = 6.0
    mask_places: int = 4
    mask_seconds: float = 30.0
    states: int = 2_000

    def written(self) -> str:
        """Gives it for a command line."""
        return json.dumps(dataclasses.asdict(self))


QUICK = Effort(repeats=2, places=4, check_seconds=0.3, mask_places=2, mask_seconds=0.3, states=300)


class Engine(Protocol):
    """A constraint engine over one vocabulary. States are whatever it hands out."""

    @property
    def name(self) -> str:
        """Its name in tables."""
        ...

    @property
    def kinds(self) -> tuple[str, ...]:
        """What it can be told."""
        ...

    def compile(self, task: Task) -> Any:
        """Makes a constraint from its text, nothing remembered from before."""
        ...

    def initial(self, compiled: Any) -> Any:
        """Gives the state of the empty string."""
        ...

    def advanced(self, state: Any, token: int) -> Any:
        """Gives the state after a token; the old one may be used up."""
        ...

    def check(self, state: Any, candidates: Sequence[int]) -> list[bool]:
        """Says of each token whether it may come next; the state stays."""
        ...

    def mask(self, state: Any) -> int:
        """Fills a whole mask, anew, and gives the number of tokens that it allows."""
        ...

    def fork(self, state: Any) -> Any:
        """Gives what a copy keeps that has a life of its own."""
        ...


def measure(
    engine: Engine, task: Task, tokens: Sequence[bytes], effort: Effort, ids: Sequence[int] | None = None
) -> dict[str, Any]:
    """Times one engine on one task.

    Args:
        engine: Asked.
        task: What about.
        tokens: The vocabulary.
        effort: How often.
        ids: Of the sample, if not the longest tokens that fit.

    Returns:
        `compile_s`: the median over repeats. `check_us`, `mask_us`, `fork_us`: medians over the places of the
        sample of the least time among repeats; `worst_mask_us`, of the same, the greatest. `first_us`: of the
        first time that candidates are asked about there, the median, and `worst_first_us` the greatest;
        `first_mask_us`, likewise of a mask, the greatest. `state_bytes`: what a state takes, along the
        sample. `allowed`: how many candidates were accepted, for comparison, and `masked` in the masks.
        `places`, `mask_places`: how many there were. `without_mask`: why masks are missing.
    """
    compiled, compile_times = _compiled(engine, task, effort.repeats)
    if ids is None:
        ids = Segmentation(tokens)(task.sample.encode())
    times = _Times()
    randomness = random.Random(0)
    state = engine.initial(compiled)
    for place, token in enumerate(ids):
        if place % -(-len(ids) // effort.places) == 0 and times.check_seconds < effort.check_seconds:
            others = (randomness.randrange(len(tokens)) for _ in range(NUM_CANDIDATES - 1))
            if not times.check(engine, state, [token, *others], effort.repeats):
                raise ValueError(f"{engine.name} refuses {tokens[token]!r} in the sample of {task.name}.")
            times.fork.append(_least(effort.repeats, engine.fork, state))
        if place % -(-len(ids) // effort.mask_places) == 0:
            times.mask(engine, state, effort)
        state = engine.advanced(state, token)
    return {
        "engine": engine.name,
        "task": task.name,
        "of": task.kind,
        "vocab": len(tokens),
        "compile_s": statistics.median(compile_times),
        **times.row(),
        "state_bytes": _bytes_a_state(engine, compiled, ids, effort.states),
    }


def _compiled(engine: Engine, task: Task, repeats: int) -> tuple[Any, list[float]]:
    times: list[float] = []
    compiled = None
    while len(times) < repeats and sum(times) < COMPILE_LIMIT:
        del compiled
        began = time.perf_counter()
        compiled = engine.compile(task)
        times.append(time.perf_counter() - began)
    return compiled, times


class _Times:
    """What was measured along one sample, in seconds."""

    def __init__(self) -> None:
        self.firsts: list[float] = []
        self.checks: list[float] = []
        self.first_masks: list[float] = []
        self.masks: list[float] = []
        self.fork: list[float] = []
        self.num_allowed = 0
        self.num_masked = 0
        self.without_mask = ""
        self.check_seconds = 0.0

    def check(self, engine: Engine, state: Any, candidates: Sequence[int], repeats: int) -> bool:
        """Times the checks of some candidates, and says whether the first is allowed."""
        began = time.perf_counter()
        answers = engine.check(state, candidates)
        self.firsts.append((time.perf_counter() - began) / len(candidates))
        self.num_allowed += sum(answers)
        self.checks.append(_least(repeats, engine.check, state, candidates) / len(candidates))
        self.check_seconds += time.perf_counter() - began
        return answers[0]

    def mask(self, engine: Engine, state: Any, effort: Effort) -> None:
        """Times a mask, unless those before took too long."""
        if sum(self.first_masks) > effort.mask_seconds / 10 or self.without_mask:
            return
        try:
            with _interrupted_after(effort.mask_seconds):
                began = time.perf_counter()
                num_masked = engine.mask(state)
                self.first_masks.append(time.perf_counter() - began)
        except TooLong:
            if not self.masks:
                self.without_mask = f"not measured: over {effort.mask_seconds:g} s"
            else:
                self.without_mask = f"one not measured: over {effort.mask_seconds:g} s"
            return
        self.num_masked += num_masked
        first = self.first_masks[-1]
        self.masks.append(_least(effort.repeats, engine.mask, state) if first < LONG else first)

    def row(self) -> dict[str, Any]:
        """Gives the figures, in microseconds."""
        has_masks = bool(self.masks)
        return {
            "first_us": 1e6 * statistics.median(self.firsts),
            "worst_first_us": 1e6 * max(self.firsts),
            "check_us": 1e6 * statistics.median(self.checks),
            "first_mask_us": 1e6 * max(self.first_masks) if has_masks else None,
            "mask_us": 1e6 * statistics.median(self.masks) if has_masks else None,
            "worst_mask_us": 1e6 * max(self.masks) if has_masks else None,
            "fork_us": 1e6 * statistics.median(self.fork),
            "allowed": self.num_allowed,
            "masked": self.num_masked,
            "places": len(self.firsts),
            "mask_places": len(self.masks),
            "without_mask": self.without_mask,
        }


class Segmentation:
    """Cuts a text into tokens, always the longest that fits."""

    def __init__(self, tokens: Sequence[bytes]):
        self._ids = {data: number for number, data in reversed(list(enumerate(tokens)))}
        self._longest = max(map(len, tokens))

    def __call__(self, text: bytes) -> list[int]:
        found, at = [], 0
        while at < len(text):
            sizes = range(min(self._longest, len(text) - at), 0, -1)
            size = next(size for size in sizes if text[at : at + size] in self._ids)
            found.append(self._ids[text[at : at + size]])
            at += size
        return found


def read_vocabulary(path: Path, size: int) -> list[bytes]:
    """Gives the first tokens of a byte-level `tokenizer.json`, the end token behind them."""
    ranked = sorted(json.loads(path.read_text())["model"]["vocab"].items(), key=lambda item: item[1])
    letters = _byte_letters()
    tokens = [bytes(letters[letter] for letter in word) for word, _ in ranked[: size - 1]]
    return [*tokens, b"<|end|>"]


def _byte_letters() -> dict[str, int]:
    """Gives the byte that each letter of byte-level BPE stands for: printable ones stand for themselves."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}


class TooLong(BaseException):
    """What was measured took too long. No Exception, so that no engine takes it for one of its own."""


@contextmanager
def _interrupted_after(seconds: float) -> Iterator[None]:
    """Ends the body by `TooLong`, where the system has timers; in C code, once that returns."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def ring(number: int, frame: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)  # again and again: what a callback raises is lost
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _least(repeats: int, work: Callable[..., Any], *args: Any) -> float:
    times: list[float] = []
    while len(times) < repeats and sum(times) < LONG:
        began = time.perf_counter()
        work(*args)
        times.append(time.perf_counter() - began)
    return min(times)


def _bytes_a_state(engine: Engine, compiled: Any, ids: Sequence[int], num_states: int) -> float:
    """Gives what a state takes that is kept: Python's allocations, or the process's growth if that is more.

    The sample is read again and again, and a copy of each of its states is kept.
    """
    gc.collect()
    before = _resident()
    kept = _kept(engine, compiled, ids, num_states)
    grown = (_resident() - before) / len(kept)
    kept.clear()
    gc.collect()
    tracemalloc.start()
    kept = _kept(engine, compiled, ids, num_states)
    gc.collect()
    allocated = tracemalloc.get_traced_memory()[0] / len(kept)
    tracemalloc.stop()
    return max(0.0, grown, allocated)


def bytes_of_first_reading(engine: Engine, task: Task, ids: Sequence[int]) -> float:
    """Gives what Python allocates for each state of a sample that is read for the first time.

    So what the constraint learns on the way and keeps is counted too.
    """
    compiled = engine.compile(task)
    gc.collect()
    tracemalloc.start()
    state = engine.initial(compiled)
    kept = []
    for token in ids:
        state = engine.advanced(state, token)
        kept.append(engine.fork(state))
    gc.collect()
    allocated = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return allocated / len(kept)


def _kept(engine: Engine, compiled: Any, ids: Sequence[int], num_states: int) -> list[Any]:
    began = time.perf_counter()
    kept: list[Any] = []
    while len(kept) < num_states and (not kept or time.perf_counter() - began < STATES_SECONDS):
        state = engine.initial(compiled)
        for token in ids:
            state = engine.advanced(state, token)
            kept.append(engine.fork(state))
    return kept


def _resident() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * 4096
