"""`lp.cached`: once for each set of arguments, timed in worker processes, and errors are errors."""

import subprocess
import sys
import time
from pathlib import Path

import cloudpickle
import numpy as np
import numpyro.distributions as dist
import pytest

import lmppl as lp

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a worker imports neither this file nor JAX

COIN = dist.Categorical(probs=np.array([0.5, 0.5]))


def test_a_function_is_called_once_for_each_set_of_arguments():
    calls = []

    def square(number, *, offset):
        calls.append(number)
        return number**2 + offset

    def program():
        number = int(lp.sample("n", COIN))
        lp.observe("o", dist.Normal(number, 1.0), 0.5)
        return lp.cached(square, number, offset=1)

    posterior = lp.infer(program, method=lp.SMC(64, ess_threshold=1.0))
    assert sorted(calls) == [0, 1]
    assert set(posterior.answers()) == {1, 2}


def test_arguments_that_cannot_be_hashed_are_compared_by_value():
    calls = []

    def total(numbers):
        calls.append(numbers)
        return sum(numbers)

    lp.infer(lambda: lp.cached(total, [1, 2]), method=lp.SMC(8))
    assert calls == [[1, 2]]


def nap(seconds):
    time.sleep(seconds)
    return seconds


def test_a_call_that_takes_too_long_loses_its_particles_only():
    def program():
        return lp.cached(nap, 60.0 if lp.sample("slow", COIN) else 0.0, timeout=1.5)

    posterior = lp.infer(program, method=lp.SMC(16))
    lost = posterior.losses["check timed out"]["nap"]
    assert 0 < lost < 16
    assert posterior.probability(0.0) == pytest.approx(1.0)


def test_workers_return_what_the_function_returns_and_survive_a_timeout():
    def program():
        number = int(lp.sample("n", dist.Categorical(probs=np.full(4, 0.25))))
        first = lp.cached(nap, 30.0 if number == 0 else 0.01 * number, timeout=2.0)
        return lp.cached(nap, first + 0.01, timeout=5.0)

    posterior = lp.infer(program, method=lp.SMC(32))
    assert {round(value, 2) for value in posterior.answers()} == {0.02, 0.03, 0.04}


def divide(number):
    return 1 / number


@pytest.mark.parametrize("timeout", [None, 10.0])
def test_an_exception_is_raised_and_says_where_it_comes_from(timeout):
    with pytest.raises(ZeroDivisionError) as caught:
        lp.infer(lambda: lp.cached(divide, 0, timeout=timeout), method=lp.SMC(2))
    assert "lp.cached(divide)" in "".join(caught.value.__notes__)


def test_what_cannot_be_sent_to_a_worker_is_named():
    with pytest.raises(lp.CheckError, match="cannot be sent"):
        lp.infer(lambda: lp.cached(len, (i for i in range(3)), timeout=1.0), method=lp.SMC(2))


@pytest.mark.parametrize(
    ("function", "timeout", "message"), [(3, None, "expects a function"), (len, 0, "timeout=0")]
)
def test_wrong_arguments_are_named(function, timeout, message):
    with pytest.raises(lp.LmpplError, match=message):
        lp.infer(lambda: lp.cached(function, "a", timeout=timeout), method=lp.SMC(2))


def test_arguments_that_python_calls_equal_are_told_apart():
    def program():
        return tuple(lp.cached(repr, value) for value in (1, True, 1.0, np.float32(1), (1,), (True,)))

    posterior = lp.infer(program, method=lp.SMC(2))
    assert posterior.values[0] == tuple(repr(value) for value in (1, True, 1.0, np.float32(1), (1,), (True,)))


def start_a_process_and_wait(folder):
    child = subprocess.Popen(["sleep", "600"])
    (Path(folder) / "child").write_text(str(child.pid))
    child.wait()


def test_what_a_call_has_started_ends_with_it(tmp_path):
    with pytest.raises(lp.NoPosterior):
        lp.infer(lambda: lp.cached(start_a_process_and_wait, str(tmp_path), timeout=1.0), method=lp.SMC(2))
    status = Path(f"/proc/{(tmp_path / 'child').read_text()}/status")
    for _ in range(200):  # a killed process takes a moment to go
        if not status.exists() or "Z (zombie)" in status.read_text():
            return
        time.sleep(0.05)
    pytest.fail("the process that the call started is still alive")


class Unusual(Exception):
    def __init__(self, one, two):
        super().__init__("cannot be pickled back")


def raise_unusual():
    raise Unusual(1, 2)


def test_an_exception_that_cannot_be_sent_back_is_told_in_words():
    with pytest.raises(lp.CheckError, match="cannot be pickled back"):
        lp.infer(lambda: lp.cached(raise_unusual, timeout=10.0), method=lp.SMC(2))
