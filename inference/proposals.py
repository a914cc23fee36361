"""How the next token is proposed under constraints: frozen values that a method is given."""

from __future__ import annotations

import abc
from dataclasses import dataclass, field, replace

from lmppl.constraints.protocol import Constraint, has_mask
from lmppl.errors import InvalidInputError, InvalidTypeError
from lmppl.representation import compact_repr

_MOST_TOKENS_MASKED_ON_HOST = 64
_PRIORITY_CHECKS = 80  # what a step draws in its first two portions of candidates
_CHECKS_BEFORE_MASK = 80  # likewise; a mask that costs little, 1 ms at 32,000 tokens, then costs less
_DEAR_CHECK = 2e-4  # seconds


@dataclass(frozen=True, repr=False)
class Proposal(abc.ABC):
    """Decides which conjuncts of a constraint become an exact mask, and which are checked by rejection.

    Both are properly weighted, and so is any mixture of them: rejection draws from what the mask leaves.
    """

    def __repr__(self) -> str:
        return compact_repr(self)

    @abc.abstractmethod
    def masks(self, part: Constraint, vocab_size: int) -> bool:
        """Says whether a conjunct is made into a mask over a vocabulary of so many tokens."""

    @property
    @abc.abstractmethod
    def rejection(self) -> AWRS:
        """How the other conjuncts are checked."""

    @property
    def ends_by_mask(self) -> bool:
        """Whether a row that has spent its budget of checks is masked after all, where that is exact."""
        return False

    @property
    def priority_checks(self) -> int | None:
        """How many candidates of a row where few are allowed are checked at once, if checks are batched."""
        return None

    def finds_dear(self, seconds_per_check: float) -> bool:
        """Says whether checks that have cost so much at a site's first token are treated as dear."""
        del seconds_per_check
        return False

    def search(self, masks_are_cheap: bool, seconds_per_check: float | None = None) -> AWRS:
        """Gives how the host searches the rows of a site.

        Args:
            masks_are_cheap: Whether what is checked has exact masks that cost little.
            seconds_per_check: What a check has cost at the site's first token; None before it.
        """
        del masks_are_cheap, seconds_per_check
        return self.rejection


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

    def masks(self, part: Constraint, vocab_size: int) -> bool:
        return False

    @property
    def rejection(self) -> AWRS:
        return self


@dataclass(frozen=True, repr=False)
class Mask(Proposal):
    """The exact local proposal: every constraint is evaluated on the whole vocabulary.

    The weight has no variance beyond that of the token itself. It is dear where a check is.
    """

    def masks(self, part: Constraint, vocab_size: int) -> bool:
        return True

    @property
    def rejection(self) -> AWRS:
        return AWRS()


@dataclass(frozen=True, repr=False)
class Auto(Proposal):
    """Chooses by cost: the exact mask where it is cheap, rejection with look-ahead elsewhere.

    A constraint with an automaton is masked on the device, which costs a few per cent of a step, one with a
    `mask` of its own on the host. Other exact constraints (`lp.lark`) are masked on the host for vocabularies
    of at most 64 tokens: each state is asked about all tokens once, which is less than what the rejections of
    some particles cost. All else is checked by rejection. Where that has spent its budget on an exact
    constraint, the mask is computed after all: no particle is lost that could go on. `lp.json` and exact
    grammars, whose masks cost as much as few hundred checks, are masked after 80 checks already.
    `Diagnostics.text_sites` says what was chosen,
    `check_seconds` what checks cost.

    Checks that answer many questions together (`lp.check`) are asked about 80 candidates of a particle at
    once if fewer than one in 12 was accepted for its last token, and these are weighed by priority sampling:
    the variance is far lower where little is allowed (docs/decisions.md).

    The costs behind these rules were measured beforehand (docs/performance.md) and are not measured again
    in a run, because the same key is to give the same posterior.

    Attributes:
        awrs: How the rest is checked.
        measure: Time the checks of each site's first token. If one takes more than 0.2 ms, the other tokens
            of the site are proposed without look-ahead, which more than halves the number of checks, and
            of 32 rows or more one half is checked while the device reads the other's tokens. The weights
            then depend on the clock: a run cannot be repeated to the last digit.
    """

    awrs: AWRS = field(default_factory=AWRS)
    measure: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.awrs, AWRS):
            raise InvalidTypeError(f"Auto(awrs=...) expects lp.AWRS(...), got {self.awrs!r}.")
        if not isinstance(self.measure, bool):
            raise InvalidTypeError(f"Auto(measure=...) expects True or False, got {self.measure!r}.")

    def masks(self, part: Constraint, vocab_size: int) -> bool:
        if part.automaton() is not None or has_mask(part):
            return True
        return part.viable_is_exact and vocab_size <= _MOST_TOKENS_MASKED_ON_HOST

    @property
    def rejection(self) -> AWRS:
        return self.awrs

    @property
    def ends_by_mask(self) -> bool:
        return True

    @property
    def priority_checks(self) -> int | None:
        return _PRIORITY_CHECKS if self.awrs.rounds is None else None

    def finds_dear(self, seconds_per_check: float) -> bool:
        return self.measure and seconds_per_check > _DEAR_CHECK

    def search(self, masks_are_cheap: bool, seconds_per_check: float | None = None) -> AWRS:
        awrs = self.awrs
        if masks_are_cheap and awrs.rounds is None:
            awrs = replace(awrs, max_checks=min(awrs.max_checks, _CHECKS_BEFORE_MASK))
        if seconds_per_check is not None and self.finds_dear(seconds_per_check):
            awrs = replace(awrs, lookahead=1)
        return awrs


def _check_count(owner: str, name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidTypeError(f"{owner}({name}=...) expects an int, got {type(value).__name__} ({value!r}).")
    if value < least:
        raise InvalidInputError(f"{owner}({name}={value}) is too small; expected at least {least}.")
