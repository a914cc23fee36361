"""What a constraint costs: to compile, to check a candidate, to mask a vocabulary, to fork, to keep.

    python benchmarks/peers.py --install          # once: makes the peers' environment, a large download
    python benchmarks/constraints.py [--quick]

The same constraints, samples, vocabularies and candidates for lmppl and for llguidance, xgrammar,
outlines-core and genlm-control, each in a process of its own (`constraint_timing.py` says what is timed).
A check is what AWRS asks for, one candidate at one state. Masks are not remembered: each is made anew. What
an engine makes of a constraint and the vocabulary before the first token counts as its compilation:
outlines-core's index, xgrammar's masks, and lmppl's classes of tokens for a regular expression (otherwise it
makes them once so many candidates were checked that they pay). What it makes of a state when it is first
asked about, and keeps, is in `first_us` and `first_mask_us`. lmppl's states are values, so that a fork does
nothing. Grammars of the shared set are compiled by lmppl alone.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from constraint_timing import TASKS, Task, measure, read_vocabulary
from peer_adapter import forget_constraints, forget_masks
from peers import PEER_VENV, WITHOUT_PEER, has_peer
from reporting import Records, arguments, describe_machine, goal_line, table, test_data

import lmppl as lp
from lmppl.acceptance import Acceptor
from lmppl.cache_places import COMPILE_CACHE
from lmppl.constraints.vocabulary_mask import index_of
from lmppl.language_model import Vocabulary

OURS = "lmppl"
RIVALS = ("llguidance", "xgrammar", "outlines-core", "genlm-control")
QUICK_RIVALS = RIVALS[:3]  # genlm-control makes a mask in a second
COLUMNS = (
    "compile_s",
    "first_us",
    "check_us",
    "first_mask_us",
    "mask_us",
    "worst_mask_us",
    "fork_us",
    "state_bytes",
    "masked",
)
SIZES = (32_000, 128_000, 199_999)
REPEATS = 5
CHECK_LIMIT = 1.5  # times the fastest
COMPILE_LIMIT = 1.0  # seconds
GRAMMAR_LIMIT = 10.0  # times genlm-control's BoolCFG
GOAL = "checks <= 1.5x the fastest on regex and JSON, grammars <= 1 s, and checked >= 10x faster than BoolCFG"
RIVAL_SCRIPT = Path(__file__).resolve().parent / "rival_constraints.py"
RIVAL_SECONDS = 900
TOKENIZER = Path("tokenizers", "o200k_base.tokenizer.json")
WITHOUT_VOCABULARY = f"No vocabulary was found. Let LMPPL_TEST_DATA name the folder that holds {TOKENIZER}."


class Ours:
    """lmppl's constraints, asked as the engine asks them."""

    name, kinds = OURS, ("regex", "json", "lark")

    def __init__(self, tokens: list[bytes]):
        self._vocabulary = Vocabulary((*tokens[:-1], b""), frozenset({len(tokens) - 1}))
        index_of(self._vocabulary)  # made once a model

    def compile(self, task: Task) -> Any:
        forget_constraints(self._vocabulary)
        os.environ[COMPILE_CACHE] = "off"  # nothing is read that was compiled before
        if task.kind == "regex":
            constraint = lp.regex(task.source)
        elif task.kind == "json":
            constraint = lp.json(json.loads(task.source))
        else:
            constraint = lp.lark(task.source)
        acceptor = Acceptor(self._vocabulary, constraint, None)
        acceptor.prepare()  # which the engine does later, and the others now
        return acceptor

    def initial(self, compiled: Any) -> Any:
        return compiled, compiled.initial, compiled.answers(compiled.initial)

    def advanced(self, state: Any, token: int) -> Any:
        acceptor, cursor, _ = state
        cursor = acceptor.step(cursor, token)
        return acceptor, cursor, acceptor.answers(cursor)

    def check(self, state: Any, token: int) -> bool:
        return state[2].allows(token)

    def mask(self, state: Any) -> int:
        acceptor, cursor, _ = state
        forget_masks(self._vocabulary)
        return int(Acceptor(self._vocabulary, acceptor.constraint, None).mask(cursor).sum())

    def fork(self, state: Any) -> Any:
        return state


