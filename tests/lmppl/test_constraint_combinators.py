"""`a | b`, `a + b`, `a.repeat()` and `~a`, against sets of strings that are written out."""

from __future__ import annotations

import functools
import itertools
import math
import pickle
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lmppl as lp
from lmppl.constraints.combined.concatenation import Concatenation
from lmppl.constraints.combined.repetition import Repetition
from lmppl.constraints.combined.union import Union
from lmppl.constraints.functions.python_check import check
from lmppl.constraints.grammars.grammar import lark
from lmppl.constraints.protocol import Constraint, State
from lmppl.constraints.regular import automaton_algebra, automaton_operations
from lmppl.constraints.regular.alternatives import choices
from lmppl.constraints.regular.regular_expression import regex
from lmppl.constraints.regular.text_length import length
from lmppl.errors import ConstraintError, InvalidInputError, InvalidTypeError

ALPHABET = b"ab" + "é".encode()
OTHERS = b"c\xa8"  # what a completion may need besides
LONGEST = 4
STRINGS = [bytes(s) for n in range(LONGEST + 1) for s in itertools.product(ALPHABET, repeat=n)]

Language = frozenset[bytes]
"""Of the strings of a language, those that are in `STRINGS`."""
Expression = tuple[Constraint, Language]


def text_of(string: bytes) -> str | None:
    try:
        return string.decode()
    except UnicodeDecodeError:
        return None


def language(holds: Callable[[str], object]) -> Language:
    return frozenset(s for s in STRINGS if (text := text_of(s)) is not None and holds(text))


def matching(pattern: str) -> tuple[Constraint, Language]:
    return regex(pattern), language(lambda s: re.fullmatch(pattern, s))


AUTOMATA = [
    matching("(ab?)*"),
    matching("[ab]{2,3}"),
    matching("[aé]b*|é{2}"),
    matching("a?"),
    (choices(["ab", "é", "aab", "b"]), language(lambda s: s in ("ab", "é", "aab", "b"))),
    (choices([""]), language(lambda s: s == "")),
    (length(1, 2), language(lambda s: 1 <= len(s) <= 2)),
]
NESTED = lark('start: "a" start "b" | "ab" | "é"')
GENERAL = [
    (NESTED, language(lambda s: s in ("é", "ab", "aabb", "aéb"))),
    (check("few", prefix=lambda s: s.count("a") <= 1), language(lambda s: s.count("a") <= 1)),
    (check("ends", complete=lambda s: s.endswith("é")), language(lambda s: s.endswith("é"))),
]


@pytest.fixture(scope="module")
def leaves(without_automaton: Callable[[Constraint], Constraint]) -> list[Expression]:
    """Automata, the same ones hidden, and what has none."""
    return [*AUTOMATA, *((without_automaton(one), strings) for one, strings in AUTOMATA), *GENERAL]


def joined(one: Language, other: Language) -> Language:
    return frozenset(x + y for x in one for y in other if len(x + y) <= LONGEST)


def in_a_row(strings: Language, least: int, most: int | None) -> Language:
    """Sums powers; those beyond `LONGEST` add only strings that are too long."""
    highest = least + LONGEST if most is None else most
    powers = itertools.accumulate([strings] * highest, joined, initial=frozenset({b""}))
    return frozenset().union(*itertools.islice(powers, least, None))


