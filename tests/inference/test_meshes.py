"""Runs over several devices and processes give what one device gives.

Each test runs this file as a program of its own, with 8 CPU devices or as two processes, and compares.
"""

from __future__ import annotations

import functools
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import lmppl as lp
from lmppl.inference import device_sites
from lmppl.models.checkpoint import write_checkpoint
from lmppl.models.config import DecoderConfig
from lmppl.models.decoder import initial_params

pytestmark = pytest.mark.once

PROMPTS = ["the red block", "the red cat sat on", "12 34"]
END = "<|end|>"
CONFIG = DecoderConfig(
    vocab_size=128,
    hidden_size=32,
    intermediate_size=48,
    num_layers=2,
    num_heads=8,
    num_kv_heads=4,
    head_size=8,
    context_length=256,
    tie_embeddings=False,
    initializer_range=0.3,
)


def write_model(folder: Path) -> None:
    """Writes a random decoder whose tokens are ASCII characters, and id 0 the end."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens = [END, *map(chr, range(33, 127)), "\u0120", "\u010a"]  # a space and a newline, as GPT-2 has them
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(END, special=True)])
    write_checkpoint(folder, CONFIG, initial_params(CONFIG, jax.random.key(0)))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [0]}))
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": END}))


def one_site(lm: Any, constraint: Any, max_tokens: int | None = 7) -> str:
    which = int(lp.sample("which", dist.Categorical(probs=np.full(3, 1 / 3))))
    text = lm(PROMPTS[which], max_tokens=max_tokens, stop="\n")
    return lp.sample("text", text if constraint is None else text & constraint)


def two_sites(lm: Any) -> str:
    """The second prompt goes on from each particle's own text, and a third string is observed."""
    first = lp.sample("first", lm(PROMPTS[0], max_tokens=40) & lp.regex("[a-z ]{24,}"))
    second = lp.sample("text", lm(PROMPTS[0] + first + ",", max_tokens=4) & lp.regex("[a-z ]+"))
    lp.observe("said", lm(PROMPTS[0] + first[:5], max_tokens=5, stop="\n"), "cat")
    return second


def proposed(lm: Any) -> str:
    text = lm(PROMPTS[0], max_tokens=3) & lp.regex("[a-f]+")
    return lp.sample("text", text, proposal=lp.local(lm(PROMPTS[1], max_tokens=3) & lp.regex("[a-f]+")))


CHECK = lp.check("few e", prefix=lambda text: text.count("e") < 2)
SMC: dict[str, Any] = {"ess_threshold": 1.0}
CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = {
    "free": (one_site, (None,), SMC),
    "masked": (one_site, (lp.regex("[a-z ]{3,}"),), SMC),
    "searched": (one_site, (lp.regex("[a-z ]{3,}"),), SMC | {"proposal": lp.AWRS(lookahead=2)}),
    "checked": (one_site, (CHECK,), SMC),
    "repeated": (one_site, (CHECK,), SMC | {"proposal": lp.AWRS(rounds=2)}),
    "masked by the host": (one_site, (CHECK, 3), SMC | {"proposal": lp.Mask()}),
    "long": (one_site, (lp.regex("[a-z ]{70,80}"), None), SMC),
    "two sites": (two_sites, (), SMC),
    "proposed": (proposed, (), {}),
}
FEW = ["masked", "checked", "two sites"]
READ = "searched"  # the case of which the compiled program is looked at
ALONE = ("checked", "two sites", READ)  # by devices that have all weights; the first of two sites is masked
SHARED = ("checked", READ)  # by devices that share them


def outcome(lm: Any, case: str) -> dict[str, Any]:
    """Runs a case with 12 particles, which 8 devices do not divide evenly."""
    program, args, options = CASES[case]
    posterior = lp.infer(program, lm, *args, method=lp.SMC(12, **options), key=1)
    return {
        "tokens": [list(trace.texts["text"].tokens) for trace in posterior.traces if "text" in trace.texts],
        "log_weights": posterior.log_weights.tolist(),
        "log_evidence": posterior.log_evidence,
        "num_resamplings": posterior.diagnostics.num_resamplings,
    }


