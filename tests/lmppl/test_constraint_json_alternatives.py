"""Alternatives as large schemas have them, small: none is lost, none is kept that says nothing."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest
from viable_prefixes import accepted

import lmppl as lp
from lmppl.constraints.json_values import alternatives_left, shape_order, unevaluated_parts
from lmppl.constraints.json_values.conditions import ANYTHING, NOTHING, Literal, Wanted, joined
from lmppl.constraints.json_values.object_shapes import ObjectShape, any_object
from lmppl.errors import ConstraintError

NAMES = ["in", "name", "style", "x-a"]
SCALARS = ["path", "query", "form", 1]
OBJECTS: list[Any] = [
    dict(zip(names, values, strict=True))
    for size in range(4)
    for names in itertools.combinations(NAMES, size)
    for values in itertools.product(SCALARS, repeat=size)
]
VALUES = [*OBJECTS, dict.fromkeys(NAMES, "path"), dict.fromkeys(NAMES, 1), 1, "form", [], [1], [1, 1]]

TEXT, NUMBER = {"type": "string"}, {"type": "integer"}


def closed(**properties: Any) -> dict:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def where(place: str, **more: Any) -> dict:
    return {"if": {"properties": {"in": {"const": place}}, "required": ["in"]}, "then": {"properties": more}}


SCHEMAS = {
    "closed objects that require nothing, one of which may match": {
        "oneOf": [TEXT, *(closed(**{name: TEXT, "x-a": NUMBER}) for name in NAMES[:3]), closed(style=NUMBER)]
    },
    "told apart by a constant that is required around them": {
        "required": ["in", "name"],
        "oneOf": [
            closed(**{"in": {"enum": [place]}, "name": TEXT, "style": style, "x-a": True})
            for place, style in (("path", TEXT), ("query", NUMBER), ("form", {"enum": ["form", 1]}))
        ],
    },
    "told apart by a constant around nested alternatives": {
        "required": ["in"],
        "oneOf": [
            {"properties": {"in": {"const": "form"}, "name": TEXT}, "required": ["name"]},
            {
                "allOf": [
                    {"properties": {"in": {"enum": ["path", "query"]}, "name": {"minLength": 4}}},
                    {"oneOf": [closed(**{"in": {"const": p}, "name": {}}) for p in ("path", "query")]},
                ]
            },
        ],
    },
    "not both of two, and places with what they ask for": {
        "allOf": [
            {"not": {"required": ["name", "style"]}},
            {
                "oneOf": [
                    {"required": ["name"]},
                    {
                        "required": ["style"],
                        "allOf": [{"not": {"required": [name]}} for name in ("x-a", "name")],
                    },
                ]
            },
            {
                "oneOf": [
                    {"properties": {"in": {"enum": ["path"]}, "style": {"enum": ["form", "path"]}}},
                    {"properties": {"in": {"enum": ["query"]}, "style": {"const": "form"}}},
                ]
            },
        ]
    },
    "conditions on a place, and nothing unevaluated": {
        "properties": {"in": {"enum": ["path", "query"]}},
        "required": ["in"],
        "oneOf": [{"required": ["name"]}, {"required": ["style"]}],
        "dependentSchemas": {
            "name": {
                "properties": {"name": TEXT},
                "allOf": [where("path", style={"const": "form"}), where("query", style=NUMBER)],
            }
        },
        "patternProperties": {"^x-": True},
        "unevaluatedProperties": False,
    },
    "a chain of conditions": {
        "if": {"required": ["in"], "properties": {"in": {"const": "path"}}},
        "then": {"required": ["name"]},
        "else": {
            "if": {"required": ["in"], "properties": {"in": {"enum": ["query", 1]}}},
            "then": {"properties": {"name": {"anyOf": [{"pattern": "^[a-p]*$", "maxLength": 512}, NUMBER]}}},
            "else": {"properties": {"style": NUMBER}},
        },
    },
    "what is said again": {
        "properties": {"name": TEXT},
        "anyOf": [
            {"required": [name], "properties": {name: {"$ref": "#/properties/name"}}}
            for name in ("name", "in")
        ],
    },
    "one, or many that differ": {
        "oneOf": [
            {"type": ["integer", "object"], "maxProperties": 2},
            {"type": "array", "uniqueItems": True},
            {"maxItems": 1, "required": ["in"]},
        ]
    },
    "names by patterns of which many match": {
        "patternProperties": {f"^[i-{letter}]": {"enum": ["path", i]} for i, letter in enumerate("klmnops")},
    },
}


def judged(schema: dict) -> list[Any]:
    """Gives the values on which a validator and our constraint differ, or that it judges before their end."""
    validator = pytest.importorskip("jsonschema").Draft202012Validator(schema)
    constraint = lp.json(schema, whitespace="compact")
    valid = [validator.is_valid(value) for value in VALUES]
    assert len(set(valid)) == 2
    found = []
    for value, is_valid in zip(VALUES, valid, strict=True):
        state = constraint.advance(constraint.initial(), json.dumps(value, separators=(",", ":")).encode())
        if (state is not None and constraint.accepts(state)) != is_valid:
            found.append(value)
    return found


@pytest.mark.parametrize("name", SCHEMAS)
def test_alternatives_are_judged_as_by_a_validator(name: str) -> None:
    assert judged(SCHEMAS[name]) == []


@pytest.mark.parametrize(("name", "most"), list(zip(SCHEMAS, [5, 3, 3], strict=False)))
def test_few_alternatives_are_left(name: str, most: int) -> None:
    assert len(lp.json(SCHEMAS[name]).machine.nodes[0].objects) <= most


def test_hundreds_of_tasks_are_told_apart_by_a_name_wherever_it_stands() -> None:
    tasks = [
        closed(task={"const": f"t{i}"}, inputs={"maxLength": i}) | {"required": ["task"]} for i in range(400)
    ]
    constraint = lp.json({"anyOf": tasks}, whitespace="compact")

    assert accepted(constraint, '{"inputs":"' + "x" * 399 + '","task":"t399"}')
    assert not accepted(constraint, '{"inputs":"' + "x" * 399 + '","task":"t398"}')
    assert accepted(constraint, '{"task":"t7","inputs":"1234567"}')
    assert not accepted(constraint, '{"task":"t7","inputs":"12345678"}')
    state = constraint.advance(constraint.initial(), b'{"inp')
    assert len(state.detail.ways) == 1  # the names are read once for all
    assert len(state.detail.ways[0][0]) == 400


def test_mutants_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = iter(range(10))

    def differs(name: str) -> bool:
        try:
            return bool(judged({**SCHEMAS[name], "$comment": f"mutant {next(fresh)}"}))
        except ConstraintError:  # no value at all is left
            return True

    with monkeypatch.context() as patch:
        patch.setattr(shape_order, "_is_as_strict", lambda one, other: True)
        assert differs("told apart by a constant that is required around them")
    with monkeypatch.context() as patch:
        patch.setattr(ObjectShape, "_names_for", lambda shape, some: list(shape._wanted_under)[:1])
        assert differs("closed objects that require nothing, one of which may match")
    with monkeypatch.context() as patch:
        patch.setattr(alternatives_left.Alternatives, "certainly_empty", lambda self, values: True)
        assert differs("closed objects that require nothing, one of which may match")
    with monkeypatch.context() as patch:
        patch.setattr(unevaluated_parts.Evaluated, "is_within", lambda self, other: True)
        assert differs("conditions on a place, and nothing unevaluated")


WANTED: list[Wanted] = [
    ANYTHING,
    ANYTHING,
    NOTHING,
    frozenset({Literal(0, True)}),
    frozenset({Literal(1, True)}),
]
SHAPE_NAMES = ["a", "b", "c", "é", "漢"]


def random_shape(rng: random.Random) -> ObjectShape:
    names = rng.sample(SHAPE_NAMES, rng.randint(0, 5))
    named = {name: rng.choice(WANTED) for name in sorted(names)}
    ((every_name, _),) = any_object().classes
    wanted = rng.choice(WANTED)
    allowed = [name for name in names if named[name] != NOTHING]
    required = frozenset(rng.sample(allowed, rng.randint(0, len(allowed))))
    classes = ((every_name, wanted),) if wanted != NOTHING else ()
    return ObjectShape(tuple(named.items()), classes, required)


def test_what_stands_under_a_name_in_two_shapes_is_what_both_want() -> None:
    rng = random.Random(0)
    num_empty = 0
    for _ in range(3_000):
        one, other = random_shape(rng), random_shape(rng)
        both = one.intersection(other)
        wanted = {n: joined(one.under(n), other.under(n)) for n in (*SHAPE_NAMES, "z", "ü")}
        required = one.required | other.required
        if any(wanted[name] == NOTHING for name in required):
            assert both is None
            num_empty += 1
        else:
            assert both is not None
            assert {name: both.under(name) for name in wanted} == wanted
            assert both.required == required
    assert 500 < num_empty < 2_500


def test_a_shape_within_another_meets_it_in_itself() -> None:
    rng = random.Random(1)
    num_within = 0
    for _ in range(5_000):
        one, other = random_shape(rng), random_shape(rng)
        both = one.intersection(other)
        names = (*SHAPE_NAMES, "z", "ü")
        is_same = (
            both is not None
            and both.required == one.required
            and all(both.under(name) == one.under(name) for name in names)
        )
        assert shape_order.object_is_within(one, other) == is_same, (one, other)
        num_within += is_same
    assert num_within > 100