def rival_rows(python: Path, name: str, tokenizer: Path, size: int, repeats: int) -> list[dict[str, Any]]:
    """Measures one of the others in its own process; what it does not finish in time is an error."""
    command = [str(python), str(RIVAL_SCRIPT), name, str(tokenizer), str(size), str(repeats)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=RIVAL_SECONDS)
        out, why = done.stdout, done.stderr[-200:]
    except subprocess.TimeoutExpired as expired:
        out, why = (expired.stdout or b"").decode(), f"not done in {RIVAL_SECONDS} s"
    rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    if not rows:
        rows = [{"engine": name, "task": "", "of": "", "vocab": size, "error": why}]
    return rows


def compile_grammars(folder: Path) -> list[dict[str, Any]]:
    """Times the compilation of every grammar of a folder to its first state."""
    rows = []
    for path in sorted(folder.rglob("*.lark")):
        began = time.perf_counter()
        try:
            lp.lark(path.read_text()).initial()
            error = ""
        except lp.LmpplError as refused:
            error = str(refused).splitlines()[0][:100]
        rows.append({"grammar": path.stem, "compile_s": time.perf_counter() - began, "refused": error})
    return rows


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
    slowest = max((row["compile_s"] for row in grammars), default=math.nan)
    figure = f"checks {worst:.2g}x the fastest, grammars {slowest:.2g} s, {speedup:.3g}x faster than BoolCFG"
    return figure, worst <= CHECK_LIMIT and slowest <= COMPILE_LIMIT and speedup >= GRAMMAR_LIMIT


def report(records: Records) -> str:
    """Lays the tables out."""
    shown = sorted(records.of("constraint"), key=lambda row: (row["vocab"], row["task"], row["engine"]))
    times = table(
        ("vocab", "task", "engine", *COLUMNS, "not measured because"),
        [
            (row["vocab"], row["task"], row["engine"], *map(row.get, COLUMNS), row.get("error", "")[:60])
            for row in shown
        ],
    )
    grammars = table(
        ("grammar", "compile_s", "refused"),
        [(row["grammar"], row["compile_s"], row["refused"]) for row in records.of("grammar")],
    )
    return f"{times}\n\n{grammars}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints, and gives the exit status: 0 whether or not the goal is met."""
    options = parser().parse_args(argv)
    data = test_data()
    tokenizer = None if data is None else data / TOKENIZER
    if data is None or tokenizer is None or not tokenizer.is_file():
        print(WITHOUT_VOCABULARY, file=sys.stderr)
        return 2
    if not has_peer(options.peer_python):
        print(WITHOUT_PEER.format(python=options.peer_python), file=sys.stderr)
        return 2
    records = Records(options.out)
    print(describe_machine(records.rows[0]))
    repeats = 2 if options.quick else options.repeats
    for size in options.vocabularies or (SIZES[:1] if options.quick else SIZES):
        tokens = read_vocabulary(tokenizer, size)
        engine = Ours(tokens)
        for task in TASKS:
            records.add(kind="constraint", **measure(engine, task, tokens, repeats))
        for name in QUICK_RIVALS if options.quick else RIVALS:
            for row in rival_rows(options.peer_python, name, tokenizer, size, repeats):
                records.add(kind="constraint", **row)
    for row in compile_grammars(data / "lark_grammars"):
        records.add(kind="grammar", **row)
    print(report(records))
    rows = records.of("constraint")
    figure, met = verdict(check_ratios(rows), records.of("grammar"), grammar_speedup(rows))
    firsts = check_ratios(rows, "first_us")
    worst = max(firsts.values(), default=math.nan)
    print(f"checks at a place that was never asked about before: {worst:.2g}x the fastest")
    print(goal_line("constraints", figure, GOAL, met))
    return 0


def parser() -> Any:
    """Gives the parser of this benchmark's options."""
    made = arguments("constraints", __doc__ or "")
    made.add_argument("--peer-python", type=Path, default=PEER_VENV / "bin" / "python")
    made.add_argument(
        "--vocabularies", nargs="+", type=int, metavar="SIZE", help="the first ids of o200k_base"
    )
    made.add_argument("--repeats", type=int, default=REPEATS)
    return made


if __name__ == "__main__":
    sys.exit(main())
