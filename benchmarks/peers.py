"""lmppl beside genlm-control 0.4.1 (its best settings) and transformers.generate, in one run.

    python benchmarks/peers.py --install      # once: makes the peer's environment, a large download
    python benchmarks/peers.py [--quick]

The shared harness (`peer_bench.py`) keeps one process a backend, lets them take turns and writes a row for
each run; the first repeat, in which lmppl compiles, is discarded. On a GPU with vLLM the peer is far better
than here, and that was not run.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lark
from peer_adapter import GRAMMAR
from reporting import (
    RESULTS,
    ROOT,
    Records,
    arguments,
    describe_machine,
    goal_line,
    median,
    spread,
    table,
    test_data,
)

PEER_VENV = ROOT / "build" / "peer-venv"
PEER_PACKAGES = (
    ("torch==2.13.0",),
    ("genlm-control==0.4.1", "genlm-backend==0.3.1", "lark"),
    ("llguidance==1.9.1", "xgrammar==0.2.8", "outlines-core==0.2.14"),  # for constraints.py
)
ADAPTER = Path(__file__).resolve().parent / "peer_adapter.py"
GRAMMAR_BACKENDS = ADAPTER.with_name("grammar_backends.py")
OURS, PEER, GENERATE = "lmppl", "genlm+tuned", "hf+generate"
WORK = RESULTS / "peers"

TASKS = (
    r"T1\.direct\.n32$,T2\.\w+\.(awrs|mask)$,T3\.(person|offdomain)\.awrs-mr128$,T3\.person\.awrs$,"
    r"T4\.slow[01]ms\.awrs$,T5"
)
QUICK_TASKS = r"T1\.direct\.n8$,T2\.iso\.(awrs|mask)$"
GRAMMAR_TASK = r"T4\.slow0ms\.awrs$"  # whose particles and limit the grammar's task has
GRAMMAR_NAME, GRAMMAR_REPEATS = "T5.grammar.awrs", 2
START_TASK = r"T2\.iso\.awrs$"
GOAL = (
    "T1 >= 8x the peer and 1.5x generate, T2 >= 5x its AWRS and 20x its mask, T3 >= 10x and none dead, "
    "T5 >= 10x, start <= 0.5"
)

# Task, whom we are compared with, at least how many times as fast.
LIMITS = (
    (r"T1\.direct\.n32", PEER, 8.0),
    (r"T1\.direct\.n32", GENERATE, 1.5),
    (r"T2\.\w+\.awrs", PEER, 5.0),
    (r"T2\.\w+\.mask", PEER, 20.0),
    (r"T3\..*", PEER, 10.0),
    (r"T5\..*", PEER, 10.0),
)
START_LIMIT = 0.5
WITHOUT_HARNESS = (
    "peer_bench.py or the checkpoints were not found. Let LMPPL_TEST_DATA name the data folder (it holds "
    "checkpoints/) that lies beside the folder `peers`; --peers FOLDER names another place of peer_bench.py."
)
WITHOUT_PEER = (
    "There is no Python with genlm-control at {python}. `python benchmarks/peers.py --install` makes one in "
    "build/peer-venv (a large download); or pass --peer-python PATH of one that has torch==2.13.0, "
    "genlm-control==0.4.1, genlm-backend==0.3.1 and lark."
)


def install_peer() -> None:
    """Makes the peer's environment in build/peer-venv."""
    subprocess.run([sys.executable, "-m", "venv", str(PEER_VENV)], check=True)
    environment = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    for packages in PEER_PACKAGES:
        command = [str(PEER_VENV / "bin" / "python"), "-m", "pip", "install", *packages]
        subprocess.run(command, check=True, env=environment)


def find_harness(folder: Path | None) -> Path | None:
    """Gives the harness: in a folder that was named, or beside the test data."""
    data = test_data()
    folders = [folder] if folder is not None else [data.parent / "peers"] if data is not None else []
    return next((found / "peer_bench.py" for found in folders if (found / "peer_bench.py").is_file()), None)


def has_peer(python: Path) -> bool:
    """Says whether an interpreter exists and finds the peer's package."""
    if not python.exists():
        return False
    find = "import importlib.util, sys; sys.exit(importlib.util.find_spec('genlm.control') is None)"
    return subprocess.run([str(python), "-c", find], capture_output=True, check=False).returncode == 0


def drive(
    harness: Path,
    checkpoint: Path,
    tasks: str,
    workers: Mapping[str, str],
    repeats: int,
    label: str,
    seconds: float,
) -> list[dict[str, Any]]:
    """Runs the harness and gives its rows. Its own output goes to a log beside them."""
    out, log = WORK / f"{label}.jsonl", WORK / f"{label}.log"
    out.unlink(missing_ok=True)
    command = [sys.executable, str(harness), "drive", "--ckpt", str(checkpoint), "--tasks", tasks]
    command += ["--repeats", str(repeats), "--out", str(out), "--max-s", str(seconds)]
    command += [part for name, spec in workers.items() for part in ("--worker", f"{name}={spec}")]
    if GENERATE in workers:
        command += ["--only", rf"{GENERATE}=T1"]
    with log.open("w") as file:
        status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    if status:
        raise SystemExit(f"The harness failed; the end of {log}:\n{log.read_text()[-2000:]}")
    return [json.loads(line) for line in out.read_text().splitlines()]


