"""`lp.json_check` asks a function about each value at a path, as soon as the value has ended."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from viable_prefixes import accepted

import lmppl as lp
from lmppl.constraints.protocol import Constraint
from lmppl.errors import CheckError, InvalidInputError, InvalidTypeError
from lmppl.testing import check_constraint


def advanced(constraint: Constraint, text: str) -> Any:
    return constraint.advance(constraint.initial(), text.encode())


def even(value: Any) -> bool:
    return not isinstance(value, int) or value % 2 == 0


def at_path(value: Any, steps: list[str]) -> Iterator[Any]:
    """Gives all values at a path: what the constraint is compared with."""
    if not steps:
        yield value
        return
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        if steps[0] in ("*", str(key)):
            yield from at_path(item, steps[1:])


PATHS = ["", "/a", "/*", "/a/*", "/*/a", "/a/0", "/1", "/a/b/*", "/*/*/*", "/a~1b", "/~0", "/\n"]


@pytest.mark.parametrize("path", PATHS)
def test_each_value_at_the_path_is_asked_about_when_it_ends(path: str) -> None:
    draw = random.Random(path)
    names = ["a", "b", "a/b", "~", "\n", "0", *"aabb"]  # the paths' own names more often

    def value(depth: int) -> Any:
        kind = draw.random()
        if depth and kind < 0.4:
            return [value(depth - 1) for _ in range(draw.randint(0, 3))]
        if depth and kind < 0.8:
            return {name: value(depth - 1) for name in draw.sample(names, draw.randint(0, 3))}
        return draw.choice([0, 1, 2, 13, -3, 1.5, "1", 'a"]', None, True])

    steps = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]
    is_even = lp.json_check("even", path, even)
    found = 0
    for _ in range(240):
        whole = value(3)
        text = json.dumps(whole, indent=draw.choice([None, 1]), ensure_ascii=draw.random() < 0.5)
        expected = list(at_path(whole, steps))
        found += len(expected)
        asked: list[Any] = []
        assert accepted(lp.json_check("seen", path, lambda v, asked=asked: asked.append(v) is None), text)
        assert set(map(json.dumps, asked)) == set(map(json.dumps, expected))  # equal texts are asked once
        assert accepted(is_even, text) == all(map(even, expected)), text
    assert found
    assert not is_even.viable_is_exact


def test_a_field_is_refused_where_it_closes_and_not_later() -> None:
    price = lp.json_check("cheap", "/items/*/price", lambda price: price < 10)
    begun = '{"items": [{"price": 9.5, "name": "a"}, {"price": 12'
    assert advanced(price, begun) is not None
    assert advanced(price, begun + "}") is None
    assert advanced(price, begun + ",") is None
    name = lp.json_check("short", "/name", lambda name: len(name) < 3)
    assert advanced(name, '{"name": "abc') is not None
    assert advanced(name, '{"name": "abc"') is None
    tags = lp.json_check("one tag", "/tags", lambda tags: len(tags) == 1)
    assert advanced(tags, '{"tags": ["a", "b"') is not None
    assert advanced(tags, '{"tags": ["a", "b"]') is None


def test_the_check_joins_the_schema() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}
    both: Any = lp.json(schema) & lp.json_check("even", "/n", even)
    assert accepted(both, '{"n": 4}')
    assert accepted(both, "{}")
    assert not accepted(both, '{"n": 3}')
    assert not accepted(both, '{"m": 4}')
    assert both.parse('{"n": 4}') == {"n": 4}
    with pytest.raises(InvalidInputError, match="not in the language"):
        both.parse('{"n": 3}')


def test_the_check_keeps_the_laws_of_a_constraint_and_is_a_value() -> None:
    constraint = lp.json_check("even", "/a/*", even)
    check_constraint(constraint, ['{"a": [2, 4], "b": 3}', '{"a": [1]}', "[", "7"])
    assert constraint == lp.json_check("even", "/a/*", even)
    assert constraint != lp.json_check("even", "/a/0", even)
    assert not accepted(lp.json_check("even", "", even), "3")
    assert accepted(lp.json_check("even", "", even), "4")


def test_equal_texts_lead_to_equal_states() -> None:
    constraint = lp.json_check("even", "/a", even)
    assert hash(advanced(constraint, '{"a": 1')) == hash(advanced(constraint, '{"a": 1'))
    assert advanced(constraint, '{"a": 1') == advanced(constraint, '{"a": 1')


def test_answers_are_remembered_by_the_text_of_the_field() -> None:
    asked: list[Any] = []
    constraint = lp.json_check("seen", "/*", lambda value: asked.append(value) is None)
    assert accepted(constraint, "[1,2,1,1.0]")
    assert accepted(constraint, '{"a":2}')
    assert asked == [1, 2, 1.0]


def test_a_function_that_fails_is_an_error_and_not_an_answer() -> None:
    with pytest.raises(CheckError, match="raised KeyError"):
        advanced(lp.json_check("broken", "/a", lambda value: value["b"]), '{"a": {}}')
    with pytest.raises(CheckError, match="returned 1"):
        advanced(lp.json_check("broken", "/a", lambda value: value["b"]), '{"a": {"b": 1}}')


def test_wrong_arguments_are_errors() -> None:
    wrong: Any = lp.json_check
    with pytest.raises(InvalidInputError, match="begins with a slash"):
        wrong("price", "items", even)
    with pytest.raises(InvalidTypeError, match="JSON pointer"):
        wrong("price", 3, even)
    with pytest.raises(InvalidTypeError, match="function"):
        wrong("price", "/a", "even")
    with pytest.raises(InvalidInputError, match="timeout"):
        wrong("price", "/a", even, timeout=0)
