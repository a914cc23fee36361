"""`lp.check`: Python functions as constraints; what raises, never returns, or closes over things."""

from __future__ import annotations

import dataclasses
import enum
import gc
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pytest
from viable_prefixes import accepted

from lmppl.constraints.functions import remembered_answers
from lmppl.constraints.functions.function_values import value_key
from lmppl.constraints.functions.python_check import check
from lmppl.constraints.functions.remembered_answers import CheckTimedOut
from lmppl.constraints.functions.time_limits import TimeLimitReached, call_within, one_alarm
from lmppl.constraints.protocol import Constraint
from lmppl.errors import CheckError, InvalidInputError


def loop(text: str) -> bool:
    while True:
        pass


def sleep(text: str) -> bool:
    time.sleep(1000)
    return True


def test_prefix_alone_judges_the_whole_too() -> None:
    constraint = check("no q", prefix=lambda s: "q" not in s)
    assert accepted(constraint, b"abc")
    assert constraint.advance(constraint.initial(), b"aq") is None


def test_complete_alone_lets_every_prefix_pass() -> None:
    constraint = check("even", complete=lambda s: len(s) % 2 == 0)
    assert constraint.advance(constraint.initial(), b"abc") is not None
    assert not accepted(constraint, b"abc")
    assert accepted(constraint, b"abcd")


def test_both_must_agree_on_the_whole() -> None:
    constraint = check("empty is not viable", prefix=lambda s: s != "", complete=lambda s: True)
    assert not constraint.accepts(constraint.initial())
    assert accepted(constraint, b"a")


def test_functions_see_whole_characters_only() -> None:
    seen: list[str] = []
    constraint = check("spy", prefix=lambda s: not seen.append(s))
    state = constraint.initial()
    for byte in "a🙂".encode():
        state = constraint.advance(state, bytes((byte,)))
        assert state is not None
    assert seen == ["a", "a🙂"]
    partial = constraint.advance(constraint.initial(), b"a\xf0\x9f")
    assert partial is not None
    assert not constraint.accepts(partial)


@pytest.mark.parametrize("data", [b"\xff", b"a\x80", b"\xed\xa0\x80", b"\xf0\x80", b"\xc3a"])
def test_bytes_that_can_never_be_utf8_are_refused(data: bytes) -> None:
    constraint = check("all", prefix=lambda s: True)
    assert constraint.advance(constraint.initial(), data) is None


def test_check_that_raises_is_an_error_and_never_false() -> None:
    constraint = check("divides", prefix=lambda s: 1 / len(s) > 0)
    with pytest.raises(CheckError, match=r"'divides' raised ZeroDivisionError in `prefix=` on ''") as caught:
        constraint.advance(constraint.initial(), b"")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert constraint.advance(constraint.initial(), b"a") is not None


@pytest.mark.parametrize("answer", [None, 1, 0.0, "yes", [True], np.array([True])])
def test_answer_that_is_no_truth_value_is_an_error(answer: object) -> None:
    constraint = check("odd answer", complete=lambda s: answer)  # type: ignore[arg-type, return-value]
    with pytest.raises(CheckError, match="'odd answer' returned"):
        constraint.accepts(constraint.initial())


def test_numpy_truth_values_count() -> None:
    assert accepted(check("numpy", prefix=lambda s: np.bool_(True)), b"a")  # type: ignore[arg-type, return-value]
    assert not accepted(check("numpy", prefix=lambda s: np.bool_(False)), b"a")  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("endless", [loop, sleep])
def test_check_that_never_returns_times_out(endless: Callable[[str], bool]) -> None:
    constraint = check("endless", prefix=endless, timeout=0.1)
    with pytest.raises(CheckTimedOut) as caught:
        constraint.advance(constraint.initial(), b"abc")
    assert (caught.value.name, caught.value.asked) == ("endless", "abc")


def test_check_that_never_returns_times_out_outside_the_main_thread_too() -> None:
    constraint = check("endless", prefix=sleep, timeout=0.1)
    caught: list[CheckTimedOut] = []

    def ask() -> None:
        try:
            constraint.advance(constraint.initial(), b"abc")
        except CheckTimedOut as error:
            caught.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert [(error.name, error.asked) for error in caught] == [("endless", "abc")]


