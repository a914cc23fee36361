"""A run that is killed and called again gives, bit for bit, the posterior of a run that was not."""

import collections
import errno
import os
import re
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import lmppl as lp
from lmppl.inference.saved_runs import SavedRun
from lmppl.inference.stand_ins import fingerprint

ROWS = np.random.default_rng(11).dirichlet(np.ones(4), 5)
LM = lp.TableLM(["a", "b", "c", "<end>"], ROWS[0], ROWS[1:])
COSTS = ("seconds", "check_seconds", "num_compilations")
METHOD = partial(lp.SMC, 12, ess_threshold=1.0)
PASSED: collections.Counter[str] = collections.Counter()


def passing(where):
    """Kills the process when it comes by for the n-th time, if `DIE_AT` says `where:n`."""
    PASSED[where] += 1
    if os.environ.get("DIE_AT") == f"{where}:{PASSED[where]}":
        os.kill(os.getpid(), signal.SIGKILL)
    return True


def longest_run(text):
    passing("call")
    return max((len(part) for part in text.split("b")), default=0)


@lp.program
def program(lm):
    scale = lp.sample("scale", dist.LogNormal(0.0, 0.5))
    no_cc = lp.check("no cc", prefix=lambda s: passing("check") and "cc" not in s)
    first = lp.sample("first", lm("a", max_tokens=4) & no_cc)
    lp.twist("promising", 0.3 * len(first))
    lp.observe("length", dist.Normal(float(len(first)), scale), 2.0)
    passing("after length")
    run = numpyro.deterministic("longest", lp.cached(longest_run, first))
    lp.factor("short runs", -0.5 * run)
    lp.constrain("not empty", len(first) > 0)
    slope = lp.sample("slope", dist.Normal(np.zeros(2), 1.0))
    lp.checkpoint("half")
    passing("after half")
    second = lp.sample("second", lm(first, max_tokens=3) & lp.regex("[ab]*"))
    lp.observe("said", lm(second, max_tokens=4), "ab")
    third = lp.sample("third", lm("b", max_tokens=2))
    return first, second, third, float(slope[0])


def content(posterior):
    """Everything in a posterior but what it cost, as a text that holds all digits."""
    diagnostics = vars(posterior.diagnostics) | dict.fromkeys(COSTS)
    traces = [(list(t.items()), t.observed, t.texts) for t in posterior.traces]
    estimates = (posterior.log_evidence, posterior.log_evidence_error, posterior.losses, posterior.partial)
    return "\n".join(map(exact, (posterior.values, traces, posterior.log_weights, estimates, diagnostics)))


def exact(value):
    if isinstance(value, (np.ndarray, np.generic)):
        return f"{value.dtype}{value.tolist()}"
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(exact, value))})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {exact(item)}' for key, item in value.items())}}}"
    return repr(value)


class Crash(BaseException):
    """Ends a run as a kill would, but for the process."""


def crash(*_):
    raise Crash


def crash_after(num_moves, method, monkeypatch):
    """Runs until so many moves were saved; says whether the run went on for longer."""
    moved = SavedRun.moved

    def counted(self, *state):
        moved(self, *state)
        if self._num_moves == num_moves:
            raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(SavedRun, "moved", counted)
        try:
            lp.infer(program, LM, method=method, key=3)
        except Crash:
            return True
    return False


@pytest.fixture(scope="module")
def uninterrupted():
    return content(lp.infer(program, LM, method=METHOD(), key=3))


def test_a_run_that_ends_after_any_of_its_moves_is_resumed_bit_for_bit(tmp_path, monkeypatch, uninterrupted):
    path, moves = tmp_path / "run", 0
    method = METHOD(save_to=path)
    while crash_after(moves + 1, method, monkeypatch):
        moves += 1
        assert content(lp.infer(program, LM, method=method, key=3)) == uninterrupted
        assert list(tmp_path.iterdir()) == []
    assert moves > 5
    assert int(re.findall(r"num_resamplings: (\d+)", uninterrupted)[0]) > 3


