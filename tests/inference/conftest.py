"""Constraints that only the host can judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from lmppl.constraints.protocol import Constraint, State


@dataclass(frozen=True)
class WithoutAutomaton(Constraint):
    """The same exact constraint, of which nobody sees the automaton."""

    inner: Constraint

    def initial(self) -> State:
        return self.inner.initial()

    def advance(self, state: State, data: bytes) -> State | None:
        return self.inner.advance(state, data)

    def accepts(self, state: State) -> bool:
        return self.inner.accepts(state)

    def describe(self) -> str:
        return self.inner.describe()


@pytest.fixture(scope="session")
def without_automaton() -> Callable[[Constraint], Constraint]:
    """Hides a constraint's automaton, so that the host has to advance it."""
    return WithoutAutomaton
