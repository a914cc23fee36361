"""What is asked of every constraint engine, ours and others, and how it is timed. Imports no engine."""

from __future__ import annotations

import gc
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

NUM_CANDIDATES = 64  # asked about at each place of a sample
NUM_MASKS = 8  # places of a sample at which whole masks are made
NUM_FORKS = 500
LONG = 0.5  # seconds, after which nothing is measured once more
COMPILE_LIMIT = 20.0  # seconds
MASK_LIMIT = 10.0  # seconds that checks of the whole vocabulary may take; masks are left out beyond


@dataclass(frozen=True)
class Task:
    """One constraint and a text that obeys it.

    Attributes:
        name: Its row in the table.
        kind: `regex`, `json` (a schema) or `lark` (a grammar).
        source: What is compiled.
        sample: The text along which states are visited.
    """

    name: str
    kind: str
    source: str
    sample: str


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "email": {"type": "string"},
        "active": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
PERSON_TEXT = (
    '{"name": "Ann Lee", "age": 42, "email": "ann.lee@mail.com", "active": true, "tags": ["x", "long tag"]}'
)
# Without whitespace, so that all engines read it alike.
JSON_GRAMMAR = r"""
start: value
value: object | array | STRING | NUMBER | "true" | "false" | "null"
object: "{" (pair ("," pair)*)? "}"
pair: STRING ":" value
array: "[" (value ("," value)*)? "]"
STRING: /"[^"\\\n]*"/
NUMBER: /-?(0|[1-9][0-9]*)(\.[0-9]+)?/
"""

TASKS = (
    Task("date", "regex", r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "2024-05-17"),
    Task("email", "regex", r"[a-z0-9._]+@[a-z]+\.[a-z]{2,3}", "ann.lee42@mail.com"),
    Task("words", "regex", r"(?:[a-z]+ ){5}[a-z]+\.", "the cat sat on the mat."),
    Task("person", "json", json.dumps(PERSON), PERSON_TEXT),
    Task("grammar", "lark", JSON_GRAMMAR, PERSON_TEXT.replace(": ", ":").replace(", ", ",")),
)


class Engine(Protocol):
    """A constraint engine over one vocabulary. States are whatever it hands out."""

    name: str
    kinds: tuple[str, ...]

    def compile(self, task: Task) -> Any:
        """Makes a constraint from its text, nothing remembered from before."""
        ...

    def initial(self, compiled: Any) -> Any:
        """Gives the state of the empty string."""
        ...

    def advanced(self, state: Any, token: int) -> Any:
        """Gives the state after a token; the old one may be used up."""
        ...

    def check(self, state: Any, token: int) -> bool:
        """Says whether a token may come next; the state stays."""
        ...

    def mask(self, state: Any) -> int:
        """Fills a whole mask, anew, and gives the number of tokens that it allows."""
        ...

    def fork(self, state: Any) -> Any:
        """Gives a copy with a life of its own."""
        ...


def measure(engine: Engine, task: Task, tokens: Sequence[bytes], repeats: int) -> dict[str, Any]:
    """Times one engine on one task.

    Returns:
        `compile_s`: the median over repeats. `check_us`, `mask_us`, `fork_us`: medians over the places of the
        sample of the least time among repeats; `worst_mask_us`, of the same, the greatest. `first_us`: of the
        first time that candidates are asked about there, the median; `first_mask_us`, likewise of a mask, the
        greatest. `state_bytes`:
        growth of the process per fork. `allowed`: how many candidates were accepted, for comparison.
    """
    ids = Segmentation(tokens)(task.sample.encode())
    compile_times = []
    compiled = None
    for _ in range(repeats):
        began = time.perf_counter()
        compiled = engine.compile(task)
        compile_times.append(time.perf_counter() - began)
        if sum(compile_times) > COMPILE_LIMIT:
            break
    randomness = random.Random(0)
    times: dict[str, list[float]] = {"first": [], "check": [], "first_mask": [], "mask": [], "fork": []}
    num_allowed = num_masked = 0
    state = engine.initial(compiled)
    every = -(-len(ids) // NUM_MASKS)
    for place, token in enumerate(ids):
        candidates = [token, *(randomness.randrange(len(tokens)) for _ in range(NUM_CANDIDATES - 1))]
        began = time.perf_counter()
        answers = [engine.check(state, each) for each in candidates]
        times["first"].append((time.perf_counter() - began) / NUM_CANDIDATES)
        if not answers[0]:
            raise ValueError(f"{engine.name} refuses {tokens[token]!r} in the sample of {task.name}.")
        num_allowed += sum(answers)
        times["check"].append(_least(repeats, _each, engine.check, state, candidates) / NUM_CANDIDATES)
        if place % every == 0 and times["check"][-1] * len(tokens) < MASK_LIMIT:
            began = time.perf_counter()
            num_masked += engine.mask(state)
            times["first_mask"].append(time.perf_counter() - began)
            times["mask"].append(_least(repeats, engine.mask, state))
        times["fork"].append(_least(repeats, engine.fork, state))
        state = engine.advanced(state, token)
    return {
        "engine": engine.name,
        "task": task.name,
        "of": task.kind,
        "vocab": len(tokens),
        "compile_s": statistics.median(compile_times),
        "first_us": 1e6 * statistics.median(times["first"]),
        "check_us": 1e6 * statistics.median(times["check"]),
        "first_mask_us": 1e6 * max(times["first_mask"]) if times["mask"] else None,
        "mask_us": 1e6 * statistics.median(times["mask"]) if times["mask"] else None,
        "worst_mask_us": 1e6 * max(times["mask"]) if times["mask"] else None,
        "fork_us": 1e6 * statistics.median(times["fork"]),
        "state_bytes": _bytes_a_fork(engine, compiled, ids),
        "allowed": num_allowed,
        "masked": num_masked,
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


def _each(check: Callable[[Any, int], bool], state: Any, candidates: Sequence[int]) -> None:
    for token in candidates:
        check(state, token)


def _least(repeats: int, work: Callable[..., Any], *args: Any) -> float:
    times: list[float] = []
    while len(times) < repeats and sum(times) < LONG:
        began = time.perf_counter()
        work(*args)
        times.append(time.perf_counter() - began)
    return min(times)


def _bytes_a_fork(engine: Engine, compiled: Any, ids: Sequence[int]) -> float:
    state = engine.initial(compiled)
    for token in ids[: len(ids) // 2]:
        state = engine.advanced(state, token)
    gc.collect()
    before = _resident()
    kept = [engine.fork(state) for _ in range(NUM_FORKS)]
    grown = _resident() - before
    del kept
    return max(0, grown) / NUM_FORKS


def _resident() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * 4096
