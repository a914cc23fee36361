"""Sequential Monte Carlo as a method: its options, checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lmppl.errors import InvalidInputError, InvalidTypeError, NoPosterior
from lmppl.inference.proposals import Auto, Proposal
from lmppl.inference.resampling import systematic
from lmppl.inference.saved_runs import SavedRun
from lmppl.inference.scheduler import Options, Resampler, Run
from lmppl.inference.stand_ins import fingerprint
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
        save_to: A file that the run's state is written to while it runs, in a folder that exists. If the
            process is killed or interrupted, the same `lp.infer` call, with the same key, goes on from
            there and gives, bit for bit, the posterior of a run that was not. The program is run again
            over the recorded values. The file is removed when the run has come to its end. It is a
            pickle of the sites' values, so only resume files that nobody else can write.
        save_every: Write after so many moves; 1 if only `save_to` is given. A move is a group of particles
            served together: all strings of a text site, a group of numbers or observations, a
            checkpoint. The state is not written inside a text site: its tokens are drawn again after a
            crash, and are the same.

    Reference:
        Del Moral, Doucet & Jasra (2006), J. R. Stat. Soc. B 68(3); for language models, Lew et al.
        (2023), arXiv:2306.03081.
    """

    num_particles: int
    proposal: Proposal = Auto()
    resampler: Resampler = systematic
    ess_threshold: float = 0.5
    save_every: int | None = None
    save_to: str | Path | None = None

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
        self._check_saving()

    def run(self, program: Callable[[], Any], key: Any, progress: Progress) -> Posterior:
        options = Options(self.num_particles, self.proposal, self.resampler, self.ess_threshold)
        saved = self._saved_run(program, key)
        try:
            posterior = Run(options, program, key, progress, saved).run()
        except NoPosterior:
            if saved is not None:
                saved.finish()
            raise
        if saved is not None and not posterior.partial:
            saved.finish()
        return replace(posterior, method=repr(self))

    def _check_saving(self) -> None:
        if self.save_to is not None and not isinstance(self.save_to, (str, Path)):
            raise InvalidTypeError(f"SMC(save_to=...) expects the path of a file, got {self.save_to!r}.")
        if "\0" in str(self.save_to):
            raise InvalidInputError(f"SMC(save_to={str(self.save_to)!r}) holds a NUL, which no path can.")
        if self.save_every is None:
            return
        if isinstance(self.save_every, bool) or not isinstance(self.save_every, int):
            raise InvalidTypeError(f"SMC(save_every=...) expects an int, got {self.save_every!r}.")
        if self.save_every < 1:
            raise InvalidInputError(f"SMC(save_every={self.save_every}) is too small; expected at least 1.")
        if self.save_to is None:
            raise InvalidInputError(
                f"SMC(save_every={self.save_every}) does not say where to: add save_to='run.lmppl'."
            )

    def _saved_run(self, program: Callable[[], Any], key: Any) -> SavedRun | None:
        if self.save_to is None:
            return None
        options = {
            "number of particles": str(self.num_particles),
            "proposal": fingerprint(self.proposal),
            "resampler": fingerprint(self.resampler),
            "ess_threshold": repr(float(self.ess_threshold)),
        }
        return SavedRun(self.save_to, self.save_every or 1, program, key, options)


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
