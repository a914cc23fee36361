"""What a constraint says of prefixes: byte by byte, and a completion of each that it calls viable."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

import numpy as np

from lmppl.constraints.protocol import Constraint, State
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.vocabularies.byte_steps import steps_of

_FEW = 5  # bytes that are asked about at once
_MOST = 12  # places of a text where single steps are compared, and places whose bytes are asked about there
_OTHERS = {b'"', b'a"', b'a",', b"\\", b" ", b"\n", b"1 ", b"],", b"\x00", b"\xc3", b"\xff", b"'", b"aB_1 "}


def stepped(constraint: Constraint, data: bytes) -> list[State]:
    """Gives the states of all viable prefixes, the empty one first.

    Raises:
        AssertionError: One call of `advance` for all bytes says otherwise than one call a byte, or what is
            known of single steps says otherwise than `advance`.
    """
    states = [constraint.initial()]
    for position in range(len(data)):
        after = constraint.advance(states[-1], data[position : position + 1])
        if after is None:
            break
        states.append(after)
    if constraint.revisits_states:
        _compare_steps(constraint, states, data)
    whole = constraint.advance(states[0], data)
    assert (whole is not None) == (len(states) > len(data)), f"{data!r} as a whole is judged otherwise"
    if whole is not None:
        assert constraint.accepts(whole) == constraint.accepts(states[-1]), (
            f"{data!r} as a whole ends otherwise"
        )
    return states


def _compare_steps(constraint: Constraint, states: list[State], data: bytes) -> None:
    """Asks in each state about all that the text has somewhere, and about bytes that it may not have.

    Of a long text some places stand for the rest.
    """
    steps = steps_of(constraint)
    places = range(0, len(data), 1 + len(data) // _MOST)
    candidates = {data[at : at + size] for at in places for size in (1, _FEW)} | _OTHERS
    for state in states[:: 1 + len(states) // _MOST]:
        for candidate in candidates:
            is_viable = constraint.advance(state, candidate) is not None
            said = steps.is_viable(steps.standing(state), candidate)
            assert said == is_viable, f"{candidate!r} after {state!r} in {data!r}"


def accepted(constraint: Constraint, text: bytes | str) -> bool:
    """Says whether a whole text is accepted, read at once."""
    state = constraint.advance(constraint.initial(), text.encode() if isinstance(text, str) else text)
    return state is not None and constraint.accepts(state)


def completion(
    constraint: Constraint,
    state: State,
    alphabet: bytes,
    most: int,
    cost: Callable[[bytes, State], int] = lambda text, state: len(text),
) -> bytes | None:
    """Searches what completes a state, first where the cost is least; None after `most` states.

    Raises:
        AssertionError: All states that the alphabet leads to were met, and none is accepted.
    """
    number = itertools.count()
    todo = [(0, next(number), state, b"")]
    seen = {state}
    while todo:
        _, _, state, text = heapq.heappop(todo)
        if constraint.accepts(state):
            return text
        if len(seen) > most:
            return None
        for byte in alphabet:
            after = constraint.advance(state, bytes((byte,)))
            if after is not None and after not in seen:
                seen.add(after)
                longer = text + bytes((byte,))
                heapq.heappush(todo, (cost(longer, after), next(number), after, longer))
    raise AssertionError("a prefix is viable but has no completion")


def shortest_completions(machine: ByteAutomaton) -> list[bytes | None]:
    """Gives each state's shortest way to an accepted one, searched backwards; None where there is none."""
    ways: list[bytes | None] = [b"" if accepts else None for accepts in machine.accepting]
    transitions = np.asarray(machine.transitions)
    while True:
        done = np.array([way is not None for way in ways])
        leads = (transitions >= 0) & done[transitions] & ~done[:, None]
        if not leads.any():
            return ways
        found = leads.any(axis=1).nonzero()[0].tolist()
        first = leads.argmax(axis=1)
        longer = {
            state: bytes((int(first[state]),)) + (ways[transitions[state, first[state]]] or b"")
            for state in found
        }
        for state, way in longer.items():
            ways[state] = way
