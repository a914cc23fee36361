"""Steps that ask constraints as they go: taken one by one, or side by side and answered together."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from lmppl.constraints.functions.remembered_answers import CheckTimedOut
from lmppl.constraints.protocol import Constraint, State

Result = TypeVar("Result")


class Ask(NamedTuple):
    """A question: what is the state after some bytes, and may the text end there, if that matters?

    Attributes:
        constraint: What is asked; None allows everything.
        state: Before the bytes.
        data: They.
        ends: Whether the text must be able to end behind them.
    """

    constraint: Constraint | None
    state: State
    data: bytes = b""
    ends: bool = False


REFUSED: Any = object()
"""The answer where the constraint allows none of it."""

Asking = Generator[Sequence[Ask], Sequence[Any], Result]
"""A step: it asks, is sent the state or `REFUSED` for each question, and returns what comes of it."""


def answered(asking: Asking[Result]) -> Result:
    """Takes one step, asking one question after the other. May raise `CheckTimedOut`."""
    try:
        asks = next(asking)
        while True:
            asks = asking.send([_answer(*ask) for ask in asks])
    except StopIteration as done:
        return done.value


def answered_together(steps: Sequence[Asking[Result]]) -> list[Result | CheckTimedOut]:
    """Takes steps side by side, all that they ask in one round answered by one call of `check`."""
    results: dict[int, Result | CheckTimedOut] = {}
    said: dict[int, Any] = dict.fromkeys(range(len(steps)))
    while said:
        asked: dict[int, Sequence[Ask]] = {}
        for index, answers in said.items():
            try:
                asked[index] = steps[index].send(answers)
            except StopIteration as done:
                results[index] = done.value
        known = _answers(ask for asks in asked.values() for ask in asks)
        said = {}
        for index, asks in asked.items():
            answers = [known[_key(ask)] for ask in asks]
            late = next(filter(_is_late, answers), None)
            if late is None:
                said[index] = answers
            else:
                results[index] = late
                steps[index].close()
    return [results[index] for index in range(len(steps))]


def _answer(constraint: Constraint | None, state: State, data: bytes, ends: bool) -> Any:
    if constraint is None:
        return state
    after = constraint.advance(state, data) if data else state
    is_allowed = after is not None and (not ends or constraint.accepts(after))
    return after if is_allowed else REFUSED


def _key(ask: Ask) -> tuple[int, State, bytes, bool]:
    """Gives what tells questions apart that are asked at one time; to hash a constraint may take long."""
    return id(ask.constraint), ask.state, ask.data, ask.ends


def _answers(asks: Iterable[Ask]) -> dict[tuple[int, State, bytes, bool], Any]:
    """Gives the answer to each question, or that a check timed out."""
    by_constraint: dict[int, list[Ask]] = {}
    for ask in {_key(ask): ask for ask in asks}.values():
        by_constraint.setdefault(id(ask.constraint), []).append(ask)
    found: dict[tuple[int, State, bytes, bool], Any] = {}
    for group in by_constraint.values():
        constraint = group[0].constraint
        states = [ask.state for ask in group] if constraint is None else _states_after(constraint, group)
        found |= {_key(ask): state for ask, state in zip(group, states, strict=True)}
    return found


def _states_after(constraint: Constraint, asks: Sequence[Ask]) -> list[Any]:
    """Answers questions to one constraint."""
    after: dict[tuple[State, bytes], Any] = {(ask.state, b""): ask.state for ask in asks}
    candidates: dict[State, list[bytes]] = {}
    for state, data in dict.fromkeys((ask.state, ask.data) for ask in asks if ask.data):
        candidates.setdefault(state, []).append(data)
    if candidates:
        said = constraint.check(list(candidates), list(candidates.values()))
        for (state, row), answers in zip(candidates.items(), said, strict=True):
            after |= {(state, data): answer for data, answer in zip(row, answers, strict=True)}
    states = [REFUSED if (new := after[ask.state, ask.data]) is None else new for ask in asks]
    ending = [
        index
        for index, (ask, state) in enumerate(zip(asks, states, strict=True))
        if ask.ends and state is not REFUSED and not _is_late(state)
    ]
    if ending:
        ends = constraint.check_ends([states[index] for index in ending])
        for index, end in zip(ending, ends, strict=True):
            if end is not True:
                states[index] = end if _is_late(end) else REFUSED
    return states


def _is_late(answer: object) -> bool:
    return isinstance(answer, CheckTimedOut)
