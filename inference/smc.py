"""Sequential Monte Carlo as a method: its options, checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lmppl.errors import InvalidInputError, InvalidTypeError
from lmppl.inference.proposals import Auto, Proposal
from lmppl.inference.resampling import systematic
from lmppl.inference.scheduler import Options, Resampler, Run
from lmppl.methods import Method
from lmppl.posterior import Posterior
from lmppl.progress import Progress


@dataclass(frozen=True, repr=False)
class SMC(Method):
    """Sequential Monte Carlo.

    Particles wait for each other only where they are aligned: at the k-th `observe`, `constrain` or
    `checkpoint` of each, and at the same token of the same text site when every live particle stands
    in it. They are resampled there if the effective sample size is low and there is more to draw.

    Attributes:
        num_particles: At least 1.
        proposal: How tokens are proposed under constraints.
        resampler: `(key, log_weights, num_draws) -> ancestors`, such as `lmppl.inference.systematic`.
        ess_threshold: Fraction of `num_particles` in [0, 1]: resample when the effective sample size
            falls below it. 0 never does; 1 does whenever weights differ.

    Reference:
        Del Moral, Doucet & Jasra (2006), J. R. Stat. Soc. B 68(3); for language models, Lew et al.
        (2023), arXiv:2306.03081.
    """

    num_particles: int
    proposal: Proposal = Auto()
    resampler: Resampler = systematic
    ess_threshold: float = 0.5

    def __post_init__(self) -> None:
        check_num_particles("SMC", self.num_particles)
        check_proposal("SMC", self.proposal)
        if not callable(self.resampler):
            raise InvalidTypeError(
                "SMC(resampler=...) expects a function such as lmppl.inference.systematic, got "
                f"{self.resampler!r}."
            )
        if isinstance(self.ess_threshold, bool) or not isinstance(self.ess_threshold, (int, float)):
            raise InvalidTypeError(
                f"SMC(ess_threshold=...) expects a number in [0, 1], got {self.ess_threshold!r}."
            )
        if not 0 <= self.ess_threshold <= 1:
            raise InvalidInputError(
                f"SMC(ess_threshold={self.ess_threshold}) is not a fraction of the particles in [0, 1]; "
                "0.5 resamples when half of the particles are worth nothing."
            )

    def run(self, program: Callable[[], Any], key: Any, progress: Progress) -> Posterior:
        options = Options(self.num_particles, self.proposal, self.resampler, self.ess_threshold)
        return replace(Run(options, program, key, progress).run(), method=repr(self))


def check_num_particles(method: str, num_particles: Any) -> None:
    """Raises unless a number of particles is an int of at least 1."""
    if isinstance(num_particles, bool) or not isinstance(num_particles, (int, np.integer)):
        raise InvalidTypeError(f"{method}(num_particles=...) expects an int, got {num_particles!r}.")
    if num_particles < 1:
        raise InvalidInputError(f"{method} needs at least 1 particle, got {num_particles}; try {method}(64).")


def check_proposal(method: str, proposal: Any) -> None:
    """Raises unless a token proposal is one."""
    if not isinstance(proposal, Proposal):
        made = " Did you mean to write parentheses?" if isinstance(proposal, type) else ""
        raise InvalidTypeError(
            f"{method}(proposal=...) expects lp.Auto(), lp.AWRS() or lp.Mask(), got {proposal!r}.{made} The "
            "proposal of one site is given to lp.sample."
        )
