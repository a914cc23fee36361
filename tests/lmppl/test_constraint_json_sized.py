"""Strings with a pattern and a length, read side by side: exact at every byte, by all short texts."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Container

import pytest
from viable_prefixes import accepted

import lmppl as lp
from lmppl.constraints.json_values import json_texts, sized_texts, string_sets
from lmppl.constraints.json_values.sized_texts import Lengths, Sized
from lmppl.errors import ConstraintError

TEXTS = ["".join(letters) for size in range(5) for letters in itertools.product('abc\u00e9\n"', repeat=size)]
PATTERNS = ["^a*b?$", "^(ab)*$", "^(abc|c)+$", "\u00e9", '^[a\n"]*$', "^a{2,3}$", "b"]
LENGTHS: dict[str, tuple[dict, Container[int]]] = {
    "at most 3": ({"maxLength": 3}, range(4)),
    "at least 2": ({"minLength": 2}, range(2, 99)),
    "3": ({"minLength": 3, "maxLength": 3}, [3]),
    "1 or 3": ({"anyOf": [{"minLength": 1, "maxLength": 1}, {"minLength": 3, "maxLength": 3}]}, [1, 3]),
}


def written(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode()


def differences(pattern: str, lengths: str) -> int:
    """Counts the texts that are judged wrong, or given up before, or after, the byte that decides."""
    keywords, allowed = LENGTHS[lengths]
    expression = re.compile(pattern.replace("$", r"\Z"))
    whole = {written(text) for text in TEXTS if len(text) in allowed and expression.search(text)}
    begun = {text[:cut] for text in whole for cut in range(len(text) + 1)}
    try:
        constraint = lp.json({"type": "string", "pattern": pattern, **keywords}, whitespace="compact")
    except ConstraintError:
        return len(whole)
    assert isinstance(constraint.machine.nodes[0].strings, Sized)
    found = 0
    for text in map(written, TEXTS):
        state = constraint.initial()
        for position in range(len(text)):
            state = constraint.advance(state, text[position : position + 1])
            is_known = text[: position + 1] in begun
            if state is None:
                found += is_known
                break
            found += not is_known and lengths != "at least 2"
        found += (state is not None and constraint.accepts(state)) != (text in whole)
    return found


@pytest.fixture
def uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets no product of an automaton and a counter be made at once."""
    json_texts._json.cache_clear()
    monkeypatch.setattr(string_sets, "FEW_COUNTED_STATES", 0)


@pytest.mark.usefixtures("uncounted")
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_all_short_texts_are_judged_right_at_every_byte(pattern: str, lengths: str) -> None:
    assert differences(pattern, lengths) == 0


@pytest.mark.usefixtures("uncounted")
def test_mutants_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Sized, "_is_alive", lambda self, number, count: True)
        assert differences("^(ab)*$", "at most 3") > 0
    json_texts._json.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(sized_texts, "_FOLLOWING", 0)
        assert differences("\u00e9", "at most 3") > 0


@pytest.mark.parametrize("length", [300, 5_000, 1_000_000])
def test_a_pattern_beside_a_large_bound_is_enforced(length: int) -> None:
    schema = {"type": "string", "pattern": "^arn:aws:[a-z]+:\\d{3}/[\\w-]+$", "maxLength": length}
    constraint = lp.json(schema, whitespace="compact")
    begun = b'"arn:aws:s:123/' + b"x" * (min(length, 5_000) - 14)
    state = constraint.advance(constraint.initial(), begun)
    assert state is not None
    assert constraint.accepts(constraint.advance(state, b'"'))
    assert (constraint.advance(state, b"x") is None) == (length <= 5_000)
    assert constraint.advance(constraint.initial(), b'"arn:aws:s:12/') is None


def test_unions_and_differences_of_bounded_patterns_are_what_they_say() -> None:
    short, other = {"pattern": "^[ab]*$", "maxLength": 400}, {"pattern": "c$", "minLength": 2}
    for text in ("", "ab" * 200, "ab" * 201, "c", "bc", "c" * 500):
        one, two = len(text) <= 400 and set(text) <= {"a", "b"}, len(text) >= 2 and text.endswith("c")
        assert accepts({"anyOf": [short, other], "type": "string"}, text) == (one or two)
        assert accepts({"allOf": [short, {"not": other}], "type": "string"}, text) == (one and not two)
        assert accepts({"not": short, "type": "string"}, text) == (not one)


def accepts(schema: dict, text: str) -> bool:
    return accepted(lp.json(schema), written(text))


def test_what_is_alive_is_found_in_few_rows() -> None:
    machine = string_sets.content(string_sets.listed(["a", "ab"]))
    assert len(Sized(machine, Lengths(((0, 10**9),)))._alive[0]) < 10
