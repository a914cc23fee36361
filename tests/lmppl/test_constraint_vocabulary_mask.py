"""Masks over a vocabulary against asking about every token on its own."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from lmppl.constraints.functions.python_check import check
from lmppl.constraints.grammars.grammar import lark
from lmppl.constraints.protocol import Constraint, State
from lmppl.constraints.regular.alternatives import choices
from lmppl.constraints.regular.regular_expression import regex
from lmppl.constraints.vocabularies import vocabulary_mask
from lmppl.constraints.vocabularies.vocabulary_mask import VocabularyIndex, index_of
from lmppl.errors import InvalidInputError
from lmppl.language_model import Vocabulary


def random_vocabulary(seed: int, size: int) -> Vocabulary:
    """Makes tokens of 0-6 bytes, with duplicates, pieces of characters, and ids without bytes."""
    rng = random.Random(seed)
    pieces = [
        b"a",
        b"b",
        b"ab",
        b"(",
        b")",
        b" ",
        "é".encode(),
        "🙂".encode(),
        b"\xc3",
        b"\xa9",
        b"\xff",
        b"\x00",
    ]
    tokens = [b"".join(rng.choices(pieces, k=rng.randrange(4))) for _ in range(size - 1)]
    return Vocabulary((*tokens, b""), frozenset({size - 1}))


class AtMost(Constraint):
    """Texts of so many bytes at most, which knows at once what may come."""

    def __init__(self, most: int):
        self.most = most
        self.asked = 0

    def initial(self) -> State:
        return self.most

    def advance(self, state: Any, data: bytes) -> State | None:
        self.asked += 1
        return state - len(data) if state >= len(data) else None

    def accepts(self, state: State) -> bool:
        return True

    def describe(self) -> str:
        return f"AtMost({self.most})"

    def mask(self, state: Any, vocabulary: Vocabulary) -> Any:
        return np.array([len(data) <= state for data in vocabulary.token_bytes])


CONSTRAINTS: list[Constraint] = [
    AtMost(5),
    AtMost(5) & regex("[ab(é]*"),
    AtMost(5) & regex("[ab(é]*") & check("few", prefix=lambda s: s.count("a") < 3),
    regex("(ab|é)*"),
    regex(r"[^()]{1,3}"),
    regex("(?s:.)*"),
    choices(["abba", "é", "(", "🙂a"]),
    lark('start: "(" start ")" | WORD\nWORD: /[abé]+/\n%ignore " "'),
    check("few", prefix=lambda s: s.count("a") < 3),
    check("no condition on prefixes", complete=lambda s: s == "ab"),
    lark('start: "(" start ")" | /[ab]+/') & check("short", prefix=lambda s: len(s) < 4),
    regex("[ab]*") & regex("a.*"),
]


def one_by_one(vocabulary: Vocabulary, constraint: Constraint, state: State) -> list[bool]:
    return [bool(data) and constraint.advance(state, data) is not None for data in vocabulary.token_bytes]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=repr)
def test_mask_is_what_advance_says_of_every_token(constraint: Constraint, seed: int) -> None:
    vocabulary = random_vocabulary(seed, 150)
    index = VocabularyIndex(vocabulary)
    states: list[State] = [constraint.initial()]
    for state in states:  # grows while it is walked
        assert index.mask(constraint, state).tolist() == one_by_one(vocabulary, constraint, state)
        following = [constraint.advance(state, data) for data in vocabulary.token_bytes if data]
        new = [after for after in dict.fromkeys(following) if after is not None and after not in states]
        states += new[: 12 - len(states)]
    assert len(states) > 1


def test_many_distinct_states_are_walked_too() -> None:
    """More states than look-up tables are made for."""
    vocabulary = Vocabulary(
        tuple(bytes((a, b, c)) for a in range(97, 123) for b in range(97, 123) for c in (97, 98))
    )
    constraint = check("sorted", prefix=lambda s: list(s) == sorted(s))
    mask = VocabularyIndex(vocabulary).mask(constraint, constraint.initial())
    assert mask.tolist() == one_by_one(vocabulary, constraint, b"")


def test_other_constraints_are_asked_once_for_each_prefix() -> None:
    asked: list[str] = []
    constraint = check("spy", prefix=lambda s: not asked.append(s) and not s.startswith("b"))
    tokens = (b"a", b"ab", b"abc", b"abd", b"b", b"bb", b"bbb", b"")
    mask = VocabularyIndex(Vocabulary(tokens)).mask(constraint, constraint.initial())
    assert mask.tolist() == [True, True, True, True, False, False, False, False]
    assert sorted(asked) == ["a", "ab", "abc", "abd", "b"]


def test_a_mask_of_its_own_is_taken_without_asking() -> None:
    constraint = AtMost(2)
    joined = constraint & regex("ab*c*")
    index = VocabularyIndex(Vocabulary((b"a", b"ab", b"abc", b"", b"end"), frozenset({4})))
    assert index.mask(constraint, 2).tolist() == [True, True, False, False, False]
    assert index.mask(joined, joined.initial()).tolist() == [True, True, False, False, False]
    assert constraint.asked == 0


@pytest.mark.parametrize("said", [np.ones(3, bool), np.ones(2), np.ones((2, 1), bool)], ids=str)
def test_a_mask_that_is_none_is_an_error(said: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AtMost, "mask", lambda self, state, vocabulary: said)
    with pytest.raises(
        InvalidInputError, match=r"AtMost\(2\) gave an array .* one bool for each of the 2 ids"
    ):
        VocabularyIndex(Vocabulary((b"a", b"b"))).mask(AtMost(2), 2)


def test_a_mask_may_leave_a_state_to_advance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AtMost, "mask", lambda self, state, vocabulary: None)
    constraint = AtMost(1)
    assert VocabularyIndex(Vocabulary((b"a", b"ab"))).mask(constraint, 1).tolist() == [True, False]
    assert constraint.asked > 0


def test_vocabulary_without_text_gives_an_empty_mask() -> None:
    index = VocabularyIndex(Vocabulary((b"", b""), frozenset({0})))
    assert index.mask(regex("a*"), 0).tolist() == [False, False]


def test_masks_are_remembered_for_equal_constraints(monkeypatch: pytest.MonkeyPatch) -> None:
    index = VocabularyIndex(random_vocabulary(0, 50))
    first = index.mask(regex("a|b"), 0)
    monkeypatch.setattr(index, "_walked", None)  # would raise if it were needed again
    assert np.array_equal(index.mask(regex("[ab]"), 0), first)
    with pytest.raises(ValueError, match="read-only"):
        first[0] = True


def test_memory_for_masks_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary_mask, "MAX_CACHED_BYTES", 0)
    index = VocabularyIndex(random_vocabulary(0, 50))
    constraint = lark('start: "a"~0..40')
    state: State | None = constraint.initial()
    for _ in range(40):
        index.mask(constraint, state)
        state = constraint.advance(state, b"a")
    assert len(index._cache) == 16


def test_index_is_built_once_for_a_vocabulary() -> None:
    vocabulary = random_vocabulary(0, 20)
    assert index_of(vocabulary) is index_of(vocabulary)
    assert index_of(vocabulary) is not index_of(random_vocabulary(0, 20))
