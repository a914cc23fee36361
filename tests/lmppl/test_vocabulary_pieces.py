"""Masks of what is asked in pieces and lists: what `advance` says of each token, and no question too many."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cloudpickle
import numpy as np
import pytest

from lmppl.constraints.domains.python.python_source import python_code
from lmppl.constraints.functions import check_calls, remembered_answers
from lmppl.constraints.functions.partial_matching import pattern
from lmppl.constraints.functions.python_check import check
from lmppl.constraints.functions.remembered_answers import CheckTimedOut
from lmppl.constraints.functions.word_lists import words
from lmppl.constraints.grammars.grammar import lark
from lmppl.constraints.json_values.field_checks import json_check
from lmppl.constraints.json_values.json_texts import json as json_texts
from lmppl.constraints.protocol import Constraint, State
from lmppl.constraints.regular.regular_expression import regex
from lmppl.constraints.vocabularies import vocabulary_mask
from lmppl.constraints.vocabularies.vocabulary_mask import VocabularyIndex
from lmppl.constraints.vocabularies.vocabulary_pieces import VocabularyPieces, do_repeat
from lmppl.errors import CheckError
from lmppl.language_model import Vocabulary

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a worker imports neither this file nor JAX


def random_vocabulary(seed: int, size: int) -> Vocabulary:
    """Makes tokens of up to 12 bytes, with duplicates, pieces of characters, and ids without bytes."""
    rng = random.Random(seed)
    letters = [b"a", b"b", b" ", b"(", b'"', b":", "é".encode(), b"\xc3", b"\xff", b"1", b"{", b"}", b"\n"]
    tokens = [b"".join(rng.choices(letters, k=rng.randrange(7))) for _ in range(size - 1)]
    return Vocabulary((*tokens, b"end"), frozenset({size - 1}))


def has_few(text: str) -> bool:
    return text.count("a") < 3


def have_few(texts: list[str]) -> list[bool]:
    return [has_few(text) for text in texts]


def is_new(listed: tuple[str, ...]) -> bool:
    return listed[-1] not in listed[:-1]


CONSTRAINTS: list[Constraint] = [
    check("few", prefix=has_few),
    check("few, lists", prefix=have_few, batch=True),
    check("few", prefix=has_few) & regex("[ab 1é]*"),
    check("few, lists", prefix=have_few, batch=True) & regex("[ab 1é]*"),
    check("few, lists", prefix=have_few, batch=True) & words(is_new),
    check("few, lists", prefix=have_few, batch=True) & check("no 1", prefix=lambda text: "1" not in text),
    json_texts() & json_check("small", "/a", lambda value: value != 1),
    json_texts() & check("few, lists", prefix=have_few, batch=True),
    json_check("small", "/a", lambda value: value != 1),
    words(is_new),
    python_code(),
    pattern(r"(a|b)*(?=é)."),
    "a" + check("few", prefix=has_few),
    check("few", prefix=has_few) | regex("[1 ]*"),
    lark("start: /[ab1]+/") & pattern("(?!aa)[ab]+"),
]


def one_by_one(vocabulary: Vocabulary, constraint: Constraint, state: State) -> list[bool]:
    return [bool(data) and constraint.advance(state, data) is not None for data in vocabulary.texts]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=repr)
def test_a_mask_is_what_advance_says_of_each_token(constraint: Constraint, seed: int) -> None:
    vocabulary = random_vocabulary(seed, 300)
    index = VocabularyIndex(vocabulary)
    states: list[State] = [constraint.initial()]
    for state in states:  # grows while it is walked
        assert index.mask(constraint, state).tolist() == one_by_one(vocabulary, constraint, state)
        following = [constraint.advance(state, data) for data in vocabulary.texts if data]
        new = [after for after in dict.fromkeys(following) if after is not None and after not in states]
        states += random.Random(seed).sample(new, min(len(new), 12 - len(states)))
    assert len(states) > 1


def _pass_all(self: VocabularyPieces, constraint: Constraint, state: State, *first: object) -> list[int]:
    return [number for number in self._id_at if number >= 0]


def _forget_the_same(self: VocabularyPieces, found: list[int], node: int) -> None:
    if self._id_at[node] >= 0:
        found.append(self._id_at[node])


@pytest.mark.parametrize(
    ("method", "mutant"),
    [("taken", _pass_all), ("taken_together", _pass_all), ("_note", _forget_the_same)],
)
def test_masks_that_are_wrong_are_found(
    method: str, mutant: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VocabularyPieces, method, mutant)
    constraint = CONSTRAINTS[1] if method == "taken_together" else CONSTRAINTS[0]
    with pytest.raises(AssertionError):
        test_a_mask_is_what_advance_says_of_each_token(constraint, 0)


def places_that_tell(texts: set[bytes]) -> set[bytes]:
    """Gives, by definition, the tokens and the beginnings behind which two tokens go on differently."""
    begun = {text[:length] for text in texts for length in range(1, len(text))}
    further = {head: {text[len(head)] for text in texts if _is_begun(head, text)} for head in begun}
    return texts | {head for head, following in further.items() if len(following) > 1}


def _is_begun(head: bytes, text: bytes) -> bool:
    return text.startswith(head) and head != text


class Spy(Constraint):
    """Any text without some byte, which notes what it was asked about."""

    def __init__(self, without: bytes):
        self.without = without
        self.asked: list[bytes] = []

    def initial(self) -> State:
        return b""

    def advance(self, state: State, data: bytes) -> State | None:
        assert isinstance(state, bytes)
        self.asked.append(state + data)
        return None if self.without in state + data else state + data

    def accepts(self, state: State) -> bool:
        return True

    def describe(self) -> str:
        return f"Spy({self.without!r})"


@pytest.mark.parametrize("seed", range(20))
def test_only_tokens_and_places_where_they_part_are_asked_about_and_each_once(seed: int) -> None:
    vocabulary = random_vocabulary(seed, 120)
    texts = {data for data in vocabulary.texts if data}
    ids = sorted((i for i, data in enumerate(vocabulary.texts) if data), key=vocabulary.texts.__getitem__)
    spy = Spy(b"b")
    found = VocabularyPieces(vocabulary.texts, ids).taken(spy, b"")
    assert sorted(found) == [i for i, data in enumerate(vocabulary.texts) if data and b"b" not in data]
    told = places_that_tell(texts)
    refused = [place for place in told if b"b" in place]
    reached = [place for place in told if not any(_is_begun(head, place) for head in refused)]
    assert sorted(spy.asked) == sorted(reached)


def test_a_list_holds_all_pieces_of_one_depth_and_no_more_than_its_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(check_calls, "MAX_LIST", 4)
    lists: list[list[str]] = []

    def prefix(texts: list[str]) -> list[bool]:
        lists.append(list(texts))
        return ["q" not in text for text in texts]

    tokens = (b"a", b"abcde", b"abcxy", b"b", b"c", b"d", b"e", b"q", b"qa", b"xyz", b"")
    vocabulary = Vocabulary(tokens)
    constraint = check("no q", prefix=prefix, batch=True)
    mask = VocabularyIndex(vocabulary).mask(constraint, b"")
    assert lists == [["a", "b", "c", "d"], ["e", "q", "xyz"], ["abc"], ["abcde", "abcxy"]]
    assert mask.tolist() == one_by_one(vocabulary, constraint, b"")
    assert lists[4:] == [["qa"]], "what is known is not asked again"


def test_a_mask_of_many_tokens_takes_few_calls() -> None:
    lists: list[int] = []

    def prefix(texts: list[str]) -> list[bool]:
        lists.append(len(texts))
        return [True] * len(texts)

    rng = random.Random(0)
    tokens = {"".join(rng.choices("abcdefgh", k=rng.randrange(1, 9))).encode() for _ in range(6_000)}
    vocabulary = Vocabulary(tuple(sorted(tokens)))
    index = VocabularyIndex(vocabulary)
    constraint = check("any", prefix=prefix, batch=True)
    assert index.mask(constraint, b"x").all()
    assert max(lists) <= check_calls.MAX_LIST
    assert len(lists) <= 8 + sum(lists) // check_calls.MAX_LIST
    assert len(vocabulary) <= sum(lists) < 1.2 * len(vocabulary)
    lists.clear()
    assert VocabularyIndex(vocabulary).mask(constraint, b"x").all()
    assert not lists, "the answers are remembered"


def test_a_function_is_asked_only_about_what_the_other_conjuncts_allow() -> None:
    def prefix(texts: list[str]) -> list[bool]:
        return [int(text) < 50 for text in texts]  # raises for what is no number

    tokens = (b"1", b"12", b"99", b"9", b"x", b"1x", b"7 ", b"")
    vocabulary = Vocabulary(tokens)
    for constraint in (
        regex("[0-9]+") & check("small", prefix=prefix, batch=True),
        regex("[0-9]+") & check("small", prefix=lambda text: int(text) < 50),
    ):
        mask = VocabularyIndex(vocabulary).mask(constraint, constraint.initial())
        assert mask.tolist() == [True, True, False, True, False, False, False, False]
    with pytest.raises(CheckError, match="ValueError"):
        VocabularyIndex(vocabulary).mask(check("small", prefix=prefix, batch=True), b"")


def naps(text: str) -> bool:
    time.sleep(1000 if "slow" in text else 0)
    return "q" not in text


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("workers", [None, 2])
def test_a_text_that_takes_too_long_ends_the_mask(batch: bool, workers: int | None) -> None:
    remembered_answers._timeouts_of.cache_clear()
    prefix = (lambda texts: [naps(text) for text in texts]) if batch else naps
    constraint = check("naps", prefix=prefix, timeout=1.0, batch=batch, workers=workers)
    with pytest.raises(CheckTimedOut, match="'slow'"):
        VocabularyIndex(Vocabulary((b"a", b"slow", b"b"))).mask(constraint, b"")
    assert VocabularyIndex(Vocabulary((b"a", b"q", b"b"))).mask(constraint, b"").tolist() == [
        True,
        False,
        True,
    ]


def test_workers_answer_for_a_mask(tmp_path: Path) -> None:
    def prefix(text: str) -> bool:
        Path(tmp_path, str(os.getpid())).touch()
        time.sleep(0.01)
        return "b" not in text

    vocabulary = random_vocabulary(0, 60)
    constraint = check("in workers", prefix=prefix, workers=2)
    mask = VocabularyIndex(vocabulary).mask(constraint, b"")
    assert mask.tolist() == one_by_one(vocabulary, check("here", prefix=lambda t: "b" not in t), b"")
    processes = {path.name for path in tmp_path.iterdir()}
    assert len(processes) == 2
    assert str(os.getpid()) not in processes


def test_single_bytes_are_remembered_where_states_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    states = ["a"] * 8
    assert do_repeat([*states, None])
    assert not do_repeat(states[1:])
    assert not do_repeat([*"abcdefgh", None])
    constraint = json_texts() & json_check("any", "/a", lambda value: True)
    state = constraint.advance(constraint.initial(), b'{"b": "')
    assert state is not None
    vocabulary = Vocabulary(tuple(bytes((one, two)) for one in range(97, 123) for two in range(97, 123)))
    monkeypatch.setattr(vocabulary_mask, "VocabularyPieces", None)  # would raise if one were laid out
    assert np.all(VocabularyIndex(vocabulary).mask(constraint, state))
