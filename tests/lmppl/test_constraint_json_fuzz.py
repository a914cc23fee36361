"""`lp.json` against the package jsonschema, on random schemas and random values."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st

import lmppl as lp
from lmppl.constraints.protocol import Constraint, State
from lmppl.errors import ConstraintError, UnsupportedSchema

Draft = pytest.importorskip("jsonschema").Draft202012Validator
pytestmark = pytest.mark.once

NAMES = st.sampled_from(["a", "b", "ab", "c", "a\n"])
COUNTS = st.integers(0, 3)
NUMBERS = st.sampled_from([0, 1, 2, -1, 1.5, 10])
TEXTS = st.sampled_from(["", "a", "ab", "b\u00e9", '"\\', "c\n"])
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=6,
)
PATTERNS = st.sampled_from(["^a", "b", "^[ab]{1,2}$", "^$"])
TYPES = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])


def keywords(schemas: st.SearchStrategy) -> st.SearchStrategy:
    """Gives schemas of a few keywords, whose inner schemas are drawn from `schemas`."""
    lists = st.lists(schemas, min_size=1, max_size=3)
    maps = st.dictionaries(NAMES, schemas, max_size=3)
    names = st.lists(NAMES, max_size=2, unique=True)
    one_of = {
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
        "enum": st.lists(VALUES, min_size=1, max_size=3),
        "const": VALUES,
        "minimum": NUMBERS,
        "exclusiveMaximum": NUMBERS,
        "multipleOf": st.sampled_from([1, 2, 0.5, 3]),
        "minLength": COUNTS,
        "maxLength": COUNTS,
        "pattern": PATTERNS,
        "items": schemas,
        "prefixItems": lists,
        "minItems": COUNTS,
        "maxItems": COUNTS,
        "uniqueItems": st.just(True),
        "contains": schemas,
        "minContains": COUNTS,
        "maxContains": COUNTS,
        "properties": maps,
        "additionalProperties": schemas,
        "patternProperties": st.dictionaries(PATTERNS, schemas, max_size=2),
        "propertyNames": schemas,
        "required": names,
        "minProperties": COUNTS,
        "maxProperties": COUNTS,
        "dependentRequired": st.dictionaries(NAMES, names, max_size=2),
        "dependentSchemas": st.dictionaries(NAMES, schemas, max_size=2),
        "allOf": lists,
        "anyOf": lists,
        "oneOf": lists,
        "not": schemas,
        "if": schemas,
        "then": schemas,
        "else": schemas,
        "unevaluatedProperties": schemas,
        "unevaluatedItems": st.just(False),
    }
    chosen = st.lists(st.sampled_from(sorted(one_of)), min_size=1, max_size=4, unique=True)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: one_of[name] for name in names}))


SCHEMAS = st.recursive(keywords(st.booleans()), keywords, max_leaves=6)


def written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def walked(constraint: Constraint, text: str) -> tuple[bytes, State, bool]:
    """Gives the longest viable beginning, its state, and whether all of the text is accepted."""
    state: State = constraint.initial()
    data = text.encode()
    for position, byte in enumerate(data):
        after = constraint.advance(state, bytes((byte,)))
        if after is None:
            return data[:position], state, False
        state = after
    return data, state, constraint.accepts(state)


ALPHABET = bytes(sorted(set(b'"\\{}[],:-.01235679enfrtulsabcxu\xc3\xa9')))


def read_by_python(schema: Any) -> Any:
    """Writes the ends of patterns as `re` does: its `$` also stands before a newline that ends the text."""
    if isinstance(schema, list):
        return [read_by_python(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    ended = {keyword: read_by_python(part) for keyword, part in schema.items()}
    if isinstance(ended.get("pattern"), str):
        ended["pattern"] = ended["pattern"].replace("$", r"\Z")
    if isinstance(ended.get("patternProperties"), dict):
        parts = ended["patternProperties"].items()
        ended["patternProperties"] = {pattern.replace("$", r"\Z"): part for pattern, part in parts}
    return ended


def test_a_pattern_does_not_end_before_a_newline() -> None:
    schema = {"patternProperties": {"^[ab]{1,2}$": False}}
    constraint = lp.json(schema, whitespace="compact")
    for value in ({"a\n": None}, {"a": None}, {"ab": None}, {"c": None}):
        _, _, accepted = walked(constraint, written(value))
        assert accepted == Draft(read_by_python(schema)).is_valid(value) == (not {"a", "ab"} & set(value))


def judged(
    schema: Any, values: list[Any], completion: Callable[..., bytes | None], tried: Counter[str]
) -> None:
    """Compares the judgement of each value; a viable beginning of a refused one must have a completion."""
    validator = Draft(read_by_python(schema))
    try:
        constraint = lp.json(schema, whitespace="compact")
    except UnsupportedSchema:
        tried["refused schemas"] += 1
        assume(False)
        return
    except ConstraintError:
        tried["empty schemas"] += 1
        assert not any(validator.is_valid(value) for value in values)
        return
    tried["schemas"] += 1
    for value in values:
        tried["values"] += 1
        beginning, state, accepted = walked(constraint, written(value))
        assert accepted == validator.is_valid(value), (schema, value)
        if not accepted and constraint.viable_is_exact:
            rest = completion(constraint, state, ALPHABET, most=600)
            if rest is None:
                continue
            tried["completions"] += 1
            note(f"{beginning!r} is completed by {rest!r}")
            assert validator.is_valid(json.loads(beginning + rest)), (schema, beginning, rest)


FEW = settings(max_examples=60, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=3_000, database=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("extent", [FEW, pytest.param(MANY, marks=pytest.mark.slow)], ids=["few", "many"])
def test_random_schemas_judge_random_values_as_jsonschema_does(
    extent: settings, completion: Callable[..., bytes | None], record_property: Callable[..., None]
) -> None:
    tried: Counter[str] = Counter()

    @extent
    @given(SCHEMAS, st.lists(VALUES, min_size=3, max_size=8))
    def fuzz(schema: Any, values: list[Any]) -> None:
        judged(schema, values, completion, tried)

    fuzz()
    for what, number in tried.items():
        record_property(what, number)
    assert tried["values"] > 50
    assert tried["completions"] > 10
