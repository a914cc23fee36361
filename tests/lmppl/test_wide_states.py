"""Masks of states in which nearly any text may go on, against asking about every token."""

from __future__ import annotations

import itertools
import random

import pytest

import lmppl as lp
from lmppl.constraints.protocol import Constraint, State
from lmppl.constraints.vocabularies import vocabulary_mask, wide_states
from lmppl.constraints.vocabularies.byte_steps import ByteSteps, steps_of
from lmppl.constraints.vocabularies.vocabulary_mask import VocabularyIndex
from lmppl.language_model import Vocabulary

PIECES = (b"a", b"xyz", b" ", b'"', b"\\", b"n", b"u00", b"}", b":1", b",", b"\n", b"\xc3", b"\xa9", b"\xff")
PIECES = (*PIECES, "é".encode(), "日本".encode(), "🙂".encode())
SCHEMA = {"properties": {"a": {"type": "string"}, "b": {"items": {"type": "string", "pattern": "^[^b]*$"}}}}
STRINGS = 'start: "[" STRING ("," STRING)* "]"\nSTRING: /"[^"\\\\]*"/'
CASES: list[tuple[Constraint, bytes]] = [
    (lp.json(), b'{"a": "'),
    (lp.json(SCHEMA), b'{"a": "x'),
    (lp.json(SCHEMA), b'{"b": ["x'),
    (lp.json(SCHEMA, whitespace="any"), b'["'),
    (lp.lark(STRINGS), b'["a'),
    (lp.lark(STRINGS, parser="lalr"), b'["a'),
    ("(" + lp.lark(STRINGS) | lp.json(), b'"a'),
]


@pytest.fixture(autouse=True)
def wide_at_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary_mask, "LEAST_FOR_WIDE", 0)


def random_vocabulary(seed: int) -> Vocabulary:
    rng = random.Random(seed)
    tokens = [b"".join(rng.choices(PIECES, k=rng.randrange(5))) for _ in range(150)]
    return Vocabulary((*tokens, b"", b"a"), frozenset({151}))


def one_by_one(vocabulary: Vocabulary, constraint: Constraint, state: State) -> list[bool]:
    return [
        bool(data) and token not in vocabulary.eos_ids and constraint.advance(state, data) is not None
        for token, data in enumerate(vocabulary.token_bytes)
    ]


def masks_agree(constraint: Constraint, head: bytes, seed: int) -> None:
    vocabulary = random_vocabulary(seed)
    index = VocabularyIndex(vocabulary)
    states = [constraint.advance(constraint.initial(), head)]
    for state in states:  # grows while it is walked
        assert state is not None
        assert index.mask(constraint, state).tolist() == one_by_one(vocabulary, constraint, state)
        following = [constraint.advance(state, data) for data in vocabulary.token_bytes if data]
        new = [after for after in dict.fromkeys(following) if after is not None and after not in states]
        states += new[: 8 - len(states)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("constraint", "head"), CASES, ids=lambda case: str(case)[:30])
def test_masks_of_wide_states_are_what_advance_says(constraint: Constraint, head: bytes, seed: int) -> None:
    steps = steps_of(constraint)
    state = constraint.advance(constraint.initial(), head)
    assert state is not None
    assert wide_states.wide(steps, steps.standing(state)) is not None
    masks_agree(constraint, head, seed)


def test_the_comparison_catches_a_byte_that_leaves_unnoticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def blind(steps: ByteSteps, start):
        found = wide_states.wide(steps, start)
        return None if found is None else found._replace(leaving=found.leaving.replace(b"\\", b""))

    monkeypatch.setattr(vocabulary_mask, "wide", blind)
    with pytest.raises(AssertionError):
        masks_agree(lp.json(), b'"', 0)


@pytest.mark.parametrize(
    ("constraint", "head"),
    [
        (lp.json(), b"{"),
        (lp.json({"type": "string", "maxLength": 9}), b'"'),
        (lp.json({"type": "array", "uniqueItems": True}), b'["'),
        (lp.lark('start: /[a-z]+/ | "1"'), b"a"),
    ],
)
def test_other_states_are_not_taken_for_wide_ones(constraint: Constraint, head: bytes) -> None:
    steps = steps_of(constraint)
    state = constraint.advance(constraint.initial(), head)
    assert state is not None
    assert wide_states.wide(steps, steps.standing(state)) is None
    masks_agree(constraint, head, 0)


def test_strings_of_all_places_share_their_classes() -> None:
    constraint = lp.json(SCHEMA)
    index = VocabularyIndex(random_vocabulary(0))
    for head in (b'{"a": "', b'{"c": ["', b'"'):
        index.mask(constraint, constraint.advance(constraint.initial(), head))
    assert len(index._classes) == 1
    assert list(index._tries) == [b'"\\']


OPEN = {"properties": {"ab": True}, "propertyNames": {"pattern": "^[^c]"}}
NAMES: list[tuple[Constraint, bytes]] = [
    (lp.json(), b'{"a'),
    (lp.json({}), b'{"'),
    (lp.json({}), b'{"axyz": 1, "ax'),
    (lp.json(OPEN), b'{"a'),
    (lp.json({"properties": {"ab": {"type": "integer"}}}) | lp.choices(['{"no', '{"xy']), b'{"x'),
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("constraint", "head"), NAMES, ids=lambda case: str(case)[:30])
def test_masks_inside_names_that_must_be_new_are_what_advance_says(
    constraint: Constraint, head: bytes, seed: int
) -> None:
    masks_agree(constraint, head, seed)


def test_a_mask_inside_a_name_asks_about_few_single_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    step = ByteSteps.step

    def counted(self: ByteSteps, standing, byte: int):
        asked.append(byte)
        return step(self, standing, byte)

    monkeypatch.setattr(ByteSteps, "step", counted)
    tokens = [bytes(pair) for pair in itertools.product(range(97, 123), repeat=2)]
    vocabulary = Vocabulary((*tokens, b"ab, ", b'c": ', b""), frozenset({678}))
    constraint = lp.json({})
    state = constraint.advance(constraint.initial(), b'{"name')
    assert state is not None
    assert VocabularyIndex(vocabulary).mask(constraint, state)[:678].all()
    assert len(asked) < 600
    monkeypatch.setattr(VocabularyIndex, "_walked_apart", lambda self, steps, start: None)
    steps_of.cache_clear()
    asked.clear()
    assert VocabularyIndex(vocabulary).mask(constraint, state)[:678].all()
    assert len(asked) > 600


def test_the_comparison_catches_a_name_that_is_there_already(monkeypatch: pytest.MonkeyPatch) -> None:
    outside = vocabulary_mask._Numbered.outside
    monkeypatch.setattr(vocabulary_mask._Numbered, "outside", property(lambda self: []))
    with pytest.raises(AssertionError):
        masks_agree(lp.json({}), b'{"a": 1, "a', 0)
    monkeypatch.setattr(vocabulary_mask._Numbered, "outside", outside)
    masks_agree(lp.json({}), b'{"a": 1, "a', 0)
