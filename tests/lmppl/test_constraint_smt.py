"""`lp.smt` against brute force over all short records, at every prefix."""

from __future__ import annotations

import itertools
import pickle
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from viable_prefixes import accepted

import lmppl as lp
from lmppl.constraints.domains.records import smt_records
from lmppl.constraints.functions.remembered_answers import CheckTimedOut
from lmppl.constraints.protocol import Constraint
from lmppl.constraints.regular.automaton_algebra import words
from lmppl.constraints.regular.regular_expression import compiled
from lmppl.errors import ConstraintError, InvalidInputError, MissingExtraError
from lmppl.testing import check_constraint

pytest.importorskip("z3", reason="z3-solver is part of the extra `smt`")

NUMBERS = {"x": "1?[0-9]", "y": "[1-9]"}
ORDER = {"meal": "soup|salad|steak", "drink": "water|wine", "price": "[0-9]{1,2}(\\.5)?"}


def state_of(constraint: Constraint, text: str) -> object:
    return constraint.advance(constraint.initial(), text.encode())


def value_of(text: str) -> object:
    try:
        return int(text) if "." not in text else float(text)
    except ValueError:
        return text


def agrees_with_brute_force(condition: str, template: str, fields: dict[str, str]) -> int:
    """Compares every prefix of every record with Python's own evaluation; gives how many satisfy it."""
    texts = [[word.decode() for word in words(compiled(pattern))] for pattern in fields.values()]
    filled = [dict(zip(fields, chosen, strict=True)) for chosen in itertools.product(*texts)]
    everything = [template.format(**each) for each in filled]
    good = {
        text
        for text, each in zip(everything, filled, strict=True)
        if eval(condition, {}, {name: value_of(value) for name, value in each.items()})
    }
    if not good:
        with pytest.raises(ConstraintError, match="No values satisfy"):
            lp.smt(condition, over=template, fields=fields)
        return 0
    constraint = lp.smt(condition, over=template, fields=fields)
    viable = {text[:size] for text in good for size in range(len(text) + 1)}
    for prefix in {text[:size] for text in everything for size in range(len(text) + 1)}:
        state = state_of(constraint, prefix)
        if constraint.viable_is_exact:
            assert (state is not None) == (prefix in viable), (condition, prefix)
        assert state is not None or prefix not in viable, (condition, prefix)
        assert (state is not None and constraint.accepts(state)) == (prefix in good), (condition, prefix)
    return len(good)


@pytest.mark.parametrize(
    "condition",
    [
        "x + y == 12 or x == 0",
        "x != y and not x < 7",
        "x % 7 == 3 and x // 2 > y",
        "x == 3 if y > 4 else x in (1, 11)",
        "(x - 9) % 4 == 1 and (x - 9) // 4 == -1",
        "x / 2 == y - 0.5",
        "x * 2 > 39",
        "x ** 2 == 49",
        "x * y == 24",
        "2 <= x < y <= 4",
    ],
)
def test_records_are_those_that_satisfy_the_condition_at_every_prefix(condition: str) -> None:
    agrees_with_brute_force(condition, "{x} and {y}.", NUMBERS)


def test_texts_are_fields_too() -> None:
    condition = "(drink == 'wine' or meal == 'soup') and (meal != 'steak' or price >= 20.5)"
    fields = {**ORDER, "price": "[12]?[0-9](\\.5)?"}
    assert agrees_with_brute_force(condition, "{meal} with {drink}: {price}", fields) > 10
    order = lp.smt(
        "drink == 'wine'",
        "meal not in ('soup', 'salad')",
        over="{meal} {drink}",
        fields={
            "meal": ORDER["meal"],
            "drink": ORDER["drink"],
        },
    )
    assert order.viable_is_exact
    assert state_of(order, "st") is not None
    assert state_of(order, "so") is None
    assert state_of(order, "steak wa") is None
    check_constraint(order, ["steak wine", "soup wine", "steak water"])


