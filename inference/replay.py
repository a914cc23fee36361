"""The record of a run, over which the program is run again to fork a particle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np

from lmppl.errors import ProgramNotDeterministic, SiteNameError
from lmppl.inference.stand_ins import SavedStatement, stand_in, weighed_by
from lmppl.sites import Call, Observe, Statement
from lmppl.traces import TextRecord, Trace


@dataclass(frozen=True, eq=False)
class Entry:
    """One answered statement."""

    statement: Statement
    value: Any
    detail: Any = None

    @property
    def portable(self) -> Entry:
        """The same answer of a statement that another process can compare with its own."""
        return self if isinstance(self.statement, SavedStatement) else self._portable

    @cached_property
    def _portable(self) -> Entry:
        return Entry(stand_in(self.statement), self.value, self.detail)


class Recording:
    """The answered statements of a run, in order, and how far a replay has come over them."""

    def __init__(self, entries: list[Entry] | None = None):
        self._entries = [] if entries is None else entries
        self._position = 0
        self._claimed: dict[str, str] = {}

    def fork(self) -> Recording:
        """Gives a record with the same past, at its beginning."""
        return Recording(list(self._entries))

    @property
    def entries(self) -> Sequence[Entry]:
        """The answered statements."""
        return self._entries

    def next_recorded(self, statement: Statement) -> Entry | None:
        """Gives the recorded answer of a statement, or None where the record ends.

        Raises:
            ProgramNotDeterministic: The record has another statement here.
        """
        if self._position >= len(self._entries):
            return None
        entry = self._entries[self._position]
        _compare(entry.statement, statement)
        self._position += 1
        if not isinstance(statement, Call):
            self._claimed[statement.name] = statement.location
        return entry

    def claim(self, statement: Statement) -> None:
        """Takes a site's name.

        Raises:
            SiteNameError: The run has reached the name before.
        """
        before = self._claimed.get(statement.name)
        if before is not None:
            raise SiteNameError(
                f"The site {statement.name!r} is reached a second time, at {statement.location} (first "
                f"at {before}). "
                f'Names are unique in a run: in a loop index it, as in f"{statement.name}[{{i}}]".'
            )
        self._claimed[statement.name] = statement.location

    def record(self, statement: Statement, value: Any, detail: Any = None) -> None:
        """Keeps the answer of the statement that the run has come to."""
        self._entries.append(Entry(statement, value, detail))
        self._position = len(self._entries)

    def check_arrival(self, arrived: Statement | None, expected: Statement) -> None:
        """Raises unless a replay stands where its ancestor stands."""
        if arrived is None:
            raise ProgramNotDeterministic(
                f"Run again over the same values, the program returned without reaching {expected.name!r} "
                f"({expected.location}). {_ADVICE}"
            )
        _compare(expected, arrived)

    def check_end(self) -> None:
        """Raises if a replay returned before it came to the end of its record."""
        if self._position < len(self._entries):
            missing = self._entries[self._position].statement
            raise ProgramNotDeterministic(
                f"Run again over the same values, the program returned without reaching {missing.name!r} "
                f"({missing.location}). {_ADVICE}"
            )

    def trace(self) -> Trace:
        """Gives the values by name."""
        values, observed, texts = {}, {}, {}
        for entry in self._entries:
            name = entry.statement.name
            kind = _kind(entry.statement)
            if kind in ("Sample", "Deterministic"):
                values[name] = entry.value
            elif isinstance(entry.statement, (Observe, SavedStatement)) and kind == "Observe":
                observed[name] = entry.statement.value
            if isinstance(entry.detail, TextRecord):
                texts[name] = entry.detail
        return Trace(values, observed, texts)


_ADVICE = (
    "Between its sites a program must be deterministic: no clock, no random module, no iteration over sets "
    "of strings, no state that outlives a run."
)


def _compare(recorded: Statement, reached: Statement) -> None:
    if _kind(recorded) != _kind(reached) or recorded.name != reached.name:
        raise ProgramNotDeterministic(
            f"Run again over the same values, the program reached {_kind(reached)} {reached.name!r} "
            f"at {reached.location}, where it had reached {_kind(recorded)} {recorded.name!r} at "
            f"{recorded.location}. {_ADVICE}"
        )
    again = stand_in(reached) if isinstance(recorded, SavedStatement) else reached
    if recorded.signature() != again.signature():
        raise ProgramNotDeterministic(
            f"Run again over the same values, the program reached {reached.name!r} at {reached.location} "
            f"with another distribution than before: {_shown(reached)}, where it had {_shown(recorded)}. "
            f"{_ADVICE}"
        )
    before, now = weighed_by(recorded), weighed_by(reached)
    if not _equal(before, now):
        raise ProgramNotDeterministic(
            f"Run again over the same values, the program reached {reached.name!r} at {reached.location} "
            f"with {str(now)[:60]!r}, where it had {str(before)[:60]!r}. {_ADVICE}"
        )


def _equal(before: Any, now: Any) -> bool:
    if before is now:
        return True
    if isinstance(before, float) and isinstance(now, float):
        return math.isclose(before, now, rel_tol=1e-6, abs_tol=1e-9)  # of log-weights
    (leaves, structure), (others, other) = (jax.tree.flatten(value) for value in (before, now))
    return structure == other and all(
        np.array_equal(np.asarray(one), np.asarray(two)) for one, two in zip(leaves, others, strict=True)
    )


def _kind(statement: Statement) -> str:
    return statement.kind if isinstance(statement, SavedStatement) else type(statement).__name__


def _shown(statement: Statement) -> str:
    if isinstance(statement, SavedStatement):
        return statement.shown
    return str(getattr(statement, "distribution", ""))[:120]
