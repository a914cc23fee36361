"""Where a potential is above `-inf`, as a constraint: what proposals of tokens are asked about."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

from lmppl.constraints.protocol import Constraint, State
from lmppl.potentials.log_values import checked_log_weight
from lmppl.potentials.protocol import Potential


@dataclass(frozen=True, repr=False)
class Support(Constraint):
    """The strings of which a potential does not say `-inf`. A state is the bytes so far.

    Attributes:
        potential: Is asked about each candidate, one at a time.
    """

    potential: Potential

    @property
    def viable_is_exact(self) -> bool:
        """False: a prefix may have no completion although the potential does not know it."""
        return False

    def initial(self) -> State:
        """Gives the state of the empty string."""
        return b""

    def advance(self, state: State, data: bytes) -> State | None:
        """Gives the state after `data`, or None if `prefix` says `-inf`."""
        whole = cast(bytes, state) + data
        value = checked_log_weight(self.potential, "prefix", whole, self.potential.prefix(whole))
        return None if value == -math.inf else whole

    def accepts(self, state: State) -> bool:
        """Says whether `complete` says more than `-inf`."""
        whole = cast(bytes, state)
        return (
            checked_log_weight(self.potential, "complete", whole, self.potential.complete(whole)) > -math.inf
        )

    def describe(self) -> str:
        """Gives the potential's text."""
        return f"support of {self.potential.describe()}"
