"""Constraints that are one byte automaton: what regular expressions and choices become."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from lmppl.constraints.combined.notation import Operator
from lmppl.constraints.protocol import Constraint, State, require_bytes
from lmppl.constraints.regular.automaton import ByteAutomaton


@dataclass(frozen=True, repr=False)
class RegularLanguage(Constraint):
    """A set of strings given by an automaton. Its states are the automaton's numbers.

    Attributes:
        machine: The automaton.
        description: What `describe` gives; two languages that differ only in it are equal.
        outermost: The outermost operator of the description.
    """

    machine: ByteAutomaton
    description: str = field(compare=False)
    outermost: Operator = field(default=Operator.CALL, compare=False)

    @property
    def revisits_states(self) -> bool:
        """True."""
        return True

    def initial(self) -> State:
        """Gives the state of the empty string."""
        return self.machine.start

    def advance(self, state: State, data: bytes) -> State | None:
        """Gives the state after `data`, or None if no accepted string starts so."""
        try:
            return self.machine.advance(cast(int, state), data)
        except TypeError:
            require_bytes(data)
            raise

    def accepts(self, state: State) -> bool:
        """Says whether the string that led to `state` is in the language."""
        return self.machine.accepts(cast(int, state))

    def describe(self) -> str:
        """Gives the text that the user wrote."""
        return self.description

    @property
    def operator(self) -> Operator:
        """The outermost operator of the description."""
        return self.outermost

    def automaton(self) -> ByteAutomaton:
        """Gives the automaton itself."""
        return self.machine
