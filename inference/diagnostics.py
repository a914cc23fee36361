"""What a run has to say about itself: its steps, resamplings, checks and time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Step:
    """One moment at which particles were aligned.

    Attributes:
        site: Name of the site.
        token: Tokens of the site that were drawn; 0 at a checkpoint.
        alive: Particles with weight.
        effective_sample_size: Before resampling.
        resampled: Whether particles were resampled here.
        log_evidence: Of everything up to here.
    """

    site: str
    token: int
    alive: int
    effective_sample_size: float
    resampled: bool
    log_evidence: float


@dataclass(frozen=True)
class Diagnostics:
    """What a run did.

    Attributes:
        steps: In order.
        num_resamplings: How often the population was resampled.
        num_tokens: Tokens drawn, over all particles, those that end a string included.
        num_checks: Candidates checked by rejection, over all particles.
        num_replays: Particles whose program was run again to fork another.
        num_forwards: Calls of a model for one token of all particles at a site.
        num_transfers: Copies from the device to the host that tokens needed.
        num_synchronisations: How often the host waited for the device to go on with tokens.
        num_compilations: Programs compiled, or taken compiled from the disk.
        check_seconds: Wall time of the checks on the host.
        cache_bytes: Of the largest site, for what its particles have read.
        text_sites: Where each text site ran, `device` or `host`, and how its tokens were proposed; and which
            constraints are over-approximate: they let prefixes through that no string completes.
        seconds: Wall time.
        eves: `Int[particles]`: from which of the first particles each of the last descends.
    """

    steps: tuple[Step, ...]
    num_resamplings: int
    num_tokens: int
    num_checks: int
    num_replays: int
    num_forwards: int
    num_transfers: int
    num_synchronisations: int
    num_compilations: int
    check_seconds: float
    cache_bytes: int
    text_sites: dict[str, str]
    seconds: float
    eves: np.ndarray

    @property
    def checks_per_token(self) -> float:
        """How many candidates were checked for each token drawn."""
        return self.num_checks / self.num_tokens if self.num_tokens else 0.0

    def __repr__(self) -> str:
        lowest = min((step.effective_sample_size for step in self.steps), default=float("nan"))
        return (
            f"Diagnostics({len(self.steps)} steps, {self.num_resamplings} resamplings, lowest effective "
            f"sample size {lowest:.1f}, {self.num_tokens} tokens, {self.checks_per_token:.1f} checks a "
            f"token, {self.num_replays} replays, {len(np.unique(self.eves))} eves, {self.seconds:.2f} s)"
        )
