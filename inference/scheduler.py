"""Runs a population of particles: who waits for whom, what is evaluated together, when to resample."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lmppl import distributions
from lmppl.compilation import Compilations, counting
from lmppl.errors import NoPosterior
from lmppl.inference.calls import CallPool
from lmppl.inference.contexts import Contexts
from lmppl.inference.counters import Counters
from lmppl.inference.diagnostics import Diagnostics, Step
from lmppl.inference.free_memory import require_room_for_particles
from lmppl.inference.observations import check_log_prob, observed_log_probs
from lmppl.inference.particles import Particle
from lmppl.inference.population import Population
from lmppl.inference.proposals import Proposal
from lmppl.inference.resampling import ancestors_of
from lmppl.inference.saved_runs import SavedRun
from lmppl.inference.text_runs import text_sites, text_steps
from lmppl.inference.text_sites import TIMED_OUT, TRUNCATED, Batch, TextRequest, TextSites
from lmppl.inference.weights import resampling_is_due
from lmppl.keys import named_key, raw_name_key, site_keys
from lmppl.posterior import NoAnswer, Posterior, describe_losses
from lmppl.progress import Progress
from lmppl.sites import Call, Checkpoint, Constrain, Factor, Observe, Sample
from lmppl.text import Text

CONSTRAIN_FALSE = "constrain false"
_RESAMPLING = "resampling"

Resampler = Callable[[Any, Any, int], Any]


@dataclass(frozen=True)
class Options:
    """How a population is run; `SMC` says what each means."""

    num_particles: int
    proposal: Proposal
    resampler: Resampler
    ess_threshold: float


class Run:
    """One run: drives the particles from statement to statement.

    With `saved` it goes on from what is in that file, and is written to it.
    """

    # What a saved run holds beside its population and its particles.
    _PLAIN = ("_due", "_waiting", "_steps", "_counters")

    def __init__(
        self,
        options: Options,
        program: Callable[[], Any],
        key: Any,
        progress: Progress,
        saved: SavedRun | None = None,
    ):
        require_room_for_particles(options.num_particles)
        self._saved = saved
        self._options = options
        self._key = key
        self._progress = progress
        self._population = Population(options.num_particles)
        self._slots = np.arange(options.num_particles)
        self._particles = [Particle(program) for _ in self._slots]
        self._waiting: set[int] = set()
        self._due: np.ndarray | None = None
        self._calls = CallPool()
        self._steps: list[Step] = []
        self._counters = Counters()
        self._contexts = Contexts(reuse=saved is None)
        self._compilations = Compilations()
        self._started = time.perf_counter()

    def run(self) -> Posterior:
        """Runs to the end, or until the user interrupts."""
        with counting() as self._compilations:
            partial = self._run()
            try:
                return self._posterior(partial)
            except KeyboardInterrupt:  # too late to leave anything out
                return self._posterior(partial)

    def _run(self) -> bool:
        """Runs; says whether the user interrupted."""
        partial = False
        try:
            if not self._resume():
                for index in range(self._options.num_particles):
                    self._go(index, self._particles[index].start)
            while self._advance():
                self._save()
        except KeyboardInterrupt:
            partial = True
        finally:
            self._calls.close()
            for particle in self._particles:
                particle.close()
        return partial

    def _save(self) -> None:
        if self._saved is not None:
            plain = {name: getattr(self, name) for name in self._PLAIN}
            plain["seconds"] = time.perf_counter() - self._started
            self._saved.moved(self._population, self._particles, plain)

    def _resume(self) -> bool:
        plain = None if self._saved is None else self._saved.restore(self._population, self._particles)
        if plain is None:
            return False
        self._started -= plain.pop("seconds")
        vars(self).update(plain)
        return True

    def _advance(self) -> bool:
        """Does the next thing that there is to do; False when every live particle has returned."""
        live = self._live()
        if not live:
            raise self._no_posterior()
        if all(self._particles[index].returned for index in live):
            return False
        if self._due is not None:
            self._pass_checkpoint()
            return True
        blocked = [
            index for index in live if not self._particles[index].returned and index not in self._waiting
        ]
        groups: dict[str, list[int]] = defaultdict(list)
        for index in blocked:
            groups[_kind(self._particles[index].request)].append(index)
        for kind, serve in (
            ("call", self._serve_calls),
            ("sample", self._serve_samples),
            ("lost", self._serve_lost),
            ("observe", self._serve_observes),
            ("constrain", self._serve_constrains),
            ("checkpoint", self._waiting.update),
        ):
            if groups[kind]:
                serve(groups[kind])
                return True
        if groups["text"]:
            self._serve_text(groups["text"], live)
        else:
            self._release(live)
        return True

    def _live(self) -> list[int]:
        return np.flatnonzero(self._population.alive).tolist()

    def _go(self, index: int, move: Callable[..., None], *args: Any) -> None:
        """Lets a particle run, and takes up the weight it collected on the way."""
        particle = self._particles[index]
        particle.log_weight = particle.log_twist = 0.0
        move(*args)
        self._population.log_weights[index] += particle.log_weight + particle.log_twist
        self._population.log_twists[index] += particle.log_twist

    def _lose(self, index: int, cause: str, site: str) -> None:
        self._population.lose(index, cause, site)
        self._waiting.discard(index)
        self._particles[index].close()

    # Statements that need no alignment.

    def _serve_calls(self, indices: list[int]) -> None:
        requests = [self._request(index, Call) for index in indices]
        for index, request, outcome in zip(indices, requests, self._calls.run(requests), strict=True):
            if outcome.timed_out:
                self._lose(index, TIMED_OUT, request.name)
            else:
                self._go(index, self._particles[index].resume, outcome.value)

    def _serve_samples(self, indices: list[int]) -> None:
        by_name: dict[str, list[int]] = defaultdict(list)
        for index in indices:
            by_name[self._request(index, Sample).name].append(index)
        for name, members in by_name.items():
            self._draw_numbers(name, members)

    def _draw_numbers(self, name: str, indices: list[int]) -> None:
        requests = [self._request(index, Sample) for index in indices]
        values, log_probs = distributions.draw(
            [_source(request) for request in requests], self._site_keys(name)[indices]
        )
        proposed = [i for i, request in enumerate(requests) if request.proposal is not None]
        if proposed:
            targets = distributions.log_probs(
                [requests[i].distribution for i in proposed], [values[i] for i in proposed]
            )
            for i, target in zip(proposed, targets, strict=True):
                self._weigh(indices[i], target - log_probs[i])
        for i, (index, request) in enumerate(zip(indices, requests, strict=True)):
            if request.scale != 1.0:
                self._weigh(index, (request.scale - 1.0) * log_probs[i])
            if self._population.alive[index]:
                self._go(index, self._particles[index].resume, values[i])

    def _serve_lost(self, indices: list[int]) -> None:
        for index in indices:
            self._lose(index, CONSTRAIN_FALSE, self._request(index, Factor).name)

    # Checkpoints.

    def _serve_observes(self, indices: list[int]) -> None:
        requests = [self._request(index, Observe) for index in indices]
        for index, log_prob in zip(indices, observed_log_probs(requests), strict=True):
            self._weigh(index, log_prob)
        self._waiting.update(index for index in indices if self._population.alive[index])

    def _serve_constrains(self, indices: list[int]) -> None:
        for index in indices:
            request = self._request(index, Constrain)
            if request.condition:
                self._waiting.add(index)
            else:
                self._lose(index, CONSTRAIN_FALSE, request.name)

    def _weigh(self, index: int, log_weight: float) -> None:
        """Multiplies a particle's weight at the site where it stands."""
        request = self._particles[index].request
        assert request is not None
        check_log_prob(request, log_weight)
        if log_weight == -np.inf:
            self._lose(index, CONSTRAIN_FALSE, request.name)
        else:
            self._population.log_weights[index] += log_weight

    def _release(self, live: list[int]) -> None:
        """All particles that go on have reached their k-th checkpoint: they may pass.

        Whether to resample is decided at their next statements: after the last one there is none.
        """
        released = [index for index in live if index in self._waiting]
        names = sorted(
            {str(request.name) for i in released if (request := self._particles[i].request) is not None}
        )
        self._note("/".join(names[:3]), 0)
        self._due = self._population.log_twists.copy()
        self._waiting.clear()
        for index in released:
            self._go(index, self._particles[index].resume, None)

    def _pass_checkpoint(self) -> None:
        self._maybe_resample()
        self._divide_out_twists()

    def _divide_out_twists(self) -> None:
        """Takes the twists of before the checkpoint away again; those made since stay until the next."""
        assert self._due is not None
        self._population.log_weights -= self._due
        self._population.log_twists -= self._due
        self._due = None

    # Text.

    def _serve_text(self, indices: list[int], live: list[int]) -> None:
        """Draws the text sites of some particles; token by token with resampling if all are in one site."""
        requests = {index: self._request(index, Sample) for index in indices}
        by_model: dict[int, list[int]] = defaultdict(list)
        for index, request in requests.items():
            by_model[id(_source(request).lm)].append(index)
        names = {request.name for request in requests.values()}
        aligned = indices == live and len(names) == 1 and len(by_model) == 1
        if aligned:
            self._run_text(self._slots.tolist(), requests, aligned=True)
        else:
            for members in by_model.values():
                self._run_text(members, requests, aligned=False)

    def _run_text(self, slots: list[int], requests: dict[int, Sample], aligned: bool) -> None:
        """Draws one batch of strings. Slots without a request are dead, and filled by resampling."""
        somebody = next(requests[slot] for slot in slots if slot in requests)
        names = [requests.get(slot, somebody).name for slot in slots]
        wanted = [
            TextRequest(requests[slot].distribution, _source(requests[slot])) if slot in requests else None
            for slot in slots
        ]
        keys = self._text_keys(names, slots)
        options = self._options
        lm = _source(somebody).lm
        batch = Batch(lm, wanted, slots, keys, options.proposal, self._contexts, self._counters)
        sites = text_sites(batch, options.resampler)
        origins = np.array(slots)
        num_tokens = 0
        try:
            for step in text_steps(
                sites,
                self._population,
                slots,
                options.resampler,
                raw_name_key(self._key, _RESAMPLING),
                self._least_size if aligned else 0.0,
                lambda: self._maybe_resample(replay=False),
            ):
                if step.ancestors is not None:
                    origins = origins[step.ancestors]
                    if step.is_announced:
                        self._resample(step.ancestors, replay=False)
                num_tokens += 1
                self._take_losses(step.lost, step.log_increments, slots, names)
                if step.log_twists is not None:
                    self._population.log_twists[slots] += step.log_twists
                self._counters.num_tokens += step.num_drawn
                self._note(somebody.name, num_tokens)
        except KeyboardInterrupt:
            self._fork(origins, slots, run=False)  # weights have moved already: traces follow them
            raise
        self._counters.text_sites |= dict.fromkeys(names, sites.describe())
        self._finish_text(sites, slots, names, origins)

    def _text_keys(self, names: list[str], slots: list[int]) -> np.ndarray:
        """Gives the key of each slot; a row that resampling moves draws with its new slot's key."""
        keys = {name: self._site_keys(name) for name in set(names)}
        return np.stack([keys[name][slot] for slot, name in zip(slots, names, strict=True)])

    def _take_losses(
        self, lost: dict[int, str], log_increments: np.ndarray, slots: list[int], names: list[str]
    ) -> None:
        """Weighs the rows of a site, and counts those that are lost."""
        for row, cause in lost.items():
            if self._population.alive[slots[row]]:
                self._population.lose(slots[row], cause, names[row])
        self._population.log_weights[slots] += np.where(np.isfinite(log_increments), log_increments, 0.0)

    def _finish_text(self, sites: TextSites, slots: list[int], names: list[str], origins: np.ndarray) -> None:
        values, owed, lost = sites.finish()
        self._take_losses(lost, owed, slots, names)
        self._fork(origins, slots)
        for row, slot in enumerate(slots):
            state = sites.rows[row]
            if state is None or not self._population.alive[slot]:
                self._particles[slot].close()
            else:
                self._go(slot, self._particles[slot].resume, values[row], state.record())

    # Resampling.

    def _maybe_resample(self, replay: bool = True) -> np.ndarray | None:
        """Resamples if the effective sample size is low; gives the ancestors, or None."""
        population = self._population
        size = population.effective_sample_size
        if not resampling_is_due(size, self._least_size):
            return None
        key = named_key(self._key, _RESAMPLING, population.num_resamplings)
        centred = population.log_weights - population.log_weights.max()  # before float32 rounds them
        ancestors = ancestors_of(self._options.resampler, key, centred.astype(np.float32))
        self._resample(ancestors, replay)
        return ancestors

    @property
    def _least_size(self) -> float:
        """The effective sample size below which particles are resampled."""
        return self._options.ess_threshold * self._population.num_particles * (1 - 1e-6)

    def _resample(self, ancestors: np.ndarray, replay: bool) -> None:
        """Lets everything that belongs to a particle follow its ancestor."""
        self._population.resample(ancestors)
        self._contexts.resample(ancestors)
        if self._due is not None:
            self._due = self._due[ancestors]
        if replay:
            self._fork(ancestors, self._slots.tolist())
        if self._steps:
            self._steps[-1] = replace(self._steps[-1], resampled=True)

    def _fork(self, ancestors: np.ndarray, slots: list[int], run: bool = True) -> None:
        """Makes the particle in each slot a copy of its ancestor, by replay where it is another."""
        old = list(self._particles)
        for slot, ancestor in zip(slots, ancestors.tolist(), strict=True):
            if ancestor != slot and self._population.alive[slot]:
                self._particles[slot] = old[ancestor].fork() if run else old[ancestor].copy_of_trace()
                old[slot].close()
                self._counters.num_replays += 1

    def _site_keys(self, name: str) -> np.ndarray:
        """Gives the keys of all slots at a site, `uint32[particles, 2]`."""
        return site_keys(self._key, self._population.generations, name)

    # Reports.

    def _note(self, site: str, token: int) -> None:
        population = self._population
        alive, size = int(population.alive.sum()), population.effective_sample_size
        self._steps.append(Step(site, token, alive, size, False, population.log_evidence))
        self._progress.update(site=site, token=token, alive=alive, effective_sample_size=size)

    def _request(self, index: int, kind: type[Any]) -> Any:
        request = self._particles[index].request
        assert isinstance(request, kind)
        return request

    def _no_posterior(self) -> NoPosterior:
        losses = self._population.plain_losses()
        numbers = {cause: sum(sites.values()) for cause, sites in losses.items()}
        advice = (
            "Most texts were not complete at their limit: raise max_tokens, as far as the model's context "
            "goes, or ask for something shorter."
            if max(numbers, key=numbers.__getitem__, default="") == TRUNCATED
            else "Loosen the condition that took most of them, give a proposal that can meet it, or use more "
            "particles."
        )
        num_particles = self._population.num_particles
        again = sum(numbers.values()) > num_particles
        return NoPosterior(
            f"All {num_particles} particles were lost, so there is no posterior: {describe_losses(losses)}"
            f"{' (some took the place of others that had been lost before)' if again else ''}. {advice}",
            losses,
        )

    def _posterior(self, partial: bool) -> Posterior:
        population = self._population
        settled = population.log_weights - np.where(population.alive, population.log_twists, 0.0)
        population.log_weights, population.log_twists = settled, np.zeros(population.num_particles)
        missing = [NoAnswer("unfinished" if alive else "lost") for alive in population.alive]
        return Posterior(
            values=[
                particle.answer if particle.returned else none
                for particle, none in zip(self._particles, missing, strict=True)
            ],
            traces=[particle.trace for particle in self._particles],
            log_weights=population.log_weights,
            log_evidence=population.log_evidence,
            log_evidence_error=population.log_evidence_error,
            losses=population.plain_losses(),
            diagnostics=Diagnostics(
                steps=tuple(self._steps),
                num_resamplings=population.num_resamplings,
                seconds=time.perf_counter() - self._started,
                eves=population.eves,
                num_compilations=self._compilations.num_programs,
                **vars(self._counters),
            ),
            partial=partial,
        )


def _kind(request: Any) -> str:
    if isinstance(request, Sample):
        return "text" if isinstance(request.distribution, Text) else "sample"
    kinds = (
        (Call, "call"),
        (Factor, "lost"),
        (Observe, "observe"),
        (Constrain, "constrain"),
        (Checkpoint, "checkpoint"),
    )
    return next(kind for statement, kind in kinds if isinstance(request, statement))


def _source(request: Sample) -> Any:
    """What a latent is drawn from."""
    return request.distribution if request.proposal is None else request.proposal
