"""`lp.json` as a reader of JSON: RFC 8259, whitespace, states that are values, parsed answers."""

from __future__ import annotations

import base64
import dataclasses
import json
import pickle
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pytest

import lmppl as lp
from lmppl.constraints.protocol import Constraint
from lmppl.errors import ConstraintError, InvalidInputError, InvalidTypeError, UnsupportedSchema
from lmppl.testing import check_constraint

POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "tag": {"enum": ["a", "é"]}},
    "required": ["x"],
    "additionalProperties": False,
}


def status(constraint: Constraint, text: str | bytes) -> str:
    state = constraint.advance(constraint.initial(), text.encode() if isinstance(text, str) else text)
    if state is None:
        return "refused"
    return "accepted" if constraint.accepts(state) else "viable"


def test_the_json_test_suite_is_judged_right_wherever_a_text_is_cut(test_data: Path) -> None:
    anything = lp.json(whitespace="any")
    lines = (test_data / "json_test_suite" / "cases.jsonl").read_text().splitlines()
    for case in map(json.loads, lines):
        data = base64.b64decode(case["b64"])
        state = anything.advance(anything.initial(), data)
        accepted = state is not None and anything.accepts(state)
        if case["name"][0] != "i":
            assert accepted == (case["name"][0] == "y"), case["name"]
        for cut in range(0, len(data) + 1, 1 if len(data) < 200 else 17):
            head = anything.advance(anything.initial(), data[:cut])
            assert head is not None or not accepted
            assert (None if head is None else anything.advance(head, data[cut:])) == state, case["name"]


@pytest.mark.parametrize(
    ("constraint", "samples"),
    [
        (lp.json(), ['{"a": [1, "\\u00e9"]}', "[", "-1.5e3", "nul", "null"]),
        (lp.json(POINT), ['{"tag":"é","x":1}', '{"x":-3}', '{"x":1,"x":2}', "{}"]),
        (lp.json(POINT, whitespace="compact"), ['{"x":1}', '{"x": 1}']),
        (lp.json({"anyOf": [{"minItems": 2}, {"items": {"type": "null"}}]}), ["[1,2]", "[null]", "[1]", "7"]),
    ],
    ids=["free", "bounded", "compact", "alternatives"],
)
def test_json_keeps_the_laws_of_a_constraint(constraint: Constraint, samples: list[str]) -> None:
    check_constraint(constraint, samples)


@pytest.mark.parametrize(
    ("whitespace", "text", "expected"),
    [
        ("compact", '{"x":1}', "accepted"),
        ("compact", '{"x": 1}', "refused"),
        ("bounded", '{"x": 1 }', "accepted"),
        ("bounded", '{"x":  1}', "refused"),
        ("bounded", '{\n    "x": 1\n}', "accepted"),
        ("bounded", '{\n     "x"', "refused"),
        ("bounded", '{\t"x"', "refused"),
        ("bounded", ' {"x": 1}', "refused"),
        ("bounded", '{"x": 1}\n', "refused"),
        ("any", ' {\t"x" :\r\n  1}  ', "accepted"),
    ],
)
def test_whitespace_is_what_the_option_says(whitespace: str, text: str, expected: str) -> None:
    assert status(lp.json(POINT, whitespace=whitespace), text) == expected


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")], ids=["arrays", "objects"])
def test_nesting_of_10_000_levels_needs_no_recursion(opening: str, closing: str) -> None:
    tree = {"type": ["array", "object", "null"], "items": {"$ref": "#/$defs/tree"}}
    twice = {"anyOf": [{"items": {"type": "array"}}, {"$ref": "#/$defs/tree"}], "$defs": {"tree": tree}}
    for constraint in (lp.json(), lp.json(twice)):
        beginning = (opening * 10_000).encode()
        states = [constraint.advance(constraint.initial(), beginning) for _ in range(2)]
        assert states[0] is not None
        assert states[0] == states[1]
        assert hash(states[0]) == hash(states[1])
        inmost = "[]" if closing == "]" else "null"
        end = constraint.advance(states[0], (inmost + closing * 10_000).encode())
        assert end is not None
        assert constraint.accepts(end)


def test_a_byte_costs_the_same_late_and_early() -> None:
    constraint = lp.json({"additionalProperties": {"type": "integer"}})

    def seconds(first: int) -> float:
        text = ",".join(f'"{i}":{i}' for i in range(first, first + 300)).encode()
        start = time.process_time()
        assert constraint.advance(states[first], text) is not None
        return time.process_time() - start

    states, state = {}, constraint.advance(constraint.initial(), b"{")
    for i in range(20_001):
        if i in (10, 20_000):
            states[i] = state
        state = constraint.advance(state, f'"{i}":{i},'.encode())
    assert min(seconds(20_000) for _ in range(3)) < 5 * min(seconds(10) for _ in range(3))


