"""`lp.check` with `batch=` and `workers=`: the same answers, asked together, in other processes, in time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cloudpickle
import numpy as np
import pytest

from lmppl.acceptance import Acceptor, Cursor
from lmppl.constraints import asked_together
from lmppl.constraints.functions import remembered_answers
from lmppl.constraints.functions.python_check import check
from lmppl.constraints.functions.remembered_answers import CheckTimedOut
from lmppl.constraints.grammars.grammar import lark
from lmppl.constraints.protocol import Constraint
from lmppl.constraints.regular.regular_expression import regex
from lmppl.errors import CheckError, InvalidInputError, InvalidTypeError
from lmppl.language_model import Vocabulary

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a worker imports neither this file nor JAX


def asked(constraint: Constraint, *texts: str) -> list[object]:
    """Gives what a check says of texts, all asked together: True, False or "late"."""
    (row,) = constraint.check([b""], [[text.encode() for text in texts]])
    return ["late" if isinstance(answer, CheckTimedOut) else answer is not None for answer in row]


def test_functions_get_all_texts_in_one_list_and_none_twice() -> None:
    lists: list[list[str]] = []

    def prefix(texts: list[str]) -> list[bool]:
        lists.append(texts)
        return ["q" not in text for text in texts]

    constraint = check("no q", prefix=prefix, batch=True)
    assert asked(constraint, "a", "q", "a", "é", "aq") == [True, False, True, True, False]
    assert asked(constraint, "q", "b") == [False, True]
    assert constraint.advance(b"", b"b") is not None
    assert lists == [["a", "q", "é", "aq"], ["b"]]


def test_ends_are_asked_together_too() -> None:
    lists: list[list[str]] = []

    def complete(texts: list[str]) -> np.ndarray:
        lists.append(texts)
        return np.array([len(text) > 1 for text in texts])

    constraint = check("two", prefix=lambda ts: ["q" not in t for t in ts], complete=complete, batch=True)
    assert constraint.check_ends([b"ab", b"a", b"qq", b"a\xc3"]) == [True, False, False, False]
    assert lists == [["ab", "a"]]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([True], "returned 1 answers for 2 texts"),
        ([True] * 3, "returned 3 answers for 2 texts"),
        ([True, 1], "returned 1 for 'b'"),
        (np.array([0.0, 1.0]), "returned 0.0 for 'a'"),
        (np.array([[True, False]]), r"returned \[True, False\] for 'a'"),
        (True, "returned True for a list of 2"),
        (None, "returned None for a list of 2"),
        ((True for _ in "ab"), "for a list of 2"),
    ],
)
def test_answers_of_another_length_or_type_are_an_error(answer: object, message: str) -> None:
    constraint = check("odd", prefix=lambda texts: answer, batch=True)
    with pytest.raises(CheckError, match=rf"'odd' has `batch=True`, and `prefix=` {message}|{message}"):
        asked(constraint, "a", "b")


def test_a_function_that_empties_its_list_has_answered_all_the_same() -> None:
    def prefix(texts: list[str]) -> list[bool]:
        answers = []
        while texts:
            answers.append("q" not in texts.pop(0))
        return answers

    assert asked(check("no q", prefix=prefix, batch=True), "a", "q") == [True, False]


@pytest.mark.parametrize("answer", [[True, False], (True, False), np.array([True, False]), [np.True_, False]])
def test_lists_tuples_and_arrays_of_truth_values_count(answer: object) -> None:
    assert asked(check("fine", prefix=lambda texts: answer, batch=True), "a", "b") == [True, False]


@pytest.mark.parametrize("workers", [None, 2])
@pytest.mark.parametrize("batch", [False, True])
def test_a_check_that_raises_is_an_error_and_says_on_what(batch: bool, workers: int | None) -> None:
    def divides(about: object) -> object:
        return [1 / 0 for _ in about] if batch else 1 / 0  # type: ignore[attr-defined]

    constraint = check("divides", prefix=divides, batch=batch, workers=workers)
    with pytest.raises(CheckError, match=r"'divides' raised ZeroDivisionError in `prefix=` on ") as caught:
        asked(constraint, "a", "b")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def naps(text: str) -> bool:
    time.sleep(1000 if "slow" in text else 0)
    return "q" not in text


def naps_listed(texts: list[str]) -> list[bool]:
    return [naps(text) for text in texts]


@pytest.mark.parametrize("workers", [None, 2])
@pytest.mark.parametrize("batch", [False, True])
def test_only_the_text_that_is_slow_is_lost(batch: bool, workers: int | None) -> None:
    remembered_answers._timeouts_of.cache_clear()
    function: Callable[..., object] = naps_listed if batch else naps
    constraint = check("naps", prefix=function, timeout=1.0, batch=batch, workers=workers)
    assert asked(constraint, "a", "slow", "q", "b") == [True, "late", False, True]
    assert asked(constraint, "slow", "c") == ["late", True]


@pytest.mark.parametrize("workers", [None, 2])
def test_a_check_that_never_returns_is_given_up(workers: int | None) -> None:
    remembered_answers._timeouts_of.cache_clear()
    constraint = check("naps", prefix=naps_listed, timeout=0.3, batch=True, workers=workers)
    started = time.monotonic()
    for _ in range(3):
        assert asked(constraint, *(f"slow {number}" for number in range(6))) == ["late"] * 6
    assert time.monotonic() - started < 60, "and not some 18 times as long as starting a process takes"


def test_a_timeout_in_a_conjunction_is_told_and_the_others_are_judged() -> None:
    remembered_answers._timeouts_of.cache_clear()
    constraint = lark("start: /[a-z ]/*") & check("naps", prefix=naps, timeout=0.5)
    (row,) = constraint.check([constraint.initial()], [[b"slow", b"1", b"q", b"b"]])
    assert isinstance(row[0], CheckTimedOut)
    assert [answer is not None for answer in row[1:]] == [False, False, True]


def says_where(text: str) -> bool:
    time.sleep(0.05)
    Path(text).with_suffix(f".{os.getpid()}").touch()
    return True


def places_of(folder: Path) -> set[int]:
    return {int(path.suffix[1:]) for path in folder.iterdir()}


def test_texts_are_spread_over_workers_that_are_shared_and_stay(tmp_path: Path) -> None:
    for name in ("one", "two"):
        constraint = check(name, prefix=says_where, workers=2)
        assert all(asked(constraint, *(str(tmp_path / f"{name}{number}") for number in range(8))))
    assert len(places_of(tmp_path)) == 2
    assert os.getpid() not in places_of(tmp_path)


def has_gone(process: int) -> bool:
    for _ in range(200):  # a killed process takes a moment to go
        try:
            if "Z (zombie)" in Path(f"/proc/{process}/status").read_text():
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_a_worker_that_is_late_is_killed(tmp_path: Path) -> None:
    def hangs(text: str) -> bool:
        return says_where(text) and naps("slow")

    assert asked(check("hangs", prefix=hangs, timeout=1.0, workers=1), str(tmp_path / "it")) == ["late"]
    (process,) = places_of(tmp_path)
    assert has_gone(process)


def test_what_cannot_be_sent_to_a_worker_is_named_and_how_to_mend_it() -> None:
    lock = threading.Lock()
    constraint = check("locked", prefix=lambda text: not lock.locked(), workers=2)
    with pytest.raises(CheckError, match=r"'locked' has `workers=`.*cannot be sent.*inside the function"):
        asked(constraint, "a")


def test_what_a_check_closes_over_is_sent_as_it_is_now() -> None:
    letters = ["q"]
    constraint = check("letters", prefix=lambda text: text[-1] not in letters, workers=1)
    assert asked(constraint, "aq", "ab") == [False, True]
    letters[0] = "b"
    assert asked(constraint, "cq", "cb") == [True, False]


def test_ctrl_c_ends_the_wait_and_the_workers_go_on_afterwards() -> None:
    def slow_or_not(text: str) -> bool:
        return naps(text)

    constraint = check("interrupted", prefix=slow_or_not, timeout=None, workers=2)
    assert asked(constraint, "a") == [True]
    # A shell that starts the tests in the background has them ignore Ctrl-C.
    handler_before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            asked(constraint, "slow", "b", "c", "d")
        timer.join()
    finally:
        signal.signal(signal.SIGINT, handler_before)
    assert asked(constraint, "b", "e") == [True, True]


SCRIPT = """
import os, sys, time
from pathlib import Path
from lmppl.constraints.functions.python_check import check

