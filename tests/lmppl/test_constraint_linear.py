"""`lp.linear` against brute force over all short records, at every prefix."""

from __future__ import annotations

import itertools
import pickle
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from viable_prefixes import accepted

import lmppl as lp
from lmppl.constraints.domains.records import linear_feasibility, linear_records, number_ranges
from lmppl.constraints.domains.records.linear_feasibility import is_feasible, with_combinations
from lmppl.constraints.domains.records.number_ranges import NumberField
from lmppl.constraints.functions.remembered_answers import CheckTimedOut
from lmppl.constraints.protocol import Constraint
from lmppl.constraints.regular.automaton_algebra import words
from lmppl.constraints.regular.regular_expression import compiled
from lmppl.errors import ConstraintError, InvalidInputError, InvalidTypeError
from lmppl.testing import check_constraint

DIGITS = {"x": "[0-9]{1,2}", "y": "[0-9]{1,2}"}
NUMBERS = {"x": "[0-9]{1,2}", "y": "[0-9]"}
TINY = ("-?[0-2]", "[1-3]0?|7", "-[1-3]\\.5", "[02468]", "[01](\\.[05])?")
SMALL = (*TINY, "-?[0-9]", "[1-9]0?|7", "1[0-9]?")
PATTERNS = (*SMALL, "[0-9]{1,2}", "0|[1-9][0-9]?", "[0-9](\\.[0-9])?")


def state_of(constraint: Constraint, text: str) -> object:
    return constraint.advance(constraint.initial(), text.encode())


def texts_of(pattern: str) -> list[str]:
    return [word.decode() for word in words(compiled(pattern))]


def records(template: str, fields: dict[str, str]) -> Iterator[tuple[str, dict[str, float]]]:
    """Gives every text of a template with the values of its fields."""
    for chosen in itertools.product(*map(texts_of, fields.values())):
        filled = dict(zip(fields, chosen, strict=True))
        yield template.format(**filled), {name: float(text) for name, text in filled.items()}


def agrees_with_brute_force(condition: str, template: str, fields: dict[str, str], made: Callable) -> int:
    """Compares acceptance and viability of every prefix of every text; gives how many satisfy it."""
    everything = list(records(template, fields))
    good = {text for text, values in everything if eval(condition, {}, values)}
    if not good:
        with pytest.raises(ConstraintError, match="No numbers satisfy|No values satisfy"):
            made(condition, over=template, fields=fields, timeout=None)
        return 0
    constraint = made(condition, over=template, fields=fields, timeout=None)
    viable = {text[:size] for text in good for size in range(len(text) + 1)}
    states = {"": constraint.initial()}
    prefixes = {text[:size] for text, _ in everything for size in range(1, len(text) + 1)}
    for prefix in sorted(prefixes, key=len):
        before = states.get(prefix[:-1])
        state = None if before is None else constraint.advance(before, prefix[-1:].encode())
        assert (state is not None) == (prefix in viable), (condition, prefix)
        assert (state is not None and constraint.accepts(state)) == (prefix in good), (condition, prefix)
        if state is not None:
            states[prefix] = state
    for prefix in prefixes:  # the same at once
        state = state_of(constraint, prefix)
        assert (state is not None) == (prefix in viable), (condition, prefix)
        assert (state is not None and constraint.accepts(state)) == (prefix in good), (condition, prefix)
    return len(good)


@pytest.mark.parametrize(
    "condition",
    [
        "2*x + y <= 30",
        "x == 3*y + 1",
        "x < y",
        "10 <= x - y <= 12",
        "x + y == 107 and x > y",
        "-x >= -5 and y*0.5 > 4",
        "x/2 + y/3 == 20.5",
        "2*x == 2*y + 1",
        "x <= y and y < x",
        "1 <= 2",
    ],
)
def test_records_are_those_that_satisfy_the_inequality_at_every_prefix(condition: str) -> None:
    agrees_with_brute_force(condition, "{x},{y};", NUMBERS, lp.linear)


@st.composite
def problems(draw: st.DrawFn) -> tuple[str, str, dict[str, str]]:
    names = ["x", "y", "z"][: draw(st.integers(1, 3))]
    patterns = (PATTERNS, SMALL, TINY)[len(names) - 1]
    fields = {name: draw(st.sampled_from(patterns)) for name in names}
    weights = st.integers(-3, 3)
    conditions = []
    for _ in range(draw(st.integers(1, 3))):
        total = " + ".join(f"{draw(weights)}*{name}" for name in names)
        sign = draw(st.sampled_from(["<=", "<", ">=", ">", "=="]))
        conditions.append(f"{total} {sign} {draw(st.integers(-9, 40))}")
    return (
        " and ".join(conditions),
        draw(st.sampled_from([",", "", "; "])).join(f"{{{n}}}" for n in names),
        fields,
    )


