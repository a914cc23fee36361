"""How time and memory grow with particles, prompt, tokens, sites and automaton states.

    python benchmarks/growth.py [--quick]

Each size is measured after one discarded run of the same key, which compiles. The exponent beside it is the
slope between it and the size before, on logarithmic axes: 1 is linear, 0 is free. Memory is what a run needs
at most beyond what the process held before it; `held` is what has stayed since the first size, compiled
programs included. `--quick` measures the bundled model, the full run one of 35M parameters; both are given a
longer context than they were trained for, which costs what it costs and changes nothing else.
"""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from measured_models import SHAPES, WITHOUT_CHECKPOINTS, has_checkpoint, measured_model
from reporting import Records, arguments, counters, describe_machine, goal_line, median, table
from timing import forget_peak, peak_bytes, timed

import lmppl as lp

LIMIT = 1.1
GOAL = f"time and memory linear or better at the large end: exponents <= {LIMIT}"
CONTEXT = 8192
PROMPTS = 9  # more than are kept from run to run
LEAST_BYTES = 32 * 2**20  # less memory than this is noise of the allocator
LEAST_SECONDS = 0.01
ANY_TEXT = r"[a-zA-Z0-9 .,:;'!?(){}\n\"_-]*"

Run = Callable[[int], Any]


@dataclass(frozen=True)
class Axis:
    """Something that is made larger while the rest stays.

    Attributes:
        name: As it is shown.
        sizes: Ascending, for a full run.
        quick_sizes: For `--quick`.
        prepare: Gives the run of one size, a function of the key. Its own time is measured as `build`.
    """

    name: str
    sizes: tuple[int, ...]
    quick_sizes: tuple[int, ...]
    prepare: Callable[[Any, int], Run]


@lp.program
def site(distribution: Any) -> Any:
    """One text site, returned."""
    return lp.sample("text", distribution)


@lp.program
def many_sites(lm: Any, num_sites: int, extending: bool) -> str:
    """Several short texts, each after the same prompt, or after all that was written before it."""
    written = "List:\n"
    for number in range(num_sites):
        prompt = written if extending else "List:\n"
        written += lp.sample(f"text {number}", lm(prompt, max_tokens=4) & lp.regex(ANY_TEXT))
    return written


def of_particles(lm: Any, size: int) -> Run:
    """One site of 16 tokens with `size` particles."""
    return run_site(lm("List:\n", max_tokens=16) & lp.regex(ANY_TEXT), size)


def of_prompt(lm: Any, size: int) -> Run:
    """A prompt of `size` tokens, never the one that was read last and kept, and 8 tokens after it."""
    prompts = [prompt_of(lm, size, number) for number in range(PROMPTS)]
    runs = itertools.cycle([run_site(lm(prompt, max_tokens=8) & lp.regex(ANY_TEXT), 8) for prompt in prompts])
    return lambda key: next(runs)(key)


def of_tokens(lm: Any, size: int) -> Run:
    """One site of `size` tokens."""
    return run_site(lm("List:\n", max_tokens=size) & lp.regex(ANY_TEXT), 8)


def of_sites(lm: Any, size: int) -> Run:
    """`size` sites of 4 tokens after the same prompt."""
    return lambda key: lp.infer(many_sites, lm, size, False, method=lp.SMC(16), key=key, progress=False)


def of_extending_sites(lm: Any, size: int) -> Run:
    """`size` sites of 4 tokens, each prompt the text so far."""
    return lambda key: lp.infer(many_sites, lm, size, True, method=lp.SMC(16), key=key, progress=False)


def of_states(lm: Any, size: int) -> Run:
    """A site of 16 tokens under an automaton of about `size` states."""
    return run_site(lm("List:\n", max_tokens=16) & lp.regex(f"[a-z ,.\\n]{{0,{size}}}"), 8)


def run_site(text: Any, num_particles: int) -> Run:
    """Gives the run of one text site."""
    return lambda key: lp.infer(site, text, method=lp.SMC(num_particles), key=key, progress=False)


