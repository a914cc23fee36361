"""Answers about tokens at a place, found in several ways, against single steps."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

import lmppl as lp
from lmppl import token_answers
from lmppl.acceptance import Acceptor, Cursor
from lmppl.constraints.functions.remembered_answers import CheckTimedOut
from lmppl.constraints.protocol import Constraint
from lmppl.constraints.vocabularies import byte_steps as steps_module
from lmppl.constraints.vocabularies.byte_steps import ByteSteps
from lmppl.language_model import Vocabulary
from lmppl.token_answers import ClassAnswers, StepAnswers, StopAnswers, TokenAnswers, WalkedAnswers

TOKENS = (
    *(
        b"a",
        b"b",
        b"ab",
        b"ba",
        b"a b",
        b"",
        b"b",
        b"\xc3",
        b"\xa9",
        "é".encode(),
        b"aab",
        b"1",
        b"12",
        b"-1",
        b"tax",
    ),
    *(
        b"{",
        b"}",
        b'"',
        b'{"',
        b'"a"',
        b'":',
        b": ",
        b", ",
        b"[",
        b"]",
        b'"}',
        b"true",
        b"tr",
        b"ue",
        b"(",
        b")",
    ),
    *(b"<end>", b""),
)
VOCABULARY = Vocabulary(TOKENS, frozenset({len(TOKENS) - 2, len(TOKENS) - 1}))
GRAMMAR = 'start: "(" start ")" | /[ab]+/ | "1" "2"?\n%ignore " "'
SCHEMA = {"properties": {"a": {"enum": [1, 12, "a", True]}, "b": {"type": "array", "uniqueItems": True}}}

CONSTRAINTS: list[Constraint] = [
    lp.regex("(ab|é)*"),
    lp.regex(r"[^()]{1,3}1?"),
    lp.choices(["abba", "é", "(", "ab"]),
    lp.regex("[ab]*") & lp.regex("a.*"),
    lp.lark(GRAMMAR),
    lp.lark(GRAMMAR, parser="lalr"),
    lp.lark(GRAMMAR) & lp.regex(".{0,4}"),
    lp.lark(GRAMMAR) | lp.regex("b*"),
    "a" + lp.lark(GRAMMAR),
    lp.lark(GRAMMAR).repeat(1, 3),
    lp.json(),
    lp.json(SCHEMA),
    lp.check("few", prefix=lambda s: s.count("a") < 3),
    lp.json(SCHEMA) & lp.check("short", prefix=lambda s: len(s) < 9),
]


def places(judge: Acceptor, num_places: int) -> list[Cursor]:
    """Gives cursors along random texts."""
    rng = random.Random(0)
    found = [judge.initial]
    for _ in range(20 * num_places):
        after = judge.step(rng.choice(found), rng.randrange(len(TOKENS)))
        if after is not None and not after.ended and after not in found:
            found.append(after)
        if len(found) == num_places:
            break
    return found


def agree_with_steps(judge: Acceptor, answers_at: Callable[[Cursor], TokenAnswers[Cursor]]) -> set[type]:
    """Compares all answers at several places, twice over; gives the kinds of answers that were met."""
    kinds = set()
    for cursor in [*places(judge, 12), judge.initial]:
        expected = [judge.step(cursor, token) for token in range(len(TOKENS))]
        for _ in range(2):
            answers = answers_at(cursor)
            kinds.add(type(answers))
            for token in (*range(len(TOKENS)), *reversed(range(len(TOKENS)))):
                assert answers.allows(token) == (expected[token] is not None), TOKENS[token]
                assert answers.after(token) == expected[token]
        np.testing.assert_array_equal(judge.mask(cursor), [after is not None for after in expected])
    return kinds


@pytest.mark.parametrize("stop", [None, b"b", b"ba"])
@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=repr)
def test_answers_are_what_step_says(constraint: Constraint, stop: bytes | None) -> None:
    judge = Acceptor(VOCABULARY, constraint, stop)
    kinds = agree_with_steps(judge, judge.answers)
    if not constraint.revisits_states:
        assert kinds == {StepAnswers}
    elif stop is None:
        assert kinds <= {ClassAnswers, WalkedAnswers}
    else:
        assert StopAnswers in kinds
    judge.prepare()
    has_classes = stop is None and constraint.automaton() is not None
    assert agree_with_steps(judge, judge.answers) == ({ClassAnswers} if has_classes else kinds)


def test_without_a_constraint_all_that_is_possible_is_allowed() -> None:
    judge = Acceptor(VOCABULARY, None, None)
    assert [judge.answers(judge.initial).allows(token) for token in range(len(TOKENS))] == [
        bool(data) or token in VOCABULARY.eos_ids for token, data in enumerate(TOKENS)
    ]


def test_automata_are_walked_until_classes_pay() -> None:
    judge = Acceptor(Vocabulary(tuple(bytes((i,)) for i in range(256)), frozenset()), lp.regex("a*b"), None)
    kinds = [type(judge.answers(judge.initial)) for _ in range(3)]
    assert kinds == [WalkedAnswers, ClassAnswers, ClassAnswers]


@pytest.mark.parametrize("wrong", ["a step", "the rest of a token"])
def test_the_comparison_catches_wrong_steps(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(ByteSteps):
        def step(self, standing, byte):
            after = super().step(standing, byte)
            if wrong == "a step" and after is not None:
                after = standing.after[byte] = standing
            return after

        def _walked(self, standing, data):
            return super()._walked(standing, data[:1] if wrong == "the rest of a token" else data)

    judge = Acceptor(VOCABULARY, lp.json(SCHEMA), None)
    steps = Wrong(lp.json(SCHEMA))

    def answers(cursor: Cursor) -> TokenAnswers[Cursor]:
        at = steps.standing(cursor.state)
        return WalkedAnswers(lambda token: judge.step(cursor, token), steps, at, (*TOKENS[:-2], b"", b""), {})

    with pytest.raises(AssertionError):
        agree_with_steps(judge, answers)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """With next to no memory the answers are the same."""
    monkeypatch.setattr(steps_module, "MAX_STEPS", 5)
    monkeypatch.setattr(token_answers, "MAX_REMEMBERED", 2)
    constraint = lp.lark(GRAMMAR + "\n// of its own, so that no steps are known")
    judge = Acceptor(VOCABULARY, constraint, None)
    assert agree_with_steps(judge, judge.answers) == {WalkedAnswers}
    steps = steps_module.steps_of(constraint)
    assert steps._num_steps <= 5
    assert all(len(known) <= 2 for known in judge._known.values())


def test_a_timeout_is_an_answer_that_is_asked_for_once() -> None:
    asked = []

    def step(token: int) -> int | None:
        asked.append(token)
        if token == 1:
            raise CheckTimedOut("slow", token, 1.0)
        return None if token == 2 else token

    answers = StepAnswers(step)
    assert answers.allows(0)
    assert not answers.allows(2)
    for _ in range(2):
        with pytest.raises(CheckTimedOut):
            answers.allows(1)
    assert answers.after(0) == 0
    assert asked == [0, 2, 1]
    answers.learn(5, None)
    assert answers.knows(5)
    assert not answers.allows(5)
