"""What a constraint costs: to compile, to check a candidate, to mask a vocabulary, to fork, to keep.

    python benchmarks/peers.py --install          # once: makes the peers' environment, a large download
    python benchmarks/constraints.py [--quick] [--tasks NAME,...] [--vocab SIZE ...] [--engines NAME,...]

Every constraint of lmppl (`constraint_tasks.py`), and llguidance, xgrammar, outlines-core and genlm-control
where they can be told the same strings, on the same samples, vocabularies and candidates, each engine in a
process of its own (`constraint_timing.py` says what is timed). A check is what AWRS asks for, candidates at
one state. Masks are not remembered: each is made anew. What an engine makes of a constraint and the
vocabulary before the first token counts as its compilation: outlines-core's index, xgrammar's masks, and
lmppl's classes of tokens for a regular expression (otherwise it makes them once so many candidates were
checked that they pay). What it makes of a state when it is first asked about, and keeps, is in `first_us` and
`first_mask_us`. lmppl's states are values, so a fork keeps the same object: `fork_us` is what it takes to
call a method that returns it. Grammars of the shared set are compiled by lmppl alone.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from constraint_tasks import TASKS, Task
from constraint_timing import (
    QUICK,
    Effort,
    Segmentation,
    bytes_of_first_reading,
    measure,
    read_vocabulary,
)
from grammar_compilation import compile_grammars
from own_constraints import OURS, Ours
from peers import PEER_VENV, WITHOUT_PEER, has_peer
from reporting import Records, arguments, describe_machine, goal_line, table, test_data

RIVALS = ("llguidance", "xgrammar", "outlines-core", "genlm-control")
QUICK_RIVALS = RIVALS[:3]  # genlm-control makes a mask in a second
QUICK_RIVAL_TASKS = "date,email,six words,person,grammar"  # outlines-core compiles some others for 20 s
COLUMNS = (
    "compile_s",
    "first_us",
    "worst_first_us",
    "check_us",
    "first_mask_us",
    "mask_us",
    "worst_mask_us",
    "fork_us",
    "state_bytes",
    "read_bytes",
    "masked",
)
GRAMMAR_COLUMNS = ("grammar", "parser", "compile_s", "bytes_s", "cpu_s", "refused")
SIZES = (32_000, 128_000, 199_999)
GRAMMARS = "grammars"  # counts among the tasks
CHECK_LIMIT = 1.5  # times the fastest
COMPILE_LIMIT = 1.0  # seconds
GRAMMAR_LIMIT = 10.0  # times genlm-control's BoolCFG
GOAL = "checks <= 1.5x the fastest on regex and JSON, grammars <= 1 s, and checked >= 10x faster than BoolCFG"
RIVAL_SCRIPT = Path(__file__).resolve().parent / "rival_constraints.py"
RIVAL_SECONDS = 900
RIVAL_MASK_SECONDS = 5.0
RIVAL_COMPILE_SECONDS = 10.0  # after which a task is not tried with a larger vocabulary
TOKENIZER = Path("tokenizers", "o200k_base.tokenizer.json")
WITHOUT_VOCABULARY = f"No vocabulary was found. Let LMPPL_TEST_DATA name the folder that holds {TOKENIZER}."


def chosen(names: str | None) -> list[Task]:
    """Gives the tasks whose constraint is one of some words, or whose name begins with one."""
    if names is None:
        return list(TASKS)
    wanted = names.split(",")
    found = [task for task in TASKS if task.kind in wanted or task.name.startswith(tuple(wanted))]
    if not found and GRAMMARS not in wanted:
        raise SystemExit(f"No task is named {names!r}. There are: {', '.join(task.name for task in TASKS)}.")
    return found


def own_rows(
    tasks: Sequence[Task], data: Path, tokens: list[bytes], effort: Effort
) -> Iterable[dict[str, Any]]:
    """Measures ours."""
    engine = Ours(tokens, data / TOKENIZER)
    for task in tasks:
        read = task.read(data)
        ids = engine.ids(read) or Segmentation(tokens)(read.sample.encode())
        row = measure(engine, read, tokens, effort, ids)
        yield row | {"read_bytes": bytes_of_first_reading(engine, read, ids)}


def rival_rows(
    python: Path,
    name: str,
    tasks: Sequence[Task],
    data: Path,
    size: int,
    effort: Effort,
    left_out: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Measures one of the others in its own process; what it does not finish in time is an error.

    Args:
        python, name: The process and the engine.
        tasks, data, size, effort: What is measured, and how often.
        left_out: Tasks that are not tried, and why.
    """
    tasks = [task for task in tasks if task.name not in left_out]
    effort = replace(effort, mask_seconds=min(effort.mask_seconds, RIVAL_MASK_SECONDS))
    command = [str(python), str(RIVAL_SCRIPT), name, str(data / TOKENIZER), str(size), effort.written()]
    command += [str(data), *(task.name for task in tasks)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=RIVAL_SECONDS)
        out, why = done.stdout, done.stderr[-200:] if done.returncode else ""
    except subprocess.TimeoutExpired as expired:
        out, why = (expired.stdout or b"").decode(), f"not done in {RIVAL_SECONDS} s"
    rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    if why:
        rows.append({"engine": name, "task": "", "of": "", "vocab": size, "error": why})
    for task, reason in left_out.items():
        rows.append({"engine": name, "task": task, "of": "", "vocab": size, "error": reason})
    return rows


