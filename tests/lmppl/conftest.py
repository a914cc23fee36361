"""The search for a text's completion, which tests of JSON's constraints share."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any, cast

import pytest

from lmppl.constraints.json_values.acceptor import COLON, NAME, NAME_START, NUMBER, STRING, VALUE, WORD
from lmppl.constraints.protocol import Constraint, State

_TO_GO = {NAME_START: 20, NAME: 18, COLON: 15, VALUE: 12, STRING: 8, WORD: 8, NUMBER: 5}


@pytest.fixture(scope="session")
def completion() -> Callable[..., bytes | None]:
    """Gives the search."""
    return completion_of


def completion_of(constraint: Constraint, state: State, alphabet: bytes, most: int = 30_000) -> bytes | None:
    """Searches a completion of a state, first where little is open and few required names are missing.

    None where more than `most` states are met; that there is none fails the test.
    """
    number = itertools.count()
    todo = [(0, next(number), state, b"")]
    seen = {state}
    while todo and len(seen) < most:
        _, _, state, text = heapq.heappop(todo)
        if constraint.accepts(state):
            return text
        for byte in alphabet:
            after = constraint.advance(state, bytes((byte,)))
            if after is not None and after not in seen:
                seen.add(after)
                frame, phase, detail, _ = cast(Any, after)
                missing = min((len(getattr(entry, "missing", ())) for entry in frame.entries), default=0)
                name = len(detail.content) if phase == NAME else 0
                cost = len(text) + 20 * name + 60 * missing + 3 * frame.depth + _TO_GO.get(phase, 0)
                heapq.heappush(todo, (cost, next(number), after, text + bytes((byte,))))
    assert todo, "no completion of a beginning that is said to be viable"
    return None
