"""What constraints cost: constrained SMC over unconstrained decoding of the same site.

    python benchmarks/overhead.py [--quick]

Both decode the same prompt to the same `max_tokens` with a model whose strings do not end on their own, and
what is compared is the time of a token step of all particles, because a choice may be shorter. Each is
measured after one discarded run that compiles; the rest take turns, and figures are medians of the ratios
within a round.
"""

from __future__ import annotations

import array
import atexit
import functools
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measured_models import SHAPES, WITHOUT_CHECKPOINTS, has_checkpoint, measured_model, on_gpu
from reporting import (
    COUNTERS,
    Records,
    arguments,
    counters,
    describe_machine,
    goal_line,
    median,
    spread,
    table,
)
from timing import Timing, taking_turns

import lmppl as lp

MODELS = ("llama-small-32k", "llama-tiny-128k")
GPU_MODELS = ("llama-small-32k", "llama-1b")
PARTICLES = (1, 8, 32, 128)
PROMPT = "Words:\n"
GOAL_PARTICLES = 32
WORKERS = 2
DEVICE_GOAL, HOST_GOAL = 1.15, 1.5
GOAL = (
    f"device <= {DEVICE_GOAL}x, host <= {HOST_GOAL}x, a 1 ms check the same above its own time / workers; "
    f"{GOAL_PARTICLES} particles"
)
FREE = "unconstrained"