def test_check_outside_the_main_thread_answers_and_raises_as_inside_it() -> None:
    outcomes: list[object] = []

    def ask() -> None:
        outcomes.append(call_within(10.0, len, "abc"))
        try:
            call_within(10.0, lambda text: 1 / 0, "")
        except ZeroDivisionError as error:
            outcomes.append(type(error))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert outcomes == [3, ZeroDivisionError]


def test_time_out_is_remembered() -> None:
    calls: list[str] = []

    def prefix(text: str) -> bool:
        calls.append(text)
        return sleep(text)

    constraint = check("slow", prefix=prefix, timeout=0.05)
    for _ in range(3):
        with pytest.raises(CheckTimedOut, match=r"'slow' did not return within 0.05 s on 'a'"):
            constraint.advance(constraint.initial(), b"a")
    assert calls == ["a"]


def test_except_exception_inside_a_check_does_not_swallow_the_time_out() -> None:
    def stubborn(text: str) -> bool:
        while True:
            try:
                time.sleep(0.01)
            except Exception:
                continue

    with pytest.raises(TimeLimitReached):
        call_within(0.05, stubborn, "")


@pytest.fixture
def alarm() -> Iterator[list[float]]:
    """A timer of the user's, or of pytest-timeout, that is set already."""
    rung: list[float] = []
    running = signal.setitimer(signal.ITIMER_REAL, 0)
    before = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(time.monotonic()))
    yield rung
    signal.signal(signal.SIGALRM, before)
    signal.setitimer(signal.ITIMER_REAL, *running)


def test_a_call_is_ended_though_its_time_is_over_inside_a_callback_that_swallows_errors(
    monkeypatch: pytest.MonkeyPatch, alarm: list[float]
) -> None:
    """JAX has such a callback of the garbage collector."""
    swallowed: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda error: swallowed.append(error.exc_type))

    def callback(phase: str, info: object) -> None:
        if phase == "start" and not swallowed:
            _spin(0.3)

    def collecting(argument: object) -> None:
        gc.collect()
        _spin(5.0)

    gc.callbacks.append(callback)
    try:
        with pytest.raises(TimeLimitReached):
            call_within(0.05, collecting, "")
    finally:
        gc.callbacks.remove(callback)
    assert swallowed
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def _spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_timer_and_handler_that_were_set_before_are_restored(alarm: list[float]) -> None:
    handler = signal.getsignal(signal.SIGALRM)
    signal.setitimer(signal.ITIMER_REAL, 50.0, 7.0)
    assert call_within(10.0, len, "abc") == 3
    with pytest.raises(TimeLimitReached):
        call_within(0.05, sleep, "")
    remaining, interval = signal.getitimer(signal.ITIMER_REAL)
    assert 30.0 < remaining < 50.0
    assert interval == 7.0
    assert signal.getsignal(signal.SIGALRM) is handler
    assert alarm == []


def test_timer_that_is_due_during_a_call_still_rings(alarm: list[float]) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.03)
    with pytest.raises(TimeLimitReached):
        call_within(0.15, sleep, "")
    assert len(alarm) == 1
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_outer_limit_ends_an_inner_call_with_a_longer_one(alarm: list[float]) -> None:
    def outer(text: str) -> bool:
        return call_within(100.0, sleep, text)

    with pytest.raises(TimeLimitReached):
        call_within(0.1, outer, "")
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_error_inside_a_limit_leaves_no_timer(alarm: list[float]) -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(ZeroDivisionError):
        call_within(10.0, lambda text: 1 / 0, "")
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) == before


def stop_the_timer(text: str) -> bool:
    signal.setitimer(signal.ITIMER_REAL, 0)
    return True


def leave_a_handler(text: str) -> bool:
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    return True


@pytest.mark.parametrize("meddle", [stop_the_timer, leave_a_handler, len])
def test_calls_under_one_alarm_have_limits_of_their_own(
    alarm: list[float], meddle: Callable[[str], object]
) -> None:
    handler = signal.getsignal(signal.SIGALRM)
    signal.setitimer(signal.ITIMER_REAL, 50.0, 7.0)
    with one_alarm():
        for _ in range(2):
            call_within(10.0, meddle, "")
            with pytest.raises(TimeLimitReached):
                call_within(0.05, sleep, "")
        with one_alarm():
            assert call_within(0.05, len, "abc") == 3
        time.sleep(0.1)  # behind the deadline of a call that has returned
    remaining, interval = signal.getitimer(signal.ITIMER_REAL)
    assert 30.0 < remaining < 50.0
    assert interval == 7.0
    assert signal.getsignal(signal.SIGALRM) is handler
    assert alarm == []


