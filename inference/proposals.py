"""How the next token is proposed under constraints: frozen values that a method is given."""

from __future__ import annotations

import abc
from dataclasses import dataclass, field

from lmppl.constraints.protocol import Constraint
from lmppl.errors import InvalidInputError, InvalidTypeError
from lmppl.representation import compact_repr


@dataclass(frozen=True, repr=False)
class Proposal(abc.ABC):
    """Decides which conjuncts of a constraint become an exact mask, and which are checked by rejection.

    Both are properly weighted, and so is any mixture of them: rejection draws from what the mask leaves.
    """

    def __repr__(self) -> str:
        return compact_repr(self)

    @abc.abstractmethod
    def masks(self, part: Constraint) -> bool:
        """Says whether a conjunct is made into a mask over the vocabulary."""

    @property
    @abc.abstractmethod
    def rejection(self) -> AWRS:
        """How the other conjuncts are checked."""


@dataclass(frozen=True, repr=False)
class AWRS(Proposal):
    """Adaptive weighted rejection sampling: checks candidates in a drawn order until one is accepted.

    Attributes:
        lookahead: How many candidates behind the accepted one are checked to estimate the admissible
            mass; 1 is the recursive estimator of the paper, more has less variance.
        rounds: Instead of looking ahead, simulate rejection with replacement until this many accepts
            (at least 2); better where many rare tokens are admissible.
        max_checks: Budget of checks a token and particle. A particle that spends it is lost as
            `constraint unsatisfiable`; the evidence stays unbiased.

    Reference:
        Lipkin et al. (2025), arXiv:2504.05410.
    """

    lookahead: int = 4
    rounds: int | None = None
    max_checks: int = 512

    def __post_init__(self) -> None:
        for name, value, least in (("lookahead", self.lookahead, 1), ("max_checks", self.max_checks, 1)):
            _check_count("AWRS", name, value, least)
        if self.rounds is not None:
            _check_count("AWRS", "rounds", self.rounds, 2)

    def masks(self, part: Constraint) -> bool:
        return False

    @property
    def rejection(self) -> AWRS:
        return self


@dataclass(frozen=True, repr=False)
class Mask(Proposal):
    """The exact local proposal: every constraint is evaluated on the whole vocabulary.

    The weight has no variance beyond that of the token itself. It is dear where a check is.
    """

    def masks(self, part: Constraint) -> bool:
        return True

    @property
    def rejection(self) -> AWRS:
        return AWRS()


@dataclass(frozen=True, repr=False)
class Auto(Proposal):
    """Masks where a constraint has an automaton, checks with AWRS where it has not.

    Attributes:
        awrs: How the rest is checked.
    """

    awrs: AWRS = field(default_factory=AWRS)

    def masks(self, part: Constraint) -> bool:
        return part.automaton() is not None

    @property
    def rejection(self) -> AWRS:
        return self.awrs


def _check_count(owner: str, name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidTypeError(f"{owner}({name}=...) expects an int, got {type(value).__name__} ({value!r}).")
    if value < least:
        raise InvalidInputError(f"{owner}({name}={value}) is too small; expected at least {least}.")
