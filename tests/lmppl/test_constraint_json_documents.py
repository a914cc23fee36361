"""References to other documents: those given, the drafts' own schemas, what is said where none is."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from viable_prefixes import accepted

import lmppl as lp
from lmppl.constraints.json_values import other_documents
from lmppl.errors import InvalidTypeError, UnsupportedSchema

jsonschema = pytest.importorskip("jsonschema")
referencing = pytest.importorskip("referencing")

DRAFTS = {
    "http://json-schema.org/draft-04/schema#": "Draft4Validator",
    "http://json-schema.org/draft-06/schema#": "Draft6Validator",
    "http://json-schema.org/draft-07/schema#": "Draft7Validator",
    "https://json-schema.org/draft/2019-09/schema": "Draft201909Validator",
    "https://json-schema.org/draft/2020-12/schema": "Draft202012Validator",
}
SCHEMAS: list[Any] = [True, {}, 3, {"type": "string"}, {"type": "strin"}, {"properties": {"a": {"type": 1}}}]
SCHEMAS += [
    {"properties": {"a": {"minLength": -1}}},
    {"items": [{"type": "null"}]},
    {"minimum": "a"},
    {"allOf": []},
]
SCHEMAS += [
    {"allOf": [{"required": ["a"]}]},
    {"required": []},
    {"definitions": {"a": 3}},
    {"$defs": {"a": 3}},
]
SCHEMAS += [{"exclusiveMinimum": True, "minimum": 1}, {"exclusiveMinimum": 1}, {"not": {"not": {"type": []}}}]


def accepts(constraint: lp.Constraint, value: Any) -> bool:
    return accepted(constraint, json.dumps(value))


@pytest.mark.parametrize(("uri", "validator"), DRAFTS.items(), ids=DRAFTS.values())
def test_the_schema_of_a_draft_allows_the_schemas_of_that_draft(uri: str, validator: str) -> None:
    schema = {"$schema": uri, "properties": {"schema": {"$ref": uri}}}
    judge, constraint = getattr(jsonschema, validator)(schema), lp.json(schema)
    expected = [judge.is_valid({"schema": each}) for each in SCHEMAS]
    assert [accepts(constraint, {"schema": each}) for each in SCHEMAS] == expected
    assert len(set(expected)) == 2


MAIN = {
    "$id": "http://x.org/a/main",
    "type": "array",
    "items": {"$ref": "parts/b#/$defs/small"},
    "maxItems": 3,
}
PART = {
    "$defs": {
        "small": {"anyOf": [{"$ref": "c.json"}, {"$ref": "#word"}, {"$ref": "../main"}]},
        "word": {"$anchor": "word", "enum": ["a", "b"]},
    }
}
NUMBER = {"$id": "http://x.org/a/parts/c.json", "type": "integer", "maximum": 9}
GIVEN = {"http://x.org/a/parts/b": PART, "c": NUMBER}
VALUES = [[], [1], [10], ["a"], ["c"], [[1, ["b"]]], [[1, ["c"]]], [1, 2, 3, 4], 1, [True], [[[[[9]]]]]]


def test_documents_refer_to_each_other_as_a_registry_of_them_does() -> None:
    registry = referencing.Registry().with_resources(
        (uri, referencing.jsonschema.DRAFT202012.create_resource(each))
        for uri, each in {**GIVEN, "http://x.org/a/main": MAIN, NUMBER["$id"]: NUMBER}.items()
    )
    judge = jsonschema.Draft202012Validator(MAIN, registry=registry)
    constraint = lp.json(MAIN, documents=GIVEN)
    expected = [judge.is_valid(value) for value in VALUES]
    assert [accepts(constraint, value) for value in VALUES] == expected
    assert len(set(expected)) == 2
    copied = pickle.loads(pickle.dumps(constraint))
    assert copied == constraint
    assert [accepts(copied, value) for value in VALUES] == expected
    assert lp.json(MAIN, documents={**GIVEN, "c": {**NUMBER, "maximum": 8}}) != constraint


def test_dynamic_references_see_the_scopes_of_other_documents() -> None:
    tree = {"$id": "http://x.org/tree", "$dynamicAnchor": "node", "items": {"$dynamicRef": "#node"}}
    strict = {"$id": "http://x.org/strict", "$dynamicAnchor": "node", "$ref": "tree", "maxItems": 1}
    registry = referencing.Registry().with_resource(
        "http://x.org/tree", referencing.jsonschema.DRAFT202012.create_resource(tree)
    )
    judge = jsonschema.Draft202012Validator(strict, registry=registry)
    constraint = lp.json(strict, documents={"http://x.org/tree": tree})
    values = [[], [[]], [[1, 2]], [[[1], 2]], [1, 2]]
    assert [accepts(constraint, each) for each in values] == [judge.is_valid(each) for each in values]
    assert not accepts(constraint, [[1, 2]])


@pytest.mark.parametrize(
    ("schema", "options", "names"),
    [
        (
            {"$id": "http://x.org/a", "items": {"$ref": "b#/x"}},
            {},
            ["/items", "'http://x.org/b'", "documents="],
        ),
        ({"$ref": "b.json"}, {"documents": {"c.json": True}}, ["'/'", "'b.json'", "documents="]),
        ({"$ref": "b.json#/x"}, {"documents": {"b.json": True}}, ["leads nowhere"]),
        ({"$ref": "b.json"}, {"documents": {"b.json": {"minLength": []}}}, ["'b.json#'", "minLength"]),
        (
            {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "$ref": "http://json-schema.org/draft-04/schema#",
            },
            {},
            ["another draft", "draft="],
        ),
    ],
)
def test_what_is_missing_is_named_with_its_place_and_how_to_give_it(
    schema: dict, options: dict, names: list[str]
) -> None:
    with pytest.raises(UnsupportedSchema) as caught:
        lp.json(schema, **options)
    assert all(name in str(caught.value) for name in names), str(caught.value)


def test_without_the_package_of_the_drafts_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_documents, "_of_a_draft", lambda uri: None)
    with pytest.raises(UnsupportedSchema, match=r"pip install 'lmppl\[json\]'"):
        lp.json({"title": "alone", "$ref": "https://json-schema.org/draft/2020-12/schema"})


@pytest.mark.parametrize("documents", [["a"], {"a": "b"}, {1: {}}], ids=str)
def test_documents_that_are_no_schemas_by_uri_are_an_error(documents: Any) -> None:
    with pytest.raises(InvalidTypeError, match="documents="):
        lp.json({"$ref": "a"}, documents=documents)


def test_names_given_twice_matter_only_to_who_refers_to_them() -> None:
    twice = {"properties": {name: {"$id": "#/properties/x", "type": "null"} for name in "ab"}}
    assert accepts(lp.json(twice, draft="7"), {"a": None})
    assert not accepts(lp.json(twice, draft="7"), {"b": 1})
    named = {"$id": "http://x.org/m", "properties": {name: {"$id": f"#{name}"} for name in "ab"}}
    inner = {
        "definitions": {"c": {"$id": "#c", "const": 1}},
        "additionalProperties": {"$ref": "#/definitions/c"},
    }
    constraint = lp.json({**named, **inner}, draft="7")
    assert accepts(constraint, {"a": 2, "c": 1})
    assert not accepts(constraint, {"c": 2})
    twice = {"properties": {name: {"$id": "http://x.org/n", "type": "null"} for name in "ab"}}
    assert not accepts(lp.json(twice), {"b": 1})
    with pytest.raises(UnsupportedSchema, match="two schemas have"):
        lp.json({**twice, "items": {"$ref": "http://x.org/n"}})


def test_a_reference_that_forgets_its_own_document_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """If inner references were relative to the first document, they would lead nowhere."""
    from lmppl.constraints.json_values import documents

    monkeypatch.setattr(documents, "urljoin", lambda base, uri: uri)
    with pytest.raises(UnsupportedSchema):
        lp.json({**MAIN, "title": "not remembered"}, documents=GIVEN)
