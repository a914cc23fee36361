"""The fuzz targets find nothing in what is there, and find what is wrong in mutants of it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import regex

import lmppl as lp
from lmppl.constraints.protocol import Constraint, State
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.regular_language import RegularLanguage

FOLDER = Path(__file__).resolve().parent
FEW = {  # inputs: a second or two for each target
    "regex": 400,
    "json_text": 400,
    "json_schema": 400,
    "lark": 60,
    "combinations": 200,
    "sql": 150,
    "pattern": 200,
    "linear": 100,
    "smt": 30,
    "pddl_goal": 30,
    "pddl_plan": 120,
    "python_code": 200,
    "smiles": 400,
}
RUNS = {
    "regex": 5_000,
    "json_text": 10_000,
    "json_schema": 8_000,
    "lark": 2_000,
    "combinations": 5_000,
    "sql": 2_000,
    "pattern": 10_000,
    "linear": 5_000,
    "smt": 1_000,
    "pddl_goal": 1_500,
    "pddl_plan": 2_000,
    "python_code": 8_000,
    "smiles": 10_000,
}
TARGETS = tuple(FEW)
NEEDED = {"smt": ("z3",), "smiles": ("partialsmiles", "rdkit")}  # of extras
MAX_SECONDS = 100  # for each target, so that a slow machine tries fewer inputs
TRIED = re.compile(r"^\w+: ([\d,]+) inputs in \d+ s, .*$", re.MULTILINE)


def target_of(name: str) -> ModuleType:
    for package in NEEDED.get(name, ()):
        pytest.importorskip(package)
    return importlib.import_module(f"{name}_target")


def tried(target: ModuleType, num_inputs: int) -> Counter[str]:
    """Tries the target's seeds, and then seeds with some bytes changed."""
    rng = random.Random(0)
    outcomes: Counter[str] = Counter()
    for number in range(num_inputs):
        data = bytearray(target.SEEDS[number % len(target.SEEDS)])
        for _ in range(number // len(target.SEEDS)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        outcomes[target.judged(*target.drawn(bytes(data)))] += 1
    return outcomes


@pytest.mark.parametrize("name", TARGETS)
def test_some_random_inputs_find_nothing(name: str, record_property: Callable[..., None]) -> None:
    outcomes = tried(target_of(name), FEW[name])
    record_property("inputs tried", f"{name}, random: {outcomes.total():,}")
    assert outcomes["compared"] + outcomes["text"] > 5


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_inputs_guided_by_coverage_find_nothing(
    name: str, tmp_path: Path, record_property: Callable[..., None]
) -> None:
    done = fuzzed(name, tmp_path, "--runs", str(RUNS[name]), "--seconds", str(MAX_SECONDS))
    assert done.returncode == 0, done.stdout[-3_000:]
    report = TRIED.search(done.stdout)
    assert report is not None, done.stdout[-3_000:]
    record_property("inputs tried", report[0])
    assert int(report[1].replace(",", "")) > 200


def test_a_finding_that_needs_guidance_is_found_and_shown(tmp_path: Path) -> None:
    """Random bytes give these three with a chance of one in 16 million."""
    (tmp_path / "planted_target.py").write_text(
        "import atheris\n"
        "MAX_BYTES, SEEDS = 8, (b'aaaa',)\n"
        "drawn = lambda data: (data,)\n"
        "@atheris.instrument_func\n"
        "def judged(data):\n"
        "    if data[:1] == b'x':\n"
        "        if data[1:2] == b'y':\n"
        "            if data[2:3] == b'z':\n"
        "                raise ValueError('planted')\n"
        "    return 'compared'\n"
    )
    done = fuzzed("planted", tmp_path, "--seconds", "200")
    assert done.returncode != 0
    assert "finding of planted: (b'xyz" in done.stdout
    assert "ValueError: planted" in done.stdout
    (found,) = tmp_path.glob("crash-*")
    assert found.read_bytes().startswith(b"xyz")
    again = fuzzed("planted", tmp_path, str(found))
    assert "finding of planted: (b'xyz" in again.stdout


def fuzzed(name: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs a target in a process of its own, on the code that this process has; findings go to the folder."""
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: it has wheels for Linux and Python 3.11 to 3.13")
    code = Path(lp.__file__).resolve().parent.parent
    path = os.pathsep.join(map(str, (code, folder, *filter(None, [os.environ.get("PYTHONPATH")]))))
    return subprocess.run(
        [sys.executable, str(FOLDER / "fuzz.py"), name, *options, "--seed", "1", "--out", str(folder)],
        env=os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


# Mutants: what stands in a target's module for the constraint that it judges.


def without_one_transition(make: Callable[[str], Constraint]) -> Callable[[str], Constraint]:
    """Forgets what follows on the first byte that leads anywhere, where there are other ways to go on."""

    def regex(pattern: str) -> Constraint:
        machine = make(pattern).automaton()
        assert machine is not None
        table = machine.transitions.copy()
        state, byte = np.argwhere(table >= 0)[0] if (table >= 0).sum() > 1 else (0, 0)
        table[state, byte] = -1
        return RegularLanguage(ByteAutomaton(table, machine.accepting), "mutant")

    return regex


def with_one_dead_end(make: Callable[[str], Constraint]) -> Callable[[str], Constraint]:
    """Lets a "b" follow the end of a text, and nothing after it."""

    def regex(pattern: str) -> Constraint:
        machine = make(pattern).automaton()
        assert machine is not None
        size = machine.num_states
        table = np.vstack([machine.transitions, np.full((1, 256), -1, np.int32)])
        ends = np.append(machine.accepting, False)
        table[ends & (table[:, ord("b")] < 0), ord("b")] = size
        return RegularLanguage(ByteAutomaton(table, ends), "mutant")

    return regex


@dataclass(frozen=True)
class Misread(Constraint):
    """Judges another text than the one that it is given. A state is the text so far.

    Attributes:
        inner: What judges.
        read: Gives the text that is judged.
        is_late: Whether the last byte is only looked at when the text ends.
    """

    inner: Constraint
    read: Callable[[bytes], bytes] = bytes
    is_late: bool = False

    def initial(self) -> State:
        return b""

    def advance(self, state: Any, data: bytes) -> State | None:
        text = state + data
        return None if self._inner(text[:-1] if self.is_late else text) is None else text

    def accepts(self, state: Any) -> bool:
        inner = self._inner(state)
        return inner is not None and self.inner.accepts(inner)

    def describe(self) -> str:
        return "mutant"

    def _inner(self, text: bytes) -> State | None:
        return self.inner.advance(self.inner.initial(), self.read(text))


def without_leading_zeros(text: bytes) -> bytes:
    return re.sub(rb"(?<![\w.+\\])0+(?=[0-9])", b"", text)


def without_keyword(make: Callable[..., Constraint], keyword: str) -> Callable[..., Constraint]:
    """Ignores a keyword at the top of a schema."""

    def json(schema: Any, **options: Any) -> Constraint:
        kept = {k: v for k, v in schema.items() if k != keyword} if isinstance(schema, dict) else schema
        return make(kept, **options)

    return json


def of_conditions(make: Callable[..., Constraint], said: str, read: str) -> Callable[..., Constraint]:
    """Reads one sign as another."""
    return lambda *conditions, **options: make(*(text.replace(said, read) for text in conditions), **options)


def with_dead_ends(make: Callable[..., Constraint]) -> Callable[..., Constraint]:
    """Takes every step for one that leads on."""

    def pddl_plan(*texts: str, **options: Any) -> Constraint:
        plan = make(*texts, **options)
        vars(plan)["_outlook"] = SimpleNamespace(
            is_exact=True, is_open=lambda state: True, first_open=lambda states: next(iter(states), None)
        )
        return plan

    return pddl_plan


@dataclass(frozen=True)
class PlainPattern(Constraint):
    """Asks `regex` for partial matches of an expression as it is written."""

    expression: str

    def initial(self) -> State:
        return b""

    def advance(self, state: Any, data: bytes) -> State | None:
        text = state + data
        shown = text.decode(errors="ignore")  # a character may be unfinished
        return text if regex.fullmatch(self.expression, shown, partial=True, timeout=1.0) else None

    def accepts(self, state: Any) -> bool:
        return regex.fullmatch(self.expression, state.decode(errors="replace"), timeout=1.0) is not None

    def describe(self) -> str:
        return "mutant"


def repeated_once_more(constraint: Constraint, least: int, most: int | None) -> Constraint:
    return constraint.repeat(least, None if most is None else most + 1)


MUTANTS: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
    "a transition is forgotten": ("regex", "regex", without_one_transition),
    "a prefix has no completion": ("regex", "regex", with_one_dead_end),
    "zeros may lead": (
        "json_text",
        "json",
        lambda make: lambda **options: Misread(make(**options), without_leading_zeros),
    ),
    "a byte is refused too late": (
        "json_text",
        "json",
        lambda make: lambda **options: Misread(make(**options), is_late=True),
    ),
    "a keyword is ignored": ("json_schema", "json", lambda make: without_keyword(make, "maxLength")),
    "the longest match counts for nothing": (
        "lark",
        "lark",
        lambda make: (
            lambda grammar, lexer, **options: make(
                grammar, lexer=lexer.replace("dynamic_complete", "dynamic"), **options
            )
        ),
    ),
    "once too often": (
        "combinations",
        "MAKERS",
        lambda makers: makers | {"repeat": repeated_once_more},
    ),
    "an unfinished word counts as finished": (
        "sql",
        "sql",
        lambda make: lambda schema: Misread(make(schema), lambda text: text + b" "),
    ),
    "a token is judged when the next one comes": (
        "sql",
        "sql",
        lambda make: lambda schema: Misread(make(schema), lambda text: re.sub(rb"\S+\s*\Z", b"", text)),
    ),
    "an assertion sees the end of the prefix": (
        "pattern",
        "pattern",
        lambda make: lambda expression, timeout: make(expression, timeout) and PlainPattern(expression),
    ),
    "an inequality is not strict": ("linear", "linear", lambda make: of_conditions(make, " < ", " <= ")),
    "among them or not": ("smt", "smt", lambda make: of_conditions(make, "not in", "in")),
    "a fact is refused too late": (
        "pddl_goal",
        "pddl_goal",
        lambda make: lambda *texts: Misread(make(*texts), is_late=True),
    ),
    "a dead end is a way": ("pddl_plan", "pddl_plan", with_dead_ends),
    "no plan has two steps": (
        "pddl_plan",
        "plan",
        lambda make: lambda *texts: found if len(found := make(*texts) or ()) < 2 else None,
    ),
    "a joined line is none": (
        "python_code",
        "python_code",
        lambda make: lambda: Misread(make(), lambda text: text.replace(b"\\\n", b"\n")),
    ),
    "chlorine is carbon": (
        "smiles",
        "smiles",
        lambda make: lambda timeout: Misread(make(timeout), lambda text: text.replace(b"l", b"")),
    ),
    "a conjunction of one": ("combinations", "MAKERS", lambda makers: makers | {"and": lambda a, b: a}),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, attribute, broken = MUTANTS[mutant]
    target = target_of(name)
    monkeypatch.setattr(target, attribute, broken(getattr(target, attribute)))
    with pytest.raises(AssertionError):
        tried(target, 20 * FEW[name])
