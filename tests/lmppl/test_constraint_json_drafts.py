"""`lp.json` reads each draft of JSON Schema as a validator of that draft does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from viable_prefixes import accepted

import lmppl as lp
from lmppl.errors import UnsupportedSchema

VALIDATORS = {
    "4": "Draft4Validator",
    "6": "Draft6Validator",
    "7": "Draft7Validator",
    "2019-09": "Draft201909Validator",
    "2020-12": "Draft202012Validator",
}
VALUES: list[Any] = [
    [[1, 2]],
    [[1], 2],
    [[[1, 2]]],
    None,
    True,
    -1,
    0,
    1,
    2,
    3,
    1.5,
    "",
    "a",
    [],
    [1],
    [1, "a"],
    [1, 1, 1],
    [["a"]],
    {},
]
VALUES += [{"a": 1}, {"a": "b"}, {"a": 1, "b": 2}, {"b": {"a": 3}}]


def accepts(schema: Any, value: Any, **options: Any) -> bool:
    return accepted(lp.json(schema, **options), json.dumps(value))


CASES: list[tuple[str, dict]] = [
    ("4", {"minimum": 1, "exclusiveMinimum": True}),
    ("4", {"minimum": 1, "exclusiveMinimum": False}),
    ("4", {"maximum": 2, "exclusiveMaximum": True}),
    ("4", {"not": {"maximum": 2, "exclusiveMaximum": True}}),
    ("4", {"exclusiveMaximum": True}),
    ("4", {"items": [{"type": "integer"}, {"type": "string"}], "additionalItems": False}),
    ("4", {"dependencies": {"a": ["b"]}}),
    (
        "4",
        {
            "properties": {"a": {"$ref": "#/definitions/n", "type": "null"}},
            "definitions": {"n": {"minimum": 2}},
        },
    ),
    ("4", {"id": "http://x.org/a", "$ref": "#/definitions/b", "definitions": {"b": {"type": "array"}}}),
    ("4", {"items": {"$ref": "b"}, "definitions": {"c": {"id": "b", "type": "integer"}}}),
    ("6", {"propertyNames": {"maxLength": 1}, "exclusiveMinimum": 1, "const": {"a": 1}}),
    ("6", {"items": [{"const": 1}], "additionalItems": {"type": "string"}}),
    ("7", {"if": {"type": "object"}, "then": {"required": ["a"]}, "else": {"exclusiveMaximum": 2}}),
    ("2019-09", {"$ref": "#/$defs/n", "maximum": 2, "$defs": {"n": {"minimum": 1}}}),
    ("2019-09", {"items": [{"type": "integer"}], "dependentRequired": {"a": ["b"]}}),
    ("2019-09", {"unevaluatedItems": {"type": "integer"}}),
    ("2019-09", {"items": [{"type": "integer"}], "unevaluatedItems": {"type": "string"}}),
    ("2019-09", {"$defs": {"x": {"$anchor": "n", "type": ["array", "object"]}}, "$ref": "#n"}),
    (
        "2019-09",
        {
            "$id": "http://x.org/strict",
            "$recursiveAnchor": True,
            "$ref": "tree",
            "maxItems": 1,
            "$defs": {
                "tree": {"$id": "tree", "$recursiveAnchor": True, "items": {"$recursiveRef": "#"}},
            },
        },
    ),
    (
        "2020-12",
        {
            "$id": "http://x.org/strict",
            "$dynamicAnchor": "node",
            "$ref": "tree",
            "maxItems": 1,
            "$defs": {
                "tree": {"$id": "tree", "$dynamicAnchor": "node", "items": {"$dynamicRef": "#node"}},
            },
        },
    ),
    ("2020-12", {"prefixItems": [{"type": "integer"}], "items": {"type": "string"}}),
]


@pytest.mark.parametrize(("draft", "schema"), CASES, ids=[f"{d}-{i}" for i, (d, _) in enumerate(CASES)])
def test_each_draft_is_read_as_a_validator_of_it_reads_it(draft: str, schema: dict) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = getattr(jsonschema, VALIDATORS[draft])(schema)
    expected = [validator.is_valid(value) for value in VALUES]
    assert [accepts(schema, value, draft=draft) for value in VALUES] == expected
    named = {"$schema": validator.META_SCHEMA.get("$id") or validator.META_SCHEMA["id"], **schema}
    assert [accepts(named, value) for value in VALUES] == expected
    assert len(set(expected)) == 2 or "exclusiveMaximum" in schema


def test_to_draft_4_no_number_with_a_point_is_an_integer() -> None:
    for schema, text in (({"type": "integer"}, b"1.0"), ({"not": {"type": "integer"}}, b"1.0")):
        for draft in ("4", "6"):
            is_integer = (draft != "4") == ("type" in schema)
            assert accepted(lp.json(schema, draft=draft), text) == is_integer


@pytest.mark.parametrize(
    ("schema", "draft"),
    [
        ({"minimum": 1, "exclusiveMinimum": True}, "4"),
        ({"properties": {"a": {"items": [{"maximum": 1, "exclusiveMaximum": False}]}}}, "4"),
        ({"anyOf": [{"items": [{"type": "integer"}]}]}, "7"),
        ({"items": [{"type": "integer"}], "dependentRequired": {"a": ["b"]}}, "2019-09"),
        ({"enum": [{"exclusiveMinimum": True, "items": []}, 1]}, "2020-12"),
    ],
)
def test_without_a_draft_it_is_the_newest_in_which_the_schema_is_one(schema: dict, draft: str) -> None:
    assert [accepts(schema, value) for value in VALUES] == [accepts(schema, v, draft=draft) for v in VALUES]


@pytest.mark.parametrize(
    ("schema", "draft", "keyword"),
    [
        ({"const": 1}, "4", "const"),
        ({"if": {}}, "6", "if"),
        ({"prefixItems": []}, "2019-09", "prefixItems"),
        ({"dependencies": {}}, "2019-09", "dependencies"),
        ({"additionalItems": False}, "2020-12", "additionalItems"),
        ({"exclusiveMinimum": True}, "7", "exclusiveMinimum"),
        ({"exclusiveMinimum": 1}, "4", "exclusiveMinimum"),
    ],
)
def test_what_a_draft_does_not_define_is_refused_and_not_ignored(
    schema: dict, draft: str, keyword: str
) -> None:
    with pytest.raises(UnsupportedSchema, match=f"keyword '{keyword}'"):
        lp.json(schema, draft=draft)
