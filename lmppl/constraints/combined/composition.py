"""What constraints made of others have in common: how the others are asked."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Sequence

from lmppl.constraints.asked_together import Asking, answered_together
from lmppl.constraints.functions.remembered_answers import CheckTimedOut
from lmppl.constraints.protocol import Constraint, State, in_rows


class Composition(Constraint):
    """A constraint made of others, its `factors`.

    Each step is written twice: `advance` and `accepts` ask one question after the other, at the least cost,
    and `_advanced` and `_accepted` find the same in rounds of questions, which are answered for many texts
    together where some factor gains from that.
    """

    factors: tuple[Constraint, ...]

    @abc.abstractmethod
    def _advanced(self, state: State, data: bytes) -> Asking[State | None]:
        """Gives what `advance` does."""

    @abc.abstractmethod
    def _accepted(self, state: State) -> Asking[bool]:
        """Says what `accepts` does."""

    @abc.abstractmethod
    def _under_way(self, state: State) -> Iterable[tuple[Constraint, State]]:
        """Gives the factors that are being read, with their states."""

    @property
    def viable_is_exact(self) -> bool:
        """True where every factor is exact."""
        return all(factor.viable_is_exact for factor in self.factors)

    @property
    def takes_long(self) -> bool:
        """True where some factor does."""
        return any(factor.takes_long for factor in self.factors)

    @property
    def gains_from_lists(self) -> bool:
        """True where some factor does."""
        return any(factor.gains_from_lists for factor in self.factors)

    @property
    def is_batched(self) -> bool:
        """True where some factor is."""
        return any(factor.is_batched for factor in self.factors)

    @property
    def revisits_states(self) -> bool:
        """True where every factor does."""
        return all(factor.revisits_states for factor in self.factors)

    def num_free(self, state: State) -> int:
        """Gives how many characters may follow, whichever they are, or fewer: what some factor allows.

        A conjunction, whose factors must all go on, takes the least.
        """
        return max((factor.num_free(each) for factor, each in self._under_way(state)), default=0)

    def check(
        self, states: Sequence[State], candidates: Sequence[Sequence[bytes]]
    ) -> list[list[State | CheckTimedOut | None]]:
        """Gives what `advance` does for each candidate of each state, a check's timeout as a value."""
        if not self.gains_from_lists:
            return super().check(states, candidates)
        pairs = [(state, data) for state, row in zip(states, candidates, strict=True) for data in row]
        return in_rows(answered_together([self._advanced(*pair) for pair in pairs]), candidates)

    def check_ends(self, states: Sequence[State]) -> list[bool | CheckTimedOut]:
        """Gives what `accepts` says of each state, a check's timeout as a value."""
        if not self.gains_from_lists:
            return super().check_ends(states)
        return answered_together([self._accepted(state) for state in states])
