"""`lp.words`: a Python function asked about the words so far, whenever one is complete."""

from __future__ import annotations

import itertools
import time

import pytest
from viable_prefixes import accepted

from lmppl.constraints.functions.remembered_answers import CheckTimedOut
from lmppl.constraints.functions.word_lists import words
from lmppl.constraints.protocol import Constraint
from lmppl.constraints.regular.regular_expression import regex
from lmppl.errors import CheckError, InvalidInputError, InvalidTypeError

PIECES = ["a", "b", " ", "\n", "é", "\u3000"]  # the last is whitespace of three bytes
TEXTS = ["".join(s) for n in range(5) for s in itertools.product(PIECES, repeat=n)]


def no_repeats(said: tuple[str, ...]) -> bool:
    return len(set(said)) == len(said)


def last_is_short(said: tuple[str, ...]) -> bool:
    return len(said[-1]) <= 1  # says yes again after a no


@pytest.mark.parametrize("function", [no_repeats, last_is_short])
def test_allows_the_texts_whose_words_are_allowed_one_after_the_other(function) -> None:
    constraint = words(function)
    for text in TEXTS:
        said = text.split()
        allowed = [function(tuple(said[: n + 1])) for n in range(len(said))]
        complete = allowed if not text or text[-1].isspace() else allowed[:-1]
        state = constraint.advance(constraint.initial(), text.encode())
        assert (state is not None) == all(complete), text
        assert (state is not None and constraint.accepts(state)) == all(allowed), text


@pytest.mark.parametrize("function", [no_repeats, last_is_short])
def test_chunks_are_judged_as_their_bytes_are(function) -> None:
    constraint = words(function)
    for text in TEXTS[: len(PIECES) ** 3]:
        state = constraint.initial()
        data = text.encode()
        for i in range(len(data)):
            state = None if state is None else constraint.advance(state, data[i : i + 1])
        assert state == constraint.advance(constraint.initial(), data)


def test_the_function_sees_complete_words_only_and_is_never_asked_about_none() -> None:
    seen: list[tuple[str, ...]] = []
    constraint = words(lambda said: not seen.append(said))
    state = constraint.initial()
    assert constraint.accepts(state)
    for piece in ["  on", "ce", " up", "on ", "a ti"]:
        state = constraint.advance(state, piece.encode())
    assert seen == [("once",), ("once", "upon"), ("once", "upon", "a")]
    assert constraint.accepts(state)
    assert seen[-1] == ("once", "upon", "a", "ti")


def test_the_amount_of_whitespace_does_not_make_another_state() -> None:
    constraint = words(no_repeats)
    one, other = (constraint.advance(constraint.initial(), data) for data in (b"a b ", b" a\n\nb\t"))
    assert one == other


def test_unfinished_characters_do_not_end_a_text() -> None:
    constraint = words(no_repeats)
    state = constraint.advance(constraint.initial(), b"a \xc3")
    assert state is not None
    assert not constraint.accepts(state)
    assert constraint.advance(constraint.initial(), b"a\xff") is None


def test_words_are_equal_by_their_function_and_remember_together() -> None:
    asked: list[object] = []

    def limit(most: int) -> Constraint:
        return words(lambda said: len(said) <= most, name="limit")

    assert limit(2) == limit(2)
    assert hash(limit(2)) == hash(limit(2))
    assert limit(2) != limit(3)
    counted = words(lambda said: not asked.append(said), name="counted")
    for _ in range(3):
        assert accepted(counted, "a b")
    assert len(asked) == 2
    assert repr(limit(2)) == "words('limit')"
    assert repr(words(no_repeats)) == "words('no_repeats')"
    assert not limit(2).viable_is_exact


def test_words_join_with_other_constraints() -> None:
    constraint = regex("[ab ]+") & words(no_repeats)
    assert accepted(constraint, "a b")
    assert not accepted(constraint, "a a")
    quoted = '"' + words(no_repeats) + '"'
    assert accepted(quoted, '"a b"')
    assert not accepted(quoted, '"a a"')


def test_function_that_raises_is_an_error() -> None:
    with pytest.raises(CheckError, match=r"The check 'divides' raised ZeroDivisionError .* on \('a',\)"):
        accepted(words(lambda said: 1 / 0 > 1, name="divides"), "a b")
    with pytest.raises(CheckError, match="must return True or False"):
        accepted(words(lambda said: len(said), name="counts"), "a b")  # type: ignore[arg-type, return-value]


def test_function_that_never_returns_times_out() -> None:
    def endless(said: tuple[str, ...]) -> bool:
        time.sleep(1000)
        return True

    with pytest.raises(CheckTimedOut) as caught:
        accepted(words(endless, timeout=0.05), "a b")
    assert (caught.value.name, caught.value.asked) == ("endless", ("a",))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"function": "a"}, InvalidTypeError, r"words\(\) takes a function of all words .* given 'a'\.$"),
        ({"function": ["ab"]}, InvalidTypeError, r"given \['ab'\]\. lp.choices takes lists of strings"),
        ({"function": "short", "name": bool}, InvalidTypeError, r"Write words\(function, name\)"),
        ({"function": bool, "name": 5}, InvalidInputError, "a name .* which is a str, but was given 5"),
        ({"function": bool, "name": ""}, InvalidInputError, "needs a name"),
        ({"function": bool, "timeout": -1.0}, InvalidInputError, "seconds above 0"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(
    arguments: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        words(**arguments)