def test_names_come_once_however_they_are_spelled() -> None:
    free = lp.json({"type": "object"})
    assert status(free, '{"a":1,"\\u0061":') == "refused"
    assert status(free, '{"a":1,"\\u0062":2}') == "accepted"
    assert status(lp.json(), '{"a":1,"a":2}') == "accepted"


def test_names_and_constants_are_spelled_with_needed_escapes_only() -> None:
    quote = lp.json({"enum": ['a"\n\x01/']})
    assert status(quote, '"a\\"\\n\\u0001/"') == "accepted"
    for spelling in ('"\\u0061', '"a\\"\\u000a', '"a\\"\\n\\u0001\\/', '"a\\"\\n\\u0002'):
        assert status(quote, spelling) == "refused"
    named = lp.json({"properties": {'"': {"const": 1}}, "additionalProperties": False, "type": "object"})
    assert status(named, '{"\\":1') == "refused"
    assert status(named, '{"\\"":1}') == "accepted"
    assert status(named, '{"\\u') == "refused"


def test_lone_surrogates_are_no_characters() -> None:
    assert status(lp.json(), '"\\ud83d\\ude00"') == "accepted"
    assert status(lp.json(), '"\\ud83dx') == "refused"
    assert status(lp.json(), '"\\ude00') == "refused"


def test_lengths_count_characters_not_bytes_or_escapes() -> None:
    two = lp.json({"type": "string", "minLength": 2, "maxLength": 2})
    for text in ('"é😀"', '"\\ud83d\\ude00a"', '"\\n\\u0041"'):
        assert status(two, text) == "accepted"
    for text in ('"é"', '"abc', '"ab\\'):
        assert status(two, text) == "refused"


@dataclasses.dataclass(frozen=True)
class Point:
    """A place with a name."""

    x: int
    tag: str = ""


def test_parse_gives_the_value() -> None:
    assert lp.json(POINT).parse('{"x": 3}') == {"x": 3}
    assert lp.json().parse(b"[1]") == [1]
    with pytest.raises(InvalidInputError, match="not in the language"):
        lp.json(POINT).parse("{}")
    with pytest.raises(InvalidInputError, match=r"nothing in it begins with '\{\"y'"):
        lp.json(POINT).parse('{"y": 3}')
    with pytest.raises(InvalidInputError, match="it is not complete"):
        lp.json(POINT).parse('{"x": 3')
    with pytest.raises(InvalidTypeError, match="the text of a JSON value, but was given 3"):
        lp.json(POINT).parse(3)  # type: ignore[arg-type]


def test_a_dataclass_or_a_model_gives_instances() -> None:
    pydantic = pytest.importorskip("pydantic")
    assert lp.json(Point).parse('{"x": 3, "tag": "a"}') == Point(3, "a")

    class Line(pydantic.BaseModel):
        ends: list[Point]
        style: str | None = None

    constraint = lp.json(Line)
    assert constraint.parse('{"ends": [{"x": 1}], "style": null}') == Line(ends=[Point(1)])
    assert (
        status(constraint, '{"ends": [{"y"') == "viable"
    )  # other properties are allowed, as pydantic allows them
    assert status(constraint, '{"ends": [1') == "refused"
    assert constraint.describe() == "json(Line)"


def test_a_constraint_is_a_value_and_can_be_pickled() -> None:
    assert lp.json(POINT) == lp.json(dict(POINT))
    assert lp.json(POINT) != lp.json(POINT, whitespace="any")
    assert pickle.loads(pickle.dumps(lp.json(POINT))) == lp.json(POINT)
    assert lp.json(json.dumps(POINT)) == lp.json(POINT)


def test_json_joins_other_constraints() -> None:
    short = lp.json({"type": "array", "items": {"type": "integer"}}) & lp.regex(r"[^1]{1,5}")
    assert status(short, "[2,3]") == "accepted"
    assert status(short, "[1") == "refused"