def says_where(text):
    (Path(text) / str(os.getpid())).touch()
    return True

check("where", prefix=says_where, workers=2).advance(b"", sys.argv[1].encode())
print("done")
if len(sys.argv) > 2:
    check("sleeps", prefix=lambda text: time.sleep(600) or True, workers=1, timeout=None).advance(b"", b"a")
"""


def test_workers_end_with_the_process_however_it_ends(tmp_path: Path) -> None:
    code = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(code, capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout == "done\n"
    assert done.stderr == ""
    killed = subprocess.Popen([*code, "and sleep"], stdout=subprocess.PIPE)
    assert killed.stdout is not None
    killed.stdout.readline()
    killed.kill()
    killed.wait()
    killed.stdout.close()
    processes = [int(path.name) for path in tmp_path.iterdir()]
    assert len(processes) == 2
    assert all(has_gone(process) for process in processes)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch": 1}, InvalidTypeError, "`batch=`"),
        ({"workers": 0}, InvalidInputError, "too small"),
        ({"workers": True}, InvalidTypeError, "number of processes"),
        ({"workers": 1.0}, InvalidTypeError, "number of processes"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check("x", prefix=bool, **options)


def test_the_capability_is_found() -> None:
    plain = regex("a*") & lark('start: "a"*')
    assert check("x", prefix=bool).is_batched
    assert (plain & check("x", prefix=bool)).is_batched
    assert not plain.is_batched


VOCABULARY = Vocabulary((b"a", b"b", b"aab", b"ba", b"\xc3", b"\xa9", b"abb", b"", b""), frozenset({7}))
FEW_A = check("at most one a", prefix=lambda texts: [t.count("a") < 2 for t in texts], batch=True)
FEW_B = check("at most one b", prefix=lambda texts: [t.count("b") < 2 for t in texts], batch=True)
EVEN = check("even", complete=lambda texts: [len(t) % 2 == 0 for t in texts], batch=True)
CHECKS = [
    check("few a", prefix=lambda s: s.count("a") < 4, complete=lambda s: len(s) % 2 == 0),
    check("few b", prefix=lambda texts: [t.count("b") < 4 for t in texts], batch=True),
    lark('start: ("a" | "b" | "é")*') & check("no bbb", prefix=lambda s: "bbb" not in s),
    "b" + FEW_B,
    FEW_B + "a" + FEW_A,
    FEW_B | lark('start: ("a" | "b" | "é")*') & FEW_A,
    (FEW_A + "b").repeat(1, 3),
    EVEN.repeat(2, 2) + "b",
]


@pytest.mark.parametrize("stop", [None, b"ab", b"bab", b"\xc3\xa9"], ids=repr)
@pytest.mark.parametrize("constraint", CHECKS, ids=repr)
def test_tokens_are_judged_together_as_they_are_one_by_one(
    constraint: Constraint, stop: bytes | None
) -> None:
    judge = Acceptor(VOCABULARY, constraint, stop)
    cursors: Sequence[Cursor] = [judge.initial]
    tokens = list(range(len(VOCABULARY)))
    for _ in range(4):
        pairs = [(cursor, token) for cursor in cursors for token in tokens]
        alone = [judge.step(cursor, token) for cursor, token in pairs]
        together = judge.steps([cursor for cursor, _ in pairs], [token for _, token in pairs])
        assert together == alone
        assert any(after is None for after in together)
        going = [after for after in together if isinstance(after, Cursor) and not after.ended]
        cursors = list(dict.fromkeys(going))[:12]
    assert cursors


def compositions(part: Constraint) -> list[Constraint]:
    return ["x" + part, part + "y", part | regex("[xy]*"), (part + "y").repeat(1, 2)]


@pytest.mark.parametrize("number", range(4))
def test_what_is_made_of_a_check_is_asked_as_the_check_is(number: int) -> None:
    calls = []

    def prefix(texts: list[str]) -> list[bool]:
        calls.append(texts)
        return ["zz" not in text for text in texts]

    made = compositions(check("no zz", prefix=prefix, batch=True))[number]
    assert made.gains_from_lists
    assert made.is_batched
    state = made.advance(made.initial(), b"x")
    assert state is not None
    candidates = [b"y", b"z", b"zz", b"yz", b"xzzx", b"abc", b"xy"]
    calls.clear()
    together = made.check([state], [candidates])
    assert len(calls) <= 8  # rounds, and not questions
    assert together == [[made.advance(state, data) for data in candidates]]
    after = [each for each in together[0] if each is not None and not isinstance(each, CheckTimedOut)]
    assert made.check_ends(after) == [made.accepts(each) for each in after]
    plain = compositions(lark('start: "x"'))[number]
    assert not any((plain.gains_from_lists, plain.is_batched, plain.takes_long))
    assert compositions(check("x", prefix=bool, workers=1))[number].takes_long


def test_a_constraint_with_a_check_of_its_own_is_asked_by_it() -> None:
    class Own(Constraint):
        def initial(self):
            return b""

        def advance(self, state, data):
            return state + data if (state + data).count(b"b") < 2 else None

        def accepts(self, state):
            return True

        def describe(self):
            return "own"

        def check(self, states, candidates):
            calls.append(sum(map(len, candidates)))
            return super().check(states, candidates)

    calls: list[int] = []
    both = Own() & check("any", prefix=lambda text: True)
    for own, num_asked in ((Own(), 3), ("a" + Own(), 2), (both, 3)):  # nothing is asked about no bytes
        judge = Acceptor(VOCABULARY, own, None)
        calls.clear()
        found = judge.steps([judge.initial] * 3, [0, 2, 6])
        assert found == [judge.step(judge.initial, token) for token in (0, 2, 6)]
        assert own.gains_from_lists
        assert calls == [num_asked]


def test_only_the_texts_that_are_slow_are_lost_behind_another_part() -> None:
    remembered_answers._timeouts_of.cache_clear()
    made = "x" + check("naps", prefix=naps_listed, batch=True, timeout=0.2)
    state = made.advance(made.initial(), b"x")
    together = made.check([state], [[b"a", b"slow", b"b"]])[0]
    assert isinstance(together[1], CheckTimedOut)
    assert [together[0], together[2]] == [made.advance(state, b"a"), made.advance(state, b"b")]


@pytest.mark.parametrize("constraint", CHECKS[3:5], ids=repr)
def test_a_round_that_confuses_its_questions_is_caught(
    constraint: Constraint, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = asked_together._key
    monkeypatch.setattr(asked_together, "_key", lambda ask: (*key(ask)[:2], ask.data[:1], ask.ends))
    with pytest.raises(AssertionError):
        test_tokens_are_judged_together_as_they_are_one_by_one(constraint, None)