def grown(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    bounds = st.tuples(st.integers(0, 3), st.none() | st.integers(0, 2))
    return st.one_of(
        st.tuples(st.just("|"), inner, inner).map(made),
        st.tuples(st.just("+"), inner, inner).map(made),
        st.tuples(st.just("&"), inner, inner).map(made),
        st.tuples(st.just("~"), inner).map(made),
        st.tuples(st.just("repeat"), inner, bounds).map(made),
    )


def made(operation: tuple) -> Expression:
    """Applies an operation to constraints and to their languages alike."""
    sign, (one, strings), *rest = operation
    if sign == "repeat":
        least, more = rest[0]
        most = None if more is None else least + more
        return one.repeat(least, most), in_a_row(strings, least, most)
    if sign == "~":
        if one.automaton() is None:
            return one, strings
        rest = language(lambda s: s.encode() not in strings)
        try:
            return ~one, rest
        except ConstraintError:
            assert not rest
            return one, strings
    other, other_strings = rest[0]
    if sign == "|":
        return one | other, strings | other_strings
    if sign == "+":
        return one + other, joined(strings, other_strings)
    try:
        return one & other, strings & other_strings
    except ConstraintError:
        assert not strings & other_strings
        return one, strings


def expressions(leaves: list[Expression]) -> st.SearchStrategy[Expression]:
    return st.recursive(st.sampled_from(leaves), grown, max_leaves=4)


def walked(constraint: Constraint) -> dict[bytes, State]:
    """Gives the state of every viable string, advanced byte by byte."""
    states = {b"": constraint.initial()}
    for string in STRINGS[1:]:
        before = states.get(string[:-1])
        state = None if before is None else constraint.advance(before, string[-1:])
        if state is not None:
            states[string] = state
    return states


def can_be_completed(constraint: Constraint, state: State) -> bool:
    """Searches for an accepted completion."""
    met = {state}
    todo = [state]
    for each in todo:
        if constraint.accepts(each):
            return True
        for byte in ALPHABET + OTHERS:
            new = constraint.advance(each, bytes((byte,)))
            if new is not None and new not in met:
                met.add(new)
                todo.append(new)
        if len(todo) > 20_000:
            return False
    return False


def test_strings_are_told_apart_by_every_leaf(leaves: list[Expression]) -> None:
    for constraint, strings in leaves:
        states = walked(constraint)
        assert {s for s, state in states.items() if constraint.accepts(state)} == strings


def test_operations_on_automata_give_automata_of_the_right_strings() -> None:
    """Repetitions of repetitions of repetitions may take too long to be made one; nothing else does."""
    num_tried = num_automata = 0

    @settings(max_examples=150)
    @given(expressions(AUTOMATA))
    def compare(expression: Expression) -> None:
        nonlocal num_tried, num_automata
        constraint, strings = expression
        has_automaton = constraint.automaton() is not None
        num_tried += 1
        num_automata += has_automaton
        assert has_automaton or repr(constraint).count(".repeat(") >= 3
        assert constraint.viable_is_exact
        states = walked(constraint)
        assert {s for s, state in states.items() if constraint.accepts(state)} == strings

    compare()
    assert num_automata >= 0.99 * num_tried


def test_a_repetition_that_takes_too_long_as_an_automaton_is_the_same_without_one() -> None:
    item, strings = AUTOMATA[2]
    twice = item.repeat(2, 4).repeat(1, 4)
    thrice = twice.repeat(1, 12)
    assert twice.automaton() is not None
    assert thrice.automaton() is None
    assert thrice.viable_is_exact
    states = walked(thrice)
    accepted = {s for s, state in states.items() if thrice.accepts(state)}
    assert accepted == in_a_row(strings, 2, None)
    assert accepted
    assert accepted < set(states)


@settings(max_examples=150)
@given(st.data())
def test_operations_on_anything_allow_the_right_strings_and_their_beginnings(
    leaves: list[Expression], data: st.DataObject
) -> None:
    constraint, strings = data.draw(expressions(leaves))
    states = walked(constraint)
    assert {s for s, state in states.items() if constraint.accepts(state)} == strings
    assert all(s[:n] in states for s in strings for n in range(len(s)))
    for string in STRINGS:  # any cut into chunks is a walk: the whole at once is the farthest from it
        whole = constraint.advance(constraint.initial(), string)
        assert (whole is not None) == (string in states)
        assert whole is None or constraint.accepts(whole) == (string in strings)


@settings(max_examples=150, derandomize=True)  # a search may be too long for rare ones
@given(st.data())
def test_what_claims_to_be_exact_can_be_completed(leaves: list[Expression], data: st.DataObject) -> None:
    constraint, _ = data.draw(expressions(leaves))
    if not constraint.viable_is_exact:
        return
    for string, state in walked(constraint).items():
        if len(string) <= 2:
            assert can_be_completed(constraint, state), string


OPERATIONS: list[tuple[str, Callable[..., Constraint]]] = [
    ("|", lambda a, b: a | b),
    ("+", lambda a, b: a + b),
    ("*", lambda a, b: a.repeat() + b),
    ("{2,3}", lambda a, b: b + a.repeat(2, 3)),
    ("{1,}", lambda a, b: (a | b).repeat(1)),
]


@pytest.mark.parametrize("operation", [op for _, op in OPERATIONS], ids=[sign for sign, _ in OPERATIONS])
@pytest.mark.parametrize("first", [leaf for leaf, _ in AUTOMATA], ids=repr)
@pytest.mark.parametrize("second", [leaf for leaf, _ in AUTOMATA[:4]], ids=repr)
def test_the_general_form_is_viable_exactly_where_the_automaton_is(
    operation: Callable[..., Constraint],
    first: Constraint,
    second: Constraint,
    without_automaton: Callable[[Constraint], Constraint],
) -> None:
    exact = operation(first, second)
    general = operation(without_automaton(first), without_automaton(second))
    assert exact.automaton() is not None
    assert general.automaton() is None or first == second
    assert general.viable_is_exact
    expected, found = walked(exact), walked(general)
    assert set(found) == set(expected)
    for string, state in found.items():
        assert general.accepts(state) == exact.accepts(expected[string])


@pytest.mark.parametrize("operation", [op for _, op in OPERATIONS], ids=[sign for sign, _ in OPERATIONS])
def test_what_holds_a_check_is_not_exact(
    operation: Callable[..., Constraint], without_automaton: Callable[[Constraint], Constraint]
) -> None:
    few = check("few", prefix=lambda s: len(s) <= 3)
    assert operation(NESTED, without_automaton(regex("a"))).viable_is_exact
    assert not operation(few, regex("a")).viable_is_exact
    assert not operation(NESTED, few).viable_is_exact


def test_operations_give_the_automaton_of_the_regular_expression() -> None:
    letter, digit = regex("[a-zé]"), regex(r"[0-9]")
    assert (letter | digit) == regex("[a-zé0-9]")
    assert letter + digit == regex("[a-zé][0-9]")
    assert letter.repeat() == regex("[a-zé]*")
    assert letter.repeat(2) == regex("[a-zé]{2,}")
    assert letter.repeat(2, 5) == regex("[a-zé]{2,5}")
    assert regex("a?").repeat(3, 5) == regex("a{0,5}")
    assert letter.repeat(0, 0) == choices([""])
    assert letter.repeat(1, 1) is letter
    assert ~letter == regex("(?s:[^a-zé]|.{2,})?")


def test_strings_stand_for_themselves_on_either_side() -> None:
    letter = regex("[a-z]")
    assert "(" + letter + ")" == regex(r"\([a-z]\)")
    assert "é" | letter == letter | "é" == regex("[a-zé]")
    assert letter + (", " + letter).repeat() == regex("[a-z](, [a-z])*")
    with pytest.raises(ConstraintError, match="lone surrogate"):
        repr(letter + "\ud800")


def test_a_check_in_a_concatenation_sees_its_own_part() -> None:
    seen: list[str] = []
    quoted = '"' + check("short", prefix=lambda s: not seen.append(s) and len(s) <= 3) + '" said she'
    state = quoted.advance(quoted.initial(), b'"\xc3\xa9ab" said she')
    assert state is not None
    assert quoted.accepts(state)
    assert seen[:2] == ["", "é"]
    assert not any(text.startswith('"') for text in seen)
    assert quoted.advance(quoted.initial(), b'"abcd') is None
    assert not quoted.viable_is_exact


def test_complement_is_within_whole_characters() -> None:
    constraint = ~regex("a")
    assert constraint.viable_is_exact
    partial = constraint.advance(constraint.initial(), b"\xc3")
    assert partial is not None
    assert not constraint.accepts(partial)
    assert constraint.advance(constraint.initial(), b"\xff") is None
    assert ~~regex("a|é") == regex("a|é")
    assert (~(regex("a+") | regex("b+"))).automaton() == (~regex("a+") & ~regex("b+")).automaton()


def test_complement_of_what_is_no_automaton_is_refused() -> None:
    with pytest.raises(ConstraintError, match=r"`~check\('x'\)` needs an automaton, which check\('x'\)"):
        repr(~check("x", prefix=bool))
    with pytest.raises(ConstraintError, match=r"`~\(regex\('a'\) & check\('x'\)\)` needs an automaton"):
        repr(~(regex("a") & check("x", prefix=bool)))


def test_complement_of_everything_is_refused() -> None:
    with pytest.raises(ConstraintError, match="allows every text"):
        repr(~regex("(?s:.*)"))


def test_complement_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automaton_algebra, "MAX_PAIRS", 2)
    with pytest.raises(ConstraintError, match=r"`~regex\('abacus'\)` needs more than 2 states: .* has 7\."):
        repr(~regex("abacus"))


