"""What every benchmark shares: options, records as JSON lines, tables, and the line on its goal."""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "build" / "benchmarks"
COUNTERS = (
    "num_tokens",
    "num_checks",
    "num_forwards",
    "num_transfers",
    "num_synchronisations",
    "num_compilations",
    "cache_bytes",
)


def arguments(name: str, description: str) -> argparse.ArgumentParser:
    """Gives a parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(
        prog=f"{name}.py", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer sizes and repeats: under a minute")
    parser.add_argument(
        "--out", type=Path, default=RESULTS / f"{name}.jsonl", help="where the JSON lines go (overwritten)"
    )
    return parser


@dataclass
class Records:
    """The rows of one run, each written to a file as it is made.

    Attributes:
        path: A file of JSON lines; its first line says what machine and versions it is from.
    """

    path: Path
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("")
        self.add(kind="machine", **machine())

    def add(self, **row: Any) -> dict[str, Any]:
        """Appends one row and gives it back."""
        self.rows.append(row)
        with self.path.open("a") as file:
            file.write(json.dumps(row, default=float) + "\n")
        return row

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Gives the rows of one kind."""
        return [row for row in self.rows if row["kind"] == kind]


def machine() -> dict[str, Any]:
    """Says when, where and with which versions something was measured."""
    import jax

    import lmppl

    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": num_cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": jax.devices()[0].device_kind,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "lmppl": lmppl.__version__,
        "load": os.getloadavg()[0],
    }


def num_cores() -> int:
    """Gives the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def counters(diagnostics: Any) -> dict[str, Any]:
    """Gives the counts that a run kept, those of `COUNTERS` that it has."""
    found = {name: getattr(diagnostics, name, None) for name in COUNTERS}
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Lays rows out in columns: words to the left, numbers to the right."""
    raw = [list(row) for row in rows]
    numeric = [all(isinstance(row[i], int | float | None) for row in raw) for i in range(len(headers))]
    cells = [[_shown(cell) for cell in row] for row in raw]
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
    lines = [list(headers), ["-" * width for width in widths], *cells]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )


def goal_line(name: str, figure: str, goal: str, met: bool) -> str:
    """Gives the one line that a benchmark ends with."""
    return f"{name}: {figure} (goal {goal}): {'met' if met else 'missed'}"


def median(values: Iterable[float]) -> float:
    """Gives the median, NaN of nothing."""
    found = list(values)
    return statistics.median(found) if found else math.nan


def spread(values: Iterable[float]) -> tuple[float, float]:
    """Gives the least and the greatest value."""
    found = list(values)
    return (min(found), max(found)) if found else (math.nan, math.nan)


def test_data() -> Path | None:
    """Gives the folder of checkpoints and peers that `LMPPL_TEST_DATA` names, or None."""
    folder = os.environ.get("LMPPL_TEST_DATA")
    return Path(folder) if folder else None


def describe_machine(row: Mapping[str, Any]) -> str:
    """Gives one line on where something was measured."""
    return (
        f"{row['date']}, {row['processor']}, {row['cores']} cores, {row['device']}, Python {row['python']}, "
        f"jax {row['jax']}, lmppl {row['lmppl']}, load {row['load']:.1f}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _shown(cell: Any) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "-"
    if isinstance(cell, float):
        return f"{cell:.3g}" if abs(cell) < 1000 else f"{cell:,.0f}"
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    return str(cell)
