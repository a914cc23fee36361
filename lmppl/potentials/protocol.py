"""What a potential is: a log-weight of complete byte strings, with a forecast of it for their prefixes."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmppl.constraints.functions.remembered_answers import CheckTimedOut
    from lmppl.constraints.protocol import Constraint


class Potential(abc.ABC):
    """A log-weight of byte strings, in nats, in `[-inf, inf)`.

    `lm(prompt) & potential` multiplies the mass of every complete string by `exp(complete(string))`, for
    good: it counts in the evidence as a constraint does. `prefix` only steers: at each token particles are
    weighed by `exp(prefix(text so far))` in place of what they were weighed by before, so that resampling
    keeps the promising ones, and at the end it is divided out again. The nearer it is to the
    mean of `exp(complete)` over the completions, the fewer particles are wasted.

    Laws, checked by `lmppl.testing.check_potential`: `prefix` is `-inf` only where `complete` is for every
    string that begins so; both are numbers below `inf`, and the same ones whenever they are asked.

    Equal potentials (`==`, `hash`) have equal values and may share every cache.
    """

    @abc.abstractmethod
    def prefix(self, data: bytes) -> float:
        """Gives the forecast for strings that begin with `data`, which may end inside a character.

        0.0 where nothing is known. `-inf` says that no such string has mass.
        """

    @abc.abstractmethod
    def complete(self, data: bytes) -> float:
        """Gives the log-weight of a whole string."""

    @abc.abstractmethod
    def describe(self) -> str:
        """Gives a short text for errors and tables, such as `potential('polite')`."""

    def prefix_batch(self, data: Sequence[bytes]) -> Sequence[float | CheckTimedOut]:
        """Gives `prefix` of many. A potential that has its own is always asked for many at once.

        What was not answered in time is said by a `CheckTimedOut` in its place.
        """
        return [self.prefix(one) for one in data]

    def complete_batch(self, data: Sequence[bytes]) -> Sequence[float | CheckTimedOut]:
        """Gives `complete` of many. A potential that has its own is always asked for many at once."""
        return [self.complete(one) for one in data]

    def support(self) -> Constraint | None:
        """Gives a constraint that allows every string with mass, or None for no such constraint.

        What it refuses is not proposed. Without it a particle that draws what has no mass is lost.
        """
        return None

    def parts(self) -> tuple[Potential, ...]:
        """Gives the factors; a potential that is no product is its own only part."""
        return (self,)

    def __and__(self, other: Potential | Constraint) -> Potential:
        from lmppl.potentials.products import product  # a product is a potential itself

        return product(self, other)

    def __rand__(self, other: Constraint) -> Potential:
        from lmppl.potentials.products import product

        return product(other, self)

    def __repr__(self) -> str:
        return self.describe()
