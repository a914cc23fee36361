"""`lp.json` enforces a schema exactly or refuses it: the official suite, enumeration, completions."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from viable_prefixes import stepped

import lmppl as lp
from lmppl.constraints.json_values.ecma_patterns import containing
from lmppl.constraints.json_values.object_shapes import contains
from lmppl.constraints.lateness import Completions
from lmppl.constraints.protocol import Constraint, State
from lmppl.errors import ConstraintError, UnsupportedSchema


def written(value: Any) -> str:
    """Writes a value without whitespace, and numbers without exponent."""
    match value:
        case float():
            return format(Decimal(repr(value)), "f")
        case list():
            return "[" + ",".join(map(written, value)) + "]"
        case dict():
            return "{" + ",".join(f"{written(name)}:{written(item)}" for name, item in value.items()) + "}"
        case _:
            return json.dumps(value, ensure_ascii=False)


def accepts(constraint: Constraint | None, text: str) -> bool:
    if constraint is None:
        return False
    state: State | None = constraint.initial()
    for byte in text.encode():
        state = constraint.advance(state, bytes((byte,)))
        if state is None:
            return False
    return constraint.accepts(state)


def compiled(schema: Any, **options: Any) -> Constraint | None:
    """Gives None for a schema that nothing satisfies."""
    try:
        return lp.json(schema, **options)
    except UnsupportedSchema:
        raise
    except ConstraintError:
        return None


def official(test_data: Path) -> Iterator[tuple[Any, Constraint | None, list[dict]]]:
    """Gives the schemas of the official suite that are not refused, with their tests."""
    lines = (test_data / "json_schema_test_suite" / "suite.jsonl").read_text().strip().split("\n")
    for group in map(json.loads, lines):
        schema = group["schema"]
        told = isinstance(schema, dict) and "$schema" in schema
        try:
            constraint = compiled(
                schema,
                formats="optional/format" in group["file"],
                draft=None if told else "7" if "draft7" in group["file"] else "2020-12",
            )
        except UnsupportedSchema:
            continue
        yield schema, constraint, group["tests"]


def test_the_official_suite_is_enforced_or_refused_and_never_wrong(test_data: Path) -> None:
    num_enforced = 0
    for schema, constraint, tests in official(test_data):
        num_enforced += 1
        for test in tests:
            assert accepts(constraint, written(test["data"])) == test["valid"], (schema, test)
    assert num_enforced >= 630


def otherwise(value: Any) -> str:
    """Writes a value with spaces, objects backwards; numbers without exponent."""
    match value:
        case list() if value:
            return "[ " + " , ".join(map(otherwise, value)) + " ]"
        case dict() if value:
            members = [f"{otherwise(name)} : {otherwise(item)}" for name, item in value.items()]
            return "{ " + " , ".join(reversed(members)) + " }"
        case _:
            return written(value)


@pytest.mark.once
def test_instances_of_the_official_suite_are_judged_alike_however_they_are_written(test_data: Path) -> None:
    num_changed = 0
    for schema, constraint, tests in official(test_data):
        for test in tests:
            text = otherwise(test["data"])
            num_changed += text != written(test["data"])
            assert accepts(constraint, text) == test["valid"], (schema, test)
    assert num_changed > 800


@pytest.mark.once
def test_what_is_let_through_of_an_invalid_instance_of_the_official_suite_is_no_dead_end(
    test_data: Path,
) -> None:
    """A search that ends without a completion has met every state, so that there is none."""
    found: Counter[bool | None] = Counter()
    for schema, constraint, tests in official(test_data):
        if constraint is None or not constraint.viable_is_exact:
            continue
        texts = {
            valid: [written(t["data"]).encode() for t in tests if t["valid"] is valid]
            for valid in (True, False)
        }
        completions = Completions.of(constraint, texts[True])
        for text in texts[False]:
            has_one = completions.has_one(stepped(constraint, text)[-1])
            assert has_one is not False, (schema, text)
            found[has_one] += 1
    assert found[True] > 10 * found[None]
    assert found[True] > 500


def test_dead_end_is_found_by_the_search() -> None:
    no_b = lp.json({"enum": ["ab", "cd"]}) & lp.regex("[^b]*")
    completions = Completions.of(no_b, [b'"cd"'])
    for text, has_one in ((b'"c', True), (b'"a', False)):
        assert completions.has_one(stepped(no_b, text)[-1]) is has_one


def test_the_schemas_of_jsonschemabench_compile_or_are_refused_by_name(test_data: Path) -> None:
    path = test_data / "jsonschemabench" / "permissive_schemas_only.jsonl"
    refused = []
    for case in map(json.loads, path.read_text().strip().split("\n")):
        try:
            lp.json(case["schema"], draft="7")
        except UnsupportedSchema as error:
            refused.append((case["id"], str(error)))
    assert len(refused) <= 1, refused


def unique(pairs: list[tuple[str, Any]]) -> dict:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError
    return dict(pairs)


def is_json(text: str) -> bool:
    try:
        json.loads(text, object_pairs_hook=unique)
    except ValueError:
        return False
    return True


INTEGERS = {"type": "integer"}
SMALL: list[tuple[dict | bool, str, int, Callable[[Any], bool]]] = [
    # schema, alphabet, greatest length, what it means
    (
        {"type": "array", "items": {"enum": [1, 2]}, "minItems": 1, "maxItems": 2},
        "[],123",
        6,
        lambda v: isinstance(v, list) and 1 <= len(v) <= 2 and all(i in (1, 2) for i in v),
    ),
    (
        {
            "anyOf": [
                {"type": "array", "maxItems": 1},
                {"prefixItems": [{"const": 1}, {"const": 2}], "items": False},
            ]
        },
        "[],12",
        6,
        lambda v: not isinstance(v, list) or len(v) < 2 or v == [1, 2],
    ),
    (
        {"oneOf": [{"prefixItems": [{"const": 1}]}, {"maxItems": 1}]},
        "[],12",
        6,
        lambda v: isinstance(v, list) and (not v or v[0] == 1) != (len(v) <= 1),
    ),
    (
        {"type": "number", "minimum": -2, "exclusiveMaximum": 1.1, "multipleOf": 0.5},
        "-.0152",
        6,
        lambda v: -2 <= v < 1.1 and v * 2 == int(v * 2),
    ),
    (
        {"not": {"type": ["array", "integer"]}},
        '[]"0.1',
        5,
        lambda v: not isinstance(v, list) and v != int(v) if not isinstance(v, str) else True,
    ),
    (
        {"type": "object", "maxProperties": 1, "additionalProperties": {"const": 1}},
        '{}":1a',
        7,
        lambda v: isinstance(v, dict) and len(v) <= 1 and all(i == 1 for i in v.values()),
    ),
    (
        {
            "type": "object",
            "propertyNames": {"pattern": "^a?$"},
            "minProperties": 1,
            "additionalProperties": {"const": 1},
        },
        '{}":1a',
        7,
        lambda v: isinstance(v, dict) and bool(v) and set(v) <= {"", "a"} and all(i == 1 for i in v.values()),
    ),
    (
        {"type": "string", "pattern": "^a", "maxLength": 2, "not": {"const": "a"}},
        '"ab\\',
        6,
        lambda v: v.startswith("a") and len(v) == 2,
    ),
    (
        {
            "if": {"type": "array", "minItems": 1},
            "then": {"items": {"type": "array", "maxItems": 0}},
            "else": {"type": "null"},
        },
        "[],nul",
        6,
        lambda v: v is None if not v else all(i == [] for i in v),
    ),
]


@pytest.mark.parametrize(("schema", "alphabet", "length", "means"), SMALL, ids=range(len(SMALL)))
def test_all_short_texts_and_all_their_beginnings_are_judged_right(
    schema: dict,
    alphabet: str,
    length: int,
    means: Callable[[Any], bool],
    completion: Callable[..., bytes | None],
) -> None:
    """Every text over a small alphabet is accepted as the schema means, and viable if it can be completed."""
    constraint = lp.json(schema, whitespace="compact")
    viable: dict[str, State] = {"": constraint.initial()}
    refused: set[str] = set()
    good = set()
    for size in range(1, length + 1):
        for text in map("".join, itertools.product(alphabet, repeat=size)):
            before = viable.get(text[:-1])
            state = None if before is None else constraint.advance(before, text[-1].encode())
            if state is None:
                refused.add(text)
            else:
                viable[text] = state
            accepted = state is not None and constraint.accepts(state)
            if accepted or (is_json(text) and allowed(means, text)):
                assert accepted, text
                assert is_json(text), text
                assert allowed(means, text), text
                good.add(text)
    assert good
    for text in good:
        assert not any(text[:cut] in refused for cut in range(1, len(text) + 1))
    for text, state in random.Random(0).sample(
        sorted(viable.items(), key=lambda item: item[0]), min(200, len(viable))
    ):
        assert completion(constraint, state, ALPHABET) is not None, text


def allowed(means: Callable[[Any], bool], text: str) -> bool:
    try:
        return means(json.loads(text))
    except (TypeError, AttributeError):
        return False


ALPHABET = bytes(sorted(set(b' "\\{}[],:-.0123456789eEabcxyzfnrtulsv_AZ\xc3\xa9\n\x80\xbf\xf0\x9f')))


WALKED = [
    {
        "type": "object",
        "properties": {"a": INTEGERS, "ab": {"type": "null"}},
        "required": ["ab"],
        "maxProperties": 2,
        "patternProperties": {"^b+c?$": {"type": "boolean"}},
        "additionalProperties": False,
    },
    {
        "type": "object",
        "propertyNames": {"pattern": "^[ab]{1,2}$"},
        "minProperties": 2,
        "maxProperties": 3,
        "additionalProperties": {"enum": [0, ""]},
    },
    {
        "type": "object",
        "properties": {"x": False, "y": {"enum": [1]}},
        "propertyNames": {"maxLength": 1},
        "additionalProperties": {"const": None},
        "minProperties": 1,
        "maxProperties": 2,
    },
    {
        "$ref": "#/$defs/tree",
        "$defs": {
            "tree": {
                "anyOf": [
                    {"type": "null"},
                    {
                        "type": "array",
                        "prefixItems": [{"$ref": "#/$defs/tree"}, {"const": 1}],
                        "items": False,
                        "minItems": 2,
                    },
                ]
            }
        },
    },
    {
        "oneOf": [
            {
                "properties": {"t": {"const": "a"}, "v": INTEGERS},
                "required": ["t", "v"],
                "additionalProperties": False,
            },
            {
                "properties": {"t": {"const": "b"}, "v": {"type": "null"}},
                "required": ["t"],
                "additionalProperties": False,
            },
        ],
        "type": "object",
    },
    {
        "type": "object",
        "properties": {"a": {"enum": [1, 2]}, "b": True, "c": {"maxLength": 0}},
        "dependentRequired": {"a": ["b"]},
        "if": {"properties": {"a": {"const": 1}}, "required": ["a"]},
        "then": {"required": ["c"]},
        "else": {"properties": {"c": False}},
        "additionalProperties": False,
    },
    {
        "type": "array",
        "items": {"type": "number", "minimum": -1.5, "maximum": 20, "multipleOf": 0.25},
        "minItems": 2,
        "maxItems": 3,
    },
    {"enum": [{"a": [1, "\n"]}, {"a": [1, "é"], "b": {}}, [], "a\\", -0.5, None]},
    {
        "not": {"enum": [1, "a", [], {"a": 1}]},
        "type": ["integer", "string", "array", "object"],
        "maxItems": 1,
        "maxProperties": 1,
        "maxLength": 1,
        "items": {"type": "null"},
        "additionalProperties": INTEGERS,
    },
    {"type": "string", "pattern": "^\\d+[^\\d]$", "minLength": 3, "maxLength": 4},
]


@pytest.mark.parametrize("schema", WALKED, ids=range(len(WALKED)))
def test_random_beginnings_can_be_completed_to_valid_values(
    schema: dict, completion: Callable[..., bytes | None]
) -> None:
    """Each state on a random walk has a completion, which a validator that is not ours finds valid."""
    validate = pytest.importorskip("jsonschema").Draft202012Validator(schema)
    constraint = lp.json(schema, whitespace="compact")
    draw = random.Random(1)
    for _ in range(25):
        state, text = constraint.initial(), b""
        for _ in range(draw.randint(0, 30)):
            after = [(b, constraint.advance(state, bytes((b,)))) for b in ALPHABET]
            after = [(b, s) for b, s in after if s is not None]
            if not after:
                break
            byte, state = draw.choice(after)
            text += bytes((byte,))
        rest = completion(constraint, state, ALPHABET)
        assert rest is not None, text
        value = json.loads(text + rest, object_pairs_hook=unique)
        assert validate.is_valid(value), (text, rest)


@pytest.mark.parametrize("schema", WALKED, ids=range(len(WALKED)))
def test_random_values_are_judged_as_a_validator_judges_them(schema: dict) -> None:
    validate = pytest.importorskip("jsonschema").Draft202012Validator(schema)
    constraint = lp.json(schema, whitespace="compact")
    draw = random.Random(2)
    names = ["a", "b", "c", "ab", "t", "v", "x", "y", "ba"]
    scalars = [
        None,
        True,
        0,
        1,
        2,
        -1,
        0.5,
        -0.5,
        20.25,
        "",
        "a",
        "b",
        "12x",
        "1\u00e9",
        "\n",
        "\u00e9",
        "a\\",
    ]

    def value(depth: int) -> Any:
        kind = draw.random()
        if depth and kind < 0.3:
            return [value(depth - 1) for _ in range(draw.randint(0, 3))]
        if depth and kind < 0.7:
            return {name: value(depth - 1) for name in draw.sample(names, draw.randint(0, 3))}
        return draw.choice(scalars)

    for _ in range(1_500):
        candidate = value(2)
        assert accepts(constraint, written(candidate)) == validate.is_valid(candidate), candidate


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        (r"^\d$", ["1"], ["١", "1\n", "a"]),
        (r"^\w+$", ["a_1"], ["é"]),
        (r"^\s$", ["\ufeff", "\u2003", "\n"], ["\x1c", "a"]),
        (r"^\S$", ["a", "\x1c"], ["\ufeff", "\u2028"]),
        (r"^[\s\S]$", ["a", "\n"], [""]),
        (r"^.$", ["a", "\x85"], ["\n", "\u2028"]),
        (r"^\u00e9\x41\cA\/$", ["éA\x01/"], ["éA"]),
        (r"\ud83d\ude00", ["x😀y"], ["x"]),
        (r"^(?<n>a|b)[^]$", ["ax"], ["a"]),
        (r"^[a&&b|~^-]$", ["&", "-", "^", "|"], ["]", "c"]),
        (r"a{2}", ["baab"], ["aba"]),
        (r"\bx\b", ["a x", "x"], ["ax"]),
        (r"^a|b$", ["ax", "xb"], ["xa"]),
        (r"^(?!-)[a-z-]{1,3}(?<!-)$", ["a", "a-b"], ["-a", "a-", "abcd"]),
        (r"^(?=.*\d)(?=.*[a-z]).{2,}$", ["1a", "xx1"], ["11", "aa", "1"]),
        (r"^((?!ab).)*$", ["ba", "", "a"], ["ab", "xaby"]),
        (r"(?<![a-z])x", ["x", "Ax"], ["ax"]),
        (r"^\p{Lu}\P{L}[\p{Nd}_]$", ["É11", "A-_"], ["éa1", "Aé1", "É1a"]),
        (r"^\p{Script=Greek}[^\p{gc=Letter}]$", ["α1"], ["a1", "αa"]),
    ],
)
def test_patterns_mean_what_they_mean_in_javascript(
    pattern: str, inside: list[str], outside: list[str]
) -> None:
    machine = containing(pattern)
    assert all(contains(machine, text) for text in inside)
    assert not any(contains(machine, text) for text in outside)


@pytest.mark.parametrize(
    "pattern",
    [r"(?<=a+)b", r"(a)\1", r"\p{Foo}", r"\p{IsGreek}", r"\Z", "a{", "a++", "[a", r"\a", "(", "(?i)a"],
)
def test_patterns_that_are_not_regular_or_not_javascript_are_refused(pattern: str) -> None:
    with pytest.raises(UnsupportedSchema, match="pattern"):
        lp.json({"pattern": pattern})


def test_unknown_keywords_and_annotations_do_not_constrain() -> None:
    noted = {"title": "t", "default": 1, "examples": [2], "x-order": 3, "format": "date", "deprecated": True}
    assert accepts(lp.json(noted), '{"a":[1]}')
    assert not accepts(lp.json({"type": "string", "format": "date"}, formats=True), '"2023-02-29"')
    assert accepts(lp.json({"type": "string", "format": "date"}, formats=True), '"2024-02-29"')


def test_a_lost_rule_would_be_noticed(
    monkeypatch: pytest.MonkeyPatch, completion: Callable[..., bytes | None]
) -> None:
    """If no room were kept for required names, an object with too many of them would be accepted."""
    from lmppl.constraints.json_values.property_names import Entry

    schema = WALKED[0]
    machine = lp.json(schema)
    state = machine.advance(machine.initial(), b'{"a":1,')
    assert machine.advance(state, b'"b') is None
    monkeypatch.setattr(Entry, "only_missing", property(lambda entry: False))
    machine = lp.json({**schema, "title": "one that remembers no steps"})
    begun = b'{"a":1,"b":true'
    state = machine.advance(machine.initial(), begun)
    assert state is not None
    rest = completion(machine, state, ALPHABET)
    assert rest is not None
    assert len(json.loads(begun + rest)) > schema["maxProperties"]
