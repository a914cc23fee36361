"""Importance sampling: particles that never meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from lmppl.inference.proposals import Auto, Proposal
from lmppl.inference.smc import SMC, check_num_particles, check_proposal
from lmppl.methods import Method
from lmppl.posterior import Posterior
from lmppl.progress import Progress


@dataclass(frozen=True, repr=False)
class IS(Method):
    """Importance sampling: every particle runs alone, and its weight is what its run was worth.

    Particle `i` draws the same trace whatever the number of particles.

    Attributes:
        num_particles: At least 1.
        proposal: How tokens are proposed under constraints.
    """

    num_particles: int
    proposal: Proposal = Auto()

    def __post_init__(self) -> None:
        check_num_particles("IS", self.num_particles)
        check_proposal("IS", self.proposal)

    def run(self, program: Callable[[], Any], key: Any, progress: Progress) -> Posterior:
        without_resampling = SMC(self.num_particles, proposal=self.proposal, ess_threshold=0.0)
        return replace(without_resampling.run(program, key, progress), method=repr(self))
