"""Text sites that ask the host about tokens: one compiled call a token, and one copy of candidates."""

from __future__ import annotations

import time
from typing import Any

import jax
import numpy as np

from lmppl.compilation import compiled
from lmppl.constraints.protocol import is_batched
from lmppl.constraints.remembered_answers import CheckTimedOut
from lmppl.constraints.time_limits import one_alarm
from lmppl.device_layout import ROWS
from lmppl.inference.awrs import (
    Weighed,
    checks_needed,
    checks_needed_geometric,
    mixed,
    weigh,
    weigh_geometric,
    weigh_priority,
)
from lmppl.inference.contexts import grown
from lmppl.inference.draws import PORTION
from lmppl.inference.host_candidates import Candidates, Checks
from lmppl.inference.site_potentials import SitePotentials, unsatisfied
from lmppl.inference.step_programs import allowed_program, more_program, propose_program
from lmppl.inference.text_rows import Row
from lmppl.inference.text_sites import (
    MOST_TOKENS,
    TIMED_OUT,
    TRUNCATED,
    Batch,
    TextSites,
    TextStep,
)
from lmppl.inference.text_steps import Ask, Plan, Waiting, repeat_uniforms
from lmppl.shape_buckets import bucket

_FIRST_CHUNK = PORTION  # candidates that are drawn at first; each further time four times as many
_LARGEST_CHUNK = 256
_SCARCE = 12  # a row where fewer than one in so many candidates was accepted
_PRIORITY_SHARE = 0.9  # of its weight; the rest is for rows that have to look further


