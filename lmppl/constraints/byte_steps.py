"""What single bytes make of a constraint's states, remembered as it is met."""

from __future__ import annotations

from collections.abc import Container
from functools import lru_cache

from lmppl.constraints.protocol import OUTSIDE, Constraint, State

MAX_STEPS = 65_536  # of one constraint; some 100 bytes each, and the states

_BYTES = [bytes((byte,)) for byte in range(256)]


class Standing:
    """A state in which a text stands. Equal to itself only.

    Attributes:
        state: Of the constraint.
        after: By byte, as far as it was asked: where the text stands then, or None if it is refused.
        viable: Of all bytes those that are not refused, once all were asked.
        next: The bytes that are worth asking about, once one was.
        local: Where the part of the text under way stands, once it was asked for; `state` is then `OUTSIDE`
            if there is no such part.
    """

    __slots__ = ("after", "local", "next", "state", "viable")

    def __init__(self, state: State):
        self.state = state
        self.after: dict[int, Standing | None] = {}
        self.viable: dict[int, Standing] | None = None
        self.next: Container[int] | None = None
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

    def step(self, standing: Standing, byte: int) -> Standing | None:
        """Gives where a text stands after one byte more, or None if that is refused.

        From where the part of the text has ended that a local state tells of, nothing leads on.
        """
        if standing.state is OUTSIDE:
            return standing
        if byte in standing.after:
            return standing.after[byte]
        if standing.next is None:
            standing.next = self._constraint.next_bytes(standing.state)
        may_come = byte in standing.next
        state = self._constraint.advance(standing.state, _BYTES[byte]) if may_come else None
        if self._num_steps >= MAX_STEPS:
            self._forget()
        self._num_steps += 1
        if state is standing.state:
            after = standing
        else:
            after = None if state is None else self.standing(state)
        standing.after[byte] = after
        return after

    def viable(self, standing: Standing) -> dict[int, Standing]:
        """Gives where a text stands after each byte that may come next, in the order of bytes."""
        if standing.viable is None:
            after = ((byte, self.step(standing, byte)) for byte in range(256))
            standing.viable = {byte: each for byte, each in after if each is not None}
        return standing.viable

    def is_viable(self, standing: Standing, data: bytes) -> bool:
        """Says whether a text may go on with some bytes: by the part under way, as far as that tells."""
        at = standing.local or self.part(standing)
        for byte in data:
            if at.state is OUTSIDE:
                break
            after = at.after
            step = after[byte] if byte in after else self.step(at, byte)
            if step is None:
                return False
            at = step
        if at.state is not OUTSIDE:
            return True
        return self._is_viable_whole(standing, data)

    def part(self, standing: Standing) -> Standing:
        """Gives where the part of the text under way stands (`Constraint.local`), or what is `OUTSIDE`."""
        state = self._constraint.local(standing.state)
        standing.local = self.standing(OUTSIDE if state is None else state)
        return standing.local

    def _is_viable_whole(self, standing: Standing, data: bytes) -> bool:
        at: Standing | None = standing
        for place, byte in enumerate(data):
            assert at is not None
            after = at.after
            if byte not in after:
                return self._is_viable_anew(at, data[place:])
            at = after[byte]
            if at is None:
                return False
        return True

    def _is_viable_anew(self, standing: Standing, data: bytes) -> bool:
        """Does so for bytes of which the first was never asked about here, and remembers this one step.

        What follows it is worth remembering if it comes again.
        """
        at = self.step(standing, data[0])
        if at is None or len(data) == 1:
            return at is not None
        if at.after:  # met before, by another way
            return self._is_viable_whole(at, data[1:])
        return self._constraint.advance(at.state, data[1:]) is not None

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