def made(closed_over: object, name: str = "made") -> Constraint:
    """Makes a check as a program would, anew for each particle."""
    return check(name, prefix=lambda s: closed_over is not None or s == "")


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass(frozen=True)
class Task:
    name: str
    parts: object = ()


class Step(NamedTuple):
    verb: str
    times: int


class Plain:
    pass


@pytest.mark.parametrize(
    "value",
    [
        1,
        True,
        1.5,
        "a",
        b"a",
        (1, ("b", frozenset({2}))),
        re.compile("a"),
        range(3),
        Step("up", 1),
        None,
        Colour.RED,
        Task("x", (1, 2)),
        Task,
        len,
        np,
        loop,
    ],
)
def test_checks_that_close_over_equal_values_are_equal(value: object) -> None:
    assert made(value) == made(value)
    assert hash(made(value)) == hash(made(value))
    assert made(value) != made(value, name="other")


@pytest.mark.parametrize("value", [[1], {}, {1}, np.zeros(2), Plain(), Task("x", [1]), (1, [2])])
def test_check_that_closes_over_something_mutable_is_equal_to_itself_only(value: object) -> None:
    one = made(value)
    assert one == one
    assert one != made(value)


@pytest.mark.parametrize(
    ("one", "other"), [(1, True), (1, 1.0), (0.0, -0.0), ("a", b"a"), ((), None), (Step("a", 1), ("a", 1))]
)
def test_values_that_compare_equal_but_differ_are_told_apart(one: object, other: object) -> None:
    assert made(one) != made(other)


def test_functions_are_compared_by_code_defaults_and_what_they_close_over() -> None:
    def adder(n: int) -> Callable[[int], int]:
        return lambda x, k=1: x + n + k

    def recursive(n: int) -> int:
        return n and recursive(n - 1)

    assert value_key(adder(1)) == value_key(adder(1)) is not None
    assert value_key(adder(1)) != value_key(adder(2))
    assert value_key(recursive) is not None
    assert value_key(lambda x=(): x) is not None
    assert value_key(lambda x=[]: x) is None
    assert value_key([].append) is None


COUNTED: list[str] = []


def counted(text: str) -> bool:
    COUNTED.append(text)
    return True


def test_equal_checks_share_what_they_remember() -> None:
    remembered_answers._kept.clear()
    COUNTED.clear()

    def particle(number: int) -> Constraint:
        return check("counted", prefix=lambda s: counted(s) and number >= 0)

    for _ in range(5):
        assert accepted(particle(1), b"abc")
    assert COUNTED == ["abc"]
    assert accepted(particle(2), b"abc")
    assert COUNTED == ["abc", "abc"]


def test_check_whose_closure_was_rebound_does_not_spoil_what_is_remembered() -> None:
    letter = "a"

    def starts(text: str) -> bool:
        return text.startswith(letter)

    first = check("starts", prefix=starts)
    letter = "b"
    assert first.advance(b"", b"ax") is None  # `letter` is b by now, as Python has it
    assert first != check("starts", prefix=starts)
    letter = "a"
    fresh = check("starts", prefix=starts)
    assert fresh == first
    assert fresh.advance(b"", b"ax") is not None


def test_memo_forgets_the_least_recently_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered_answers, "MAX_REMEMBERED", 2)
    seen: list[str] = []
    constraint = check("spy", prefix=lambda s: not seen.append(s))
    for data in (b"a", b"b", b"a", b"c", b"a", b"b"):
        constraint.advance(b"", data)
    assert seen == ["a", "b", "c", "b"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "x"}, "checks nothing"),
        ({"name": "", "prefix": bool}, "needs a name"),
        ({"name": "x", "prefix": bool, "timeout": 0.0}, "seconds above 0"),
        ({"name": "x", "prefix": bool, "timeout": float("nan")}, "seconds above 0"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        check(**arguments)


def test_check_without_a_limit_waits() -> None:
    assert accepted(check("patient", prefix=lambda s: True, timeout=None), b"a")
    assert repr(check("patient", prefix=bool)) == "check('patient')"
    assert not check("patient", prefix=bool).viable_is_exact