def require_equal(found: dict[str, Any], expected: dict[str, Any], case: str) -> None:
    assert found["tokens"] == expected["tokens"], case
    assert found["num_resamplings"] == expected["num_resamplings"], case
    np.testing.assert_allclose(found["log_weights"], expected["log_weights"], atol=1e-4, err_msg=case)
    assert found["log_evidence"] == pytest.approx(expected["log_evidence"], abs=1e-4), case


# What runs in the other processes.


def work(job: dict[str, Any]) -> dict[str, Any]:
    if "port" in job:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"127.0.0.1:{job['port']}", 2, job["rank"])
    mesh = jax.make_mesh(tuple(job["shape"]), ("data", "model"))
    programs: list[str] = []
    lm = lp.load(job["folder"], mesh=mesh)
    report: dict[str, Any] = {case: outcome(lm, case) for case in job["cases"] if case != READ}
    if READ in job["cases"]:
        keep_programs(programs)
        report[READ] = outcome(lm, READ)
    report["weights"] = {
        jax.tree_util.keystr(path, simple=True, separator="/"): [
            list(leaf.shape),
            list(leaf.sharding.shard_shape(leaf.shape)),
        ]
        for path, leaf in jax.tree_util.tree_leaves_with_path(lm.params)
    }
    report["collectives"] = [collectives(text) for text in programs]
    return report


def keep_programs(texts: list[str]) -> None:
    """Keeps what the loops of text sites are compiled to."""
    real = device_sites.run_program

    def run_program(*what: Any) -> Any:
        program = real(*what)

        def call(*args: Any) -> Any:
            compiled = program.lower(*args).compile()
            texts.append(compiled.as_text())
            return compiled(*args)

        return call

    device_sites.run_program = run_program


def collectives(text: str) -> dict[str, int]:
    """Counts the collective operations of a program by where they stand and what they are."""
    found = re.findall(
        r" (all-reduce|all-gather|all-to-all|collective-\w+|reduce-scatter)(?:-start)?\(.*"
        r'op_name="([^"]*)"',
        text,
    )
    places = ["/".join(re.findall(r"while/\w+", path)) or "once" for _, path in found]
    return dict(Counter(f"{place}: {kind}" for place, (kind, _) in zip(places, found, strict=True)))


# The tests.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if jax.default_backend() != "cpu":
        pytest.skip("what CPU devices give is compared")
    made = tmp_path_factory.mktemp("models") / "small"
    write_model(made)
    return made


@pytest.fixture(scope="module")
def on_one_device(folder: Path) -> Callable[[str], dict[str, Any]]:
    lm = lp.load(folder)
    known: dict[str, dict[str, Any]] = {}

    def expected(case: str) -> dict[str, Any]:
        if case not in known:
            known[case] = outcome(lm, case)
        return known[case]

    return expected


