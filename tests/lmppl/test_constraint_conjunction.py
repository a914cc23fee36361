"""`a & b`: the strings of both, as one automaton where that is possible."""

from __future__ import annotations

import inspect
import itertools
import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmppl.constraints.combined.combinators import Conjunction, both
from lmppl.constraints.functions.python_check import check
from lmppl.constraints.grammars.grammar import lark
from lmppl.constraints.protocol import Constraint
from lmppl.constraints.regular.alternatives import choices
from lmppl.constraints.regular.regular_expression import regex
from lmppl.errors import ConstraintError, InvalidTypeError

STRINGS = [bytes(s) for n in range(5) for s in itertools.product(b"ab", repeat=n)]
PARTS: list[Constraint] = [
    regex("(ab?)*"),
    regex("[ab]{2,3}"),
    choices(["ab", "aab", "b", "abab"]),
    lark('start: "a" start "b" | "a" | "b"'),
    check("few", prefix=lambda s: s.count("a") <= 2),
    check("ends", complete=lambda s: s.endswith("b")),
]


def accepted(constraint: Constraint) -> set[bytes]:
    found = set()
    for string in STRINGS:
        state = constraint.advance(constraint.initial(), string)
        if state is not None and constraint.accepts(state):
            found.add(string)
    return found


@given(st.lists(st.sampled_from(PARTS), min_size=2, max_size=4))
def test_conjunction_accepts_what_all_parts_accept(parts: list[Constraint]) -> None:
    joined = parts[0]
    for part in parts[1:]:
        joined = joined & part
    assert accepted(joined) == set.intersection(*map(accepted, parts))
    assert joined.parts() == tuple(dict.fromkeys(parts))


def test_automata_become_one_automaton_that_is_exact() -> None:
    joined = regex("[ab]*") & regex("a.*") & choices(["ab", "ba", "c"])
    assert joined.automaton() == choices(["ab"]).automaton()
    assert joined.viable_is_exact
    assert joined.advance(joined.initial(), b"b") is None
    assert joined.describe() == "regex('[ab]*') & regex('a.*') & choices(['ab', 'ba', 'c'])"


def test_two_exact_parts_need_not_be_exact_together() -> None:
    joined = lark('start: "a" start "b" | "ab"') & regex("a{3}b*")
    assert not joined.viable_is_exact
    assert joined.automaton() is None


def test_conjunction_without_a_string_is_refused_at_once() -> None:
    with pytest.raises(ConstraintError, match=r"regex\('a\+'\) and regex\('b\+'\) have no string in common"):
        both(regex("a+"), regex("b+"))
    with pytest.raises(ConstraintError, match="no string in common"):
        both(regex("a+|c") & check("any", prefix=lambda s: True), regex("b+"))


def test_product_that_is_too_large_stays_apart_with_the_same_language() -> None:
    left, right = regex("(a{199})*"), regex("(a{211})*")
    joined = left & right
    assert joined.automaton() is None
    assert not joined.viable_is_exact
    state = joined.advance(joined.initial(), b"a" * 199 * 211)
    assert state is not None
    assert joined.accepts(state)
    assert joined.advance(joined.initial(), b"b") is None


def test_cheap_parts_are_asked_before_checks() -> None:
    asked: list[str] = []
    joined = check("spy", prefix=lambda s: not asked.append(s)) & regex("ab")
    assert joined.advance(joined.initial(), b"x") is None
    assert asked == []


def test_a_part_twice_is_once() -> None:
    part = regex("a")
    assert (part & part) is part
    assert both(part, regex("[a]")) == part


def test_conjunctions_are_values() -> None:
    one = regex("a*") & lark('start: "a"')
    other = regex("a*") & lark('start: "a"')
    assert isinstance(one, Conjunction)
    assert one == other
    assert hash(one) == hash(other)


def test_what_is_no_constraint_cannot_be_joined() -> None:
    with pytest.raises(InvalidTypeError, match=r"`&` joins constraints and strings, but was given 3"):
        inspect.unwrap(both)(regex("a"), 3)  # past the type checks that tests run under


def test_a_string_stands_for_itself_on_both_sides() -> None:
    grammar = lark('start: "a"+')
    for one in (regex("a+") & "aa", "aa" & regex("a+"), grammar & "aa", "aa" & grammar):
        assert accepted(one) == {b"aa"}
    assert repr("aa" & grammar) == "'aa' & " + repr(grammar)
    with pytest.raises(ConstraintError, match=r"'a' and regex\('b'\) have no string in common"):
        operator.and_("a", regex("b"))