def forget_generations(population, particles, state):
    population.generations[:] = 0


def forget_twists(population, particles, state):
    population.log_twists[:] = 0


def forget_evidence(population, particles, state):
    population._log_evidence = 0.0


def forget_eves(population, particles, state):
    population.eves[:] = np.arange(len(population.eves))


def forget_what_is_due(population, particles, state):
    state["_due"] = None


def forget_who_waits(population, particles, state):
    state["_waiting"].clear()


@pytest.mark.parametrize(
    "mutant",
    [
        forget_generations,
        forget_twists,
        forget_evidence,
        forget_eves,
        forget_what_is_due,
        forget_who_waits,
    ],
    ids=lambda mutant: mutant.__name__,
)
def test_what_is_not_restored_is_noticed(tmp_path, monkeypatch, uninterrupted, mutant):
    method, restore = METHOD(save_to=tmp_path / "run"), SavedRun.restore

    def mutated(self, population, particles):
        state = restore(self, population, particles)
        if state is not None:
            mutant(population, particles, state)
        return state

    monkeypatch.setattr(SavedRun, "restore", mutated)
    for num_moves in range(1, 100):
        assert crash_after(num_moves, method, monkeypatch), "no move at which it matters"
        if content(lp.infer(program, LM, method=method, key=3)) != uninterrupted:
            break


def test_processes_that_are_killed_anywhere_leave_a_run_that_others_finish(tmp_path):
    folder = tmp_path / "runs"
    folder.mkdir()
    out = folder / "out"
    # A process takes the programs that those before it compiled, small ones too.
    programs = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    # Inside of a text site, while the file is being written, in a call, and between two statements.
    for place in ("check:5", "fsync:9", "call:2", "after half:5", ""):
        result = subprocess.run(
            [sys.executable, __file__, str(folder / "run"), str(out)],
            env=os.environ | programs | {"DIE_AT": place},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == (-signal.SIGKILL if place else 0), (place, result.stderr)
    resumed, uninterrupted = out.read_text().split("\n\n")
    assert resumed == uninterrupted
    assert sorted(path.name for path in folder.iterdir()) == ["out"]


def test_ctrl_c_leaves_a_file_from_which_the_run_goes_on(tmp_path, monkeypatch, uninterrupted):
    path = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[__name__], "passing", interrupt_a_call)
        assert lp.infer(program, LM, method=METHOD(save_to=path), key=3).partial
    assert path.exists()
    assert content(lp.infer(program, LM, method=METHOD(save_to=path), key=3)) == uninterrupted
    assert not path.exists()


def interrupt_a_call(where):
    if where == "call":
        raise KeyboardInterrupt
    return True


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"key": 4}, r"key is \[0, 3\], not \[0, 4\]"),
        ({"method": partial(lp.SMC, 13, ess_threshold=1.0)}, "number of particles is 12, not 13"),
        ({"method": partial(lp.SMC, 12, ess_threshold=0.5)}, "ess_threshold is 1.0, not 0.5"),
        ({"method": partial(METHOD, proposal=lp.AWRS())}, "proposal is .*Auto.*, not .*AWRS"),
        ({"arguments": (lp.TableLM(["a", "<end>"], [1, 0], [[0.5, 0.5], [0, 1]]),)}, "arguments is"),
        (
            {"program": lambda lm: lp.sample("scale", dist.Normal(0.0, 1.0))},
            "program is .*program, not .*lambda",
        ),
    ],
    ids=["key", "particles", "threshold", "proposal", "arguments", "program"],
)
def test_the_file_of_another_run_is_refused_and_the_difference_named(tmp_path, monkeypatch, change, named):
    path = tmp_path / "run"
    assert crash_after(3, METHOD(save_to=path), monkeypatch)
    what = {"program": program, "arguments": (LM,), "method": METHOD, "key": 3} | change
    method = what["method"](save_to=path)
    with pytest.raises(lp.InvalidInputError, match=f"{named}(.|\n)*Delete the file"):
        lp.infer(what["program"], *what["arguments"], method=method, key=what["key"])
    assert path.exists()


