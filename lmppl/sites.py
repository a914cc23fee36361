"""The statements of a running program, as values: what a program asks of whoever runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, eq=False, kw_only=True)
class Statement:
    """One statement that a program reached.

    Attributes:
        name: The site's name, unique in a run. A `Call` is no site and is exempt.
        location: `file:line` of the user's code, for errors.
    """

    name: str
    location: str

    def signature(self) -> tuple[Any, ...]:
        """Gives what must be equal when the statement is reached again over the same values."""
        return (type(self).__name__, self.name)


@dataclass(frozen=True, eq=False, kw_only=True)
class Sample(Statement):
    """A latent to be drawn from `distribution`, by way of `proposal` if there is one.

    `scale` multiplies the log-probability, as `numpyro.handlers.scale` does.
    """

    distribution: Any
    proposal: Any = None
    scale: float = 1.0

    def signature(self) -> tuple[Any, ...]:
        return ("Sample", self.name, describe(self.distribution), describe(self.proposal))


@dataclass(frozen=True, eq=False, kw_only=True)
class Observe(Statement):
    """Data under a distribution. A checkpoint."""

    distribution: Any
    value: Any
    scale: float = 1.0

    def signature(self) -> tuple[Any, ...]:
        return ("Observe", self.name, describe(self.distribution))


@dataclass(frozen=True, eq=False, kw_only=True)
class Constrain(Statement):
    """A hard condition on what was drawn. A checkpoint."""

    condition: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class Factor(Statement):
    """Multiplies the target for good."""

    log_weight: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Twist(Statement):
    """Multiplies the target until the next checkpoint only."""

    log_weight: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Checkpoint(Statement):
    """Particles wait for each other here."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Deterministic(Statement):
    """A value that is kept in the trace under a name and weighs nothing."""

    value: Any


@dataclass(frozen=True, eq=False, kw_only=True)
class Call(Statement):
    """An expensive, deterministic function of its arguments: memoised, timed, out of process."""

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    timeout: float | None = None


def describe(distribution: Any) -> Any:
    """Gives a comparable value of a distribution: equal on a faithful replay."""
    from lmppl.distributions import parameters  # distributions import statements' types
    from lmppl.text import Text

    if distribution is None:
        return None
    if isinstance(distribution, Text):
        return distribution.describe()
    return parameters(distribution)
