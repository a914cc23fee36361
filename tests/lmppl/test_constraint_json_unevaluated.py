"""What is left to `unevaluatedProperties` and `unevaluatedItems`, on all small objects and arrays."""

from __future__ import annotations

import itertools
import json

import pytest
from viable_prefixes import accepted

import lmppl as lp
from lmppl.constraints.json_values import unevaluated_parts

NAMES = ["a", "b", "ab"]
OBJECTS = [
    dict(zip(names, values, strict=True))
    for size in range(4)
    for names in itertools.combinations(NAMES, size)
    for values in itertools.product([1, "x"], repeat=size)
]
ARRAYS = [list(items) for size in range(4) for items in itertools.product([1, "x"], repeat=size)]
A, B = ({"properties": {name: {"const": 1}}, "required": [name]} for name in ("a", "b"))
ONE = {"prefixItems": [{"const": 1}], "minItems": 1}

SCHEMAS = [
    {"allOf": [A], "unevaluatedProperties": False},
    {"anyOf": [A, B], "unevaluatedProperties": False},
    {"anyOf": [A, B], "properties": {"ab": True}, "unevaluatedProperties": {"type": "string"}},
    {"oneOf": [A, B], "unevaluatedProperties": False},
    {"if": A, "then": {"required": ["a"]}, "else": B, "unevaluatedProperties": False},
    {"if": {"required": ["a"]}, "then": {"properties": {"a": True}}, "unevaluatedProperties": False},
    {"if": A, "unevaluatedProperties": False},
    {"not": {"required": ["ab"]}, "patternProperties": {"^a": True}, "unevaluatedProperties": False},
    {"anyOf": [{"patternProperties": {"b$": {"type": "string"}}}], "unevaluatedProperties": False},
    {"dependentSchemas": {"a": B}, "unevaluatedProperties": {"const": 1}},
    {"$ref": "#/$defs/a", "unevaluatedProperties": False, "$defs": {"a": A}},
    {"allOf": [{"unevaluatedProperties": {"const": 1}}], "unevaluatedProperties": False},
    {"allOf": [{"anyOf": [A, B]}, {"oneOf": [A, {"required": ["ab"]}]}], "unevaluatedProperties": False},
    {"allOf": [ONE], "unevaluatedItems": False},
    {"anyOf": [ONE, {"prefixItems": [True, {"const": 1}]}], "unevaluatedItems": False},
    {"if": ONE, "then": {"prefixItems": [True, True]}, "unevaluatedItems": {"const": "x"}},
    {"anyOf": [{"items": {"const": 1}}, True], "unevaluatedItems": {"const": "x"}},
]


def disagreements(schema: dict) -> int:
    validator = pytest.importorskip("jsonschema").Draft202012Validator(schema)
    constraint = lp.json(schema, whitespace="compact")
    values = [*OBJECTS, *ARRAYS, 1]
    valid = [validator.is_valid(value) for value in values]
    assert len(set(valid)) == 2
    found = [accepted(constraint, json.dumps(value, separators=(",", ":"))) for value in values]
    return sum(one != other for one, other in zip(found, valid, strict=True))


@pytest.mark.parametrize("schema", SCHEMAS, ids=range(len(SCHEMAS)))
def test_what_is_left_is_what_a_validator_leaves(schema: dict) -> None:
    assert disagreements(schema) == 0


def test_a_mutant_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """If at most one alternative counted, a value of two would have too much left."""
    useful = unevaluated_parts._useful
    monkeypatch.setattr(unevaluated_parts, "_useful", lambda *choices: useful(*choices)[:1])
    assert disagreements({**SCHEMAS[1], "$comment": "no alternative evaluates anything"}) > 0