def too_slow(rows: Iterable[Mapping[str, Any]], engine: str) -> dict[str, str]:
    """Gives the tasks that took an engine too long to compile with a smaller vocabulary, and what it took."""
    return {
        row["task"]: f"compiled in {row['compile_s']:.0f} s at {row['vocab']:,} ids"
        for row in rows
        if row["engine"] == engine and row.get("compile_s", 0.0) > RIVAL_COMPILE_SECONDS
    }


def check_ratios(rows: Iterable[Mapping[str, Any]], column: str = "check_us") -> dict[tuple[int, str], float]:
    """Gives, by vocabulary and task of regex or JSON, our check's time over that of the fastest."""
    times: dict[tuple[int, str], dict[str, float]] = {}
    for row in rows:
        if "error" not in row and row["of"] in ("regex", "json"):
            times.setdefault((row["vocab"], row["task"]), {})[row["engine"]] = row[column]
    return {key: found[OURS] / min(found.values()) for key, found in times.items() if OURS in found}


def grammar_speedup(rows: Iterable[Mapping[str, Any]]) -> float:
    """Gives how many times faster than genlm-control's BoolCFG a grammar is checked, at worst."""
    times: dict[int, dict[str, float]] = {}
    for row in rows:
        if "error" not in row and row["of"] == "lark":
            times.setdefault(row["vocab"], {})[row["engine"]] = row["check_us"]
    found = [
        each["genlm-control"] / each[OURS] for each in times.values() if {"genlm-control", OURS} <= {*each}
    ]
    return min(found, default=math.nan)


def verdict(
    ratios: Mapping[Any, float], grammars: Sequence[Mapping[str, Any]], speedup: float
) -> tuple[str, bool]:
    """Gives the figures of the goal, and whether it is met; what was not run is missed."""
    worst = max(ratios.values(), default=math.nan)
    slowest = max(map(ready_seconds, grammars), default=math.nan)
    figure = f"checks {worst:.2g}x the fastest, grammars {slowest:.2g} s, {speedup:.3g}x faster than BoolCFG"
    return figure, worst <= CHECK_LIMIT and slowest <= COMPILE_LIMIT and speedup >= GRAMMAR_LIMIT


def ready_seconds(grammar: Mapping[str, Any]) -> float:
    """Gives how long a grammar takes until it has answered which bytes may come first."""
    return grammar["compile_s"] + grammar["bytes_s"]


