"""The search for a text's completion, which tests of JSON's constraints share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from viable_prefixes import completion as search

from lmppl.constraints.json_values.phases import COLON, NAME, NAME_START, NUMBER, STRING, VALUE, WORD
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
    return search(constraint, state, alphabet, most, _still_needed)


def _still_needed(text: bytes, state: State) -> int:
    frame, phase, detail, _ = cast(Any, state)
    missing = min((len(getattr(entry, "missing", ())) for entry in frame.entries), default=0)
    name = len(detail.content) if phase == NAME else 0
    return len(text) + 20 * name + 60 * missing + 3 * frame.depth + _TO_GO.get(phase, 0)
