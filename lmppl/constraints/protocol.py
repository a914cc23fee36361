"""What a constraint is: an incremental acceptor of byte strings whose states are values."""

from __future__ import annotations

import abc
from collections.abc import Callable, Container, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from lmppl.constraints.combined.notation import Operator
from lmppl.constraints.functions.remembered_answers import CheckTimedOut
from lmppl.errors import InvalidTypeError

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Bool

    from lmppl.constraints.regular.automaton import ByteAutomaton
    from lmppl.language_model import Vocabulary
    from lmppl.potentials.protocol import Potential

State = Hashable
OUTSIDE: Any = object()
"""Stands for the state where the part of a text ends that is told by a state of `Constraint.local`."""

EVERY_BYTE = range(256)
Item = TypeVar("Item")


class Constraint(abc.ABC):
    """A set of byte strings, asked for one prefix at a time.

    States are immutable and hashable: a particle's state is a value, and forks for free. Equal
    constraints (`==`, `hash`) have equal languages and may share every cache.

    Laws, checked by `lmppl.testing.check_constraint`: `advance` of a concatenation is `advance` twice;
    an accepted string has only viable prefixes; states are never mutated; where `viable_is_exact`, a prefix
    that is let through has a completion; a byte costs about the same however long the text is.
    """

    @property
    def viable_is_exact(self) -> bool:
        """True if `advance` gives a state exactly when some completion is accepted."""
        return True

    @property
    def takes_long(self) -> bool:
        """Whether a question is known to take a millisecond or more."""
        return False

    @property
    def gains_from_lists(self) -> bool:
        """Whether many questions asked by one call of `check` take less than one after the other.

        By default that is taken to be so where there is a `check` of one's own.
        """
        return type(self).check is not Constraint.check

    @property
    def is_batched(self) -> bool:
        """Whether it answers many questions together: whether it has a `check` of its own."""
        return type(self).check is not Constraint.check

    @property
    def revisits_states(self) -> bool:
        """Whether different texts come to the same states, so that single steps are worth remembering.

        Then no function of a user may be asked, since single bytes are tried that nobody has said.
        """
        return False

    @abc.abstractmethod
    def initial(self) -> State:
        """Gives the state of the empty string."""

    @abc.abstractmethod
    def advance(self, state: State, data: bytes) -> State | None:
        """Gives the state after `data`, or None if nothing that starts so can be accepted.

        Raises:
            InvalidTypeError: `data` is something else than bytes.
        """

    def local(self, state: State) -> State | None:
        """Gives a state that many share, of the part of the text under way; None where there is none.

        As inside a string: what has been written around it says only what may come behind. From this state,
        `advance` gives a state exactly where it does from `state`, or `OUTSIDE`, if a byte on the way leads
        there: then only `state` itself tells. A `local` state is given to `advance`, `next_bytes` and
        `num_free` alone.
        """
        return None

    def next_bytes(self, state: State) -> Container[int]:
        """Gives the bytes that may come next, or more: what `advance` need not be asked about is left out."""
        return EVERY_BYTE

    def num_free(self, state: State) -> int:
        """Gives how many characters may follow, whichever they are, or fewer; as inside a string.

        Controls, quotes and backslashes do not count as such (`free_characters`).
        """
        return 0

    @abc.abstractmethod
    def accepts(self, state: State) -> bool:
        """Says whether the string that led to `state` is complete."""

    @abc.abstractmethod
    def describe(self) -> str:
        """Gives a short text for errors and tables, such as `regex('[a-z]+')`."""

    def check(
        self, states: Sequence[State], candidates: Sequence[Sequence[bytes]]
    ) -> list[list[State | CheckTimedOut | None]]:
        """Gives what `advance` does for each candidate of each state, a check's timeout as a value.

        Whoever can answer many such questions better than one by one overrides this and `check_ends`, and is
        then asked about the candidates of all particles together (`gains_from_lists`).

        Args:
            states: Of the particles.
            candidates: What may follow each state.
        """
        return [
            [_said(lambda state=state, data=data: self.advance(state, data)) for data in row]
            for state, row in zip(states, candidates, strict=True)
        ]

    def check_ends(self, states: Sequence[State]) -> list[bool | CheckTimedOut]:
        """Gives what `accepts` says of each state, a check's timeout as a value."""
        return [_said(lambda state=state: self.accepts(state)) for state in states]

    def mask(self, state: State, vocabulary: Vocabulary) -> Bool[np.ndarray, " vocab"] | None:
        """Gives True for each id whose bytes `advance` takes from a state; None if it has to be asked.

        Whoever knows that at once, better than by asking about each token, overrides this; `Auto` masks it
        then, in each state, so None should be rare: all tokens are asked about there. Masks are remembered by
        state. What is said of ids that end a string, or have no bytes, does not count.

        Args:
            state: Where the string stands.
            vocabulary: The bytes of each id, as `token_bytes`.
        """
        del state, vocabulary
        return None

    def automaton(self) -> ByteAutomaton | None:
        """Gives a byte automaton of the same language where there is one; its states are ours."""
        return None

    def parts(self) -> tuple[Constraint, ...]:
        """Gives the conjuncts; a constraint that is no conjunction is its own only part."""
        return (self,)

    @property
    def operator(self) -> Operator:
        """The outermost operator of `describe()`, which says where it needs parentheses."""
        return Operator.CALL

    def repeat(self, least: int = 0, most: int | None = None) -> Constraint:
        """Allows strings of this constraint in a row, as `{least,most}` of a regular expression does.

        `item + (", " + item).repeat()` is a list with commas. Exact if this constraint is. An automaton
        stays one, if that takes at most 20,000 states; otherwise every way to cut the text into items is
        followed, byte by byte. A text with more than 1,000 such ways is answered by a `ConstraintError`.

        Args:
            least: The least number of strings; 0 allows the empty string.
            most: The greatest number; None is no limit.

        Raises:
            InvalidInputError: `least` is below 0 or above `most`.
            InvalidTypeError: A bound is no int.
        """
        from lmppl.constraints.combined.repetition import repeated  # combinators are constraints themselves

        return repeated(self, least, most)

    @overload
    def __and__(self, other: Constraint | str) -> Constraint: ...

    @overload
    def __and__(self, other: Potential) -> Potential: ...

    def __and__(self, other: Any) -> Any:
        from lmppl.constraints.combined.combinators import both
        from lmppl.potentials.protocol import Potential

        return NotImplemented if isinstance(other, Potential) else both(self, other)

    def __rand__(self, other: str) -> Constraint:
        from lmppl.constraints.combined.combinators import both

        return both(other, self)

    def __or__(self, other: Constraint | str) -> Constraint:
        from lmppl.constraints.combined.union import either

        return either(self, other)

    def __ror__(self, other: str) -> Constraint:
        from lmppl.constraints.combined.union import either

        return either(other, self)

    def __add__(self, other: Constraint | str) -> Constraint:
        from lmppl.constraints.combined.concatenation import followed

        return followed(self, other)

    def __radd__(self, other: str) -> Constraint:
        from lmppl.constraints.combined.concatenation import followed

        return followed(other, self)

    def __invert__(self) -> Constraint:
        from lmppl.constraints.combined.complement import all_but

        return all_but(self)

    def __repr__(self) -> str:
        return self.describe()


def require_bytes(data: object) -> None:
    """Raises if what `advance` was given is no bytes. To be asked after a TypeError, it costs nothing else.

    Raises:
        InvalidTypeError: It is something else.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        hint = " Give text.encode()." if isinstance(data, str) else ""
        raise InvalidTypeError(f"`advance` takes bytes, but was given {data!r:.60}.{hint}") from None


def has_mask(constraint: Constraint) -> bool:
    """Says whether a constraint has a `mask` of its own."""
    return type(constraint).mask is not Constraint.mask


def in_rows(items: Iterable[Item], rows: Sequence[Sequence[object]]) -> list[list[Item]]:
    """Cuts a flat list into rows as long as those given."""
    left = iter(items)
    return [[next(left) for _ in row] for row in rows]


def _said(ask: Callable[[], Item]) -> Item | CheckTimedOut:
    try:
        return ask()
    except CheckTimedOut as late:
        return late