JUDGE = """
import json, sys
sys.path.insert(0, sys.argv[1])
import peer_bench
constraints = {task["name"]: task["constraint"] for task in peer_bench.all_tasks()}
given = json.load(sys.stdin)
print(json.dumps([bool(peer_bench.valid(text, constraints[task])) for task, text in given]))
"""


def judge(harness: Path, python: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Sets `valid` of our runs: the share of recorded texts that obey, as judged in the peer's environment.

    The harness judges JSON only where jsonschema is installed, which lmppl does not need.
    """
    ours = [row for row in rows if row["kind"] == "run" and row["backend"] == OURS and "wall_s" in row]
    given = [(row["task"], text) for row in ours for text in row["texts"] if text]  # lost ones are empty
    command = [str(python), "-c", JUDGE, str(harness.parent)]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=True)
    answers = iter(json.loads(done.stdout))
    for row in ours:
        found = [next(answers) for text in row["texts"] if text]
        row["valid"] = sum(found) / len(found) if found else math.nan


def grammar_rows(harness: Path, checkpoint: Path, python: Path) -> list[dict[str, Any]]:
    """Runs both sides under a grammar, and sets `valid` of our runs as Lark judges them."""
    workers = {
        PEER: f"{python}:{GRAMMAR_BACKENDS}:GenlmGrammar",
        OURS: f"{sys.executable}:{GRAMMAR_BACKENDS}:LmpplGrammar",
    }
    rows = drive(harness, checkpoint, GRAMMAR_TASK, workers, 1 + GRAMMAR_REPEATS, "grammar", 0.0)
    parser = lark.Lark(GRAMMAR)

    def obeys(text: str) -> bool:
        try:
            return bool(parser.parse(text))
        except lark.exceptions.LarkError:
            return False

    for row in rows:
        row["task"] = GRAMMAR_NAME
        texts = [text for text in row.get("texts", ()) if text]  # lost ones are empty
        row["valid"] = sum(map(obeys, texts)) / len(texts) if texts else math.nan
    return rows


def comparisons(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Compares our runs with each peer's, task by task: medians of the time ratio within a repeat.

    The first repeat is discarded. `speedup` is of whole runs, `token_speedup` of tokens a second.
    """
    runs: dict[tuple[str, str], dict[int, Mapping[str, Any]]] = {}
    for row in rows:
        if row["kind"] == "run" and "wall_s" in row and row["rep"] > 0:
            runs.setdefault((row["task"], row["backend"]), {})[row["rep"]] = row
    found = []
    for (task, backend), theirs in runs.items():
        ours = runs.get((task, OURS), {})
        pairs = [(row, ours[rep]) for rep, row in theirs.items() if rep in ours]
        if backend == OURS or not pairs:
            continue
        speedups = [peer["wall_s"] / own["wall_s"] for peer, own in pairs]
        least, most = spread(speedups)
        found.append(
            {
                "task": task,
                "peer": backend,
                "ours_s": median(own["wall_s"] for _, own in pairs),
                "theirs_s": median(peer["wall_s"] for peer, _ in pairs),
                "speedup": median(speedups),
                "least": least,
                "most": most,
                "token_speedup": median(own["tok_s"] / peer["tok_s"] for peer, own in pairs),
                "cpu_speedup": median(peer["cpu_s"] / own["cpu_s"] for peer, own in pairs),
                "dead": max(own["n"] - own["live"] for _, own in pairs),
                "peer_dead": max(peer["n"] - peer["live"] for peer, _ in pairs),
                "valid": min(own["valid"] for _, own in pairs),
                "repeats": len(pairs),
            }
        )
    return sorted(found, key=lambda row: (row["task"], row["peer"]))


def start_seconds(rows: Iterable[Mapping[str, Any]], backend: str) -> float:
    """Gives a new process's seconds from its first import to its first answer; NaN if it gave none."""
    rows = [row for row in rows if row["backend"] == backend]
    startup = next((row for row in rows if row["kind"] == "startup" and "startup" in row), None)
    answers = (row for row in rows if row["kind"] == "run" and "wall_s" in row)
    first = next((row for row in answers if re.match(START_TASK, row["task"])), None)
    if startup is None or first is None:
        return math.nan
    return startup["startup"]["total_start_s"] + first["prepare_s"] + first["wall_s"]


def verdict(compared: Sequence[Mapping[str, Any]], start_share: float) -> tuple[str, bool]:
    """Gives the worst figure of each kind, and whether every goal is met; what was not run is missed."""
    figures, met = [], True
    for pattern, peer, limit in LIMITS:
        found = [row for row in compared if row["peer"] == peer and re.fullmatch(pattern, row["task"])]
        kind = pattern[:2] + (" mask" if "mask" in pattern else " generate" if peer == GENERATE else "")
        if not found:
            figures.append(f"{kind} not run")
            met = False
            continue
        worst = min(row["speedup"] for row in found)
        dead = max(row["dead"] for row in found) if pattern.startswith("T3") else 0
        figures.append(f"{kind} {worst:.1f}x" + (f" with {dead} dead" if dead else ""))
        met = met and worst >= limit and not dead
    figures.append("start not run" if math.isnan(start_share) else f"start {start_share:.2f}")
    return ", ".join(figures), met and start_share <= START_LIMIT


def report(compared: Sequence[Mapping[str, Any]], records: Records) -> str:
    """Lays the comparisons and the starts out in tables."""
    columns = {"task": "task", "peer": "peer", "ours s": "ours_s", "theirs s": "theirs_s"}
    columns |= {"times as fast": "speedup", "least": "least", "most": "most", "by tokens/s": "token_speedup"}
    columns |= {"by cpu": "cpu_speedup", "dead": "dead", "peer's dead": "peer_dead", "valid": "valid"}
    columns |= {"repeats": "repeats"}
    parts = [table(list(columns), [[row[key] for key in columns.values()] for row in compared])]
    parts.append(
        table(["start", "seconds"], [[row["backend"], row["seconds"]] for row in records.of("start")])
    )
    notes = {
        f"{row['backend']} {row['task']}: {row.get('skip') or row.get('error')}"
        for row in records.of("run")
        if "wall_s" not in row
    }
    return "\n\n".join([*parts, *sorted(notes)])


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints, and gives the exit status: 2 where something needed is missing, else 0."""
    options = parser().parse_args(argv)
    if options.install:
        install_peer()
    found = find_harness(options.peers)
    data = test_data()
    if found is None or data is None:
        print(WITHOUT_HARNESS, file=sys.stderr)
        return 2
    if not has_peer(options.peer_python):
        print(WITHOUT_PEER.format(python=options.peer_python), file=sys.stderr)
        return 2
    records = Records(options.out)
    print(describe_machine(records.rows[0]))
    WORK.mkdir(parents=True, exist_ok=True)
    harness = Path(shutil.copy(found, WORK))  # it writes logs beside itself
    checkpoint = data / "checkpoints" / options.checkpoint
    workers = {
        PEER: str(options.peer_python),
        GENERATE: str(options.peer_python),
        OURS: f"{sys.executable}:{ADAPTER}:LmpplBackend",
    }
    tasks = options.tasks or (QUICK_TASKS if options.quick else TASKS)
    repeats = 2 if options.quick else 1 + options.repeats
    rows = drive(harness, checkpoint, tasks, workers, repeats, "tasks", 40.0 if options.quick else 0.0)
    judge(harness, options.peer_python, rows)
    if any(re.match(pattern, GRAMMAR_NAME) for pattern in tasks.split(",")):
        rows += grammar_rows(harness, checkpoint, options.peer_python)
    for row in rows:
        records.add(**row)
    if options.quick:
        started = [rows]
    else:
        both = {name: workers[name] for name in (PEER, OURS)}
        labels = [f"start-{number}" for number in range(3)]
        started = [drive(harness, checkpoint, START_TASK, both, 1, label, 0.0) for label in labels]
    starts = {name: [start_seconds(rows, name) for rows in started] for name in (PEER, OURS)}
    for name, seconds in starts.items():
        records.add(kind="start", backend=name, seconds=median(seconds), all=seconds)
    compared = comparisons(records.rows)
    for row in compared:
        records.add(kind="comparison", **row)
    figure, met = verdict(compared, median(starts[OURS]) / median(starts[PEER]))
    print(report(compared, records))
    print(goal_line("peers", figure, GOAL, met))
    return 0


def parser() -> Any:
    """Gives the parser of this benchmark's options."""
    made = arguments("peers", __doc__ or "")
    made.add_argument("--peers", type=Path, help="the folder of peer_bench.py")
    made.add_argument("--peer-python", type=Path, default=PEER_VENV / "bin" / "python")
    made.add_argument("--install", action="store_true", help="make the peer's environment first")
    made.add_argument("--checkpoint", default="llama-small-32k")
    made.add_argument(
        "--tasks", help="patterns of the harness's tasks and of T5.grammar.awrs, separated by commas"
    )
    made.add_argument("--repeats", type=int, default=3, help="after the one that is discarded")
    return made


if __name__ == "__main__":
    sys.exit(main())
