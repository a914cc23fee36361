"""Schemas that are read from disk are those that would be compiled, and tell their options apart."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stored_answers
from viable_prefixes import accepted

from lmppl.cache_places import COMPILE_CACHE
from lmppl.constraints import stored_compilations
from lmppl.constraints.json_values import json_texts, other_documents
from lmppl.constraints.json_values.nodes import Node
from lmppl.constraints.json_values.spelling import any_content, number_text
from lmppl.constraints.json_values.stored_nodes import KINDS
from lmppl.constraints.plain_values import read, written
from lmppl.constraints.regular import character_sets, regular_expression
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.errors import ConstraintError, UnsupportedSchema


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache that keeps all schemas, and no single automata."""
    for module in (character_sets, regular_expression):
        monkeypatch.setattr(module, "stored", lambda description, make, **_: make())
    monkeypatch.setenv(COMPILE_CACHE, str(tmp_path))
    monkeypatch.setattr(stored_compilations, "LEAST_SECONDS", 0.0)
    json_texts._json.cache_clear()
    yield tmp_path / "constraints"
    json_texts._json.cache_clear()


def plain(value: Any) -> Any:
    """Gives what two values have in common that are made alike; an automaton that is told apart is itself."""
    if value is any_content() or value is number_text():
        return id(value)
    if isinstance(value, ByteAutomaton):
        return value.transitions.tobytes(), value.accepting.tobytes()
    if isinstance(value, Node):
        return (
            Node,
            *(plain(getattr(value, field.name)) for field in dataclasses.fields(value)),
            plain(vars(value).get("strings", "not made")),
        )
    if dataclasses.is_dataclass(value):
        return type(value), *(plain(getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, dict):
        return dict, [(plain(key), plain(each)) for key, each in value.items()]
    if isinstance(value, frozenset):
        return frozenset, frozenset(map(plain, value))
    if isinstance(value, tuple | list):
        return type(value), *map(plain, value)
    assert value is None or isinstance(value, int | str | bytes | bool), value
    return type(value), value


def official(test_data: Path) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Gives the schemas of the official suite and of JSONSchemaBench, with their options."""
    lines = (test_data / "json_schema_test_suite" / "suite.jsonl").read_text().strip().split("\n")
    for group in map(json.loads, lines):
        schema = group["schema"]
        told = isinstance(schema, dict) and "$schema" in schema
        draft = None if told else "7" if "draft7" in group["file"] else "2020-12"
        yield group["file"], schema, {"formats": "optional/format" in group["file"], "draft": draft}
    lines = (test_data / "jsonschemabench" / "permissive_schemas_only.jsonl").read_text().strip().split("\n")
    for case in map(json.loads, lines):
        yield case["id"], case["schema"], {"formats": False, "draft": "7"}


def test_nodes_of_real_schemas_are_read_as_they_were_made(test_data: Path) -> None:
    num_read = 0
    for name, schema, options in official(test_data):
        try:
            made = json_texts.json(schema, **options).machine.nodes
        except ConstraintError:
            continue
        for node in made[::2]:
            _ = node.strings  # of some, it is known when they are kept
        found = read(written(made, KINDS), KINDS)
        assert plain(found) == plain(made), name
        num_read += 1
    assert num_read > 650


def test_a_reader_that_is_forgotten_or_another_would_be_noticed() -> None:
    (node,) = json_texts.json({"type": "string", "pattern": "^a{3}$"}).machine.nodes
    before = plain(read(written(node, KINDS), KINDS))
    _ = node.strings
    assert plain(read(written(node, KINDS), KINDS)) != before
    assert plain(ByteAutomaton(any_content().transitions, any_content().accepting)) != plain(any_content())
    assert plain(np.bool_(True).item()) != plain(1)


SCHEMA = {"type": "string", "format": "date"}
OTHER = "http://example.org/other"
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "text": [{"schema": {"const": 1}}, {"schema": {"const": 2}}],
    "formats": [{"schema": SCHEMA, "formats": False}, {"schema": SCHEMA, "formats": True}],
    "draft": [
        {"schema": {"$ref": "#/$defs/a", "const": 2, "$defs": {"a": {"type": "integer"}}}, "draft": draft}
        for draft in ("7", "2020-12")
    ],
    "documents": [{"schema": {"$ref": OTHER}, "documents": {OTHER: {"const": each}}} for each in (1, 2)],
}
TEXTS = ("1", "2", '"2024-02-30"', '"2024-02-29"')


def allowed(arguments: dict[str, Any]) -> list[bool]:
    """Gives which texts a schema allows that is read from disk, or compiled and kept."""
    json_texts._json.cache_clear()
    constraint = json_texts.json(**arguments)
    return [accepted(constraint, text) for text in TEXTS]


def confused(options: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Says whether one of two schemas allows, after the other was kept, what it does not allow else."""
    with monkeypatch.context() as patch:
        patch.setenv(COMPILE_CACHE, "off")
        expected = [allowed(each) for each in options]
    assert expected[0] != expected[1]
    return [allowed(each) for each in options * 2] != expected * 2


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_in_the_key(option: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not confused(OPTIONS[option], monkeypatch)


@pytest.mark.parametrize("option", OPTIONS)
def test_a_key_that_forgets_an_option_is_caught(
    option: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = {"text": 1, "formats": 2, "draft": 3, "documents": 4}[option]
    original = json_texts.stored

    def forgetful(description: tuple, *rest: Any) -> Any:
        return original((*description[:place], *description[place + 1 :]), *rest)

    monkeypatch.setattr(json_texts, "stored", forgetful)
    assert confused(OPTIONS[option], monkeypatch)


def test_spaces_and_models_are_not_in_the_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = {"type": "array", "items": {"enum": [1, "a"]}, "maxItems": 2}
    assert not accepted(json_texts.json(schema, whitespace="compact"), "[1, 1]")
    monkeypatch.setattr(json_texts, "plan", stored_answers.refuse)
    assert accepted(json_texts.json(schema, whitespace="any"), "[ 1,\n\t1 ]")
    json_texts._json.cache_clear()
    assert not accepted(json_texts.json(schema, whitespace="compact"), "[1, 1]")


def test_the_version_of_the_drafts_own_schemas_is_in_the_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for schema, is_told in (
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, True),
        ({"$id": "https://json-schema.org/", "$ref": "draft/2020-12/schema"}, True),
        ({"type": "integer"}, False),
    ):
        num_before = len(list(folder.iterdir())) if folder.exists() else 0
        for version in ("1", "2"):
            monkeypatch.setattr(other_documents, "version", lambda name, version=version: version)
            json_texts._json.cache_clear()
            json_texts.json(schema)
        assert len(list(folder.iterdir())) == num_before + 1 + is_told


@pytest.mark.parametrize("size", [0, 30, 100, -1])
def test_a_damaged_file_of_a_schema_is_made_again(size: int, folder: Path) -> None:
    expected = allowed({"schema": {"enum": [1, "2024-02-29"]}})
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:size])
    assert allowed({"schema": {"enum": [1, "2024-02-29"]}}) == expected
    assert path.stat().st_size == len(whole)


def test_refusals_are_not_kept(folder: Path) -> None:
    for schema in ({"type": "integer", "const": "a"}, {"$ref": "#/nowhere"}):
        for _ in range(2):
            with pytest.raises((ConstraintError, UnsupportedSchema)):
                json_texts.json(schema)
    assert not folder.exists()
