"""Draws the text sites of a population: on the device where it can be, with the host's help elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lmppl.inference.device_sites import DeviceSites
from lmppl.inference.draws import prefers_noise
from lmppl.inference.host_sites import HostSites
from lmppl.inference.population import Population
from lmppl.inference.resampling import BUILT_IN
from lmppl.inference.site_potentials import potentials_of
from lmppl.inference.text_rows import Row
from lmppl.inference.text_sites import Batch, TextSites, TextStep
from lmppl.inference.text_steps import Plan
from lmppl.inference.weights import resampling_is_due


def text_sites(batch: Batch, resampler: Callable[..., Any]) -> TextSites:
    """Gives the strings of a batch, in the making.

    The device runs the site alone where all judges have automata, no potential weighs what is drawn, and
    the resampler is one of ours.
    """
    rows = batch.rows()
    living = [row for row in rows if row is not None]
    plan = _plan(batch, living)
    judges = (plan.local, plan.mask, plan.check)
    if "host" in judges or resampler not in BUILT_IN or any(potentials_of(row) for row in living):
        return HostSites(batch, rows, replace(plan, check=plan.check and "host"))
    return DeviceSites(batch, rows, plan)


def text_steps(
    sites: TextSites,
    population: Population,
    slots: Sequence[int],
    resampler: Callable[..., Any],
    resampling_key: np.ndarray,
    least_size: float,
    resample: Callable[[], np.ndarray | None],
) -> Iterator[TextStep]:
    """Draws the strings token by token.

    Args:
        sites: The strings. Each step that is given has been done to them, and not yet to the population.
        population: Whose particles they belong to.
        slots: Their places in it.
        resampler: See `SMC`.
        resampling_key: Raw.
        least_size: Resample below this effective sample size; 0 where particles are not aligned.
        resample: Resamples the population if that is due and gives the ancestors; for strings that the
            host takes part in. Those of the device come with ancestors for the population to follow.
    """

    def stay(log_increments: np.ndarray) -> bool:
        size = population.effective_sample_size_after(slots, log_increments)
        return not resampling_is_due(size, least_size)

    while sites.active and population.alive.any():
        if isinstance(sites, DeviceSites):
            yield from sites.run(
                population.log_weights[list(slots)],
                resampler,
                resampling_key,
                least_size,
                population.num_resamplings,
            )
        else:
            assert isinstance(sites, HostSites)
            sites.start()
            yield sites.step(resample() if least_size else None, stay)


def _plan(batch: Batch, rows: list[Row]) -> Plan:
    def place(kind: int, wanted: Callable[[Row], bool]) -> str | None:
        if not any(wanted(row) for row in rows):
            return None
        judged = [row.judges.automata()[kind] for row in rows if row.judges.all()[kind] is not None]
        return "host" if None in judged else "device"

    rejection = batch.proposal.rejection
    check = place(2, lambda row: row.judges.check is not None)
    return Plan(
        local=place(0, lambda row: row.judges.local is not None),
        mask=place(1, lambda row: row.judges.mask.constraint is not None),
        check="host" if check is not None and rejection.rounds is not None else check,
        lookahead=rejection.lookahead,
        max_checks=min(rejection.max_checks, len(batch.lm.vocabulary)),
        noisy=prefers_noise(),
    )