@settings(max_examples=60)
@given(problems())
def test_random_inequalities_agree_with_brute_force(problem: tuple[str, str, dict[str, str]]) -> None:
    agrees_with_brute_force(*problem, lp.linear)


@pytest.mark.slow
def test_many_random_inequalities_agree_with_brute_force(record_property: Callable) -> None:
    num_inputs = num_possible = 0

    @settings(max_examples=3_000, database=None)
    @given(problems())
    def fuzz(problem: tuple[str, str, dict[str, str]]) -> None:
        nonlocal num_inputs, num_possible
        num_inputs += 1
        num_possible += agrees_with_brute_force(*problem, lp.linear) > 0

    fuzz()
    record_property("inputs", num_inputs)
    record_property("satisfiable", num_possible)
    assert num_possible >= 500


@pytest.mark.parametrize(
    "pattern", [*PATTERNS, "-?[0-9]?[05](\\.[05]{1,2})?", "00[0-9]|0[1-3]", "[0-9]{1,2}\\.[05]"]
)
def test_values_of_a_beginning_are_those_of_its_completions(pattern: str) -> None:
    machine = compiled(pattern)
    field = NumberField("x", machine)
    complete = [text.encode() for text in texts_of(pattern)]
    for begun in {text[:size] for text in complete for size in range(len(text) + 1)}:
        state = machine.advance(machine.start, begun)
        assert state is not None
        expected = {field.value(text) for text in complete if text.startswith(begun)}
        ranges = field.values(state, begun)
        assert {value for low, high in ranges for value in range(low, high + 1)} == expected, begun
        assert all(high + 1 < low for (_, high), (low, _) in itertools.pairwise(ranges))
    assert {field.value(text) for text in complete} == {
        round(float(text) * 10**field.decimals) for text in complete
    }


def test_a_prefix_is_refused_at_the_first_digit_that_is_too_many() -> None:
    bill = lp.linear(
        "2*price + tax <= 100",
        "price >= tax",
        over='{{"price": {price}, "tax": {tax}}}',
        fields={"price": "[0-9]{1,9}", "tax": "[0-9]{1,9}"},
    )
    assert bill.viable_is_exact
    assert state_of(bill, '{"price": 50') is not None
    assert state_of(bill, '{"price": 51') is None
    assert state_of(bill, '{"price": 40, "tax": 20') is not None
    assert state_of(bill, '{"price": 40, "tax": 21') is None
    assert state_of(bill, '{"price": 40, "tax": 200') is None
    check_constraint(bill, ['{"price": 40, "tax": 20}', '{"price": 40, "tax": 21}', '{"price": 7}'])
    assert repr(bill).startswith("linear('2*price + tax <= 100', 'price >= tax', over='{{\"price\"")