def prompt_of(lm: Any, num_tokens: int, number: int) -> str:
    """Writes a prompt of so many tokens, which begins with a number."""
    words = "one two three four five six seven eight nine ten "
    text = f"{number} " + words * (1 + num_tokens // 4)
    least, most = 1, len(text)
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if _length(lm, text[:middle]) <= num_tokens else (least, middle - 1)
    return text[:least]


def _length(lm: Any, text: str) -> int:
    return len(lm.codec.encode_prompt(text))


AXES = (
    Axis("particles", (1, 4, 16, 64, 256, 1024), (1, 8, 64, 512), of_particles),
    Axis("prompt tokens", (64, 256, 1024, 4096), (256, 1024, 4096), of_prompt),
    Axis("tokens", (16, 64, 256, 1024), (16, 64, 256), of_tokens),
    Axis("sites", (1, 4, 16, 64), (1, 4, 16), of_sites),
    Axis("sites, extending", (1, 4, 16, 64), (1, 4, 16), of_extending_sites),
    Axis("automaton states", (64, 512, 4096, 16384), (64, 512, 4096), of_states),
)


def measure(records: Records, axis: Axis, lm: Any, sizes: Sequence[int], repeats: int, budget: float) -> None:
    """Measures every size of an axis, the smaller first, until the budget of seconds is spent."""
    started = time.perf_counter()
    before = forget_peak()
    for number, size in enumerate(sizes):
        if number and time.perf_counter() - started > budget:
            records.add(kind="skipped", axis=axis.name, size=size, reason="the time for this axis was spent")
            continue
        run, build = timed(lambda size=size: axis.prepare(lm, size))
        try:
            _, first = timed(lambda run=run: run(0))
            now = forget_peak()
            measured = [timed(lambda run=run: run(0)) for _ in range(repeats)]
        except lp.LmpplError as error:
            records.add(kind="failed", axis=axis.name, size=size, reason=f"{type(error).__name__}: {error}")
            continue
        records.add(
            kind="size",
            axis=axis.name,
            size=size,
            wall_s=median(timing.wall for _, timing in measured),
            cpu_s=median(timing.cpu for _, timing in measured),
            build_s=build.wall,
            first_s=first.wall,
            peak_bytes=max(0, peak_bytes() - now),
            held_bytes=max(0, now - before),
            **counters(measured[-1][0].diagnostics),
        )


def exponents(rows: Sequence[Mapping[str, Any]], what: str, least: float) -> list[float | None]:
    """Gives the slope between each row and the one before, on logarithmic axes.

    None for the first row, and where neither value is at least `least`: that is noise.
    """
    slopes: list[float | None] = []
    for number, row in enumerate(rows):
        old, new = (rows[number - 1].get(what), row.get(what)) if number else (None, None)
        if old is None or new is None or new < least:
            slopes.append(None)
        else:
            ratio = math.log(new / max(old, least / 10))
            slopes.append(ratio / math.log(row["size"] / rows[number - 1]["size"]))
    return slopes


MEASURES = (
    ("time", "wall_s", LEAST_SECONDS),
    ("memory", "peak_bytes", LEAST_BYTES),
    ("cache", "cache_bytes", 1.0),
)


def verdict(rows: Sequence[Mapping[str, Any]]) -> tuple[str, bool]:
    """Gives the figure, the worst exponent at the large end, and whether the goal is met."""
    ends = []
    for axis in dict.fromkeys(row["axis"] for row in rows if row["kind"] == "size"):
        sizes = [row for row in rows if row["kind"] == "size" and row["axis"] == axis]
        for shown, what, least in MEASURES:
            slopes = exponents(sizes, what, least)
            if slopes[-1] is not None:
                ends.append((slopes[-1], shown, axis))
    if not ends:
        return "nothing measured", False
    failed = [f"{row['axis']} {row['size']} failed" for row in rows if row["kind"] == "failed"]
    slope, shown, axis = max(ends)
    figure = ", ".join([f"worst exponent {slope:.2f} ({shown} by {axis})", *failed])
    return figure, slope <= LIMIT and not failed


def bends(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Says at which size growth becomes steeper than linear, for each axis and measure."""
    found = []
    for axis in dict.fromkeys(row["axis"] for row in rows if row["kind"] == "size"):
        sizes = [row for row in rows if row["kind"] == "size" and row["axis"] == axis]
        for shown, what, least in MEASURES:
            slopes = exponents(sizes, what, least)
            for row, slope in zip(sizes, slopes, strict=True):
                if slope is not None and slope > LIMIT:
                    found.append(f"{shown} by {axis} bends before {row['size']:,}: exponent {slope:.2f}")
                    break
    return found


def report(records: Records) -> str:
    """Lays each axis out in a table and says where it bends."""
    parts = []
    for axis in dict.fromkeys(row["axis"] for row in records.of("size")):
        sizes = [row for row in records.of("size") if row["axis"] == axis]
        columns: dict[str, list[Any]] = {axis: [row["size"] for row in sizes]}
        columns["ms"] = [1e3 * row["wall_s"] for row in sizes]
        columns["exponent"] = exponents(sizes, "wall_s", LEAST_SECONDS)
        columns["cpu ms"] = [1e3 * row["cpu_s"] for row in sizes]
        columns["build ms"] = [1e3 * row["build_s"] for row in sizes]
        columns["first ms"] = [1e3 * row["first_s"] for row in sizes]
        columns["held MB"] = [row["held_bytes"] / 1e6 for row in sizes]
        columns["peak MB"] = [row["peak_bytes"] / 1e6 for row in sizes]
        columns["exponent "] = exponents(sizes, "peak_bytes", LEAST_BYTES)
        if any("cache_bytes" in row for row in sizes):
            columns["cache MB"] = [row.get("cache_bytes", math.nan) / 1e6 for row in sizes]
            columns["exponent  "] = exponents(sizes, "cache_bytes", 1.0)
        parts.append(table(list(columns), zip(*columns.values(), strict=True)))
    parts.append("\n".join(bends(records.rows) or ["nothing bends: no exponent is above the goal's"]))
    for kind in ("skipped", "failed"):
        parts += [f"{kind}: {row['axis']} {row['size']:,}: {row['reason']}" for row in records.of(kind)]
    return "\n\n".join(parts)


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints, and gives the exit status: 0 whether or not the goal is met."""
    options = parser().parse_args(argv)
    records = Records(options.out)
    print(describe_machine(records.rows[0]))
    name = options.model or ("embedded" if options.quick else "llama-small-32k")
    if name == "llama-small-32k" and not has_checkpoint(name):
        print(WITHOUT_CHECKPOINTS)
    lm = measured_model(name, CONTEXT)
    for axis in AXES:
        if options.axes and axis.name not in options.axes:
            continue
        sizes = axis.quick_sizes if options.quick else axis.sizes
        sizes = [size for size in sizes if size <= (options.largest or size)]
        repeats, budget = (1, 6.0) if options.quick else (options.repeats, float("inf"))
        measure(records, axis, lm, sizes, repeats, budget)
    print(report(records))
    print(goal_line("growth", verdict(records.rows)[0], GOAL, verdict(records.rows)[1]))
    return 0


def parser() -> Any:
    """Gives the parser of this benchmark's options."""
    made = arguments("growth", __doc__ or "")
    made.add_argument("--model", choices=["embedded", *SHAPES])
    made.add_argument("--axes", nargs="+", choices=[axis.name for axis in AXES])
    made.add_argument("--largest", type=int, help="leave out greater sizes")
    made.add_argument(
        "--repeats", type=int, default=3, help="measured runs of a size, after one that compiles"
    )
    return made


if __name__ == "__main__":
    sys.exit(main())
