"""Text sites that ask the host about tokens: one compiled call a token, and one copy of candidates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lmppl.constraints.functions.remembered_answers import CheckTimedOut
from lmppl.constraints.functions.time_limits import one_alarm
from lmppl.device_layout import ROWS
from lmppl.inference.contexts import grown, rearranged
from lmppl.inference.host_candidates import Checks
from lmppl.inference.host_parts import Held, HostPart, can_be_halved, reorder, takes_long
from lmppl.inference.host_search import packed_masks
from lmppl.inference.site_potentials import SitePotentials
from lmppl.inference.text_rows import Row, active_rows
from lmppl.inference.text_sites import (
    MOST_TOKENS,
    TIMED_OUT,
    TRUNCATED,
    Batch,
    TextSites,
    TextStep,
)
from lmppl.inference.text_steps import Plan
from lmppl.shape_buckets import bucket


class HostSites(TextSites):
    """A batch of strings of which the host judges at least something."""

    def __init__(self, batch: Batch, rows: list[Row | None], plan: Plan):
        super().__init__(batch, rows, plan)
        checks = [row.judges.check for row in rows if row is not None and row.judges.check is not None]
        self._masks_are_cheap = all(judge.is_masked_fast for judge in checks)
        self._awrs = batch.proposal.search(self._masks_are_cheap)
        self._checks = Checks()
        self._potentials = SitePotentials(batch, rows)
        self._parts: list[HostPart] = []
        self._step = 0  # which is also how many tokens every active row has drawn
        self._least_left = min((self._left(row) for row in rows if row is not None), default=0)
        self._num_drawn = self._num_by_priority = 0

    def describe(self) -> str:
        done = f"host: {self._proposal()}{self._potentials.describe()}"
        if self._num_by_priority:
            done += f", {self._num_by_priority} of {self._num_drawn} tokens by priority sampling"
        return done

    @property
    def active(self) -> bool:
        return any(row is not None and row.active for row in self.rows)

    def step(self, ancestors: np.ndarray | None, stay: Callable[[np.ndarray], bool]) -> TextStep:
        """Draws one token for every active row; rows that cannot go on are lost.

        Args:
            ancestors: Resample the rows first: row `i` becomes a copy of row `ancestors[i]`.
            stay: Says of log increments whether rows stay as they are behind them, and are not resampled. The
                device then reads the tokens while the host takes note of them.
        """
        self.start()
        if ancestors is not None:
            self._reorder(ancestors)
        lost = self._lost_for_room()
        for part in self._parts:
            if active_rows(part.rows) and not part.is_launched:
                part.launch(self._step, self._awrs, *self._host_masks(part, lost))
        increments, num_drawn = self._take_tokens(lost)
        weighed = self._potentials.weigh(self.rows)
        for index, cause in weighed.lost.items():
            self._lose(index, cause, lost)
        increments += weighed.log_increments
        increments[list(lost)] = -np.inf
        self._checks.forget()
        self._num_drawn += num_drawn
        self._step += 1
        if not self.active:
            self._close()
        elif "host" not in (self._plan.local, self._plan.mask) and stay(increments):
            for part in self._parts:
                if not part.is_launched and self._goes_on(part, self._step):
                    part.launch(self._step, self._awrs, None, None)
        return TextStep(ancestors, increments, lost, num_drawn, log_twists=weighed.log_twists)

    def start(self) -> None:
        """Reads the prompts, if that is not done. To be called before the first resampling.

        What is kept of earlier sites is kept by slot, and has to stand as the rows do.
        """
        if self._parts:
            return
        cache, tokens = self._start_caches(self._room())
        masks = self._machine.take_masks(self._lm, self._num_rows)
        states = self._layout.placed(self._states, ROWS)
        held = Held(cache, self._first_logits(), masks, states)
        whole = HostPart(self._batch, self._plan, self._fixed(), held, self.rows, tokens, self._twins())
        self._parts = [whole]
        if takes_long(self.rows):
            self._halve()

    def _halve(self) -> None:
        """Lets two halves take turns from now on, where that is possible."""
        if len(self._parts) == 1 and self._lm.mesh is None and can_be_halved(self._num_rows, self._plan):
            (whole,) = self._parts
            self._parts = whole.halves(self._machine.take_masks(self._lm, self._num_rows))

    def _take_tokens(self, lost: dict[int, str]) -> tuple[np.ndarray, int]:
        """Searches part after part while the device works for the others; gives increments and tokens."""
        increments, num_drawn, seconds = [], 0, 0.0
        for number, part in enumerate(self._parts):
            first = number * part.size
            if not active_rows(part.rows):
                increments.append(np.zeros(len(part.rows)))
                continue
            done = part.take(self._step, self._awrs, self._checks)
            self.rows[first : first + part.size] = part.rows
            lost |= {first + index: cause for index, cause in done.lost.items()}
            increments.append(done.log_increments)
            num_drawn += done.num_drawn
            seconds += done.check_seconds
            self._num_by_priority += done.num_by_priority
            # At the first token it is not known yet how to go on.
            if part is not self._parts[-1] and self._step > 0 and self._goes_on(part, self._step + 1):
                part.launch(self._step + 1, self._awrs, None, None)
        self._batch.counters.num_checks += self._checks.num_checks
        self._batch.counters.check_seconds += seconds
        if self._step == 0:
            cost = seconds / max(1, self._checks.num_checks)
            self._awrs = self._batch.proposal.search(self._masks_are_cheap, cost)
            if self._batch.proposal.finds_dear(cost):
                self._halve()
        self._checks.num_checks = 0
        return np.concatenate(increments), num_drawn

    def _goes_on(self, part: HostPart, step: int) -> bool:
        """Whether a part wants another token at a step, and has room for it as it is."""
        active = [row for _, row in active_rows(part.rows)]
        if not active or not self._has_room(step):
            return False
        return step < self._least_left or all(step < self._left(row) for row in active)

    def _reorder(self, ancestors: np.ndarray) -> None:
        for number, part in enumerate(self._parts):
            if part.is_launched:
                part.take_back(self._lengths()[number * part.size :][: part.size])
        reorder(self._parts, ancestors)
        self._potentials.reorder(ancestors)
        self.rows = [row for part in self._parts for row in part.rows]

    def _lengths(self) -> np.ndarray:
        """Gives how many tokens the rows' own caches held before the step that is next."""
        lengths = np.zeros(self._num_rows, np.int32)
        for index, row in enumerate(self.rows):
            if row is not None:
                read = len(row.text.prompt_tokens) - 1 + len(row.tokens)
                lengths[index] = max(0, read - self._prefix_length)
        return lengths

    def _lose(self, index: int, cause: str, lost: dict[int, str]) -> None:
        row = self.rows[index]
        assert row is not None
        part, place = divmod(index, self._parts[0].size)
        self.rows[index] = self._parts[part].rows[place] = row.lose(cause)
        lost[index] = cause

    def _has_room(self, step: int) -> bool:
        """Says whether the rows' caches can hold what active rows will have read after a step."""
        room = self._capacity + self._prefix_length - step - 1
        if max(map(len, self._read)) <= room:
            return True
        return all(len(row.text.prompt_tokens) - 1 <= room for _, row in active_rows(self.rows))

    def _lost_for_room(self) -> dict[int, str]:
        """Loses rows that have come to the end of the model's context, and makes room for the others."""
        lost: dict[int, str] = {}
        if self._step >= self._least_left:
            for index, row in active_rows(self.rows):
                if self._step >= self._left(row):
                    self._lose(index, TRUNCATED, lost)
        if not self._has_room(self._step):
            self._capacity = min(2 * self._capacity, bucket(self._capacity + MOST_TOKENS))
            self._require()
            for part in self._parts:
                part.held.cache = grown(self._lm, part.held.cache, self._capacity)
        return lost

    def _host_masks(
        self, part: HostPart, lost: dict[int, str]
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Asks the judges on the host for whole masks; gives them packed."""
        wanted = (self._plan.local == "host", self._plan.mask == "host")
        if not any(wanted):
            return None, None
        masks: list[dict[int, np.ndarray]] = [{}, {}]
        first = self._parts.index(part) * part.size
        with one_alarm():
            for index, row in active_rows(part.rows):
                try:
                    found = (row.local_mask() if wanted[0] else None, row.mask() if wanted[1] else None)
                except CheckTimedOut:
                    self._lose(first + index, TIMED_OUT, lost)
                    continue
                for known, mask in zip(masks, found, strict=True):
                    if mask is not None:
                        known[index] = mask
        base, allowed = (
            packed_masks(self._lm, part.size, known) if want else None
            for known, want in zip(masks, wanted, strict=True)
        )
        return base, allowed

    def _close(self) -> None:
        if not self._parts:
            return
        self._machine.masks = self._parts[0].held.masks
        self._cache_rows = np.concatenate(
            [n * part.size + part.pending for n, part in enumerate(self._parts)]
        )
        caches = [part.held.cache for part in self._parts]
        if len(caches) > 1:
            caches = rearranged(caches, [np.arange(self._num_rows)])
        (self._done,) = caches
        self._parts = []