@pytest.mark.parametrize("part", [0.0, 0.3, 0.99, "flipped"])
def test_a_damaged_file_is_refused(tmp_path, monkeypatch, part):
    path = tmp_path / "run"
    assert crash_after(5, METHOD(save_to=path), monkeypatch)
    data = path.read_bytes()
    if part == "flipped":
        path.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
    else:
        path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(lp.InvalidInputError, match="(damaged|no saved run).*Delete the file"):
        lp.infer(program, LM, method=METHOD(save_to=path), key=3)


def test_a_program_that_has_changed_below_its_own_lines_is_noticed_on_replay(tmp_path, monkeypatch):
    means = {"first": 0.0}

    def moving():
        x = lp.sample("x", dist.Normal(means["first"], 1.0))
        lp.observe("o", dist.Normal(x, 1.0), 0.5)

    with monkeypatch.context() as patch:
        patch.setattr(SavedRun, "finish", crash)
        with pytest.raises(Crash):
            lp.infer(moving, method=METHOD(save_to=tmp_path / "run"))
    means["first"] = 0.25
    with pytest.raises(lp.ProgramNotDeterministic, match="'x'.*another distribution") as caught:
        lp.infer(moving, method=METHOD(save_to=tmp_path / "run"))
    assert any("resumed" in note for note in caught.value.__notes__)


def test_data_that_has_changed_since_is_noticed(tmp_path, monkeypatch):
    data = [0.5]

    def observing():
        lp.observe("o", dist.Normal(0.0, 1.0), data[0])
        lp.sample("x", dist.Normal(0.0, 1.0))

    with monkeypatch.context() as patch:
        patch.setattr(SavedRun, "finish", crash)
        with pytest.raises(Crash):
            lp.infer(observing, method=METHOD(save_to=tmp_path / "run"))
    data[0] = 0.75
    with pytest.raises(lp.ProgramNotDeterministic, match=r"'o' at .* with '0.75', where it had '0.5'"):
        lp.infer(observing, method=METHOD(save_to=tmp_path / "run"))


@pytest.mark.parametrize(
    "other",
    [
        lp.TableLM(["a", "b", "c", "<end>"], ROWS[1], ROWS[1:]),
        lp.TableLM(["a", "c", "b", "<end>"], ROWS[0], ROWS[1:]),
    ],
    ids=["probabilities", "tokens"],
)
def test_another_table_of_the_same_name_is_another_model(other):
    assert fingerprint(other) != fingerprint(LM)
    assert fingerprint(lp.TableLM(["a", "b", "c", "<end>"], ROWS[0], ROWS[1:])) == fingerprint(LM)


def test_a_disk_that_is_full_is_said_and_the_state_of_before_is_kept(tmp_path, monkeypatch, uninterrupted):
    path = tmp_path / "run"
    assert crash_after(3, METHOD(save_to=path), monkeypatch)
    before = path.read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(lp.InvalidInputError, match="run'.* cannot be written: No space left.*Make room"):
            lp.infer(program, LM, method=METHOD(save_to=path), key=3)
    assert [child.name for child in tmp_path.iterdir()] == ["run"]
    assert path.read_bytes() == before
    assert content(lp.infer(program, LM, method=METHOD(save_to=path), key=3)) == uninterrupted


def test_a_value_that_cannot_be_pickled_is_named(tmp_path):
    def locked():
        lp.cached(threading.Lock)
        lp.sample("x", dist.Normal(0.0, 1.0))

    with pytest.raises(lp.InvalidTypeError, match="lock'.*cannot be pickled"):
        lp.infer(locked, method=METHOD(save_to=tmp_path / "run"))


