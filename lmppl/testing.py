"""Tests for parts of your own: contracts of constraints, potentials and models, and unbiasedness."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lmppl.constraints.cost_growth import TIMES, CostGrowth, cost_growth_of
from lmppl.constraints.lateness import Lateness, lateness_of
from lmppl.constraints.protocol import OUTSIDE, Constraint, State, has_mask
from lmppl.constraints.regular.free_characters import are_free
from lmppl.constraints.vocabularies.vocabulary_mask import VocabularyIndex
from lmppl.contracts import check_language_model as check_language_model
from lmppl.errors import InvalidInputError, InvalidTypeError, LmpplError
from lmppl.language_model import Vocabulary
from lmppl.potentials.laws import check_potential as check_potential
from lmppl.unbiasedness import assert_unbiased as assert_unbiased

Answer = TypeVar("Answer")

_DISTURBANCES = (b"\x00", b"\x80", b"\xff", b"\xf0\x9f", b" ", b"a")
_FREE = (b"a", b"b c", "é".encode(), b"zzzz")
_NOT_DOUBTED = 2 * TIMES  # growth of a byte's cost that is more than reading the text again
_MANY_LINES = 10_000  # executed for a byte, some milliseconds


@dataclass(frozen=True)
class ConstraintReport:
    """What was seen of a constraint that keeps the laws: how late it refuses, and how its cost grows.

    Attributes:
        lateness: How many bytes it let through from the first mistake on.
        cost_growth: What a byte costs in a longer text; None if no piece of a sample can be repeated, or
            the constraint `takes_long`.
    """

    lateness: Lateness
    cost_growth: CostGrowth | None

    def __str__(self) -> str:
        late, grown = self.lateness, self.cost_growth
        bounds = f"{late.at_least} to {late.at_most}" if late.at_least < late.at_most else f"{late.at_most}"
        said = f"Bytes let through after a mistake: {bounds}"
        said += f", as in {late.text!r}.\n" if late.at_most else ".\n"
        if grown is None:
            return said + "Cost of a byte in longer texts: not measured."
        return said + (
            f"Cost of a byte at {TIMES} times the length: {grown.in_lines:.1f} times the lines of Python, "
            f"{grown.in_time:.1f} times the time."
        )


def check_constraint(constraint: Constraint, samples: Iterable[str | bytes]) -> ConstraintReport:
    """Tests the laws of a constraint on samples, and on samples cut and disturbed.

    The laws: advancing by a whole is advancing by its parts, wherever it is cut, inside characters
    too; a prefix that was refused stays refused; every prefix of an accepted string is viable; states
    are hashable values that advancing does not change; an automaton, if there is one, says the same; what
    is asked together is answered as if it were asked one by one; what says less than a state, `local`,
    `next_bytes` and `num_free`, says nothing else; `mask`, if there is one, says of each token what `advance`
    does; where `viable_is_exact`, a prefix that is let through has a completion; the cost of a byte does not
    grow faster than the text.

    The last two are broken only beyond doubt: a search for a completion met every state that there is, or
    a byte takes 10,000 lines of Python and more than 16 times those of a text an eighth as long. What falls
    short of that is reported.

    Args:
        constraint: What to test.
        samples: Strings in the language and outside it. At least one must be accepted. Cost grows
            with the square of their lengths: some dozen of up to 50 bytes are enough.

    Returns:
        How late it refuses and how its cost grows; printed, two sentences.

    Raises:
        AssertionError: A law is broken. The message names the law, the string and the place.
        InvalidInputError: There is no sample.
        InvalidTypeError: Something else was given.
    """
    if not isinstance(constraint, Constraint):
        raise InvalidTypeError(f"check_constraint() tests a Constraint, but was given {constraint!r}.")
    strings = _strings(samples)
    if not strings:
        raise InvalidInputError("check_constraint() was given no samples. Give strings inside and outside.")
    _is_value(constraint, constraint, "the constraint")
    _law(bool(constraint.describe()), "describe() gives a text", constraint.describe())
    initial = constraint.initial()
    _law(initial is not None, "initial() gives a state: None stands for a refused prefix", b"")
    _is_value(initial, constraint.initial(), "a state, which initial() always gives the same,")
    for string in strings:
        _test_string(constraint, string)
        for text in _disturbed(string):
            _test_refusal(constraint, text)
        _test_together(constraint, string)
    accepted = [string for string in strings if _accepted(constraint, string)]
    _law(bool(accepted), "at least one sample is accepted, or the test would prove little", strings[:3])
    return ConstraintReport(
        _test_lateness(constraint, strings, accepted), _test_cost_growth(constraint, accepted)
    )


def _strings(samples: Iterable[str | bytes]) -> list[bytes]:
    if isinstance(samples, str | bytes):
        raise InvalidTypeError(f"check_constraint() takes a list of samples, but was given {samples!r:.60}.")
    strings = []
    for sample in samples:
        if not isinstance(sample, str | bytes):
            raise InvalidTypeError(f"A sample of check_constraint() is a str or bytes, not {sample!r:.60}.")
        strings.append(sample.encode() if isinstance(sample, str) else sample)
    return strings


def _disturbed(string: bytes) -> list[bytes]:
    return [
        string[:cut] + between + string[cut:] for cut in range(len(string) + 1) for between in _DISTURBANCES
    ]


def _test_lateness(constraint: Constraint, strings: list[bytes], accepted: Sequence[bytes]) -> Lateness:
    texts = [text for string in strings for text in (string, *_disturbed(string))]
    late = lateness_of(constraint, texts, accepted)
    _law(
        late.dead is None or not constraint.viable_is_exact,
        "a prefix that is let through has a completion, as `viable_is_exact` says",
        late.dead,
    )
    return late


def _test_cost_growth(constraint: Constraint, accepted: Sequence[bytes]) -> CostGrowth | None:
    grown = cost_growth_of(constraint, accepted)
    if grown is not None:
        _law(
            grown.in_lines <= _NOT_DOUBTED or grown.lines[1] < _MANY_LINES,
            f"the cost of a byte does not grow faster than the text: {grown.lines[0]:.0f} lines of Python, "
            f"and {grown.lines[1]:.0f} where {grown.piece!r} is repeated to {TIMES} times the length",
            grown.text,
        )
    return grown


def _test_string(constraint: Constraint, string: bytes) -> None:
    """Tests all laws on one string, with every cut into two and into single bytes."""
    whole = _advance(constraint, constraint.initial(), string)
    accepted = whole is not None and constraint.accepts(whole)
    for cut in range(len(string) + 1):
        head = _advance(constraint, constraint.initial(), string[:cut])
        _law(head is not None or not accepted, "every prefix of an accepted string is viable", string[:cut])
        after = None if head is None else _advance(constraint, head, string[cut:])
        _same(constraint, whole, after, f"advance of a whole is advance of its parts, cut at {cut}", string)
    _same(
        constraint, whole, _bytewise(constraint, string), "advance of a whole is advance byte by byte", string
    )
    _test_automaton(constraint, string)


def _test_refusal(constraint: Constraint, string: bytes) -> None:
    whole = _advance(constraint, constraint.initial(), string)
    _same(constraint, whole, _bytewise(constraint, string), "a refused prefix stays refused", string)
    _test_automaton(constraint, string)


def _test_together(constraint: Constraint, string: bytes) -> None:
    """Compares `check` and `check_ends` with `advance` and `accepts`, for all viable heads of a string."""
    heads = [_advance(constraint, constraint.initial(), string[:cut]) for cut in range(len(string) + 1)]
    states = [state for state in heads if state is not None]
    candidates = [(string[cut:], *_DISTURBANCES[: cut % 3]) for cut in range(len(states))]
    together = constraint.check(states, candidates)
    alone = [[constraint.advance(s, data) for data in row] for s, row in zip(states, candidates, strict=True)]
    _law(together == alone, "check() of many is advance() of each", string)
    for state, row in zip(states, candidates, strict=True):
        for data in row:
            _test_local(constraint, state, data)
        for data in (*row, *_FREE):
            if are_free(data) and len(data.decode()) <= constraint.num_free(state):
                _law(constraint.advance(state, data) is not None, "num_free() characters may follow", data)
        _test_mask(constraint, state, row)
    ends = constraint.check_ends(states)
    _law(ends == [constraint.accepts(s) for s in states], "check_ends() of many is accepts() of each", string)


def _test_local(constraint: Constraint, state: State, data: bytes) -> None:
    """Compares `next_bytes`, and `local` byte by byte, with `advance`."""
    at, local = state, constraint.local(state)
    whole = None if local is None else constraint.advance(local, data)
    _law(
        local is None or (whole is OUTSIDE) or (whole is None) == (constraint.advance(state, data) is None),
        "local() is viable where the state is",
        data,
    )
    for byte in data:
        after = constraint.advance(at, bytes((byte,)))
        _law(after is None or byte in constraint.next_bytes(at), "next_bytes() has all that are viable", data)
        if local is not None:
            may_come = byte in constraint.next_bytes(local)
            local = constraint.advance(local, bytes((byte,)))
            _law(local is None or may_come, "next_bytes() has all that are viable after local()", data)
            if local is OUTSIDE:
                local = None
            else:
                _law((local is None) == (after is None), "local() is viable where the state is", data)
        if after is None:
            return
        at = after


def _test_mask(constraint: Constraint, state: State, candidates: Sequence[bytes]) -> None:
    """Compares `mask`, if there is one, with `advance`, on a vocabulary of the candidates and their heads."""
    if not has_mask(constraint):
        return
    heads = {data[:length] for data in candidates for length in range(1, len(data) + 1)}
    tokens = sorted(heads | set(_DISTURBANCES))
    index = VocabularyIndex(Vocabulary((*tokens, b""), frozenset({len(tokens)})))
    for data, said in zip(tokens, index.mask(constraint, state).tolist(), strict=False):
        _law(said == (constraint.advance(state, data) is not None), "mask() says what advance() does", data)


def _test_automaton(constraint: Constraint, string: bytes) -> None:
    machine = constraint.automaton()
    if machine is None:
        return
    _law(
        constraint.initial() == machine.start,
        "an automaton's start is the initial state",
        constraint.initial(),
    )
    theirs = machine.advance(machine.start, string)
    ours = constraint.advance(constraint.initial(), string)
    _law(ours == theirs, "an automaton's states are the constraint's", string)
    if theirs is not None and ours is not None:
        _law(machine.accepts(theirs) == constraint.accepts(ours), "an automaton accepts the same", string)


def _advance(constraint: Constraint, state: State, data: bytes) -> State | None:
    """Advances twice, to see that neither the state nor the constraint is changed by it."""
    before = hash(state)
    accepted = _accepts(constraint, state, b"")
    first = _answer(constraint, state, data)
    second = _answer(constraint, state, data)
    _law(hash(state) == before, "advance does not change the state", data)
    _law(constraint.accepts(state) == accepted, "advance does not change what a state accepts", data)
    if first is not None:
        _is_value(first, first, "a state")
    _law(first == second, "advance always gives the same state", data)
    if first is not None:
        _is_value(first, second, "a state")
        _law(_accepts(constraint, first, data) in (True, False), "accepts gives True or False", data)
    return first


def _answer(constraint: Constraint, state: State, data: bytes) -> State | None:
    """Advances, as the law says that it does."""
    law = "advance answers for all bytes, a part of a character too, and raises nothing"
    return _unless_it_fails(lambda: constraint.advance(state, data), law, state, data)


def _accepts(constraint: Constraint, state: State, data: bytes) -> bool:
    """Asks whether a text may end, as the law says that it may be asked."""
    law = "accepts answers for each state that advance gives, and raises nothing"
    return _unless_it_fails(lambda: constraint.accepts(state), law, state, data)


def _unless_it_fails(ask: Callable[[], Answer], law: str, state: State, data: bytes) -> Answer:
    """Tells what fails from what cannot be answered, which is an error of lmppl."""
    try:
        return ask()
    except LmpplError:
        raise
    except Exception as error:
        where = f"With the state {state!r:.60} and {data!r}"
        raise AssertionError(f"Law broken: {law}. {where}: {type(error).__name__}: {error}.") from error


def _bytewise(constraint: Constraint, string: bytes) -> State | None:
    state: State | None = constraint.initial()
    for i in range(len(string)):
        state = _answer(constraint, state, string[i : i + 1])
        if state is None:
            return None
    return state


def _accepted(constraint: Constraint, string: bytes) -> bool:
    state = constraint.advance(constraint.initial(), string)
    return state is not None and constraint.accepts(state)


def _same(constraint: Constraint, one: State | None, other: State | None, law: str, string: bytes) -> None:
    """Two states need not be equal, but must be viable and accepting together."""
    _law((one is None) == (other is None), law, string)
    if one is not None and other is not None:
        _law(constraint.accepts(one) == constraint.accepts(other), law, string)


def _is_value(one: object, other: object, what: str) -> None:
    try:
        same = hash(one) == hash(other)
    except TypeError as error:
        raise AssertionError(f"Law broken: {what} is hashable. At {one!r}.") from error
    _law(one == other and same, f"{what} is equal to itself and has one hash", one)


def _law(holds: bool, law: str, where: object) -> None:
    if not holds:
        raise AssertionError(f"Law broken: {law}. At {where!r}.")
