"""A check of ours, shown as the call that the user wrote and not as `check(...)`."""

from __future__ import annotations

from dataclasses import dataclass

from lmppl.constraints.functions.python_check import Check
from lmppl.constraints.protocol import Constraint, State


@dataclass(frozen=True, repr=False)
class DescribedCheck(Constraint):
    """A check whose functions are ours. Equal by them and by its text.

    Attributes:
        judge: What is asked. Its states are ours.
        text: The call, such as `pattern('(a)\\1')`.
    """

    judge: Check
    text: str

    @property
    def viable_is_exact(self) -> bool:
        """False: whether a completion exists is not known."""
        return False

    def initial(self) -> State:
        """Gives the state of the empty string."""
        return self.judge.initial()

    def advance(self, state: State, data: bytes) -> State | None:
        """Gives the state after `data`, or None if nothing that starts so can be allowed.

        Raises:
            CheckTimedOut: The answer did not come in time.
        """
        return self.judge.advance(state, data)

    def accepts(self, state: State) -> bool:
        """Says whether the text is allowed as a whole. Raises as `advance`."""
        return self.judge.accepts(state)

    def describe(self) -> str:
        """Gives the call."""
        return self.text
