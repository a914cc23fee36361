"""`lp.json` against jsonschema: a small schema, some instances, and completions of what was refused."""

from __future__ import annotations

import json as python_json
import re
from typing import Any

from drawn_bytes import Draws
from jsonschema import Draft202012Validator
from viable_prefixes import completion, stepped

from lmppl.constraints.json_values.json_texts import json
from lmppl.errors import ConstraintError, UnsupportedSchema

MAX_BYTES = 64
MAX_DEPTH = 3
MAX_KEYWORDS = 3
MAX_INSTANCES = 3
MAX_COMPLETED = 60  # states that the search of a completion goes through

NAMES = ("a", "b", "ab", "c", "")
COUNTS = (1, 0, 2, 3)
NUMBERS = (0, 1, 2, -1, 1.5, 10, 2.0, 1e2, -0.5)
TEXTS = ("", "a", "ab", "b\u00e9", '"\\', "aba", "\U0001f514")
SCALARS = (*NUMBERS, *TEXTS, None, True, False)
PATTERNS = ("^a", "b", "^[ab]{1,2}", "", "^.b", "\\u00e9", "[^a]", "a|^b")
TYPES = ("object", "array", "string", "integer", "number", "null", "boolean")
ALPHABET = b'"]}:,0a1btfnruelsc2356.-{[\\\xc3\xa9\xf0\x9f\x94'

SEEDS = (bytes(range(64)), bytes(range(200, 136, -1)), bytes(range(0, 192, 3)))

Schema = dict[str, Any] | bool


def drawn(data: bytes) -> tuple[Schema, list[Any]]:
    """Draws a schema and instances."""
    draws = Draws(data)
    schema = _schema(draws, MAX_DEPTH)
    return schema, [_value(draws, 2) for _ in range(1 + draws.below(MAX_INSTANCES))]


def _schema(draws: Draws, depth: int) -> Schema:
    if not depth:
        return draws.one_of(
            (True, False, {"type": "integer"}, {"type": "string"}, {"const": 1}, {"minLength": 1})
        )
    names = draws.some_of(list(KEYWORDS), MAX_KEYWORDS)
    return {name: KEYWORDS[name](draws, depth - 1) for name in names}


def _value(draws: Draws, depth: int) -> Any:
    kind = draws.one_of(("scalar", "array", "object")) if depth else "scalar"
    if kind == "array":
        return [_value(draws, depth - 1) for _ in range(draws.below(4))]
    if kind == "object":
        return {name: _value(draws, depth - 1) for name in draws.some_of(NAMES, 3)}
    return draws.one_of(SCALARS)


def _schemas(draws: Draws, depth: int) -> list[Schema]:
    return [_schema(draws, depth) for _ in range(1 + draws.below(3))]


def _named(draws: Draws, depth: int) -> dict[str, Schema]:
    return {name: _schema(draws, depth) for name in draws.some_of(NAMES, 3)}


def _count(draws: Draws, depth: int) -> int:
    return draws.one_of(COUNTS)


def _number(draws: Draws, depth: int) -> float:
    return draws.one_of((0, 1, -1, 1.5, 2, 10))


def _required(draws: Draws, depth: int) -> list[str]:
    return list(dict.fromkeys(draws.some_of(NAMES, 2)))


KEYWORDS = {
    "type": lambda draws, depth: draws.one_of((*TYPES, ["integer", "string"], ["array", "null", "object"])),
    "enum": lambda draws, depth: [_value(draws, 1) for _ in range(1 + draws.below(3))],
    "const": lambda draws, depth: _value(draws, 1),
    "minimum": _number,
    "maximum": _number,
    "exclusiveMinimum": _number,
    "exclusiveMaximum": _number,
    "multipleOf": lambda draws, depth: draws.one_of((2, 1, 0.5, 3)),
    "minLength": _count,
    "maxLength": _count,
    "pattern": lambda draws, depth: draws.one_of(PATTERNS),
    "items": _schema,
    "prefixItems": _schemas,
    "minItems": _count,
    "maxItems": _count,
    "uniqueItems": lambda draws, depth: bool(draws.below(2)),
    "contains": _schema,
    "minContains": _count,
    "maxContains": _count,
    "properties": _named,
    "additionalProperties": _schema,
    "patternProperties": lambda draws, depth: {draws.one_of(PATTERNS): _schema(draws, depth)},
    "propertyNames": _schema,
    "required": _required,
    "minProperties": _count,
    "maxProperties": _count,
    "dependentRequired": lambda draws, depth: {draws.one_of(NAMES): _required(draws, depth)},
    "dependentSchemas": _named,
    "allOf": _schemas,
    "anyOf": _schemas,
    "oneOf": _schemas,
    "not": _schema,
    "if": _schema,
    "then": _schema,
    "else": _schema,
    "unevaluatedProperties": _schema,
    "unevaluatedItems": _schema,
    "$ref": lambda draws, depth: "#",
}


def judged(schema: Schema, instances: list[Any]) -> str:
    """Compares the judgement of each instance; what was begun of a refused one must have a completion."""
    validator = Draft202012Validator(schema)
    try:
        constraint = json(schema, whitespace="compact")
    except UnsupportedSchema:
        return "refused"
    except ConstraintError:
        assert not any(is_valid(validator, value) for value in instances), "an instance is valid"
        return "empty"
    for instance in instances:
        text = written(instance)
        states = stepped(constraint, text)
        accepts = len(states) > len(text) and constraint.accepts(states[-1])
        expected = is_valid(validator, instance)
        assert expected is None or accepts == expected, text
        if not accepts and constraint.viable_is_exact:
            begun = text[: len(states) - 1]
            rest = completion(
                constraint, states[-1], ALPHABET, MAX_COMPLETED, lambda more, _, b=begun: cost(b + more)
            )
            whole = begun + (rest or b"")
            assert rest is None or is_valid(validator, python_json.loads(whole)) is not False, whole
    return "compared"


def is_valid(validator: Draft202012Validator, value: Any) -> bool | None:
    """Says whether jsonschema takes a value; None where a schema that refers to itself never ends."""
    try:
        return validator.is_valid(value)
    except RecursionError:
        return None


def written(value: Any) -> bytes:
    """Writes a value without whitespace."""
    return python_json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def cost(text: bytes) -> int:
    """Gives what a text still needs, roughly, and its length: to close what is open comes first."""
    outside = re.sub(rb'"(?:[^"\\\\]|\\\\.)*"', b"", text)
    is_open = outside.count(b"[") + outside.count(b"{") - outside.count(b"]") - outside.count(b"}")
    return len(text) + 4 * is_open + 2 * outside.count(b'"')