def start(num_devices: int, **job: Any) -> subprocess.Popen[str]:
    others = os.environ.get("XLA_FLAGS", "")
    flags = {
        "XLA_FLAGS": f"{others} --xla_force_host_platform_device_count={num_devices}",
        "JAX_NUMPY_DTYPE_PROMOTION": "strict",
        "JAX_NUMPY_RANK_PROMOTION": "raise",
    }
    return subprocess.Popen(
        [sys.executable, __file__, json.dumps(job, default=str)],
        env=os.environ | flags,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def report_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    try:
        output, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, errors[-3000:]
    return json.loads(output.splitlines()[-1])


@pytest.fixture(scope="module")
def on_devices(folder: Path) -> Callable[..., Callable[[], dict[str, Any]]]:
    """Starts a process with as many devices as the mesh has, once for each job; gives what waits for it."""

    @functools.cache
    def begin(shape: tuple[int, int], cases: tuple[str, ...]) -> Callable[[], dict[str, Any]]:
        process = start(shape[0] * shape[1], shape=shape, cases=cases, folder=folder)
        return functools.cache(lambda: report_of(process))

    return begin


@pytest.mark.parametrize(
    ("shape", "cases"),
    [
        pytest.param((8, 1), ALONE, id="particles"),
        pytest.param((2, 4), SHARED, id="both"),
        pytest.param((1, 8), ("masked",), id="weights, more devices than key heads"),
        pytest.param((3, 2), tuple(CASES), id="three by two", marks=pytest.mark.slow),
        pytest.param((8, 1), tuple(CASES), id="particles, all", marks=pytest.mark.slow),
        pytest.param((2, 4), tuple(CASES), id="both, all", marks=pytest.mark.slow),
    ],
)
def test_several_devices_give_what_one_gives(
    shape: tuple[int, int],
    cases: tuple[str, ...],
    on_devices: Callable[..., Callable[[], dict[str, Any]]],
    on_one_device: Callable[[str], dict[str, Any]],
):
    waiting = on_devices(shape, cases)
    expected = {case: on_one_device(case) for case in cases}
    report = waiting()
    for case in cases:
        require_equal(report[case], expected[case], case)
    assert any(expected[case]["num_resamplings"] for case in cases)


def test_a_mesh_of_one_device_runs_the_same_program(folder: Path, on_one_device: Callable[[str], Any]):
    lm = lp.load(folder, mesh=jax.make_mesh((1,), ("model",)))
    require_equal(outcome(lm, "masked"), on_one_device("masked"), "masked")


def test_weights_lie_apart_and_only_resampling_talks(on_devices: Callable[..., Callable[[], dict[str, Any]]]):
    """Of 8 devices with particles of their own, and of 2 by 4 that share weights."""
    (alone,) = on_devices((8, 1), ALONE)()["collectives"]
    in_a_step = {place: count for place, count in alone.items() if not place.startswith("once")}
    moves = in_a_step.pop("while/body/while/body: all-gather")  # when resampling is due
    assert moves > 0
    assert in_a_step == {
        "while/body: all-gather": 1,  # the weights
        "while/cond: all-reduce": 1,  # does any row want more?
    }
    together = on_devices((2, 4), SHARED)()
    (shared,) = together["collectives"]
    assert shared["while/body: all-gather"] == 1
    assert shared["while/body/while/body: all-gather"] == moves + 1  # also the logits, where tokens are read
    reduced = shared["while/body/while/body: all-reduce"]
    assert reduced == 1 + 2 * CONFIG.num_layers  # the embedding, and two a layer
    assert shared["while/cond: all-reduce"] == 1
    weights = together["weights"]
    assert weights["embedding"] == [[128, 32], [32, 32]]
    assert weights["head"] == [[128, 32], [32, 32]]
    for name, part in {
        "attention/query": [16, 32],
        "attention/key": [8, 32],
        "attention/output": [32, 16],
        "mlp/up": [12, 32],
        "mlp/down": [32, 12],
    }.items():
        assert weights[f"blocks/0/{name}/weight"][1] == part
    assert weights["blocks/0/mlp_norm/scale"] == [[32], [32]]


@pytest.mark.parametrize(
    ("shape", "cases"),
    [
        pytest.param((4, 1), ["masked"], id="particles"),
        pytest.param((4, 1), FEW, id="particles, more", marks=pytest.mark.slow),
        pytest.param((1, 4), FEW, id="weights", marks=pytest.mark.slow),
    ],
)
def test_two_processes_give_what_one_gives(
    shape: tuple[int, int], cases: list[str], folder: Path, on_one_device: Callable[[str], dict[str, Any]]
):
    if "jax_cpu_collectives_implementation" not in jax.config.values:
        pytest.skip("this JAX has no collectives between CPU processes")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    job = {"shape": shape, "cases": cases, "folder": folder, "port": port}
    processes = [start(2, rank=rank, **job) for rank in range(2)]
    try:
        expected = {case: on_one_device(case) for case in cases}
        first, second = [report_of(process) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for case in cases:
        assert first[case] == second[case], case
        require_equal(first[case], expected[case], case)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as elsewhere:
        os.chdir(elsewhere)
        sys.stdout.write("\n" + json.dumps(work(json.loads(sys.argv[1]))) + "\n")