def test_automata_that_grow_too_large_stay_apart_with_the_same_strings() -> None:
    joined = regex("[ab]*a") + regex("[ab]{16}")  # a deterministic automaton has 2 ** 16 states
    assert isinstance(joined, Concatenation)
    assert joined.viable_is_exact
    state = joined.advance(joined.initial(), b"ba" + b"b" * 16)
    assert state is not None
    assert joined.accepts(state)
    state = joined.advance(joined.initial(), b"bb" + b"b" * 16)
    assert state is not None
    assert not joined.accepts(state)


@pytest.mark.parametrize("limit", ["MAX_JOINED_STATES", "MAX_STEPS"])
def test_limits_lead_to_the_general_forms(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automaton_operations, limit, 2)
    left, right = regex("ab|é"), regex("b*a")
    assert isinstance(left + right, Concatenation)
    assert isinstance(left.repeat(2, 3), Repetition)


def test_a_union_that_grows_too_large_keeps_its_sides_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automaton_algebra, "MAX_PAIRS", 2)
    either = regex("ab|é") | regex("bb*a")  # not met elsewhere, so not remembered
    assert isinstance(either, Union)
    state = either.advance(either.initial(), b"bba")
    assert state is not None
    assert either.accepts(state)


def test_a_repeat_without_automaton_has_finitely_many_states() -> None:
    constraint = NESTED.repeat(2)
    assert constraint.automaton() is None
    states = {constraint.advance(constraint.initial(), "é".encode() * n) for n in range(3, 50)}
    assert len(states) == 1


