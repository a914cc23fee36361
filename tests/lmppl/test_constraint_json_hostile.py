"""Hostile schemas and texts end in an answer or an error of ours, in bounded time and memory."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterator
from itertools import pairwise, product
from typing import Any

import pytest

import lmppl as lp
from lmppl.constraints.protocol import Constraint
from lmppl.errors import ConstraintError, InvalidInputError, UnsupportedSchema

pytestmark = pytest.mark.once

SECONDS = 20.0  # of this process; what is slowest takes a few on a slow machine
MEGABYTES = 1_000


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF)
    yield
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime - before.ru_utime < SECONDS
    assert (after.ru_maxrss - before.ru_maxrss) / 1024 < MEGABYTES


def nested(depth: int, **around: Any) -> Any:
    schema: Any = True
    for _ in range(depth):
        schema = {**around, "items": schema}
    return schema


def loop(**inside: Any) -> dict:
    """Gives a schema that refers to itself where `LOOP` stands."""
    return {"$ref": "#/$defs/a", "$defs": {"a": inside}}


SELF = {"$ref": "#/$defs/a"}
REFUSED: dict[str, tuple[Any, type[Exception]]] = {
    "nested 10,000 deep": (nested(10_000), UnsupportedSchema),
    "a text nested 10,000 deep": ('{"items":' * 10_000 + "true" + "}" * 10_000, UnsupportedSchema),
    "refers to itself": ({"$ref": "#"}, UnsupportedSchema),
    "refer to each other": (
        {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"allOf": [SELF]}}},
        UnsupportedSchema,
    ),
    "items without end": (loop(type="array", minItems=1, items=SELF), ConstraintError),
    "contains without end": (loop(type="array", contains=SELF), ConstraintError),
    "properties without end": (loop(type="object", required=["a"], properties={"a": SELF}), ConstraintError),
    "some property without end": (
        loop(type="object", **{"not": {"additionalProperties": {"not": SELF}}}),
        ConstraintError,
    ),
    "a chain of 5,000 references": (
        {"$ref": "#/$defs/0", "$defs": {str(i): {"$ref": f"#/$defs/{i + 1}"} for i in range(5_000)}},
        UnsupportedSchema,
    ),
    "one string of 5 MB": ({"enum": ["x" * 5_000_000]}, UnsupportedSchema),
    "50,000 arrays": ({"enum": [[i] for i in range(50_000)]}, UnsupportedSchema),
    "none of 5,000 numbers": ({"not": {"enum": list(range(5_000))}}, UnsupportedSchema),
    "the negation of 10,000 properties": (
        {"not": {"properties": {str(i): {"minLength": i} for i in range(10_000)}}},
        UnsupportedSchema,
    ),
    "1,000 alternatives": (
        {"anyOf": [{"required": [str(i)], "type": "object"} for i in range(1_000)]},
        UnsupportedSchema,
    ),
    "2 to the power of 30 alternatives": (
        {"allOf": [{"anyOf": [{"required": [f"a{i}"]}, {"required": [f"b{i}"]}]} for i in range(30)]},
        UnsupportedSchema,
    ),
    "a chain of 500 conditions": (
        {"dependentRequired": {f"a{i}": [f"a{i + 1}"] for i in range(500)}},
        UnsupportedSchema,
    ),
    "a chain of 500 conditions in schemas": (
        {"allOf": [{"if": {"required": [f"a{i}"]}, "then": {"required": [f"a{i + 1}"]}} for i in range(500)]},
        UnsupportedSchema,
    ),
    "a billion items that count": ({"contains": {"const": 1}, "minContains": 10**9}, UnsupportedSchema),
    "a long pattern": ({"pattern": "(a{1,1000}){1,1000}"}, UnsupportedSchema),
    "an exponential pattern": ({"pattern": "^(a|b)*a(a|b){20}$"}, UnsupportedSchema),
    "not a pattern with a large bound": (
        {"not": {"pattern": "^a", "maxLength": 10**6}, "propertyNames": {"maxLength": 10**5}},
        UnsupportedSchema,
    ),
    "a number that is infinite": ('{"minimum": 1e400}', UnsupportedSchema),
    "a number of 5,000 digits": ('{"const": ' + "1" * 5_000 + "}", InvalidInputError),
    "a large divisor": ({"multipleOf": 123_456_789}, UnsupportedSchema),
    "a number too large for a float": ({"const": 10**401}, UnsupportedSchema),
    "a lone surrogate": ({"enum": ["\ud800", "a"]}, UnsupportedSchema),
    "more different items than there are": (
        {"type": "array", "uniqueItems": True, "items": {"enum": [1, 2, 1.0]}, "minItems": 3},
        ConstraintError,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_schema_is_refused_with_a_reason(name: str) -> None:
    schema, error = REFUSED[name]
    with pytest.raises(error):
        lp.json(schema)


LARGE: dict[str, tuple[Any, str, str]] = {
    "an enum of 5 MB": (
        {"enum": [f"value number {i} of many" for i in range(150_000)]},
        '"value number 149999 of many"',
        '"value number 150000',
    ),
    "a chain of 100 conditions": (
        {"type": "object", "dependentRequired": {f"a{i}": [f"a{i + 1}"] for i in range(100)}},
        '{"a98": 1, "a100": 2, "a99": 3}',
        '{"a98": 1, "a100": 2}',
    ),
    "a number of 400 digits": ({"enum": [10**400 - 1, 1]}, "9" * 400, "9" * 401),
    "a bound of 31 digits": ({"items": {"minimum": 10**30 + 1}}, f"[{10**30 + 1}]", f"[{10**30}]"),
    "many numbers": ({"enum": list(range(-20_000, 20_000))}, "-19999.0", "20000"),
    "10,000 properties": (
        {
            "type": "object",
            "properties": {f"p{i}": {"type": "integer"} for i in range(10_000)},
            "additionalProperties": False,
        },
        '{"p9999":1}',
        '{"p10000',
    ),
    "3,000 required properties": (
        {
            "type": "object",
            "properties": {f"p{i}": {"maxLength": i} for i in range(3_000)},
            "required": [f"p{i}" for i in range(3_000)],
        },
        "{" + ",".join(f'"p{i}":0' for i in range(3_000)) + "}",
        '{"p1":""}',
    ),
    "large counts": (
        {"minItems": 1, "maxItems": 10**12, "maxLength": 10**12, "maxProperties": 10**12},
        "[1]",
        "[]",
    ),
    "a required name that UTF-8 cannot write": (
        {"properties": {"\ud800": {"const": 1}}, "additionalProperties": {"const": 2}},
        '{"a":2}',
        '{"a":1',
    ),
    "NUL": ({"enum": ["\0a"]}, '"\\u0000a"', '"a'),
    "a pattern that makes others run for ever": ({"pattern": "^(a|a)*(a+)+$"}, '"' + "a" * 5_000 + '"', '"b'),
}


@pytest.mark.parametrize("names", ["abcdefg", "aéb\ud800cdf"])
def test_a_chain_of_conditions_means_what_its_links_mean(names: str) -> None:
    """All sets of names, the last of a lone surrogate, which no text can hold, where there is one."""
    links = list(pairwise(names))
    constraints = [
        lp.json({"type": "object", "dependentRequired": {one: [other] for one, other in order}})
        for order in (links, links[::-1])
    ]
    constraints.append(
        lp.json({"type": "object", "allOf": [{"dependentRequired": {a: [b]}} for a, b in links]})
    )
    writable = [name for name in names if name != "\ud800"]
    for present in product((False, True), repeat=len(writable)):
        chosen = {name for name, is_there in zip(writable, present, strict=True) if is_there}
        text = json.dumps(dict.fromkeys(sorted(chosen), 1), ensure_ascii=False).encode()
        expected = all(other in chosen for one, other in links if one in chosen)
        for constraint in constraints:
            state = constraint.advance(constraint.initial(), text)
            assert (state is not None and constraint.accepts(state)) == expected, chosen


@pytest.mark.parametrize("name", LARGE)
def test_a_large_schema_is_enforced(name: str) -> None:
    schema, good, bad = LARGE[name]
    constraint = lp.json(schema)
    state = constraint.advance(constraint.initial(), good.encode())
    assert state is not None
    assert constraint.accepts(state)
    assert constraint.advance(constraint.initial(), bad.encode()) is None


_ANY = lp.json_check("any", "", lambda value: True)
DIFFERENT = {"type": "array", "uniqueItems": True}


@pytest.mark.parametrize("schema", [{}, DIFFERENT, {"contains": {"type": "array"}}], ids=str)
def test_texts_may_be_deep_and_long(schema: dict) -> None:
    constraint = lp.json(schema)
    for text in (
        "[" * 10_000 + "]" * 10_000,
        '["' + "x" * 100_000 + '",[]]',
        "[" + ",".join(map(str, range(5_000))) + ",[]]",
        "[" + "1" * 10_000 + ",[]]",
        "[1e999999999999999999,[]]",
    ):
        state = constraint.advance(constraint.initial(), text.encode())
        assert state is not None
        assert constraint.accepts(state)
        assert hash(state) == hash(state)


@pytest.mark.parametrize(
    "data",
    [
        b'"\xff',
        b'"\xc0\x80',
        b'"\xed\xa0\x80',
        b'"\xf4\x90\x80\x80',
        b'"\x00',
        b'"\\ud800"',
        b'"\\udc00',
        b'"\\ud800\\ud800',
        b"1\x00",
        b"\xef\xbb\xbf1",
        b"\x00",
    ],
)
def test_bytes_that_are_no_json_are_refused_under_every_schema(data: bytes) -> None:
    constraints: list[Constraint] = [lp.json(whitespace="any"), lp.json({"maxLength": 9}, whitespace="any")]
    constraints += [
        lp.json({"not": {"const": "a"}}, whitespace="any"),
        lp.json_check("any", "", lambda v: True),
    ]
    for constraint in constraints:
        assert constraint.advance(constraint.initial(), data) is None


LONG: dict[str, tuple[Any, str, str]] = {
    "a string": ({}, '"', '"'),
    "a string of a pattern": ({"pattern": "^x*$"}, '"', '"'),
    "a string of a pattern and a length": ({"pattern": "^x*$", "maxLength": 10**6}, '"', '"'),
    "an item": (DIFFERENT, '["x","', '"]'),
    "an item of a pattern": ({**DIFFERENT, "items": {"pattern": "^x*$"}}, '["x","', '"]'),
    "a part of an item": (DIFFERENT, '[{"x":["x","', '"]}]'),
    "a name": ({}, '{"', '":1}'),
    "a name in an item": (DIFFERENT, '[{"', '":1}]'),
}


@pytest.mark.parametrize("name", LONG)
def test_a_long_string_costs_as_much_as_it_is_long(name: str) -> None:
    schema, head, tail = LONG[name]
    constraint = lp.json({**schema, "$comment": name}, whitespace="compact")

    def seconds(length: int) -> float:
        state, text = constraint.initial(), f"{head}{'x' * length}{tail}".encode()
        start = time.process_time()
        assert constraint.accepts(constraint.advance(state, text))
        return time.process_time() - start

    seconds(10)
    assert min(seconds(200_000) for _ in range(3)) < 30 * max(1e-3, min(seconds(20_000) for _ in range(3)))


def test_all_but_one_of_a_few_long_strings_are_taken_at_little_cost() -> None:
    long = "x" * 10_000
    schema = {**DIFFERENT, "items": {"enum": [long + "a", long + "b", long + "c", 1]}}
    constraint = lp.json(schema, whitespace="compact")
    text = f'[1,"{long}c","{long}b","{long}'.encode()
    state = constraint.advance(constraint.initial(), text)
    assert constraint.advance(state, b'b"') is None
    assert constraint.advance(state, b'a"') is not None
    state, start = constraint.initial(), time.process_time()
    for byte in text:
        state = constraint.advance(state, bytes((byte,)))
    assert state is not None
    assert time.process_time() - start < 2  # a comparison at each byte takes a minute


def test_a_byte_of_an_array_of_different_items_costs_the_same_late_and_early() -> None:
    constraint = lp.json(DIFFERENT)
    states, state = {}, constraint.advance(constraint.initial(), b"[")
    for i in range(8_001):
        if i in (10, 8_000):
            states[i] = state
        state = constraint.advance(state, f"{i},".encode())

    def seconds(first: int) -> float:
        text = ",".join(map(str, range(first, first + 300))).encode()
        start = time.process_time()
        assert constraint.advance(states[first], text) is not None
        return time.process_time() - start

    assert min(seconds(8_000) for _ in range(3)) < 5 * min(seconds(10) for _ in range(3))
