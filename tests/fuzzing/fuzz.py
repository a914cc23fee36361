"""Runs one fuzz target under atheris, guided by coverage, and says how many inputs it tried.

What `python tests/fuzzing/fuzz.py regex --seconds 3600` finds is written to `build/fuzzing/crash-...`;
`python tests/fuzzing/fuzz.py regex build/fuzzing/crash-...` tries them again.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

MAX_SECONDS = 10.0  # of this process's time for one input; the slowest take less than a second
MAX_WALL_SECONDS = 500  # until an input that never ends is given up
MAX_MEGABYTES = 2_048
TARGETS = (
    *("regex", "json_text", "json_schema", "lark", "combinations", "sql", "pattern", "linear", "smt"),
    *("pddl_goal", "pddl_plan", "python_code", "smiles"),
)


def main() -> None:
    """Reads the options and fuzzes until they say to stop."""
    options = parser().parse_args()
    try:
        import atheris  # its wheels are for few systems
    except ImportError:
        sys.exit(
            "Fuzzing by coverage needs atheris: pip install 'lmppl[dev]' on Linux, with Python 3.11 to 3.13."
        )
    with atheris.instrument_imports(include=["lmppl.constraints"]):
        target = importlib.import_module(f"{options.target}_target")
    corpus = options.corpus or options.out / options.target
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.SEEDS):
        (corpus / f"seed-{number}").write_bytes(seed)
    trial = Trial(options.target, target, options.runs, options.seconds)
    flags = [
        f"-seed={options.seed}",
        f"-max_len={target.MAX_BYTES}",
        f"-timeout={MAX_WALL_SECONDS}",
        f"-rss_limit_mb={MAX_MEGABYTES}",
        f"-artifact_prefix={options.out}/",
    ]
    atheris.Setup([sys.argv[0], *flags, *map(str, options.again or [corpus])], trial.one)
    atheris.Fuzz()


def parser() -> argparse.ArgumentParser:
    """Gives the parser of the command line."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("target", help=f"{', '.join(TARGETS)}, or the first part of another ..._target.py")
    options.add_argument(
        "again", type=Path, nargs="*", help="files with the bytes of findings, to be tried again"
    )
    options.add_argument("--runs", type=int, default=None, help="inputs to try; no limit by default")
    options.add_argument("--seconds", type=float, default=60.0, help="seconds to run")
    options.add_argument("--seed", type=int, default=1, help="of the random mutations; not 0")
    options.add_argument(
        "--corpus",
        type=Path,
        help="folder that keeps what reached new code; by default one in that of `--out`",
    )
    options.add_argument("--out", type=Path, default=Path("build/fuzzing"), help="folder for findings")
    return options


@dataclass
class Trial:
    """One run of one target: what it tried so far.

    Attributes:
        name: Of the target.
        target: Its module.
        runs: How many inputs to try; None is no limit.
        seconds: How long to run.
        outcomes: How many inputs ended in what.
    """

    name: str
    target: Any
    runs: int | None
    seconds: float
    outcomes: Counter[str] = field(default_factory=Counter)
    started: float = field(default_factory=time.monotonic)
    processor_started: float = field(default_factory=time.process_time)
    slowest: float = 0.0

    def one(self, data: bytes) -> None:
        """Tries one input, and ends the process when enough were tried: the fuzzer itself never returns."""
        case = self.target.drawn(data)
        started = time.process_time()
        try:
            outcome = self.target.judged(*case)
            took = time.process_time() - started
            assert took < MAX_SECONDS, f"it took {took:.1f} s"
        except BaseException:
            _say(f"finding of {self.name}: {case!r}")
            raise
        self.outcomes[outcome] += 1
        self.slowest = max(self.slowest, took)
        if self.outcomes.total() == self.runs or time.monotonic() - self.started > self.seconds:
            _say(str(self))
            os._exit(0)

    def __str__(self) -> str:
        took = time.monotonic() - self.started
        processor = time.process_time() - self.processor_started
        total = self.outcomes.total()
        parts = ", ".join(f"{number:,} {outcome}" for outcome, number in self.outcomes.most_common())
        return (
            f"{self.name}: {total:,} inputs in {took:.0f} s, {total / took:.0f} a second, "
            f"{total / processor:.0f} in one of CPU time, {self.slowest:.2f} s for the slowest ({parts})"
        )


def _say(line: str) -> None:
    """Writes a line that is not lost where the process ends without a word."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
