"""What single bytes make of a constraint's states, remembered as it is met."""

from __future__ import annotations

from collections.abc import Container
from functools import lru_cache

from lmppl.constraints.protocol import OUTSIDE, Constraint, State
from lmppl.constraints.regular.free_characters import are_free

MAX_STEPS = 65_536  # of one constraint; some 100 bytes each, and the states

_BYTES = [bytes((byte,)) for byte in range(256)]


class Standing:
    """A state in which a text stands. Equal to itself only.

    Attributes:
        state: Of the constraint.
        after: By byte, as far as it was asked: where the text stands then, or None if it is refused.
        viable: Of all bytes those that are not refused, once all were asked.
        next: The bytes that are worth asking about, once one was.
        num_free: How many characters may follow, whichever they are, or fewer; known with `next`.
        is_met: Whether a text was walked on from here.
        local: Where the part of the text under way stands, once it was asked for; `state` is then `OUTSIDE`
            if there is no such part.
    """

    __slots__ = ("after", "is_met", "local", "next", "num_free", "state", "viable")

    def __init__(self, state: State):
        self.state = state
        self.after: dict[int, Standing | None] = {}
        self.viable: dict[int, Standing] | None = None
        self.next: Container[int] | None = None
        self.num_free = 0
        self.is_met = False
        self.local: Standing | None = None


class ByteSteps:
    """The states of one constraint that were met, and the steps between them.

    A step that is known is two look-ups, whatever the constraint is. When there are too many, all are
    forgotten; whoever holds a `Standing` may go on with it.
    """

    def __init__(self, constraint: Constraint):
        self._constraint = constraint
        self._standings: dict[State, Standing] = {}
        self._num_steps = 0

    def standing(self, state: State) -> Standing:
        """Gives where a text in some state stands."""
        found = self._standings.get(state)
        if found is None:
            found = self._standings[state] = Standing(state)
        return found

    def next_bytes(self, standing: Standing) -> Container[int]:
        """Gives the bytes of which the first of some that are viable is one."""
        if standing.next is None:
            standing.next = self._constraint.next_bytes(standing.state)
            standing.num_free = self._constraint.num_free(standing.state)
        return standing.next

    def step(self, standing: Standing, byte: int) -> Standing | None:
        """Gives where a text stands after one byte more, or None if that is refused.

        From where the part of the text has ended that a local state tells of, nothing leads on.
        """
        if standing.state is OUTSIDE:
            return standing
        after = standing.after
        if byte in after:
            return after[byte]
        may_come = byte in (standing.next or self.next_bytes(standing))
        state = self._constraint.advance(standing.state, _BYTES[byte]) if may_come else None
        if self._num_steps >= MAX_STEPS:
            self._forget()
        self._num_steps += 1
        if state is standing.state:
            found = standing
        else:
            found = None if state is None else self.standing(state)
        after[byte] = found
        return found

    def viable(self, standing: Standing) -> dict[int, Standing]:
        """Gives where a text stands after each byte that may come next, in the order of bytes."""
        if standing.viable is None:
            after = ((byte, self.step(standing, byte)) for byte in range(256))
            standing.viable = {byte: each for byte, each in after if each is not None}
        return standing.viable

    def is_viable(self, standing: Standing, data: bytes) -> bool:
        """Says whether a text may go on with some bytes: by the part under way, as far as that tells."""
        if standing.next is None:
            self.next_bytes(standing)
        if len(data) <= standing.num_free and are_free(data):
            return True
        part = standing.local or self.part(standing)
        if part.state is not OUTSIDE:
            state = self._walked(part, data)
            if state is not OUTSIDE:
                return state is not None
        return self._walked(standing, data) is not None

    def part(self, standing: Standing) -> Standing:
        """Gives where the part of the text under way stands (`Constraint.local`), or what is `OUTSIDE`."""
        state = self._constraint.local(standing.state)
        standing.local = self.standing(OUTSIDE if state is None else state)
        return standing.local

    def _walked(self, standing: Standing, data: bytes) -> State | None:
        """Gives the state after some bytes, or None if they are refused, or `OUTSIDE`.

        Where no text was walked on from before, the constraint is asked about all the rest at once. What
        follows there is worth remembering if it comes again.
        """
        at: Standing | None = standing
        left = iter(data)
        for byte in left:
            known = at.after
            at = known[byte] if byte in known else self.step(at, byte)
            if at is None:
                return None
            if not at.is_met:
                if at.state is OUTSIDE:
                    return OUTSIDE
                at.is_met = True
                rest = bytes(left)
                return self._constraint.advance(at.state, rest) if rest else at.state
        return at.state

    def _forget(self) -> None:
        for standing in self._standings.values():
            standing.after.clear()
            standing.viable = None
        self._standings.clear()
        self._num_steps = 0


@lru_cache(64)
def steps_of(constraint: Constraint) -> ByteSteps:
    """Gives the steps of a constraint, shared by equal ones."""
    return ByteSteps(constraint)
