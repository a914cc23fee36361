"""Keywords that count or compare parts of a value, on languages so small that they can be written down."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from viable_prefixes import accepted

import lmppl as lp
from lmppl.constraints.json_values import frames, item_tallies, nodes, property_names
from lmppl.constraints.protocol import Constraint, State
from lmppl.errors import ConstraintError

SCALARS = ["a", "ab", True, 1, None]
ARRAYS = [list(items) for size in range(4) for items in itertools.product(SCALARS, repeat=size)]
NAMES = ["x", "y", "xy"]
OBJECTS = [
    dict(zip(names, values, strict=True))
    for size in range(4)
    for names in itertools.permutations(NAMES, size)
    for values in itertools.product([1, "a"], repeat=size)
]

ITEMS = {"type": "array", "items": {"enum": SCALARS}, "maxItems": 3}
COUNTED = [
    {**ITEMS, "contains": {"type": "string"}},
    {**ITEMS, "contains": {"type": "string"}, "minContains": 2},
    {**ITEMS, "contains": {"type": "string"}, "minContains": 0, "maxContains": 1},
    {**ITEMS, "contains": {"enum": ["a", 1]}, "minContains": 2, "maxContains": 2},
    {**ITEMS, "contains": {"const": "a"}, "allOf": [{"contains": {"const": "ab"}}]},
    {
        **ITEMS,
        "minItems": 2,
        "contains": {"const": "a"},
        "prefixItems": [{"const": "ab"}],
        "items": {"enum": SCALARS},
    },
    {**ITEMS, "not": {"contains": {"type": "string"}}},
    {**ITEMS, "not": {"items": {"type": "string"}}},
    {**ITEMS, "not": {"prefixItems": [{"const": "a"}], "items": {"const": "a"}}},
    {**ITEMS, "if": {"contains": {"const": 1}}, "then": {"maxItems": 2}, "else": {"minItems": 1}},
    {**ITEMS, "uniqueItems": True},
    {**ITEMS, "uniqueItems": True, "minItems": 3},
    {**ITEMS, "uniqueItems": True, "items": {"enum": ["a", "ab", 1]}, "minItems": 2},
    {**ITEMS, "uniqueItems": True, "items": {"enum": ["a", True]}},
    {**ITEMS, "anyOf": [{"uniqueItems": True}, {"items": {"type": "string"}}]},
]
FREE = {"type": "object", "propertyNames": {"enum": NAMES}, "additionalProperties": {"enum": [1, "a"]}}
PRESENT = [
    {**FREE, "not": {"properties": {"x": True}, "additionalProperties": False}},
    {**FREE, "not": {"properties": {"x": {"const": 1}}, "additionalProperties": {"type": "string"}}},
    {**FREE, "not": {"patternProperties": {"^x": {"type": "string"}}}},
    {**FREE, "not": {"propertyNames": {"maxLength": 1}}},
    {
        **FREE,
        "oneOf": [
            {"properties": {"x": True}, "additionalProperties": False},
            {"properties": {"y": True}, "additionalProperties": False},
        ],
    },
]


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def spellings(value: Any) -> Iterator[str]:
    """Gives all texts of a value: an integer may end in `.0`."""
    if isinstance(value, list):
        for items in itertools.product(*map(spellings, value)):
            yield "[" + ",".join(items) + "]"
    elif isinstance(value, dict):
        for items in itertools.product(*map(spellings, value.values())):
            yield "{" + ",".join(f'"{name}":{text}' for name, text in zip(value, items, strict=True)) + "}"
    else:
        yield compact(value)
        if type(value) is int:
            yield compact(value) + ".0"


def viable(constraint: Constraint) -> tuple[set[str], set[str]]:
    """Gives all viable beginnings, and all texts."""
    beginnings, whole = set(), set()
    todo: list[tuple[str, State]] = [("", constraint.initial())]
    while todo:
        text, state = todo.pop()
        beginnings.add(text)
        if constraint.accepts(state):
            whole.add(text)
        for byte in b'[]{},:"abxytruenl10.':
            after = constraint.advance(state, bytes((byte,)))
            if after is not None:
                todo.append((text + chr(byte), after))
    return beginnings, whole


def expected(schema: dict, values: list[Any]) -> tuple[set[str], set[str]]:
    validator = pytest.importorskip("jsonschema").Draft202012Validator(schema)
    whole = {text for value in values if validator.is_valid(value) for text in spellings(value)}
    return {text[:cut] for text in whole for cut in range(len(text) + 1)}, whole


def compared(schema: dict, values: list[Any]) -> tuple[bool, bool]:
    """Says whether the beginnings, and the texts, are those that a validator finds."""
    constraint = lp.json(schema, whitespace="compact")
    found, wanted = viable(constraint), expected(schema, values)
    assert wanted[1]
    if not constraint.viable_is_exact:
        return found[0] >= wanted[0], found[1] == wanted[1]
    return found[0] == wanted[0], found[1] == wanted[1]


@pytest.mark.parametrize("schema", COUNTED, ids=range(len(COUNTED)))
def test_arrays_are_judged_right_at_every_byte(schema: dict) -> None:
    assert compared(schema, ARRAYS) == (True, True)


@pytest.mark.parametrize("schema", PRESENT, ids=range(len(PRESENT)))
def test_objects_are_judged_right_at_every_byte(schema: dict) -> None:
    assert compared(schema, OBJECTS) == (True, True)


@pytest.mark.parametrize(
    ("schema", "is_exact"),
    [
        ({"uniqueItems": True, "items": {"type": "string"}}, True),
        ({"uniqueItems": True, "items": {"type": ["integer", "null"]}}, True),
        ({"uniqueItems": True, "items": {"enum": ["a", 1]}}, True),
        ({"uniqueItems": True}, True),
        ({"uniqueItems": True, "items": {"type": "array", "minItems": 2}}, True),
        ({"uniqueItems": True, "items": {"properties": {"a": {"const": 1}}, "type": "object"}}, True),
        ({"uniqueItems": True, "items": {"type": "array", "maxItems": 2}}, False),
        ({"uniqueItems": True, "items": {"type": "array", "uniqueItems": True}}, False),
        ({"uniqueItems": True, "items": {"properties": {"a": True}, "additionalProperties": False}}, False),
        ({"uniqueItems": True, "items": {"type": "object", "maxProperties": 1}}, False),
        ({"uniqueItems": True, "items": {"type": "number", "maximum": 3}}, False),
        ({"uniqueItems": True, "items": {"maxLength": 2, "type": "string"}}, False),
        ({"contains": {"const": 1}}, True),
        ({"not": {"additionalProperties": False}}, True),
        ({"not": {"additionalProperties": False}, "maxProperties": 3}, False),
    ],
)
def test_it_is_said_where_viability_is_over_approximate(schema: dict, is_exact: bool) -> None:
    assert lp.json(schema).viable_is_exact == is_exact


def test_items_are_equal_as_values_and_not_as_texts() -> None:
    constraint = lp.json({"uniqueItems": True}, whitespace="any")

    for text in (
        "[1, 1.0]",
        "[100, 1e2]",
        "[0, -0.0]",
        '["a", "\\u0061"]',
        '[{"a": 1, "b": [2]}, {"b": [2.0], "a": 1}]',
        "[[1, 2], [1, 2]]",
        "[null, null]",
    ):
        assert not accepted(constraint, text), text
    for text in (
        "[1, true]",
        "[0, false]",
        '[1, "1"]',
        '[{"a": 1}, {"a": 2}]',
        "[[1, 2], [2, 1]]",
        "[[], {}]",
    ):
        assert accepted(constraint, text), text
    assert accepted(constraint, '[[1, 1], {"a": [2, 2]}]')


def test_exponents_of_any_length_are_told_apart() -> None:
    constraint = lp.json({"uniqueItems": True}, whitespace="compact")
    large = "9" * 5_000
    for one, other, are_equal in (
        (f"1e{large}", f"1e{large[:-1]}8", False),
        (f"1e-{large}", f"1e-{large[:-1]}8", False),
        (f"1e{large}", f"1e{large}0", False),
        (f"12e{large}", f"1.2e1{'0' * 5_000}", True),
        (f"0e{large}", "-0.0", True),
        ("1e-0", "1E+00", True),
    ):
        assert constraint.advance(constraint.initial(), f"[{one},{one}]".encode()) is None
        after = constraint.advance(constraint.initial(), f"[{one},{other}]".encode())
        assert (after is None) == are_equal


NESTED = ["[[],[]]", "[[1],[1]]", '[{"a":1},{"a":1}]', "[{},[{}],[{}]]", '[[[1,"a"]],[[1,"a"]]]', "[{},{}]"]


@pytest.mark.parametrize("text", NESTED)
def test_an_array_or_object_that_repeats_an_item_so_far_can_still_differ(
    text: str, completion: Callable[..., bytes | None]
) -> None:
    constraint = lp.json({"type": "array", "uniqueItems": True}, whitespace="compact")
    assert constraint.viable_is_exact
    assert constraint.advance(constraint.initial(), text.encode()) is None
    for cut in range(len(text) - 1):
        state = constraint.advance(constraint.initial(), text[:cut].encode())
        assert state is not None
        rest = completion(constraint, state, b'[]{}:,"a01')
        assert rest is not None
        whole = json.loads(text[:cut].encode() + rest)
        assert len(set(map(compact, whole))) == len(whole)


def test_items_that_cannot_grow_may_end_in_what_is_taken(completion: Callable[..., bytes | None]) -> None:
    item = {"type": "array", "items": {"const": 1}, "maxItems": 1}
    constraint = lp.json({"type": "array", "uniqueItems": True, "items": item}, whitespace="compact")
    assert not constraint.viable_is_exact
    state = constraint.advance(constraint.initial(), b"[[1],[1")
    with pytest.raises(AssertionError, match="no completion"):
        completion(constraint, state, b'[]{}:,"a01.')


REPEATING = [
    {**ITEMS, "not": {"uniqueItems": True}},
    {**ITEMS, "not": {"uniqueItems": True}, "prefixItems": [{"const": "a"}]},
    {**ITEMS, "not": {"uniqueItems": True, "minItems": 2}},
    {**ITEMS, "not": {"uniqueItems": True}, "contains": {"const": 1}, "minContains": 2},
    {**ITEMS, "oneOf": [{"items": {"type": "string"}}, {"uniqueItems": True}]},
    {**ITEMS, "if": {"uniqueItems": True}, "then": {"maxItems": 2}, "else": {"items": {"type": "string"}}},
]


@pytest.mark.parametrize("schema", REPEATING, ids=range(len(REPEATING)))
def test_arrays_that_must_repeat_an_item_are_those_that_a_validator_finds(schema: dict) -> None:
    assert compared(schema, ARRAYS) == (True, True)


@pytest.mark.parametrize("prefix", [[], [{"enum": ["a", "ab"]}]], ids=["alike", "prefix"])
def test_a_beginning_of_an_array_that_must_repeat_an_item_can_be_completed(
    prefix: list, completion: Callable[..., bytes | None]
) -> None:
    schema = {"type": "array", "not": {"uniqueItems": True}, "items": {"enum": SCALARS}}
    constraint = lp.json({**schema, "prefixItems": prefix} if prefix else schema, whitespace="compact")
    assert constraint.viable_is_exact
    assert not lp.json({**schema, "maxItems": 3}).viable_is_exact
    for items in (items for items in ARRAYS if len(items) < 3):
        state = constraint.advance(constraint.initial(), compact(items)[:-1].encode())
        if state is None:
            assert prefix
            assert not isinstance(items[0], str)
            continue
        assert (constraint.advance(state, b"]") is None) == (len(set(map(compact, items))) == len(items))
        rest = completion(constraint, state, b'[],"abtruenl10.')
        assert rest is not None
        whole = json.loads(compact(items)[:-1].encode() + rest)
        assert len(set(map(compact, whole))) < len(whole)


def test_without_a_flag_for_the_repeat_a_difference_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames.Item, "may_close", property(lambda item: item.num_items >= item.shape.low))
    assert compared(fresh(REPEATING[0], "no repeat is needed"), ARRAYS)[1] is False


def fresh(schema: dict, mutant: str) -> dict:
    """Gives an equal schema that no cache knows."""
    return {**schema, "$comment": mutant}


def test_mutants_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def only_counted(tallies: Any, index: int, counts: Any) -> list:
        return item_tallies.ways(tallies, index, counts)[-1:]

    with monkeypatch.context() as patch:
        patch.setattr(nodes, "ways", only_counted)
        assert compared(fresh(COUNTED[0], "an item always counts"), ARRAYS)[1] is False
    with monkeypatch.context() as patch:
        patch.setattr(nodes, "is_met", lambda tallies, counts: True)
        assert compared(fresh(COUNTED[1], "too few will do"), ARRAYS)[1] is False
    with monkeypatch.context() as patch:
        patch.setattr(frames, "left", lambda node, taken: None)
        assert compared(fresh(COUNTED[13], "values never run out"), ARRAYS)[0] is False
    with monkeypatch.context() as patch:
        patch.setattr(property_names, "_serving", lambda entry, name, kind: iter(()))
        constraint = lp.json(fresh(PRESENT[0], "nothing serves"), whitespace="compact")
        assert viable(constraint)[1] == set()


def test_constant_items_that_must_differ_and_do_not_leave_no_value() -> None:
    with pytest.raises(ConstraintError, match="No value"):
        lp.json({"const": [None, None], "uniqueItems": True})
    assert not lp.json({"enum": [[1, 2], [1, 1]], "uniqueItems": True}).viable_is_exact
    assert lp.json({"enum": [[1], []], "uniqueItems": True}).viable_is_exact