GRAMMAR = r"""
start: piece*
piece: /[a-z .,\n]/ | "(" piece* ")"
"""
JSON_PROMPT = "JSON:\n"
SHORT = {"type": "string", "maxLength": 8}
SCHEMA = {
    "type": "object",
    "properties": {"name": SHORT, "age": {"type": "integer", "maximum": 99}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@dataclass
class Case:
    """A constraint to be measured.

    Attributes:
        name: As it is shown.
        where: `device`, `host`, or `slow check`: the goal that holds for it.
        make: Gives the constraint of a run, and may count what it is asked in `asked`.
        prompt: What is continued.
        least_tokens: That a string may have at most; where fewer are asked for, few could end.
        asked: How often the run's check was asked, and the seconds that its own code took.
        workers: Processes that share that time.
        log: Where they write it down, if they are not this process.
        measure: Whether `Auto` times the checks and chooses by that.
    """

    name: str
    where: str
    make: Callable[[], Any] = lambda: None
    prompt: str = PROMPT
    least_tokens: int = 0
    asked: list[float] = field(default_factory=lambda: [0, 0.0])
    workers: int = 1
    log: str | None = None
    measure: bool = False

    def forget(self) -> None:
        """Begins to count anew."""
        self.asked[:] = [0, 0.0]
        if self.log is not None:
            Path(self.log).write_bytes(b"")

    def count(self) -> tuple[float, float]:
        """Gives calls and seconds since then."""
        if self.log is not None:
            seconds = array.array("d", Path(self.log).read_bytes())
            self.asked[:] = [len(seconds), sum(seconds)]
        return self.asked[0], self.asked[1]


def cases(max_tokens: int) -> list[Case]:
    """Gives the constraints. All but choices and JSON accept after each token, so last until `max_tokens`."""
    pattern = lp.regex(r"([a-z]{1,12}[ ,.\n])*[a-z]{0,12}")
    options = lp.choices(long_options(max_tokens))
    grammar = lp.lark(GRAMMAR)
    schema = lp.json(SCHEMA)
    found = [
        Case("regex", "device", lambda: pattern),
        Case("choices", "device", lambda: options),
        Case("lark", "host", lambda: grammar),
        Case("json", "host", lambda: schema, JSON_PROMPT, least_tokens=64),
    ]
    for name, where, seconds, measure in (
        ("check, 0 ms", "host", 0.0, False),
        ("check, 1 ms", "slow check", 1e-3, False),
        ("check, 1 ms, measured", "slow check", 1e-3, True),
    ):
        asked: list[float] = [0, 0.0]
        make = functools.partial(busy_check, asked, seconds)
        found.append(Case(name, where, make, asked=asked, measure=measure))
    handle, log = tempfile.mkstemp(prefix="lmppl-overhead-")
    os.close(handle)
    atexit.register(os.unlink, log)
    make = functools.partial(busy_check_in_workers, log, 1e-3, WORKERS)
    found.append(Case(f"check, 1 ms, {WORKERS} workers", "slow check", make, workers=WORKERS, log=log))
    return found


def long_options(max_tokens: int) -> list[str]:
    """Gives 16 strings of `max_tokens` characters, which no tokenisation makes too long, of short tokens."""
    generator = random.Random(0)
    return [
        "".join(generator.choice("bcdfghjkqvwxz0123456789") for _ in range(max_tokens)) for _ in range(16)
    ]


def busy_check(asked: list[float], seconds: float) -> Any:
    """Gives a new check, which remembers nothing of earlier runs, that computes for a while when asked."""

    def looks_plain(text: str) -> bool:
        began = time.perf_counter()
        answer = busily_looked_at(text, seconds)
        asked[0] += 1
        asked[1] += time.perf_counter() - began
        return answer

    return lp.check("looks plain", prefix=looks_plain)


def busy_check_in_workers(log: str, seconds: float, workers: int) -> Any:
    """Gives a new check whose calls run in worker processes, and write down there what they took."""
    run = [time.time()]  # mutable, so that the check remembers nothing of earlier runs

    def looks_plain(text: str) -> bool:
        began = time.perf_counter()
        answer = bool(run) and busily_looked_at(text, seconds)
        with open(log, "ab", buffering=0) as file:
            file.write(array.array("d", [time.perf_counter() - began]).tobytes())
        return answer

    return lp.check("looks plain", prefix=looks_plain, workers=workers)


def busily_looked_at(text: str, seconds: float) -> bool:
    """Says whether a text ends in plain characters, after computing for a while."""
    end = time.thread_time() + seconds
    while seconds and time.thread_time() < end:
        pass
    return all(character in "abcdefghijklmnopqrstuvwxyz .,\n" for character in text[-16:])


@lp.program
def site(distribution: Any) -> Any:
    """One text site, returned."""
    return lp.sample("text", distribution)


def num_steps(posterior: Any) -> int:
    """Gives how many tokens were drawn one after another."""
    return max((step.token for step in posterior.diagnostics.steps if step.site == "text"), default=0)


def measure(
    records: Records, model: str, particles: Sequence[int], max_tokens: int, repeats: int, budget: float
) -> None:
    """Measures every constraint on one model and records ratios and failures."""
    lm = measured_model(model)
    vocab_size = len(lm.vocabulary)
    measured = cases(max_tokens)
    for num_particles in particles:
        works: dict[str, Callable[[int], Any]] = {FREE: run_of(lm, None, num_particles, max_tokens)}
        works |= {case.name: run_of(lm, case, num_particles, max_tokens) for case in measured}
        rounds = taking_turns(works, repeats, budget)
        here = {"vocab_size": vocab_size, "num_particles": num_particles}
        record_rounds(records, here, {case.name: case for case in measured}, rounds)


def run_of(lm: Any, case: Case | None, num_particles: int, max_tokens: int) -> Callable[[int], Any]:
    """Gives the run of one constraint: a function of the round."""

    def run(number: int) -> Any:
        prompt, least = (PROMPT, 0) if case is None else (case.prompt, case.least_tokens)
        text = lm(prompt, max_tokens=max(max_tokens, least))
        if case is not None:
            case.forget()
            text = text & case.make()
        method = lp.SMC(num_particles, lp.Auto(measure=case is not None and case.measure))
        try:
            return lp.infer(site, text, method=method, key=number, progress=False)
        except lp.NoPosterior as error:
            return error

    return run


def record_rounds(
    records: Records,
    here: Mapping[str, Any],
    measured: Mapping[str, Case],
    rounds: Iterable[tuple[int, str, Any, Timing]],
) -> None:
    """Records each run, and for each constraint the medians of its ratios to the free run of a round."""
    runs: dict[str, dict[int, dict[str, Any]]] = {}
    for number, name, result, timing in rounds:
        if isinstance(result, lp.NoPosterior):
            records.add(kind="failed", **here, constraint=name, reason=str(result))
            continue
        case = measured.get(name)
        calls, check_s = case.count() if case is not None else (0, 0.0)
        row = records.add(
            kind="run",
            **here,
            constraint=name,
            round=number,
            wall_s=timing.wall,
            cpu_s=timing.cpu,
            steps=num_steps(result),
            calls=calls,
            check_s=check_s,
            workers=case.workers if case is not None else 1,
            path=result.diagnostics.text_sites.get("text", ""),
            **counters(result.diagnostics),
        )
        runs.setdefault(name, {})[number] = row
    free = runs.get(FREE, {})
    for name, case in measured.items():
        pairs = [(row, free[number]) for number, row in runs.get(name, {}).items() if number in free]
        if pairs:
            records.add(kind="ratio", **here, constraint=name, where=case.where, **ratios(pairs, case.where))


def ratios(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], where: str) -> dict[str, Any]:
    """Compares constrained runs with the free runs of the same rounds, per token step.

    A slow check's own time, shared by the workers, is taken off first: about a millisecond a call, and
    measured, because a busy machine makes it longer. Processor time is this process's, without the workers'.
    """

    def per_step(row: Mapping[str, Any], what: str, own: float) -> float:
        return (row[what] - own) / max(1, row["steps"])

    def ratio(what: str) -> list[float]:
        found = []
        for row, free in pairs:
            serial = row["check_s"] if where == "slow check" else 0.0
            own = serial if row["workers"] == 1 else serial / row["workers"] if what == "wall_s" else 0.0
            found.append(per_step(row, what, own) / per_step(free, what, 0.0))
        return found

    wall, (least, most) = ratio("wall_s"), spread(ratio("wall_s"))
    row, free = pairs[-1]
    return {
        "wall_ratio": median(wall),
        "wall_least": least,
        "wall_most": most,
        "cpu_ratio": median(ratio("cpu_s")),
        "step_ms": 1e3 * median(per_step(row, "wall_s", 0.0) for row, _ in pairs),
        "free_step_ms": 1e3 * median(per_step(free, "wall_s", 0.0) for _, free in pairs),
        "steps": row["steps"],
        "free_steps": free["steps"],
        "calls": row["calls"],
        "rounds": len(pairs),
    }


def verdict(rows: Iterable[Mapping[str, Any]]) -> tuple[str, bool]:
    """Gives the figure and whether the goal is met: the worst wall ratio of each kind at 32 particles."""
    rows = list(rows)
    at_goal = [row for row in rows if row.get("num_particles") == GOAL_PARTICLES]
    failed = [row for row in at_goal if row["kind"] == "failed"]
    figures, met = [], not failed
    for where, limit in (("device", DEVICE_GOAL), ("host", HOST_GOAL), ("slow check", HOST_GOAL)):
        found = [row for row in at_goal if row["kind"] == "ratio" and row["where"] == where]
        if not found:
            figures.append(f"{where} not measured")
            met = False
            continue
        worst = max(found, key=lambda row: row["wall_ratio"])
        figures.append(f"{where} {worst['wall_ratio']:.2f}x ({worst['constraint']})")
        met = met and worst["wall_ratio"] <= limit
    figures += [f"{row['constraint']} failed" for row in failed]
    return ", ".join(figures), met


def report(records: Records) -> str:
    """Lays the ratios and the last round's counts out in tables."""
    columns = ["wall ratio", "least", "most", "cpu ratio", "ms a step", "free", "steps", "free", "calls"]
    keys = ["wall_ratio", "wall_least", "wall_most", "cpu_ratio", "step_ms", "free_step_ms", "steps"]
    keys += ["free_steps", "calls"]
    parts = [
        table(
            ["vocabulary", "particles", "constraint", "goal of", *columns],
            [
                [
                    row["vocab_size"],
                    row["num_particles"],
                    row["constraint"],
                    row["where"],
                    *map(row.get, keys),
                ]
                for row in records.of("ratio")
            ],
        )
    ]
    last = {(row["vocab_size"], row["num_particles"], row["constraint"]): row for row in records.of("run")}
    counted = [name for name in COUNTERS if any(name in row for row in last.values())]
    if counted:
        rows = [[*where, row["path"][:30] or "-", *map(row.get, counted)] for where, row in last.items()]
        parts.append(table(["vocabulary", "particles", "constraint", "path", *counted], rows))
    parts += [f"failed: {row['constraint']}: {row['reason']}" for row in records.of("failed")]
    return "\n\n".join(parts)


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints, and gives the exit status: 0 whether or not the goal is met."""
    options = parser().parse_args(argv)
    records = Records(options.out)
    print(describe_machine(records.rows[0]))
    models = options.models or (GPU_MODELS if on_gpu() else MODELS)
    if any(name in MODELS and not has_checkpoint(name) for name in models):
        print(WITHOUT_CHECKPOINTS)
    particles = options.particles or ([GOAL_PARTICLES] if options.quick else PARTICLES)
    max_tokens = 32 if options.quick else 64
    repeats, budget = (2, 20.0 / len(models)) if options.quick else (options.repeats, float("inf"))
    for name in models:
        measure(records, name, particles, max_tokens, repeats, budget)
    print(report(records))
    print(goal_line("overhead", verdict(records.rows)[0], GOAL, verdict(records.rows)[1]))
    return 0


def parser() -> Any:
    """Gives the parser of this benchmark's options."""
    made = arguments("overhead", __doc__ or "")
    made.add_argument("--models", nargs="+", choices=list(SHAPES))
    made.add_argument("--particles", nargs="+", type=int, help=f"default {' '.join(map(str, PARTICLES))}")
    made.add_argument("--repeats", type=int, default=5, help="measured rounds, after one that compiles")
    return made


if __name__ == "__main__":
    sys.exit(main())