@pytest.mark.parametrize(
    ("schema", "error"),
    [
        (False, ConstraintError),
        ({"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2}, ConstraintError),
        (
            {
                "$ref": "#/$defs/a",
                "$defs": {"a": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/a"}}},
            },
            ConstraintError,
        ),
        ({"type": "object", "required": ["a"], "properties": {"a": False}}, ConstraintError),
        ("{", InvalidInputError),
        (3, InvalidTypeError),
        ({"enum": {1, 2}}, InvalidTypeError),
        ([{"type": "string"}], InvalidTypeError),
        (Callable, InvalidTypeError),
        (Annotated[int, []], InvalidTypeError),
    ],
)
def test_what_nothing_satisfies_or_is_no_schema_is_an_error(schema: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        lp.json(schema)


def test_a_text_that_is_too_deep_for_python_is_an_error_of_parse() -> None:
    with pytest.raises(InvalidInputError, match="nested too deeply"):
        lp.json().parse("[" * 20_000 + "]" * 20_000)


def test_wrong_options_are_errors() -> None:
    with pytest.raises(InvalidInputError, match="'compact', 'bounded', 'any'"):
        lp.json(whitespace="none")
    with pytest.raises(InvalidInputError, match="draft="):
        lp.json({}, draft="3")


@pytest.mark.parametrize(
    ("schema", "where", "keyword"),
    [
        (
            {"properties": {"a/b": {"$dynamicRef": "#x"}}, "required": ["a/b"]},
            "/properties/a~1b",
            "$dynamicRef",
        ),
        ({"allOf": [{"pattern": r"(a)\1"}]}, "/allOf/0", "pattern"),
        ({"$ref": "https://example.org/x"}, "/", "$ref"),
        ({"$ref": "#/$defs/x"}, "/", "$ref"),
        ({"$ref": "#"}, "/", "$ref"),
        ({"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "/anyOf/0", "$ref"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}}, "/$defs/a/not", "$ref"),
        ({"type": "str"}, "/", "type"),
        ({"type": "string", "nullable": True}, "/", "nullable"),
        ({"$schema": "http://json-schema.org/draft-03/schema#"}, "/", "$schema"),
        ({"dependencies": {"a": ["b"]}}, "/", "dependencies"),
        (
            {"anyOf": [{"not": {"unevaluatedProperties": False, "allOf": [{}]}}]},
            "/anyOf/0/not",
            "unevaluatedProperties",
        ),
        ({"unevaluatedItems": False, "contains": {}}, "/", "contains"),
        ({"multipleOf": 0.1234567}, "/", "multipleOf"),
        ({"uniqueItems": 1}, "/", "uniqueItems"),
        ({"uniqueItems": "true"}, "/", "uniqueItems"),
        ({"dependentRequired": {"a": {"required": ["b"]}}}, "/", "dependentRequired"),
    ],
)
def test_a_refusal_names_the_place_and_the_keyword(schema: dict, where: str, keyword: str) -> None:
    with pytest.raises(UnsupportedSchema) as caught:
        lp.json(schema)
    assert repr(where) in str(caught.value)
    assert repr(keyword) in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_random_texts_are_judged_as_python_judges_them() -> None:
    anything = lp.json(whitespace="any")
    draw = random.Random(0)
    pieces = ["{", "}", "[", "]", ",", ":", '"a"', '"', "1", "0", "-", ".", "e", "true", "null", " ", "\\n"]
    for _ in range(3_000):
        text = "".join(draw.choices(pieces, k=draw.randint(1, 7)))
        try:
            json.loads(text)
            expected = True
        except ValueError:
            expected = False
        assert (status(anything, text) == "accepted") == expected, text


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "string", "minLength": 2, "maxLength": 4},
        {"anyOf": [{"type": "string", "maxLength": 1}, {"type": "string", "minLength": 3}]},
        {"type": "string", "pattern": "^[a-c]+$"},
        {"type": "string", "pattern": "^[a-c\u00e9]+$", "maxLength": 5_000},
        {"type": "array", "items": {"type": "string", "maxLength": 3}, "uniqueItems": True},
        {"type": "array", "items": {"enum": ["ab", "abc", "b"]}, "uniqueItems": True},
        {"type": "array", "uniqueItems": True},
        {"type": "object"},
        {"properties": {"abc": True, 'ab"': True}, "additionalProperties": False},
    ],
    ids=str,
)
def test_runs_of_letters_in_strings_are_read_as_their_bytes_are(schema):
    constraint = lp.json(schema)
    texts = [
        '"abc"',
        '"ab"',
        '"a"',
        '""',
        '"abcde"',
        '"a\\"b"',
        '"\u00e9a\u00e9"',
        '["ab", "ab"]',
        '["abc", "ab"]',
        '["b", "abc", "ab"]',
        '{"abc":1, "ab\\"":2}',
        '{"\\u0061bc":"abc"}',
    ]
    for text in texts:
        data = text.encode()
        by_byte = [constraint.initial()]
        for byte in data:
            before = by_byte[-1]
            by_byte.append(None if before is None else constraint.advance(before, bytes((byte,))))
        for first in range(len(data) + 1):
            for last in range(first, len(data) + 1):
                if by_byte[first] is not None:
                    assert constraint.advance(by_byte[first], data[first:last]) == by_byte[last], (
                        text,
                        first,
                    )


@pytest.mark.parametrize("beginning", ['{"\u00e9', '{"a\u20ac', '{"x":{"\U0001f514'])
def test_no_escape_begins_inside_a_character_of_a_name(beginning: str) -> None:
    names = lp.json(whitespace="compact")
    assert status(names, beginning + "\\") == "viable"
    assert status(names, beginning.encode()[:-1] + b"\\") == "refused"