def test_the_file_holds_values_and_no_weights(tmp_path, monkeypatch):
    size = 400
    probs = np.full((size, size), 1 / size)
    large = lp.TableLM([*(f"t{i} " for i in range(size - 1)), "<end>"], probs[0], probs)

    def saved_size(lm):
        with pytest.raises(Crash):
            lp.infer(lambda: lp.sample("x", lm("", max_tokens=2)), method=lp.SMC(4, save_to=tmp_path / "run"))
        size = (tmp_path / "run").stat().st_size
        (tmp_path / "run").unlink()
        return size

    monkeypatch.setattr(SavedRun, "finish", crash)
    sizes = [saved_size(LM), saved_size(large)]
    assert max(sizes) < 6_000


def test_a_run_without_posterior_leaves_no_file(tmp_path):
    def impossible():
        lp.sample("x", dist.Normal(0.0, 1.0))
        lp.constrain("never", False)

    with pytest.raises(lp.NoPosterior):
        lp.infer(impossible, method=METHOD(save_to=tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []


def test_fewer_writes_give_the_same_posterior(tmp_path, monkeypatch, uninterrupted):
    method = METHOD(save_to=str(tmp_path / "run"), save_every=4)
    assert crash_after(7, method, monkeypatch)
    assert content(lp.infer(program, LM, method=method, key=3)) == uninterrupted


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"save_every": 3}, lp.InvalidInputError, "save_to="),
        ({"save_every": 0, "save_to": "x"}, lp.InvalidInputError, "at least 1"),
        ({"save_every": 1.5, "save_to": "x"}, lp.InvalidTypeError, "int"),
        ({"save_to": 3}, lp.InvalidTypeError, "path"),
        ({"save_to": "a\0b"}, lp.InvalidInputError, "NUL"),
    ],
)
def test_wrong_options_are_refused(options, error, named):
    with pytest.raises(error, match=named):
        lp.SMC(4, **options)


@pytest.mark.parametrize("name", ["missing/run", "."])
def test_a_place_that_cannot_hold_the_file_is_refused_before_the_run(tmp_path, name):
    with pytest.raises(lp.InvalidInputError, match="folder"):
        lp.infer(program, LM, method=METHOD(save_to=tmp_path / name), key=3)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc, where nobody can make a file")
@pytest.mark.parametrize(("path", "named"), [("/proc/run", "cannot be written"), ("/dev/null", "device")])
def test_a_place_that_cannot_be_written_to_is_refused_before_the_run(path, named):
    begun = []
    with pytest.raises(lp.InvalidInputError, match=named):
        lp.infer(lambda: begun.append(1), method=METHOD(save_to=path))
    assert not begun


def test_stand_ins_hold_no_addresses_and_tell_distributions_apart():
    distributions = [
        dist.Normal(0.0, 1.0),
        dist.Normal(0.5, 1.0),
        dist.TransformedDistribution(dist.Normal(0.0, 1.0), [dist.transforms.ExpTransform()]),
        dist.MixtureSameFamily(dist.Categorical(probs=np.ones(2) / 2), dist.Normal(np.zeros(2), 1.0)),
        LM("a"),
        LM("b"),
        LM("a", max_tokens=3),
        LM("a") & lp.regex("a*"),
        lp.local(LM("a") & lp.regex("a*")),
    ]
    texts = [fingerprint(distribution) for distribution in distributions]
    assert len(set(texts)) == len(texts)
    assert not any("0x" in text for text in texts)


if __name__ == "__main__":
    fsync = os.fsync
    os.fsync = lambda file: (passing("fsync"), fsync(file))[1]
    ended = [content(lp.infer(program, LM, method=METHOD(save_to=sys.argv[1]), key=3))]
    ended.append(content(lp.infer(program, LM, method=METHOD(), key=3)))
    Path(sys.argv[2]).write_text("\n\n".join(ended))
