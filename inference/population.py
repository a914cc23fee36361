"""The weighted population: weights since the last resampling, evidence, ancestry, and losses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from lmppl.inference.weights import effective_sample_size, evidence_relative_variance, log_mean_exp


class Population:
    """The numbers of a population; the particles themselves stand elsewhere.

    Attributes:
        log_weights: `Float64[particles]`, nats, since the last resampling; `-inf` for the dead. They
            include twists.
        log_twists: `Float64[particles]`: the twists that the next checkpoint divides out.
        eves: `Int[particles]`: the first ancestor of each.
        generations: `Int[particles]`: the resampling that last put a copy of another in this place; 0 if
            none has.
        num_resamplings: So far.
        losses: Cause -> site -> particles.
    """

    def __init__(self, num_particles: int):
        self.num_particles = num_particles
        self.log_weights = np.zeros(num_particles)
        self.log_twists = np.zeros(num_particles)
        self.eves = np.arange(num_particles)
        self.generations = np.zeros(num_particles, int)
        self.num_resamplings = 0
        self.losses: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._log_evidence = 0.0

    @property
    def alive(self) -> np.ndarray:
        """`Bool[particles]`: which have weight."""
        return self.log_weights > -np.inf

    @property
    def effective_sample_size(self) -> float:
        """Of the current weights, twists included."""
        return float(effective_sample_size(self.log_weights))

    def effective_sample_size_after(self, slots: Sequence[int], log_increments: np.ndarray) -> float:
        """What it will be once the particles in some slots are weighed further; `-inf` loses one."""
        log_weights = self.log_weights.copy()
        log_weights[slots] += log_increments
        return float(effective_sample_size(log_weights))

    @property
    def log_evidence(self) -> float:
        """Log of the unbiased estimate of the mass up to here, twists included."""
        return self._log_evidence + float(log_mean_exp(self.log_weights))

    @property
    def log_evidence_error(self) -> float:
        """Standard error of `log_evidence`: that of the evidence, relative to it."""
        if self.num_particles < 2 or not self.alive.any():
            return float("inf")
        variance = float(evidence_relative_variance(self.log_weights, self.eves, self.num_resamplings))
        return float(np.sqrt(max(variance, 0.0)))

    def lose(self, index: int, cause: str, site: str) -> None:
        """Takes a particle's weight away, and counts it."""
        self.log_weights[index] = -np.inf
        self.losses[cause][site] += 1

    def resample(self, ancestors: np.ndarray) -> None:
        """Replaces the population by equally weighted children of `ancestors`."""
        self._log_evidence = self.log_evidence
        self.log_weights = np.zeros(self.num_particles)
        self.log_twists = self.log_twists[ancestors]
        self.eves = self.eves[ancestors]
        self.num_resamplings += 1
        self.generations[ancestors != np.arange(self.num_particles)] = self.num_resamplings

    def plain_losses(self) -> dict[str, dict[str, int]]:
        """Gives the losses as ordinary dictionaries."""
        return {cause: dict(sites) for cause, sites in self.losses.items()}