def test_constraints_are_described_as_they_are_written() -> None:
    a, b, c = regex("a"), regex("b"), check("c", prefix=bool)
    assert repr(a | b | c) == "regex('a') | regex('b') | check('c')"
    assert repr("(" + c + ")") == "'(' + check('c') + ')'"
    assert repr((a | b) + c) == "(regex('a') | regex('b')) + check('c')"
    assert repr((a | b) & c) == "(regex('a') | regex('b')) & check('c')"
    assert repr(a & c | b) == "regex('a') & check('c') | regex('b')"
    assert repr((a + b).repeat(2)) == "(regex('a') + regex('b')).repeat(least=2)"
    assert repr(~(a | b)) == "~(regex('a') | regex('b'))"
    assert repr(~a.repeat(0, 2) + c) == "~regex('a').repeat(least=0, most=2) + check('c')"
    assert repr((~a).repeat()) == "(~regex('a')).repeat(least=0)"


def test_combined_constraints_are_values(without_automaton: Callable[[Constraint], Constraint]) -> None:
    def build() -> Constraint:
        return ("a" | NESTED) + (regex("b") | NESTED).repeat(1, 2) + "é"

    assert build() == build()
    assert hash(build()) == hash(build())
    either = without_automaton(regex("a")) | "b"
    assert pickle.loads(pickle.dumps(either)) == either


def test_an_option_twice_is_once() -> None:
    part = NESTED
    assert (part | part) is part
    assert (part | "a" | part) == (part | "a")


@pytest.mark.parametrize("other", [3, None, b"a"])
def test_what_is_no_constraint_cannot_be_joined(other: object) -> None:
    for operation in (lambda: regex("a") | other, lambda: other | regex("a"), lambda: regex("a") + other):
        with pytest.raises(InvalidTypeError, match="joins constraints and strings, but was given"):
            operation()


def test_a_distribution_beside_an_option_is_told_about_parentheses() -> None:
    lm = lp.TableLM(["a", "<eos>"], initial_probs=[0.5, 0.5], transition_probs=[[0.5, 0.5], [0.0, 1.0]])
    with pytest.raises(InvalidTypeError, match=r"`lm\(prompt\) & \(a \| b\)`"):
        repr(lm("") & regex("a") | regex("b"))


@pytest.mark.parametrize(
    ("bounds", "error", "message"),
    [
        ((-1, None), InvalidInputError, r"repeat\(least=-1\) is below 0"),
        ((3, 2), InvalidInputError, r"repeat\(least=3, most=2\) allows no count"),
        ((1.0, None), InvalidTypeError, r"repeat\(least=...\) expects an int, got 1.0"),
        ((0, True), InvalidTypeError, r"repeat\(most=...\) expects an int, or None"),
    ],
)
def test_bounds_that_cannot_be_used_are_refused(bounds: tuple, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        regex("a").repeat(*bounds)


def test_a_sum_of_many_options_is_built_step_by_step() -> None:
    options = [regex(f"{i}+") for i in range(10)]
    assert functools.reduce(lambda a, b: a | b, options).automaton() is not None
    assert functools.reduce(lambda a, b: a + b, options) == regex("".join(f"{i}+" for i in range(10)))


def test_evidence_of_combined_constraints_is_that_of_their_strings() -> None:
    lm = lp.TableLM(
        ["a", "b", "<eos>"],
        initial_probs=[0.5, 0.3, 0.2],
        transition_probs=[[0.2, 0.5, 0.3], [0.4, 0.2, 0.4], [0.0, 0.0, 1.0]],
    )

    @lp.program
    def word(lm: object, constraint: Constraint) -> str:
        return lp.sample("word", lm("", max_tokens=4) & constraint)  # type: ignore[operator]

    free = lp.infer(word, lm, regex("[ab]*"), method=lp.Enumerate())
    few = check("few", prefix=lambda s: s.count("b") <= 1)
    for constraint, pattern in [
        (few + "b", "a*(ba*)?b"),
        ("a" | few + "ba", "a|a*(ba*)?ba"),
        ((few + "a").repeat(1), "(a*(ba*)?a)+"),
        (~regex("a.*"), "(b.*)?"),
    ]:
        given_it = lp.infer(word, lm, constraint, method=lp.Enumerate())
        mass = sum(p for text, p in free.answers().items() if re.fullmatch(pattern, text))
        assert given_it.log_evidence == pytest.approx(free.log_evidence + math.log(mass), abs=1e-5)
