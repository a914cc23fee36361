"""The benchmarks parse their options and judge what they recorded rightly. Nothing here is timed."""

from __future__ import annotations

import importlib
import json
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"
NAMES = ("overhead", "roofline", "peers", "growth", "constraints")

pytestmark = pytest.mark.skipif(not BENCHMARKS.exists(), reason="the benchmarks are only in the tree")


@pytest.fixture(autouse=True)
def _beside_each_other(monkeypatch: pytest.MonkeyPatch):
    """Lets the scripts be imported as they import each other, and takes back where they keep programs."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("LMPPL_COMPILE_CACHE", os.environ.get("LMPPL_COMPILE_CACHE", "off"))


def script(name: str) -> ModuleType:
    """Imports a script of the folder."""
    return importlib.import_module(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_takes_the_options_that_all_have(name: str, tmp_path: Path):
    parser = script(name).parser()
    options = parser.parse_args(["--quick", "--out", str(tmp_path / "rows.jsonl")])
    assert options.quick
    assert options.out == tmp_path / "rows.jsonl"
    default = parser.parse_args([])
    assert not default.quick
    assert default.out == ROOT / "build" / "benchmarks" / f"{name}.jsonl"
    with pytest.raises(SystemExit):
        parser.parse_args(["--quickly", "now"])


def test_a_table_puts_words_to_the_left_and_numbers_to_the_right():
    lines = script("reporting").table(["name", "size"], [["a", 1], ["long name", 12345], ["b", None]])
    expected = [
        "name         size",
        "---------  ------",
        "a               1",
        "long name  12,345",
        "b               -",
    ]
    assert lines.splitlines() == expected


def test_a_goal_line_says_whether_the_goal_is_met():
    line = script("reporting").goal_line
    assert line("roofline", "0.71", ">= 0.7", True) == "roofline: 0.71 (goal >= 0.7): met"
    assert line("roofline", "0.69", ">= 0.7", False) == "roofline: 0.69 (goal >= 0.7): missed"


def test_records_are_json_lines_that_begin_with_the_machine(tmp_path: Path):
    records = script("reporting").Records(tmp_path / "folder" / "rows.jsonl")
    records.add(kind="run", wall_s=1.5)
    rows = [json.loads(line) for line in records.path.read_text().splitlines()]
    assert rows == records.rows
    assert [row["kind"] for row in rows] == ["machine", "run"]
    assert rows[0]["cores"] >= 1


def ratio(constraint: str, where: str, wall: float, **row: Any) -> dict[str, Any]:
    """Makes a recorded ratio."""
    made = {
        "kind": "ratio",
        "constraint": constraint,
        "where": where,
        "wall_ratio": wall,
        "num_particles": 32,
    }
    return {**made, **row}


def test_overhead_is_judged_by_the_worst_of_each_kind_at_32_particles():
    verdict = script("overhead").verdict
    good = [
        ratio("regex", "device", 1.1),
        ratio("choices", "device", 1.15),
        ratio("regex", "device", 9.0, num_particles=8),
        ratio("lark", "host", 1.5),
        ratio("check, 1 ms", "slow check", 1.2),
    ]
    figure, met = verdict(good)
    assert figure == "device 1.15x (choices), host 1.50x (lark), slow check 1.20x (check, 1 ms)"
    assert met
    assert not verdict([*good, ratio("regex", "device", 1.16)])[1]
    assert not verdict([*good, ratio("json", "host", 1.51)])[1]
    assert not verdict(good[:-1])[1], "what was not measured is not met"
    failed = {"kind": "failed", "constraint": "lark", "num_particles": 32, "reason": "lost"}
    assert not verdict([*good, failed])[1]


def test_overhead_compares_token_steps_and_takes_off_a_slow_checks_own_time():
    ratios = script("overhead").ratios
    free = {"wall_s": 1.0, "cpu_s": 2.0, "steps": 10, "calls": 0, "check_s": 0.0, "workers": 1}
    row = {"wall_s": 3.0, "cpu_s": 5.0, "steps": 20, "calls": 1900, "check_s": 2.0, "workers": 2}
    plain = ratios([(row, free)], "host")
    assert plain["wall_ratio"] == pytest.approx(1.5)
    assert plain["cpu_ratio"] == pytest.approx(1.25)
    slow = ratios([(row, free)], "slow check")  # 2 s of calls by 2 workers: 1 s of the 3
    assert slow["wall_ratio"] == pytest.approx(1.0)
    assert slow["cpu_ratio"] == pytest.approx(1.25), "the processor time of workers is not this process's"
    alone = ratios([(row | {"workers": 1}, free)], "slow check")
    assert alone["wall_ratio"] == pytest.approx(0.5)
    assert alone["cpu_ratio"] == pytest.approx(0.75)


def test_no_tokenisation_makes_a_choice_too_long():
    options = script("overhead").long_options(64)
    assert len(set(options)) == 16
    assert {len(option.encode()) for option in options} == {64}


def test_the_bound_adds_what_holds_each_matrix_up_longer():
    roofline = script("roofline")
    config = script("measured_models").SHAPES["random-tiny"]
    shapes = roofline.products(config)
    layer = 32 * 32 + 2 * 32 * 16 + 32 * 32 + 3 * 32 * 64
    numbers = 2 * layer + 32 * 512
    assert sum(p.inputs * p.outputs * p.count for p in shapes) == numbers
    assert roofline.weight_bytes(config, 4) == 4 * numbers
    cache = 2 * 2 * 3 * 2 * 8 * 100 * 4
    assert roofline.cache_bytes(config, 3, 100, 4) == cache
    fast = dict.fromkeys(shapes, math.inf)
    by_bytes = roofline.bound_seconds(config, 3, 100, 4, fast, 1e3)
    assert by_bytes == pytest.approx((4 * numbers + cache) / 1e3)
    slow = dict.fromkeys(shapes, 1e3)
    by_operations = roofline.bound_seconds(config, 3, 100, 4, slow, math.inf)
    assert by_operations == pytest.approx((2 * 3 * numbers + 4 * 3 * 2 * 4 * 8 * 100) / 1e3)


def test_roofline_is_judged_at_32_particles_on_cpu_and_at_all_on_a_gpu():
    verdict = script("roofline").verdict
    steps = [
        {"kind": "step", "model": "m", "num_particles": n, "share": s, "bandwidth_share": b, "device": "cpu"}
        for n, s, b in ((1, 0.2, 0.4), (32, 0.7, 0.9))
    ]
    figure, goal, met = verdict(steps)
    assert (figure, met) == ("0.70 (m, 32 particles)", True)
    assert "0.7" in goal
    figure, goal, met = verdict([{**row, "device": "gpu"} for row in steps])
    assert (figure, met) == ("0.40 (m, 1 particles)", False)
    assert "bandwidth" in goal


def sizes(axis: str, points: dict[int, tuple[float, int]]) -> list[dict[str, Any]]:
    """Makes recorded sizes: seconds and bytes by size."""
    return [
        {"kind": "size", "axis": axis, "size": size, "wall_s": wall, "peak_bytes": peak}
        for size, (wall, peak) in points.items()
    ]


def test_growth_finds_the_exponent_of_a_power_and_where_it_bends():
    growth = script("growth")
    mega = 2**20
    linear = sizes("tokens", {n: (0.1 * n, 64 * mega) for n in (1, 4, 16)})
    assert growth.exponents(linear, "wall_s", 0.01) == [None, pytest.approx(1), pytest.approx(1)]
    assert growth.exponents(linear, "peak_bytes", mega) == [None, pytest.approx(0), pytest.approx(0)]
    assert growth.verdict(linear) == ("worst exponent 1.00 (time by tokens)", True)
    assert growth.bends(linear) == []
    bent = [*linear, *sizes("sites", {1: (0.1, 0), 4: (0.4, 0), 16: (6.4, 0)})]
    assert growth.verdict(bent) == ("worst exponent 2.00 (time by sites)", False)
    assert growth.bends(bent) == ["time by sites bends before 16: exponent 2.00"]
    noise = sizes("tokens", {1: (1e-5, 0), 4: (1e-3, 0)})
    assert growth.exponents(noise, "wall_s", 0.01) == [None, None]
    assert not growth.verdict([*linear, {"kind": "failed", "axis": "tokens", "size": 64}])[1]


def peer_run(backend: str, task: str, rep: int, wall: float, live: int = 10) -> dict[str, Any]:
    """Makes a row as the peer harness writes them."""
    row = {"kind": "run", "backend": backend, "task": task, "rep": rep, "wall_s": wall, "cpu_s": wall}
    return {**row, "tok_s": 100 / wall, "n": 10, "live": live, "valid": 1.0, "prepare_s": 0.5}


def test_peers_are_compared_within_a_repeat_and_the_first_is_discarded():
    peers = script("peers")
    times = {"T1.direct.n32": 8.0, "T2.iso.awrs": 5.0, "T2.iso.mask": 20.0, "T3.person.awrs-mr128": 10.0}
    times |= {"T5.grammar.awrs": 10.0}
    rows = []
    for task, faster in times.items():
        for rep in (0, 1, 2):
            rows.append(peer_run(peers.OURS, task, rep, 60.0 if rep == 0 else 1.0))
            rows.append(peer_run(peers.PEER, task, rep, faster))
    rows += [peer_run(peers.GENERATE, "T1.direct.n32", rep, 1.5) for rep in (0, 1, 2)]
    compared = peers.comparisons(rows)
    assert {(row["task"], row["peer"]): row["speedup"] for row in compared} == {
        **{(task, peers.PEER): faster for task, faster in times.items()},
        ("T1.direct.n32", peers.GENERATE): 1.5,
    }
    figure, met = peers.verdict(compared, 0.5)
    assert figure == "T1 8.0x, T1 generate 1.5x, T2 5.0x, T2 mask 20.0x, T3 10.0x, T5 10.0x, start 0.50"
    assert met
    assert not peers.verdict(compared, 0.51)[1]
    assert not peers.verdict(compared, math.nan)[1]
    assert peers.verdict(compared[1:], 0.5) != (figure, True)
    for row in compared:
        row["dead"] = 1
    assert peers.verdict(compared, 0.5)[0].count("1 dead") == 1, "deaths count in T3 only"
    assert not peers.verdict(compared, 0.5)[1]


def test_the_start_is_measured_to_the_first_answer():
    peers = script("peers")
    rows = [
        {"kind": "startup", "backend": peers.OURS, "startup": {"total_start_s": 2.0}},
        peer_run(peers.OURS, "T2.iso.awrs", 0, 1.0),
        peer_run(peers.OURS, "T2.iso.awrs", 1, 0.1),
    ]
    assert peers.start_seconds(rows, peers.OURS) == 3.5
    assert math.isnan(peers.start_seconds(rows, peers.PEER))


def test_without_the_peer_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    peers = script("peers")
    monkeypatch.delenv("LMPPL_TEST_DATA", raising=False)
    assert peers.main(["--out", str(tmp_path / "rows.jsonl")]) == 2
    assert "LMPPL_TEST_DATA" in capsys.readouterr().err
    monkeypatch.setenv("LMPPL_TEST_DATA", str(tmp_path))
    (tmp_path / "peer_bench.py").touch()
    options = [
        "--peers",
        str(tmp_path),
        "--peer-python",
        str(tmp_path / "none"),
        "--out",
        str(tmp_path / "rows"),
    ]
    assert peers.main(options) == 2
    assert "--install" in capsys.readouterr().err


TOKENS = [b"a", b"b", b"ab", b"1", b"-", b"<|end|>"]


def test_constraints_are_asked_along_a_sample_by_longest_match():
    timing = script("constraint_timing")
    assert timing.Segmentation(TOKENS)(b"abba1") == [2, 1, 0, 3]
    engine = script("own_constraints").Ours(TOKENS)
    tasks = script("constraint_tasks")
    task = tasks.Task("ab", "regex", "(ab)+-1", "abab-1")
    effort = timing.Effort(repeats=2, states=8)
    row = timing.measure(engine, task, TOKENS, effort)
    assert row["masked"] == 2 + 3 + 3 + 1  # a, ab; a, ab, -, twice; 1
    assert row["allowed"] >= 4
    assert row["places"] == row["mask_places"] == 4
    assert row["check_us"] > 0
    assert row["state_bytes"] > 0
    assert timing.bytes_of_first_reading(engine, task, [2, 2, 4, 3]) > 0
    with pytest.raises(ValueError, match="refuses b'1'"):
        timing.measure(engine, tasks.Task("ab", "regex", "(ab)+", "ab1"), TOKENS, effort)


def test_a_mask_that_takes_too_long_is_given_up_and_named():
    timing = script("constraint_timing")
    engine = script("own_constraints").Ours(TOKENS)
    engine.mask = lambda state: time.sleep(30) or 0
    task = script("constraint_tasks").Task("ab", "regex", "(ab)+-1", "abab-1")
    row = timing.measure(engine, task, TOKENS, timing.Effort(repeats=1, states=4, mask_seconds=0.05))
    assert row["mask_us"] is None
    assert row["without_mask"] == "not measured: over 0.05 s"
    assert script("constraints").missing(row) == "mask not measured: over 0.05 s"
    assert row["check_us"] > 0


def test_every_constraint_of_the_documentation_is_timed():
    page = (ROOT / "docs" / "constraints.md").read_text()
    functions = re.findall(r"^\| `lp\.(\w+)\(", page, re.MULTILINE)
    combinations = re.findall(r"^\| `(~|a (?:\\?\||&|\+|\.repeat)|a\.repeat)", page, re.MULTILINE)
    operators = [each.removeprefix("a").strip(" .\\") for each in combinations]
    assert len(functions) >= 17
    assert sorted(operators) == sorted(["&", "|", "+", "repeat", "~"])
    tasks = script("constraint_tasks").TASKS
    potentials = {"potential", "expert"}  # which the page has too
    assert {*functions, *operators} - potentials == {task.kind for task in tasks}
    assert {task.kind for task in tasks} <= {*script("own_constraints").Ours(TOKENS).kinds}
    assert len({task.name for task in tasks}) == len(tasks)
    modes = {dict(task.options).get("lexer", "dynamic") for task in tasks if task.kind == "lark"}
    assert modes >= {"contextual", "basic", "dynamic", "dynamic_complete"}


def test_every_timed_constraint_allows_its_sample(test_data: Path):
    own, tasks = script("own_constraints"), script("constraint_tasks").TASKS
    for task in tasks:
        if task.kind != "canonical":  # which is asked about tokens
            read = task.read(test_data)
            constraint = own.MAKERS[task.kind](read)
            state = constraint.advance(constraint.initial(), read.sample.encode())
            assert state is not None, task.name
            assert constraint.accepts(state), task.name


def test_engines_without_a_constraint_are_told_a_regular_expression_of_the_same_strings():
    told = 0
    for task in script("constraint_tasks").TASKS:
        assert task.form_for(()) is None
        form = task.form_for(("regex",))
        if task.pattern:
            assert form == ("regex", task.pattern)
            assert re.fullmatch(task.pattern, task.sample), task.name
            told += 1
        else:
            assert (form is not None) == (task.kind == "regex")
    assert told >= 3


def test_tasks_are_chosen_by_constraint_and_by_name():
    chosen = script("constraints").chosen
    assert len(chosen(None)) == len(script("constraint_tasks").TASKS)
    assert [task.name for task in chosen("choices,dat")] == ["date", "1,000 names"]
    assert [task.kind for task in chosen("&,~")] == ["&", "~"]
    assert {task.kind for task in chosen("lark")} == {"lark"}
    assert chosen("grammars") == []
    with pytest.raises(SystemExit, match="No task is named 'zzz'"):
        chosen("zzz")


def test_what_compiled_slowly_is_left_out_of_larger_vocabularies_and_named():
    constraints = script("constraints")
    rows = [
        {"engine": "a", "task": "date", "vocab": 10, "compile_s": 9.0},
        {"engine": "a", "task": "email", "vocab": 10, "compile_s": 11.0},
        {"engine": "b", "task": "date", "vocab": 10, "compile_s": 12.0},
        {"engine": "a", "task": "person", "vocab": 10, "error": "refused"},
    ]
    slow = constraints.too_slow(rows, "a")
    assert slow == {"email": "compiled in 11 s at 10 ids"}
    row = {"error": slow["email"]}
    assert constraints.missing(row) == "not measured: compiled in 11 s at 10 ids"


def test_memos_of_constraints_are_forgotten_before_a_compilation_is_timed():
    import lmppl as lp

    adapter = script("peer_adapter")
    check = lp.check("short", prefix=lambda text: len(text) < 3)
    assert check.advance(check.initial(), b"ab") is not None
    lp.lark('start: "a"').initial()
    memos = [getattr(importlib.import_module(f"lmppl.constraints.{module}"), name) for module, name in MEMOS]
    assert all(len(memo) for memo in memos)
    adapter.forget_constraints()
    assert not any(len(memo) for memo in memos)


MEMOS = [
    ("grammars.lark_grammars", "_LOADED"),
    ("functions.remembered_answers", "_kept"),
]


def test_a_byte_level_vocabulary_is_read_in_the_order_of_its_ids(tmp_path: Path):
    words = {"\u0120b": 1, "a": 0, "\u00e9": 2, "zz": 3}
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": {"vocab": words}}))
    assert script("constraint_timing").read_vocabulary(path, 4) == [b"a", b" b", b"\xe9", b"<|end|>"]


def test_checks_are_judged_against_the_fastest_engine():
    constraints = script("constraints")

    def row(engine: str, task: str, of: str, check_us: float) -> dict[str, Any]:
        return {"engine": engine, "task": task, "of": of, "vocab": 10, "check_us": check_us}

    rows = [
        row("lmppl", "date", "regex", 3.0),
        row("a", "date", "regex", 2.0),
        row("b", "date", "regex", 4.0),
    ]
    rows += [row("lmppl", "g", "lark", 9.0), row("a", "g", "lark", 1.0)]  # grammars have another goal
    rows += [
        row("lmppl", "p", "json", 1.0),
        {"engine": "a", "task": "p", "of": "json", "vocab": 10, "error": "no"},
    ]
    ratios = constraints.check_ratios(rows)
    assert ratios == {(10, "date"): 1.5, (10, "p"): 1.0}
    grammars = [{"compile_s": 0.2, "bytes_s": 0.0}, {"compile_s": 0.75, "bytes_s": 0.25}]
    assert math.isnan(constraints.grammar_speedup(rows))
    assert constraints.grammar_speedup([*rows, row("genlm-control", "g", "lark", 90.0)]) == 10.0
    assert constraints.verdict(ratios, grammars, 10.0)[1]
    assert not constraints.verdict(ratios, grammars, 9.9)[1]
    assert not constraints.verdict(ratios, grammars, math.nan)[1]
    assert not constraints.verdict(ratios, [*grammars, {"compile_s": 0.9, "bytes_s": 0.2}], 10.0)[1]
    assert not constraints.verdict({**ratios, (10, "q"): 1.6}, grammars, 10.0)[1]
    assert not constraints.verdict({}, grammars, 10.0)[1]
    assert not constraints.verdict(ratios, [], 10.0)[1]


def test_without_a_vocabulary_constraints_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    monkeypatch.delenv("LMPPL_TEST_DATA", raising=False)
    assert script("constraints").main(["--out", str(tmp_path / "rows.jsonl")]) == 2
    assert "LMPPL_TEST_DATA" in capsys.readouterr().err


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "enum": ["Ann Lee", 'B"K']},
        "age": {"type": "integer"},
        "score": {"type": "number"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "active": {"type": "boolean"},
    },
    "required": ["name", "age"],
}


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ('{"name": "Ann Lee", "age": 3}', True),
        ('{"age":-10,"name":"B\\"K"}', True),
        ('{"score": 1.5e3, "age": 0, "tags": ["a", "\\u00e9"], "name": "Ann Lee", "active": true}', True),
        ('{"tags": [], "age": 0, "name": "Ann Lee"}', True),
        ('{"name": "Ann Lee"}', False),
        ('{"name": "Ann", "age": 3}', False),
        ('{"name": "Ann Lee", "age": 3, "age": 3}', False),
        ('{"name": "Ann Lee", "age": 3, "other": 3}', False),
        ('{"name": "Ann Lee", "age": 3.5}', False),
        ('{"name": "Ann Lee", "age": 03}', False),
        ('{"name": "Ann Lee", "age": 3,}', False),
        ('{"name": "Ann Lee", "age": 3, "tags": ["\\x"]}', False),
        ("{}", False),
    ],
)
def test_the_adapter_reads_schemas_as_the_peer_does(text: str, valid: bool):
    import lmppl as lp

    constraint = lp.json(script("peer_adapter").closed(PERSON))
    state = constraint.advance(constraint.initial(), text.encode())
    assert (state is not None and constraint.accepts(state)) == valid


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("overhead", ["--models", "random-tiny", "--particles", "4"]),
        ("growth", ["--model", "random-tiny", "--largest", "64"]),
        ("roofline", ["--models", "random-tiny", "--particles", "2"]),
    ],
)
def test_a_benchmark_runs_on_a_tiny_model_and_ends_with_its_goal(
    name: str, options: list[str], tmp_path: Path
):
    out = tmp_path / "rows.jsonl"
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--quick", "--out", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"{name}: ")
    assert last.endswith(("): met", "): missed"))
    kinds = {json.loads(line)["kind"] for line in out.read_text().splitlines()}
    assert {"overhead": {"ratio", "run"}, "growth": {"size"}, "roofline": {"step"}}[name] <= kinds