def report(records: Records) -> str:
    """Lays the tables out."""
    order = {task.name: number for number, task in enumerate(TASKS)}
    shown = sorted(
        records.of("constraint"),
        key=lambda row: (row["vocab"], order.get(row["task"], -1), row["engine"] != OURS, row["engine"]),
    )
    times = table(
        ("vocab", "task", "of", "engine", *COLUMNS, "missing"),
        [
            (row["vocab"], row["task"], row["of"], row["engine"], *map(row.get, COLUMNS), missing(row))
            for row in shown
        ],
    )
    grammars = sorted(records.of("grammar"), key=ready_seconds, reverse=True)
    compiled = table(GRAMMAR_COLUMNS, [[row[column] for column in GRAMMAR_COLUMNS] for row in grammars])
    return f"{times}\n\n{compiled}" if grammars else times


def missing(row: Mapping[str, Any]) -> str:
    """Says what a row lacks, and why."""
    if "error" in row:
        return f"not measured: {row['error'].splitlines()[0][:60]}"
    return f"mask {row['without_mask']}" if row["without_mask"] else ""


def worst_ratios(rows: Sequence[Mapping[str, Any]], column: str, how_many: int = 4) -> str:
    """Gives the greatest ratios to the fastest, with where they are."""
    found = sorted(check_ratios(rows, column).items(), key=lambda item: -item[1])[:how_many]
    return ", ".join(f"{ratio:.2g}x ({task}, {size:,} ids)" for (size, task), ratio in found) or "not run"


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints, and gives the exit status: 0 whether or not the goal is met."""
    options = parser().parse_args(argv)
    data = test_data()
    if data is None or not (data / TOKENIZER).is_file():
        print(WITHOUT_VOCABULARY, file=sys.stderr)
        return 2
    rivals = QUICK_RIVALS if options.quick else RIVALS
    engines = options.engines.split(",") if options.engines else [OURS, *rivals]
    if {*engines} & {*RIVALS} and not has_peer(options.peer_python):
        print(WITHOUT_PEER.format(python=options.peer_python), file=sys.stderr)
        return 2
    records = Records(options.out)
    print(describe_machine(records.rows[0]))
    effort = QUICK if options.quick else Effort()
    tasks = chosen(options.tasks)
    shared = chosen(options.tasks or (QUICK_RIVAL_TASKS if options.quick else None))
    for size in options.vocab or (SIZES[:1] if options.quick else SIZES):
        if OURS in engines:
            for row in own_rows(tasks, data, read_vocabulary(data / TOKENIZER, size), effort):
                records.add(kind="constraint", **row)
        for name in [name for name in engines if name != OURS]:
            slow = too_slow(records.of("constraint"), name)
            for row in rival_rows(options.peer_python, name, shared, data, size, effort, slow):
                records.add(kind="constraint", **row)
    if options.tasks is None or GRAMMARS in options.tasks.split(","):
        for row in compile_grammars(data, repeats=1 if options.quick else 3):
            records.add(kind="grammar", **row)
    print(report(records))
    rows = records.of("constraint")
    print(f"checks, greatest ratios to the fastest: {worst_ratios(rows, 'check_us')}")
    print(f"of a place that was never asked about before: {worst_ratios(rows, 'first_us')}")
    if grammars := records.of("grammar"):
        slowest = max(grammars, key=ready_seconds)
        print(f"slowest grammar: {slowest['grammar']} by {slowest['parser']}, {ready_seconds(slowest):.2g} s")
    figure, met = verdict(check_ratios(rows), grammars, grammar_speedup(rows))
    print(goal_line("constraints", figure, GOAL, met))
    return 0


def parser() -> Any:
    """Gives the parser of this benchmark's options."""
    made = arguments("constraints", __doc__ or "")
    made.add_argument("--peer-python", type=Path, default=PEER_VENV / "bin" / "python")
    made.add_argument("--vocab", nargs="+", type=int, metavar="SIZE", help="the first ids of o200k_base")
    made.add_argument(
        "--tasks",
        help="constraints, as docs/constraints.md names them, or beginnings of tasks' names, separated by "
        f"commas; {GRAMMARS} compiles the shared grammars",
    )
    made.add_argument("--engines", help=f"of {OURS}, {', '.join(RIVALS)}, separated by commas")
    return made


if __name__ == "__main__":
    sys.exit(main())