@settings(max_examples=5)
@given(st.data())
def test_random_conditions_agree_with_brute_force(data: st.DataObject) -> None:
    number = st.sampled_from(["x", "y", "3", "12", "x + y", "x - 2*y", "x % 5", "y // 2", "-x"])
    compared = st.tuples(number, st.sampled_from(["<", "<=", "==", "!=", ">"]), number).map(" ".join)
    joined = st.recursive(
        compared,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from([" and ", " or "]), inner).map(lambda t: f"({''.join(t)})"),
            inner.map(lambda text: f"(not {text})"),
        ),
        max_leaves=4,
    )
    agrees_with_brute_force(data.draw(joined), "{x},{y}", {"x": "1?[0-9]", "y": "[0-5]"})


def test_a_long_text_is_judged_when_it_is_complete() -> None:
    named = lp.smt(
        "name not in ('Bob', 'BA') and age > 17",
        over="{name}: {age}",
        fields={"name": "[A-Z][a-zé\\\\{}0-9]*", "age": "[0-9]{1,2}"},
    )
    assert not named.viable_is_exact
    assert state_of(named, "Bob") is not None
    assert state_of(named, "Bob:") is None
    assert state_of(named, "BA:") is None
    for name in ("Bobé", "B\\u{41}", "Bé"):
        assert accepted(named, f"{name}: 18")
        assert not accepted(named, f"{name}: 17")
    start = named.advance(named.initial(), "é".encode()[:1])
    assert start is None
    half = named.advance(named.initial(), b"B" + "é".encode()[:1])
    assert half is not None


def test_conditions_in_conflict_are_named() -> None:
    with pytest.raises(ConstraintError, match=r"No values satisfy 'x > 15' and 'x \+ y == 12' as the fields"):
        lp.smt("y > 0", "x > 15", "y != 7", "x + y == 12", over="{x} {y}", fields=NUMBERS)


def test_what_takes_too_long_is_lost_and_not_false() -> None:
    cubes = dict.fromkeys("abc", "[1-9][0-9]{6}")
    with pytest.raises(ConstraintError, match="z3 did not find out within 0.05 s"):
        lp.smt("a**3 + b**3 == c**3", over="{a} {b} {c}", fields=cubes, timeout=0.05)
    late = lp.smt("a**3 + b**3 == c**3 or a > 8999999", over="{a} {b} {c}", fields=cubes, timeout=0.3)
    assert not late.viable_is_exact
    with pytest.raises(CheckTimedOut):
        late.advance(late.initial(), b"1234567 1")


def test_equal_arguments_make_equal_constraints() -> None:
    one = lp.smt("x < y", over="{x} {y}", fields=NUMBERS)
    assert one == lp.smt("x < y", over="{x} {y}", fields=dict(reversed(NUMBERS.items())))
    assert pickle.loads(pickle.dumps(one)) == one
    assert one != lp.linear("x < y", over="{x} {y}", fields=NUMBERS)
    assert repr(one) == "smt('x < y', over='{x} {y}')"


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("x == 'a'", "mixes numbers, texts and conditions"),
        ("-(x < 3) == 2", "mixes numbers, texts and conditions"),
        ("x + 1", "is a value. Compare it with something"),
        ("x / y < 3", r"holds 'x / y'\. Known are"),
        ("x % -2 == 0", "Known are"),
        ("x ** 10 == 1", "Known are"),
        ("abs(x) < 3", r"names 'abs'"),
        ("x.real < 3", "holds 'x.real'"),
        ("[x for x in y]", "holds"),
        ("x <", "is no Python expression"),
    ],
)
def test_conditions_that_are_none_are_refused(condition: str, message: str) -> None:
    with pytest.raises(ConstraintError, match=message):
        lp.smt(condition, over="{x} {y}", fields=NUMBERS)


def test_no_condition_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"smt\(\) was given no condition"):
        lp.smt(over="{x} {y}", fields=NUMBERS)


def test_without_z3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "z3", None)
    smt_records._smt.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pip install 'lmppl\[smt\]'"):
        lp.smt("x < y", over="{x} {y}", fields=NUMBERS)


def _unknown_is_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smt_records.SmtConditions, "can_hold", lambda self, known: known.begun is None)


def _first_text_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        smt_records._NumberTerm, "begins_with", lambda self, state, text: self.is_value(text or b"0")
    )


@pytest.mark.parametrize("mutate", [_unknown_is_no, _first_text_only])
def test_mutants_are_caught(mutate: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    smt_records._smt.cache_clear()
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        agrees_with_brute_force("x + y == 12", "{x} {y}", NUMBERS)
    smt_records._smt.cache_clear()