def test_equal_arguments_make_equal_constraints() -> None:
    one, other = (lp.linear("x < y", over="{x} {y}", fields=DIGITS) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert pickle.loads(pickle.dumps(one)) == one
    assert one != lp.linear("x <= y", over="{x} {y}", fields=DIGITS)
    joined = one & lp.regex("1.*")
    assert not accepted(joined, "2 3")
    assert accepted(joined, "1 3")


def test_conditions_in_conflict_are_named() -> None:
    with pytest.raises(
        ConstraintError, match=r"No numbers satisfy 'x > 90' and 'y > 90' and 'x \+ y < 150' as"
    ):
        lp.linear("x > 1", "x > 90", "y > 90", "y < 99", "x + y < 150", over="{x} {y}", fields=DIGITS)
    wide = {"x": "[0-9]{1,18}", "y": "[0-9]{1,18}", "z": "[0-9]{1,18}"}
    with pytest.raises(ConstraintError, match=r"No numbers satisfy 'x <= y' and 'y <= z' and 'z < x'"):
        lp.linear("x <= y", "y <= z", "z < x", over="{x} {y} {z}", fields=wide)


def test_what_takes_too_long_is_told_and_never_counted_as_false(monkeypatch: pytest.MonkeyPatch) -> None:
    constraint = lp.linear("x < y", over="{x} {y}!", fields=DIGITS, timeout=0.1)

    def endless(inequalities: object, domains: object) -> bool:
        time.sleep(1_000)
        return True

    monkeypatch.setattr(linear_records, "is_feasible", endless)
    with pytest.raises(CheckTimedOut) as caught:
        constraint.advance(constraint.initial(), b"1")
    assert caught.value.name == repr(constraint)
    with pytest.raises(ConstraintError, match="was not found out within 0.1 s"):
        lp.linear("x < y", over="{x} {y}?", fields=DIGITS, timeout=0.1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("x*y < 3",), ConstraintError, r"'x\*y < 3' is not linear: it holds 'x \* y'\. .* lp\.smt"),
        (("x < 3 or y < 3",), ConstraintError, "is not linear: it holds 'x < 3 or y < 3'"),
        (("x != 3",), ConstraintError, "is not linear"),
        (("x",), ConstraintError, "is not linear: it holds 'x'"),
        (("x / 0 < 1",), ConstraintError, "is not linear"),
        (("x < 1e999",), ConstraintError, "is not linear"),
        (("x <",), ConstraintError, "'x <' is no Python expression"),
        (("prize < 3",), ConstraintError, "names 'prize'. The fields are: 'x', 'y'"),
        (("+".join("x" * 900) + "< 3",), ConstraintError, "has 1,802 characters; at most 1,000"),
        ((), InvalidInputError, "was given no condition"),
        ((3,), InvalidTypeError, "A condition is a str"),
    ],
)
def test_conditions_that_are_none_are_refused(arguments: tuple, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        lp.linear(*arguments, over="{x} {y}", fields=DIGITS)


@pytest.mark.parametrize(
    ("over", "fields", "error", "message"),
    [
        ("{x}", {"x": "[0-9]+"}, ConstraintError, "may be arbitrarily long. Bound its digits"),
        ("{x}", {"x": "[0-9]{1,99}"}, ConstraintError, "may have 40 digits or more"),
        ("{x}", {"x": "[02468]{12}"}, ConstraintError, "more than 1,000 separate ranges"),
        ("{x}", {"x": "[a0-9]"}, ConstraintError, "allows texts that are no numbers"),
        ("{x}", {"x": "[0-9]?"}, ConstraintError, "allows texts that are no numbers"),
        ("{x}", {"x": "1\\.?"}, ConstraintError, "allows texts that are no numbers"),
        ("{x}", {}, ConstraintError, r"The field \{x\} has no pattern"),
        ("{x}{x}", {"x": "1"}, ConstraintError, "stands twice"),
        ("{x}", {"x": "1", "y": "2"}, ConstraintError, r"no place for the field \{y\}"),
        ("x", {}, ConstraintError, "There is no field"),
        ("{x:3}", {"x": "1"}, ConstraintError, "a field is a name alone"),
        ("{x", {"x": "1"}, ConstraintError, "`over=` cannot be read"),
        (3, {"x": "1"}, InvalidTypeError, "`over=` is a str"),
        ("{x}", {"x": 3}, InvalidTypeError, "needs a pattern or a constraint, not 3"),
        ("{x}", {"x": lp.check("c", prefix=bool)}, InvalidInputError, "needs an automaton"),
        ("{x}", ["x"], InvalidTypeError, "is a dict of patterns by field"),
    ],
)
def test_templates_and_fields_that_are_none_are_refused(
    over: str, fields: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        lp.linear("1 <= x", over=over, fields=fields)


def _open_ends_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can still be appended to a number is forgotten."""
    values = NumberField.values

    def closed(self: NumberField, state: int, text: bytes) -> number_ranges.Ranges:
        value = self.value(text) if text else None
        return values(self, state, text) if value is None else ((value, value),)

    monkeypatch.setattr(NumberField, "values", closed)


def _hulls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gaps between the ranges are forgotten."""
    values = NumberField.values

    def hull(self: NumberField, state: int, text: bytes) -> number_ranges.Ranges:
        found = values(self, state, text)
        return ((found[0][0], found[-1][1]),)

    monkeypatch.setattr(NumberField, "values", hull)


def _no_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """What narrowing does not refuse counts as possible."""
    monkeypatch.setattr(linear_feasibility, "_most", lambda weights, domains: -(10**30))


@pytest.mark.parametrize(
    ("mutate", "condition", "patterns"),
    [
        (_open_ends_are_closed, "4*x == 3*y + 5", NUMBERS),
        (_hulls, "x + y == 7", {"x": "[05]", "y": "1|[3-7]"}),
        (_no_halves, "x + y - z == 1", dict.fromkeys("xyz", "[02468]")),
    ],
)
def test_mutants_are_caught(
    mutate: Callable, condition: str, patterns: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    template = ",".join(f"{{{name}}}" for name in patterns)
    agrees_with_brute_force(condition, template, patterns, lp.linear)
    linear_records._linear.cache_clear()
    mutate(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        agrees_with_brute_force(condition, template, patterns, lp.linear)
    linear_records._linear.cache_clear()


def test_feasibility_is_that_of_all_points() -> None:
    rows = (((2, -3), 1), ((-2, 3), -1))
    domains = (((0, 4), (7, 9)), ((0, 2), (5, 6)))
    points = itertools.product(
        *([v for low, high in ranges for v in range(low, high + 1)] for ranges in domains)
    )
    expected = any(all(sum(w * v for w, v in zip(ws, p, strict=True)) <= b for ws, b in rows) for p in points)
    assert is_feasible(with_combinations(rows), domains) == expected
    assert not is_feasible(with_combinations(rows), (((0, 1),), ((3, 9),)))
