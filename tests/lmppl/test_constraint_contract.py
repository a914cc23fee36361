"""The contract suite: every constraint of the library passes it, every broken one is caught."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container
from typing import cast

import numpy as np
import pytest

from lmppl.constraints.functions.python_check import check
from lmppl.constraints.functions.remembered_answers import CheckTimedOut
from lmppl.constraints.functions.word_lists import words
from lmppl.constraints.grammars.grammar import lark
from lmppl.constraints.lateness import Lateness
from lmppl.constraints.protocol import OUTSIDE, Constraint, State
from lmppl.constraints.regular.alternatives import choices
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.regular_expression import regex
from lmppl.constraints.regular.text_length import length
from lmppl.errors import ConstraintError, InvalidInputError, InvalidTypeError
from lmppl.testing import check_constraint

GOAL = 'start: " " (pred " ")* pred\npred: "(on " B " " B ")" | "(arm-empty)"\nB: "red" | "blue"'


@pytest.mark.parametrize(
    ("constraint", "samples"),
    [
        (regex(r"\d{4}-\d{2}"), ["2024-01", "2024-1", "20x4", ""]),
        (regex(r"\w+ (?i:é)"), ["naïve É", "b é", "a"]),
        (regex(r"^a$\n?"), ["a", "a\n", "ab"]),
        (choices(["red", "rot", "rouge", "赤"]), ["red", "赤", "r", "blue"]),
        (lark(GOAL), [" (on red blue) (arm-empty)", " (on red re", "(on"]),
        (lark("start: start start | /a+/ | \n%ignore / +/"), ["", "a aa ", " ", "b"]),
        (
            check("balanced", prefix=lambda s: s.count("a") <= 2, complete=lambda s: "é" in s),
            ["aéa", "aaa", "b"],
        ),
        (regex("[ab]+") & regex(".{2}"), ["ab", "a", "abc"]),
        (lark(GOAL) | regex("[ab]é*") | check("one", complete=lambda s: len(s) == 1), ["aé", "c", " (arm-"]),
        ("(" + lark('start: /é+/ start | "x"') + ")", ["(ééx)", "(x", "é)"]),
        (check("short", prefix=lambda s: len(s) <= 2) + ", " + regex("[aé]*"), ["é, aé", ", , ,", "abc, "]),
        (lark('start: "a" start "b" | "é"').repeat(1, 3), ["éaéb", "ééé", "éééé", ""]),
        (check("even", complete=lambda s: len(s) == 2).repeat(2), ["aébc", "ab", ""]),
        (~regex(".*é.*"), ["abc", "aéb", ""]),
        (
            check(
                "listed",
                prefix=lambda texts: ["aa" not in text for text in texts],
                complete=lambda texts: np.array([len(text) > 1 for text in texts], bool),
                batch=True,
            ),
            ["aéa", "aaa", "b"],
        ),
        (
            lark(GOAL) & check("none red", prefix=lambda texts: ["red" not in t for t in texts], batch=True),
            [" (arm-empty)", " (on red blue)"],
        ),
        (length(2, 3, "bytes"), ["é", "aé", "éé", "a"]),
        (length(1, 2000), ["é", ""]),
        (words(lambda said: len(said) <= 2), ["ab é", "a b c", " "]),
        (lark(GOAL) & check("no red", prefix=lambda s: "red" not in s), [" (arm-empty)", " (on red blue)"]),
    ],
    ids=lambda value: repr(value) if isinstance(value, Constraint) else "samples",
)
def test_every_constraint_keeps_the_laws(constraint: Constraint, samples: list[str]) -> None:
    report = check_constraint(constraint, samples)
    if constraint.viable_is_exact:
        assert report.lateness == Lateness()  # a completion was found of everything that is let through


class Toy(Constraint):
    """The strings `(ab)*`, with states that are the bytes so far; parts of it can be replaced."""

    def __init__(self, **replaced: Callable):
        self.replaced = replaced
        self.calls = 0

    def initial(self) -> State:
        return self.replaced.get("initial", lambda: b"")()

    def advance(self, state: State, data: bytes) -> State | None:
        if "advance" in self.replaced:
            return self.replaced["advance"](self, state, data)
        return plain(state, data)

    def accepts(self, state: State) -> bool:
        return self.replaced.get("accepts", lambda s: len(s) % 2 == 0)(state)

    def describe(self) -> str:
        return self.replaced.get("describe", lambda: "toy")()

    def automaton(self) -> ByteAutomaton | None:
        return self.replaced.get("automaton", lambda: None)()

    def local(self, state: State) -> State | None:
        return self.replaced.get("local", lambda state: None)(state)

    def next_bytes(self, state: State) -> Container[int]:
        return self.replaced.get("next_bytes", lambda state: range(256))(state)

    def num_free(self, state: State) -> int:
        return self.replaced.get("num_free", lambda state: 0)(state)

    def mask(self, state, vocabulary):
        return self.replaced.get("mask", lambda state, vocabulary: None)(state, vocabulary)

    def check(self, states, candidates):
        return self.replaced.get("check", super().check)(states, candidates)

    def check_ends(self, states):
        return self.replaced.get("check_ends", super().check_ends)(states)


def plain(state: State, data: bytes) -> State | None:
    whole = cast(bytes, state) + data
    return whole if (b"ab" * len(whole)).startswith(whole) else None


def counting(toy: Toy, state: State, data: bytes) -> State | None:
    toy.calls += 1
    return None if toy.calls % 7 == 0 else plain(state, data)


def whole_tokens_only(toy: Toy, state: State, data: bytes) -> State | None:
    return plain(state, data) if len(data) != 1 else None


def forgets(toy: Toy, state: State, data: bytes) -> State | None:
    return plain(b"", data)


def revives(toy: Toy, state: State, data: bytes) -> State | None:
    whole = cast(bytes, state) + data
    return whole if whole.endswith(b"b") or plain(state, data) is not None else None


def outside_too_late(toy: Toy, state: State, data: bytes) -> State | None:
    """From `local`, single bytes lead outside, but two are refused."""
    return plain(state, data) if state != () else OUTSIDE if len(data) == 1 else None


class Mutable(list):
    def __hash__(self) -> int:  # type: ignore[override]
        return len(self)


def mutates(toy: Toy, state: State, data: bytes) -> State | None:
    cast(Mutable, state).extend(data)
    return state


def decodes(toy: Toy, state: State, data: bytes) -> State | None:
    data.decode()
    return plain(state, data)


def says_false(toy: Toy, state: State, data: bytes) -> State | None:
    return False if plain(state, data) is None else plain(state, data)


def test_toy_itself_keeps_the_laws() -> None:
    check_constraint(Toy(), ["abab", "aba", b""])
    check_constraint(Toy(local=lambda state: b"a" if len(state) % 2 else b""), ["abab", "aba", b""])


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (Toy(advance=counting), "always gives the same state"),
        (Toy(advance=whole_tokens_only), "every prefix of an accepted string|is advance"),
        (Toy(advance=forgets), "advance of a whole is advance of its parts"),
        (Toy(advance=revives), "a refused prefix stays refused|is advance"),
        (Toy(initial=Mutable, advance=mutates), "does not change the state"),
        (Toy(advance=lambda toy, state, data: None), "every prefix|at least one sample|is advance"),
        (Toy(advance=lambda toy, state, data: [data]), "a state is hashable"),
        (Toy(initial=list), "a state, which initial.*is hashable"),
        (Toy(initial=lambda: None), r"initial\(\) gives a state"),
        (Toy(advance=decodes), r"advance .* raises nothing\. With the state b'.*x80.*: UnicodeDecodeError"),
        (Toy(advance=says_false), r"accepts .* raises nothing\. With the state False and b'.*': TypeError"),
        (Toy(accepts=lambda state: "yes"), "accepts gives True or False"),
        (Toy(accepts=lambda state: False), "at least one sample is accepted"),
        (Toy(describe=lambda: ""), "describe"),
        (
            Toy(check=lambda states, candidates: [[None] * len(row) for row in candidates]),
            r"check\(\) of many",
        ),
        (Toy(check_ends=lambda states: [True] * len(states)), r"check_ends\(\) of many"),
        (Toy(local=lambda state: b""), r"local\(\) is viable where"),
        (Toy(next_bytes=lambda state: b"a"), r"next_bytes\(\) has all"),
        (Toy(num_free=lambda state: 1), r"num_free\(\) characters"),
        (Toy(local=lambda state: (), advance=outside_too_late), r"local\(\) is viable where"),
        (Toy(mask=lambda state, vocabulary: np.ones(len(vocabulary), bool)), r"mask\(\) says what"),
        (Toy(mask=lambda state, vocabulary: np.zeros(len(vocabulary), bool)), r"mask\(\) says what"),
        (Toy(automaton=lambda: regex("(ab)*").automaton()), "start is the initial state"),
        (
            Toy(initial=lambda: 0, advance=lambda t, s, d: 0, automaton=lambda: regex("(ab)*").automaton()),
            "states are",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_broken_constraint_is_caught(broken: Constraint, law: str) -> None:
    if broken.initial() == 0:  # its states are no bytes
        broken = Toy(**{**cast(Toy, broken).replaced, "accepts": lambda state: True})
    with pytest.raises(AssertionError, match=law):
        check_constraint(broken, ["abab", "ab", "ba"])


def test_check_that_turns_true_again_is_caught() -> None:
    constraint = check("ends well", prefix=lambda s: s == "" or s.endswith("b"))
    with pytest.raises(AssertionError, match="every prefix of an accepted string is viable"):
        check_constraint(constraint, ["ab"])


class Late(Toy):
    """`(ab)*` with finitely many states, which lets some bytes through from the first mistake on."""

    def __init__(self, num_late: float, viable_is_exact: bool):
        super().__init__(initial=lambda: 0, accepts=lambda state: state == 0)
        self.num_late = num_late
        self.claimed = viable_is_exact

    @property
    def viable_is_exact(self) -> bool:
        return self.claimed

    def advance(self, state: State, data: bytes) -> State | None:
        at = cast(int, state)
        for byte in data:
            at = at - 1 if at < 0 else 1 - at if byte == b"ab"[at] else -1
            at = max(at, -2) if self.num_late == np.inf else at
            if at < -self.num_late:
                return None
        return at


@pytest.mark.parametrize("num_late", [1, 2, 5, np.inf])
def test_prefix_without_a_completion_breaks_exactness(num_late: float) -> None:
    with pytest.raises(AssertionError, match=r"has a completion, as `viable_is_exact` says\. At b'"):
        check_constraint(Late(num_late, viable_is_exact=True), ["abab", "ab"])


@pytest.mark.parametrize("num_late", [0, 1, 2, 3])
def test_report_says_how_late_a_constraint_refuses(num_late: int) -> None:
    report = check_constraint(Late(num_late, viable_is_exact=False), ["abababab", "ab", "bbbbbb"])
    late = report.lateness
    assert (late.at_least, late.at_most) == (num_late, num_late)
    assert f"after a mistake: {num_late}" in str(report)
    check_constraint(Late(0, viable_is_exact=True), ["abababab", "ab", "bbbbbb"])


def test_dead_prefix_that_is_named_is_the_shortest() -> None:
    dead = check_constraint(Late(np.inf, viable_is_exact=False), ["ab"]).lateness.dead
    assert dead is not None
    assert len(dead) == 1
    assert dead != b"a"


def refuses_at_the_end(**replaced: Callable) -> Toy:
    """Gives `(ab)*` that lets every text through, as states that are never the same."""
    return Toy(
        advance=lambda toy, state, data: state + data,
        accepts=replaced.pop("accepts", lambda state: state == b"ab" * (len(state) // 2)),
        **replaced,
    )


def test_what_cannot_be_proved_is_reported() -> None:
    """No search ends where each text has a state of its own."""
    report = check_constraint(refuses_at_the_end(), ["abab", "bbbbb"])
    assert report.lateness.dead is None
    assert report.lateness.at_least == 0
    assert report.lateness.at_most == 7  # all of "bbbbb" with two disturbing bytes in front
    assert "after a mistake: 0 to 7, as in b'" in str(report)


def test_completion_that_no_sample_shows_is_searched_and_never_denied() -> None:
    near = check_constraint(regex("ab| zq"), ["ab"])
    assert near.lateness == Lateness()
    far = check_constraint(regex("ab| z{1000}"), ["ab"])
    assert (far.lateness.at_least, far.lateness.at_most) == (0, 1)


@pytest.mark.parametrize("error", [ConstraintError("too many ways"), CheckTimedOut("slow", "", 1.0)])
@pytest.mark.parametrize("asked", ["advance", "accepts"])
def test_text_that_is_too_long_to_be_judged_is_reported_as_not_measured(error: Exception, asked: str) -> None:
    def refused_at(state: bytes) -> None:
        if len(state) > 20:
            raise error

    def advance(toy: Toy, state: bytes, data: bytes) -> State | None:
        if asked == "advance":
            refused_at(state + data)
        return state + data

    def accepts(state: bytes) -> bool:
        if asked == "accepts":
            refused_at(state)
        return len(state) < 5 and plain(b"", state) is not None

    report = check_constraint(Toy(advance=advance, accepts=accepts), ["abab", "b"])
    assert report.cost_growth is None
    assert report.lateness.at_most == 6  # "abab" and two disturbing bytes


def pairs(state: bytes) -> bool:
    """Compares each two places of the text."""
    wrong = 0
    for i in range(len(state)):
        for j in range(i):
            wrong += (state[i] == state[j]) != ((i - j) % 2 == 0)
    return not wrong and state[:1] != b"b" and len(state) % 2 == 0


def once(state: bytes) -> bool:
    """Reads the text once."""
    wrong = 0
    for i in range(len(state)):
        wrong += state[i] != b"ab"[i % 2]
    return not wrong and len(state) % 2 == 0


def test_cost_that_grows_faster_than_the_text_is_caught() -> None:
    """The work is counted, so a slow machine does not matter."""
    with pytest.raises(AssertionError, match=r"does not grow faster than the text: \d+ lines of Python, and"):
        check_constraint(refuses_at_the_end(accepts=pairs), ["abab", "ab"])


def test_growth_of_the_cost_is_reported() -> None:
    """The work is counted, so a slow machine does not matter."""
    flat = check_constraint(lark('start: ("a" "b")*', parser="lalr"), ["abab"]).cost_growth
    again = check_constraint(Toy(accepts=once), ["abab", "ab"])
    assert flat is not None
    assert flat.in_lines < 1.5
    assert again.cost_growth is not None
    assert 4 < again.cost_growth.in_lines < 9
    assert " times the lines of Python" in str(again)
    assert "not measured" in str(check_constraint(regex("ab"), ["ab"]))


def test_counting_lines_leaves_the_tracer_of_others() -> None:
    def tracer(frame: object, event: str, argument: object) -> None:
        return None

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        check_constraint(Toy(), ["abab"])
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(before)


def test_no_sample_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="no samples"):
        check_constraint(regex("a"), [])


@pytest.mark.parametrize(
    ("samples", "message"), [("abc", "takes a list of samples"), (["a", 3], "is a str or bytes, not 3")]
)
def test_samples_are_a_list_of_strings(samples: list[str], message: str) -> None:
    with pytest.raises(InvalidTypeError, match=message):
        check_constraint(regex("a"), samples)