class HostSites(TextSites):
    """A batch of strings of which the host judges at least something."""

    def __init__(self, batch: Batch, rows: list[Row | None], plan: Plan):
        super().__init__(batch, rows, plan)
        checks = [row.judges.check for row in rows if row is not None and row.judges.check is not None]
        self._masks_are_cheap = all(judge.is_masked_fast for judge in checks)
        self._awrs = batch.proposal.search(self._masks_are_cheap)
        self._checks = Checks()
        self._potentials = SitePotentials(batch, rows)
        self._cache: Any = None
        self._masks: Any = None
        self._logits: Any = None  # the last step's
        self._states_now: Any = self._states
        self._tokens = np.zeros(self._num_rows, np.int32)
        self._twins_now = self._twins()
        self._ancestors = np.arange(self._num_rows, dtype=np.int32)
        self._step = 0
        self._first_check = 0.0
        self._num_drawn = self._num_by_priority = 0

    def describe(self) -> str:
        done = f"host: {self._proposal()}{self._potentials.describe()}"
        if self._num_by_priority:
            done += f", {self._num_by_priority} of {self._num_drawn} tokens by priority sampling"
        return done

    @property
    def active(self) -> bool:
        return any(row is not None and row.active for row in self.rows)

    def step(self, ancestors: np.ndarray | None) -> TextStep:
        """Draws one token for every active row; rows that cannot go on are lost.

        Args:
            ancestors: Resample the rows first: row `i` becomes a copy of row `ancestors[i]`.
        """
        self.start()
        if ancestors is not None:
            self._reorder(ancestors)
        lost = self._lost_for_room()
        base, allowed = self._host_masks(lost)
        increments = np.zeros(len(self.rows))
        num_drawn = 0
        if self.active:
            waiting, found = self._propose(base, allowed)
            if self._plan.check is None:
                chosen, log_weights = np.zeros(self._num_rows, int), found.log_mass
            else:
                found.num_at_once = self._num_at_once()
                chosen, log_weights = self._search(waiting, found, lost)
            num_drawn = self._advance(found, chosen, log_weights, increments, lost)
        weighed = self._potentials.weigh(self.rows)
        for index, cause in weighed.lost.items():
            self._lose(index, cause, lost)
        increments += weighed.log_increments
        increments[list(lost)] = -np.inf
        self._checks.forget()
        if self._step == 0:
            self._awrs = self._batch.proposal.search(self._masks_are_cheap, self._first_check)
        self._step += 1
        if not self.active:
            self._close()
        return TextStep(ancestors, increments, lost, num_drawn, log_twists=weighed.log_twists)

    def start(self) -> None:
        """Reads the prompts, if that is not done. To be called before the first resampling.

        What is kept of earlier sites is kept by slot, and has to stand as the rows do.
        """
        if self._cache is None:
            self._cache, self._tokens = self._start_caches(self._room())
            self._masks = self._machine.take_masks(self._lm, self._num_rows)
            self._states_now = self._layout.placed(self._states, ROWS)
            self._logits = self._first_logits()

    def _reorder(self, ancestors: np.ndarray) -> None:
        self.rows = [self.rows[ancestor] for ancestor in ancestors.tolist()]
        self._potentials.reorder(ancestors)
        self._ancestors[: len(ancestors)] = ancestors
        self._tokens = self._tokens[self._ancestors]
        self._twins_now = self._twins_now[self._ancestors]

    def _lose(self, index: int, cause: str, lost: dict[int, str]) -> None:
        row = self.rows[index]
        assert row is not None
        self.rows[index] = row.lose(cause)
        lost[index] = cause

    def _active_rows(self) -> list[tuple[int, Row]]:
        return [(index, row) for index, row in enumerate(self.rows) if row is not None and row.active]

    def _lost_for_room(self) -> dict[int, str]:
        """Loses rows that have come to the end of the model's context, and makes room for the others."""
        lost: dict[int, str] = {}
        for index, row in self._active_rows():
            if len(row.tokens) >= self._left(row):
                self._lose(index, TRUNCATED, lost)
        longest = max((len(row.text.prompt_tokens) - 1 for _, row in self._active_rows()), default=0)
        if longest - self._prefix_length + self._step + 1 > self._capacity:
            self._capacity = min(2 * self._capacity, bucket(self._capacity + MOST_TOKENS))
            self._require()
            self._cache = grown(self._lm, self._cache, self._capacity)
        return lost

    def _host_masks(self, lost: dict[int, str]) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Asks the judges on the host for whole masks; gives them packed."""
        wanted = (self._plan.local == "host", self._plan.mask == "host")
        if not any(wanted):
            return None, None
        masks: list[dict[int, np.ndarray]] = [{}, {}]
        with one_alarm():
            for index, row in self._active_rows():
                try:
                    found = (row.local_mask() if wanted[0] else None, row.mask() if wanted[1] else None)
                except CheckTimedOut:
                    self._lose(index, TIMED_OUT, lost)
                    continue
                for known, mask in zip(masks, found, strict=True):
                    if mask is not None:
                        known[index] = mask
        base, allowed = (
            self._packed_masks(known) if want else None for known, want in zip(masks, wanted, strict=True)
        )
        return base, allowed

    def _packed_masks(self, masks: dict[int, np.ndarray]) -> np.ndarray:
        num_words = -(-len(self._lm.vocabulary) // 32)
        words = np.full((self._num_rows, num_words), 0xFFFFFFFF, np.uint32)
        for index, mask in masks.items():
            packed = np.zeros(4 * num_words, np.uint8)
            bits = np.packbits(mask, bitorder="little")
            packed[: len(bits)] = bits
            words[index] = packed.view("<u4")
        return words

    def _propose(self, base: np.ndarray | None, allowed: np.ndarray | None) -> tuple[Waiting, Candidates]:
        active = np.zeros(self._num_rows, bool)
        at_limit, local_limit = active.copy(), active.copy()
        scale = np.ones(self._num_rows, np.float32)
        for index, row in self._active_rows():
            active[index], at_limit[index] = True, row.at_limit
            local_limit[index], scale[index] = row.text.local_limit, 1.0 / row.text.temperature
        said: dict[str, Any] = {
            "ancestors": self._ancestors,
            "tokens": self._tokens,
            "advance": np.array(self._step > 0),
            "twins": self._twins_now,
            "active": active,
            "at_limit": at_limit,
            "local_limit": local_limit,
            "scale": scale,
            "step": np.array(self._step, np.int32),
            "base": base,
            "allowed": allowed,
        }
        go = propose_program(self._lm, self._plan, self._first_chunk)
        used_up = (self._cache, self._logits, self._masks, self._states_now)
        waiting, packed = go(self._fixed(), *used_up, Ask(**said))
        self._cache, self._masks, self._states_now = waiting.cache, waiting.masks, waiting.states
        self._logits = waiting.rows.logits
        self._ancestors = np.arange(self._num_rows, dtype=np.int32)
        self._batch.counters.num_forwards += int(self._step > 0 or not self._prompt_is_read)
        return waiting, Candidates.unpacked(self._fetched(packed))

    @property
    def _first_chunk(self) -> int:
        return 1 if self._plan.check is None else min(_FIRST_CHUNK, self._budget)

    @property
    def _budget(self) -> int:
        return min(self._awrs.max_checks, len(self._lm.vocabulary))

    def _fetched(self, array: Any) -> np.ndarray:
        self._batch.counters.num_transfers += 1
        self._batch.counters.num_synchronisations += 1
        return np.asarray(array)

    def _search(
        self, waiting: Waiting, found: Candidates, lost: dict[int, str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Checks candidates until every row has its token; gives their places and the rows' log-weights."""
        searching = np.zeros(self._num_rows, bool)
        searching[[index for index, _ in self._active_rows()]] = True
        order, size = waiting.order, found.ids.shape[1]
        rounds = self._awrs.rounds
        if rounds is not None:
            found.uniforms = self._uniforms(1, size, rounds)
        while True:
            self._timed_check(found, searching, lost)
            if not (searching & self._wants_more(found)).any():
                break
            portion = 1 + found.ids.shape[1] // PORTION
            size = min(_LARGEST_CHUNK, 4 * size, self._budget - found.ids.shape[1])
            order, packed = self._more(waiting, order, size, portion)
            found.extend(packed, size)
            if rounds is not None:
                fresh = self._uniforms(portion, size, rounds)
                found.uniforms = np.concatenate([found.uniforms, fresh], axis=1)  # type: ignore[list-item]
        self._batch.counters.num_checks += self._checks.num_checks
        self._checks.num_checks = 0
        if rounds is None:
            weighed = weigh(
                found.log_probs,
                found.log_tail,
                found.accepted,
                lookahead=self._awrs.lookahead,
                max_checks=self._awrs.max_checks,
            )
        else:
            assert found.uniforms is not None
            weighed = weigh_geometric(
                found.log_probs, found.log_tail, found.accepted, found.uniforms, rounds=rounds
            )
        places, log_weights = np.array(weighed.position), np.array(weighed.log_weight)
        if rounds is None and self._batch.proposal.ends_by_mask:
            self._end_by_mask(waiting, found, searching & self._is_unfinished(found), places, log_weights)
        if found.num_at_once.any():
            return self._by_priority(found, Weighed(places, log_weights))
        return places, log_weights

    def _num_at_once(self) -> np.ndarray:
        """Gives how many candidates of each row are checked at once, for priority sampling; 0 for none."""
        wanted = self._batch.proposal.priority_checks
        at_once = np.zeros(self._num_rows, int)
        if wanted is not None:
            # What lies behind so many is known only where a draw of candidates has ended.
            whole = self._budget >= min(wanted, len(self._lm.vocabulary))
            size = min(wanted, self._budget) if whole else self._first_chunk // PORTION * PORTION
            for index, row in self._active_rows():
                judge = row.judges.check
                if row.scarce and judge is not None and judge.constraint and is_batched(judge.constraint):
                    at_once[index] = size
        return at_once

    def _by_priority(self, found: Candidates, otherwise: Weighed) -> tuple[np.ndarray, np.ndarray]:
        """Weighs those rows anew; one in which no candidate at all was accepted so far is not lost by it."""
        rows = np.flatnonzero(found.num_at_once)
        width = min(int(found.num_at_once.max()), found.width)
        uniforms = self._uniforms(1, 1, 1)[rows, 0]
        weighed = weigh_priority(
            found.log_probs[rows, :width],
            found.accepted[rows, :width],
            found.thresholds[width][rows],
            uniforms[:, 0],
        )
        rest = Weighed(otherwise.position[rows], otherwise.log_weight[rows])
        weighed = mixed(weighed, rest, _PRIORITY_SHARE, uniforms[:, 1])
        places, log_weights = np.array(otherwise.position), np.array(otherwise.log_weight)
        places[rows], log_weights[rows] = weighed.position, weighed.log_weight
        self._num_by_priority += int((log_weights[rows] > -np.inf).sum())
        return places, log_weights

    def _end_by_mask(
        self,
        waiting: Waiting,
        found: Candidates,
        unfinished: np.ndarray,
        places: np.ndarray,
        log_weights: np.ndarray,
    ) -> None:
        """Gives the rows that have spent their budget the exact weight, and a token if they have none.

        Properly weighted: at which candidate a row was accepted decides who is weighed so, and the exact mass
        is what every estimator has for its mean, given that candidate.
        """
        masks: dict[int, np.ndarray] = {}
        for index in np.flatnonzero(unfinished).tolist():
            row = self.rows[index]
            judge, cursor = (None, None) if row is None else (row.judges.check, row.cursors[2])
            if judge is None or cursor is None or not (judge.constraint and judge.constraint.viable_is_exact):
                continue
            masks[index] = judge.mask(cursor)
        if not masks:
            return
        go = allowed_program(self._lm, self._plan.noisy)
        allowed = self._packed_masks(masks)
        last = Candidates.unpacked(self._fetched(go(self._keys, np.int32(self._step), waiting.rows, allowed)))
        width = found.ids.shape[1]
        found.ids = np.concatenate([found.ids, last.ids], axis=1)
        found.log_probs = np.concatenate([found.log_probs, last.log_probs], axis=1)
        for index in masks:
            log_weights[index] = last.log_mass[index]
            if not found.accepted[index].any():
                places[index] = width

    def _more(self, waiting: Waiting, order: Any, size: int, portion: int) -> tuple[Any, np.ndarray]:
        go = more_program(self._lm, _LARGEST_CHUNK)
        numbers = (np.int32(self._step), np.uint32(portion), np.int32(-(-size // PORTION)))
        order, packed = go(self._keys, *numbers, waiting.rows, order)
        return order, self._fetched(packed)

    def _uniforms(self, portion: int, size: int, rounds: int) -> np.ndarray:
        go = compiled(
            self._lm.skeleton, "repeat uniforms", lambda: jax.jit(repeat_uniforms, static_argnums=(3, 4))
        )
        return np.asarray(go(self._keys, np.int32(self._step), np.uint32(portion), size, rounds), float)

    def _wants_more(self, found: Candidates) -> np.ndarray:
        """Says which rows would go on if there were another candidate."""
        if found.width >= self._budget:
            return np.zeros(self._num_rows, bool)
        if found.uniforms is not None:
            return (found.log_tail > -np.inf) & self._undecided(found)
        return self._is_unfinished(found) | ((found.log_tail > -np.inf) & (found.num_at_once > found.width))

    def _is_unfinished(self, found: Candidates) -> np.ndarray:
        """Says which rows have not looked ahead far enough, candidates being left."""
        width = found.ids.shape[1]
        places = np.where(found.accepted.any(axis=1), found.accepted.argmax(axis=1), width)
        return (found.log_tail > -np.inf) & (places + self._awrs.lookahead >= width)

    def _undecided(self, found: Candidates) -> np.ndarray:
        """Which rows the geometric estimator has not stopped, their candidates being used up."""
        assert self._awrs.rounds is not None
        assert found.uniforms is not None
        shape = (self._num_rows, 1)
        checks = checks_needed_geometric(
            np.concatenate([found.log_probs, found.log_tail[:, None]], axis=1),
            np.full(self._num_rows, -np.inf),
            np.concatenate([found.accepted, np.zeros(shape, bool)], axis=1),
            found.num_checked,
            np.concatenate([found.uniforms, np.zeros((*shape, found.uniforms.shape[2]))], axis=1),
            rounds=self._awrs.rounds,
        )
        return np.asarray(checks) > 0

    def _timed_check(self, found: Candidates, searching: np.ndarray, lost: dict[int, str]) -> None:
        before, started = self._checks.num_checks, time.perf_counter()
        with one_alarm():
            self._check(found, searching, lost)
        seconds = time.perf_counter() - started
        self._batch.counters.check_seconds += seconds
        if self._step == 0:
            self._first_check = seconds / max(1, self._checks.num_checks - before)

    def _check(self, found: Candidates, searching: np.ndarray, lost: dict[int, str]) -> None:
        """Asks about candidates as long as a row has one that its estimator wants to know about."""
        if found.uniforms is None:
            self._check_one_by_one(found, searching, lost)
        while True:
            if found.uniforms is None:
                needed = checks_needed(
                    found.log_probs,
                    found.log_tail,
                    found.accepted,
                    found.num_checked,
                    lookahead=self._awrs.lookahead,
                    max_checks=self._awrs.max_checks,
                )
            else:
                assert self._awrs.rounds is not None
                needed = checks_needed_geometric(
                    found.log_probs,
                    found.log_tail,
                    found.accepted,
                    found.num_checked,
                    found.uniforms,
                    rounds=self._awrs.rounds,
                )
            num_tokens = (found.log_probs > -np.inf).sum(axis=1)
            needed = np.maximum(needed, np.minimum(found.num_at_once, num_tokens) - found.num_checked)
            needed = np.where(searching, needed, 0)
            if not needed.any():
                return
            self._check_places(found, needed, searching, lost)

    def _check_one_by_one(self, found: Candidates, searching: np.ndarray, lost: dict[int, str]) -> None:
        """Does so in each row whose judge gains nothing from many questions at once."""
        limit = min(found.width, self._awrs.max_checks or found.width)
        for index in np.flatnonzero(searching).tolist():
            row = self._row(index)
            if found.num_at_once[index] or row.gains_from_lists:
                continue
            accepted, place = found.accepted[index], int(found.num_checked[index])
            known = accepted[:place]
            last = int(known.argmax()) + self._awrs.lookahead if known.any() else limit
            answers = self._checks.answers(row)
            ids = found.ids[index].tolist()
            end = min(limit, int((found.log_probs[index] > -np.inf).sum()))
            while place < end and place <= last:
                answer = self._checks.ask(answers, ids[place])
                if isinstance(answer, CheckTimedOut):
                    searching[index] = False
                    self._lose(index, TIMED_OUT, lost)
                    break
                if answer:
                    accepted[place] = True
                    last = min(last, place + self._awrs.lookahead)
                place += 1
            found.num_checked[index] = place

    def _check_places(
        self, found: Candidates, needed: np.ndarray, searching: np.ndarray, lost: dict[int, str]
    ) -> None:
        """Asks about the next candidates of each row, so many of each, all together."""
        rows = np.repeat(np.arange(len(needed)), needed).tolist()
        places = np.concatenate(
            [first + np.arange(n) for first, n in np.stack([found.num_checked, needed], 1)]
        )
        asked = [
            (self._row(i), token) for i, token in zip(rows, found.ids[rows, places].tolist(), strict=True)
        ]
        answers = self._checks.run(asked)
        found.accepted[rows, places] = [answer is True for answer in answers]
        found.num_checked += needed
        late = [i for i, answer in zip(rows, answers, strict=True) if isinstance(answer, CheckTimedOut)]
        for index in dict.fromkeys(late):
            searching[index] = False
            self._lose(index, TIMED_OUT, lost)

    def _row(self, index: int) -> Row:
        row = self.rows[index]
        assert row is not None
        return row

    def _advance(
        self,
        found: Candidates,
        chosen: np.ndarray,
        log_weights: np.ndarray,
        increments: np.ndarray,
        lost: dict[int, str],
    ) -> int:
        num_drawn = 0
        twins: dict[tuple[int, int], int] = {}
        for index, row in self._active_rows():
            place, weight = int(chosen[index]), float(log_weights[index])
            log_prob = float(found.log_probs[index, place])
            if weight == -np.inf or log_prob == -np.inf:
                self._lose(index, TRUNCATED if row.at_limit else unsatisfied(row), lost)
                continue
            token = int(found.ids[index, place])
            checked = self._checks.cursor_after(row, token)
            num_checked = int(found.num_checked[index])
            scarce = _SCARCE * int(found.accepted[index, :num_checked].sum()) < num_checked
            self.rows[index] = row.advance(token, log_prob, weight, checked, scarce)
            self._tokens[index] = token
            self._twins_now[index] = twins.setdefault((int(self._twins_now[index]), token), index)
            increments[index] = weight
            num_drawn += 1
        self._num_drawn += num_drawn
        return num_drawn

    def _close(self) -> None:
        if self._cache is not None:
            self._machine.masks = self._masks
            self._done, self._cache_rows = self._cache, self._ancestors
            self._cache = self._masks = self._logits = None
