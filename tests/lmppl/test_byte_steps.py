"""Single steps that are remembered, and what states share of them, against `advance`."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

import lmppl as lp
from lmppl.constraints.json_values import property_names, string_readers
from lmppl.constraints.json_values.acceptor import Machine
from lmppl.constraints.json_values.acceptor import State as JsonState
from lmppl.constraints.json_values.frames import Cut
from lmppl.constraints.json_values.phases import STRING, VALUE
from lmppl.constraints.json_values.sized_texts import Lengths
from lmppl.constraints.protocol import Constraint, State
from lmppl.constraints.vocabularies import byte_steps
from lmppl.constraints.vocabularies.byte_steps import ByteSteps

ALPHABET = '"ab{}[]:, \n\\1.u0é'.encode()
CANDIDATES = [
    *(bytes((byte,)) for byte in ALPHABET),
    *(b'"a"', b'"b', b'ab"', b'": ', b'a": 1', b'", "a', b"],", b"1,", b"12", b"1}", b"[[", b'{"', b"}]"),
    *(b"\n    ", b"\n        ", b"    ", b"\\u00", b"\\n", b"a\\", "bé".encode(), b"\xc3", b"\xff", b"\x00"),
    *(b"abab", b"b ab", "ébé".encode(), "é\u20ac".encode(), b"ab\xc3", b"b\x7fb", b"ab ab ab ab ab ab ab ab"),
]

UNIQUE = {"items": {"enum": ["a", "b", "ab"]}, "uniqueItems": True}
FEW_NAMES = {"propertyNames": {"pattern": "^[ab]{1,2}$"}, "additionalProperties": {"maximum": 1}}
SCHEMAS = {
    "anything": True,
    "unique": UNIQUE,
    "unique and short": {"type": "array", "items": {"type": "string", "maxLength": 1}, "uniqueItems": True},
    "few names": FEW_NAMES,
    "one or many": {"propertyNames": {"pattern": "^(a|b[^a]*)$"}},
    "few properties": {"maxProperties": 2, "properties": {"a": {"type": "array"}}, "required": ["ab"]},
    "named": {"properties": {"a": {"maxLength": 2}, "ab": FEW_NAMES, 'b"': {"type": "number"}}},
    "closed": {"properties": {"a": UNIQUE, "ab": True}, "additionalProperties": False, "type": "object"},
    "items": {"items": {"items": {"enum": [1, "a", None]}, "minItems": 1}},
    "pattern": {"additionalProperties": {"pattern": "^(ab)*$", "minLength": 3}},
}
CONSTRAINTS = {
    **{
        f"{name}, {space}": lp.json(SCHEMAS[name], whitespace=space)
        for name in SCHEMAS
        for space in ("bounded", "any")
    },
    "compact": lp.json(whitespace="compact"),
}


def states_of(constraint: Constraint, num_walks: int = 60, num_bytes: int = 16) -> list[State]:
    """Gives the states along random texts that are viable."""
    rng = random.Random(0)
    found: dict[State, None] = {}
    for _ in range(num_walks):
        state = constraint.initial()
        for _ in range(num_bytes):
            found[state] = None
            viable = [constraint.advance(state, bytes((byte,))) for byte in ALPHABET]
            state = rng.choice([after for after in viable if after is not None] or [state])
    return list(found)


def agree(constraint: Constraint) -> None:
    """Asks about all candidates in all states, twice over."""
    steps = ByteSteps(constraint)
    for state in states_of(constraint):
        expected = [constraint.advance(state, data) is not None for data in CANDIDATES]
        assert [steps.is_viable(steps.standing(state), data) for data in CANDIDATES] == expected
        standing = steps.standing(state)
        first = steps.next_bytes(standing)
        assert [data[0] in first and steps.is_viable(standing, data) for data in CANDIDATES] == expected


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_what_is_shared_says_what_advance_says(name: str) -> None:
    agree(CONSTRAINTS[name])


def test_little_memory_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_steps, "MAX_STEPS", 7)
    agree(CONSTRAINTS["named, bounded"])


def test_places_of_one_kind_share_their_steps() -> None:
    constraint = lp.json()
    steps = ByteSteps(constraint)
    texts = (b'{"a": "', b'[["b", "', b'{"a": 1, "b": [true, "cd')
    for text in texts:
        state = constraint.advance(constraint.initial(), text)
        assert state is not None
        assert steps.is_viable(steps.standing(state), b"some letters")
        assert not steps.is_viable(steps.standing(state), b"\n")
    assert len({steps.standing(constraint.advance(constraint.initial(), text)).local for text in texts}) == 1


whole = Machine.local


def in_frame(**others: object) -> Callable:
    def local(self: Machine, state: JsonState) -> JsonState | None:
        found = whole(self, state)
        return found and found._replace(frame=found.frame._replace(**others))  # type: ignore[arg-type]

    return local


def in_strings_that_must_differ(self: Machine, state: JsonState) -> JsonState | None:
    if state.phase == STRING and state.frame.is_compared:
        return JsonState(Cut((), 0, False), STRING, state.detail)
    return whole(self, state)


def free_where_items_differ(self: Machine, state: JsonState) -> int:
    return whole_num_free(self, state._replace(frame=Cut((), 0, False)))


def free_in_escapes(reading) -> int:
    return name_num_free(reading._replace(escape=b""))


whole_num_free = Machine.num_free
name_num_free = property_names.num_free


def of_another_value(self: Machine, state: JsonState) -> JsonState | None:
    found = whole(self, state)
    return found and (found._replace(detail=0) if state.phase == VALUE else found)


def is_open(bounded: bool, finite: bool) -> Callable:
    def is_open(way) -> bool:
        shape = way[0][0].shape
        return (bounded or shape.high is None) and any(
            state >= 0 and (finite or names.counts[state] is None)
            for names, state in zip(shape.classes, way[1], strict=True)
        )

    return is_open


@pytest.mark.parametrize(
    ("owner", "attribute", "mutant"),
    [
        (Machine, "local", in_frame(wanted=(0,))),
        (Machine, "local", in_frame(depth=1)),
        (Machine, "local", in_frame(is_object=True, wanted=())),
        (Machine, "local", in_strings_that_must_differ),
        (Machine, "local", of_another_value),
        (property_names, "_is_open", is_open(bounded=True, finite=False)),
        (property_names, "_is_open", is_open(bounded=False, finite=True)),
        (property_names, "next_bytes", lambda reading: b'ab"'),
        (property_names, "num_free", free_in_escapes),
        (property_names, "leads_back", lambda machine, state: True),
        (string_readers, "leads_back", lambda machine, state: True),
        (Machine, "num_free", free_where_items_differ),
        (Lengths, "num_free", lambda self, state: 9 if self.longest is None else self.longest + 1 - state[1]),
        (byte_steps, "are_free", lambda data: b'"' not in data),
        (byte_steps, "are_free", lambda data: data.isascii() or b"\xff" not in data),
    ],
    ids=[
        *("wanted", "depth", "values", "unique", "gap", "bounded", "finite", "escapes"),
        *("in escapes", "names", "strings", "free unique", "too many", "controls", "cut characters"),
    ],
)
def test_what_shares_too_much_is_caught(owner, attribute, mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, attribute, mutant)
    caught = 0
    for constraint in CONSTRAINTS.values():
        try:
            agree(constraint)
        except AssertionError:
            caught += 1
    assert caught
