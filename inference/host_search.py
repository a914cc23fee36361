"""The host's search for the next token of each row: candidates are checked until one is accepted."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from lmppl.compilation import compiled
from lmppl.constraints.functions.remembered_answers import CheckTimedOut
from lmppl.constraints.functions.time_limits import one_alarm
from lmppl.inference.awrs import (
    Weighed,
    checks_needed,
    checks_needed_geometric,
    mixed,
    weigh,
    weigh_geometric,
    weigh_priority,
)
from lmppl.inference.counters import Counters
from lmppl.inference.draws import PORTION
from lmppl.inference.host_candidates import Candidates, Checks
from lmppl.inference.proposals import AWRS, Proposal
from lmppl.inference.step_programs import allowed_program, more_program
from lmppl.inference.text_rows import Row, active_rows
from lmppl.inference.text_sites import TIMED_OUT
from lmppl.inference.text_steps import Plan, Waiting, repeat_uniforms
from lmppl.language_model import LanguageModel

_FIRST_CHUNK = PORTION  # candidates that are drawn at first; each further time four times as many
_LARGEST_CHUNK = 256
_PRIORITY_SHARE = 0.9  # of its weight; the rest is for rows that have to look further


def packed_masks(lm: LanguageModel, num_rows: int, masks: dict[int, np.ndarray]) -> np.ndarray:
    """Packs the masks of some rows into words, `uint32[num_rows, words]`; other rows are allowed all."""
    num_words = -(-len(lm.vocabulary) // 32)
    words = np.full((num_rows, num_words), 0xFFFFFFFF, np.uint32)
    for index, mask in masks.items():
        packed = np.zeros(4 * num_words, np.uint8)
        bits = np.packbits(mask, bitorder="little")
        packed[: len(bits)] = bits
        words[index] = packed.view("<u4")
    return words


def num_candidates(lm: LanguageModel, plan: Plan, awrs: AWRS) -> int:
    """Gives how many candidates a step draws before the host has said anything."""
    return 1 if plan.check is None else min(_FIRST_CHUNK, _budget(lm, awrs))


@dataclass
class Search:
    """The search of one step, for rows whose candidates were drawn together.

    Attributes:
        lm: What they are drawn from.
        plan: What the step was compiled for.
        proposal: Says when a mask or priority sampling takes over.
        awrs: How rows are searched.
        counters: Are told what is done.
        checks: What is known of candidates in this step.
        rows: Their strings so far.
        keys: Raw, `uint32[rows, 2]`; there are more of them than rows where these are padded.
        step: The number of the token.
        lost: Row -> cause.
        check_seconds: What checks have taken.
        num_by_priority: Tokens that priority sampling has chosen.
    """

    lm: LanguageModel
    plan: Plan
    proposal: Proposal
    awrs: AWRS
    counters: Counters
    checks: Checks
    rows: list[Row | None]
    keys: np.ndarray
    step: int
    lost: dict[int, str] = field(default_factory=dict)
    check_seconds: float = 0.0
    num_by_priority: int = 0

    def run(self, waiting: Waiting, found: Candidates) -> tuple[np.ndarray, np.ndarray]:
        """Checks candidates until every row has its token; gives their places and the rows' log-weights."""
        found.num_at_once = self._num_at_once()
        searching = np.zeros(len(self.keys), bool)
        searching[[index for index, row in active_rows(self.rows) if row.judges.check is not None]] = True
        order, size = waiting.order, found.ids.shape[1]
        rounds = self.awrs.rounds
        if rounds is not None:
            found.uniforms = self._uniforms(1, size, rounds)
        while True:
            self._timed_check(found, searching)
            if not (searching & self._wants_more(found)).any():
                break
            portion = 1 + found.ids.shape[1] // PORTION
            size = min(_LARGEST_CHUNK, 4 * size, self._budget - found.ids.shape[1])
            order, packed = self._more(waiting, order, size, portion)
            found.extend(packed, size)
            if rounds is not None:
                fresh = self._uniforms(portion, size, rounds)
                found.uniforms = np.concatenate([found.uniforms, fresh], axis=1)  # type: ignore[list-item]
        if rounds is None:
            weighed = weigh(
                found.log_probs,
                found.log_tail,
                found.accepted,
                lookahead=self.awrs.lookahead,
                max_checks=self.awrs.max_checks,
            )
        else:
            assert found.uniforms is not None
            weighed = weigh_geometric(
                found.log_probs, found.log_tail, found.accepted, found.uniforms, rounds=rounds
            )
        places, log_weights = np.array(weighed.position), np.array(weighed.log_weight)
        free = [index for index, row in active_rows(self.rows) if row.judges.check is None]
        places[free], log_weights[free] = 0, found.log_mass[free]
        if rounds is None and self.proposal.ends_by_mask:
            self._end_by_mask(waiting, found, searching & self._is_unfinished(found), places, log_weights)
        if found.num_at_once.any():
            return self._by_priority(found, Weighed(places, log_weights))
        return places, log_weights

    @property
    def _budget(self) -> int:
        return _budget(self.lm, self.awrs)

    def _num_at_once(self) -> np.ndarray:
        """Gives how many candidates of each row are checked at once, for priority sampling; 0 for none."""
        wanted = self.proposal.priority_checks
        at_once = np.zeros(len(self.keys), int)
        if wanted is not None:
            # What lies behind so many is known only where a draw of candidates has ended.
            whole = self._budget >= min(wanted, len(self.lm.vocabulary))
            first = num_candidates(self.lm, self.plan, self.awrs) // PORTION * PORTION
            size = min(wanted, self._budget) if whole else first
            for index, row in active_rows(self.rows):
                judge = row.judges.check if row.scarce else None
                if judge is not None and judge.constraint and judge.constraint.is_batched:
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
        self.num_by_priority += int((log_weights[rows] > -np.inf).sum())
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
        go = allowed_program(self.lm, self.plan.noisy)
        allowed = packed_masks(self.lm, len(self.keys), masks)
        packed = go(self.keys, np.int32(self.step), waiting.rows, allowed)
        last = Candidates.unpacked(fetched(self.counters, packed))
        width = found.ids.shape[1]
        found.ids = np.concatenate([found.ids, last.ids], axis=1)
        found.log_probs = np.concatenate([found.log_probs, last.log_probs], axis=1)
        for index in masks:
            log_weights[index] = last.log_mass[index]
            if not found.accepted[index].any():
                places[index] = width

    def _more(self, waiting: Waiting, order: Any, size: int, portion: int) -> tuple[Any, np.ndarray]:
        go = more_program(self.lm, _LARGEST_CHUNK)
        numbers = (np.int32(self.step), np.uint32(portion), np.int32(-(-size // PORTION)))
        order, packed = go(self.keys, *numbers, waiting.rows, order)
        return order, fetched(self.counters, packed)

    def _uniforms(self, portion: int, size: int, rounds: int) -> np.ndarray:
        go = compiled(
            self.lm.skeleton, "repeat uniforms", lambda: jax.jit(repeat_uniforms, static_argnums=(3, 4))
        )
        return np.asarray(go(self.keys, np.int32(self.step), np.uint32(portion), size, rounds), float)

    def _wants_more(self, found: Candidates) -> np.ndarray:
        """Says which rows would go on if there were another candidate."""
        if found.width >= self._budget:
            return np.zeros(len(self.keys), bool)
        if found.uniforms is not None:
            return (found.log_tail > -np.inf) & self._undecided(found)
        return self._is_unfinished(found) | ((found.log_tail > -np.inf) & (found.num_at_once > found.width))

    def _is_unfinished(self, found: Candidates) -> np.ndarray:
        """Says which rows have not looked ahead far enough, candidates being left."""
        width = found.ids.shape[1]
        places = np.where(found.accepted.any(axis=1), found.accepted.argmax(axis=1), width)
        return (found.log_tail > -np.inf) & (places + self.awrs.lookahead >= width)

    def _undecided(self, found: Candidates) -> np.ndarray:
        """Which rows the geometric estimator has not stopped, their candidates being used up."""
        assert self.awrs.rounds is not None
        assert found.uniforms is not None
        num_rows = len(self.keys)
        shape = (num_rows, 1)
        checks = checks_needed_geometric(
            np.concatenate([found.log_probs, found.log_tail[:, None]], axis=1),
            np.full(num_rows, -np.inf),
            np.concatenate([found.accepted, np.zeros(shape, bool)], axis=1),
            found.num_checked,
            np.concatenate([found.uniforms, np.zeros((*shape, found.uniforms.shape[2]))], axis=1),
            rounds=self.awrs.rounds,
        )
        return np.asarray(checks) > 0

    def _timed_check(self, found: Candidates, searching: np.ndarray) -> None:
        started = time.perf_counter()
        with one_alarm():
            self._check(found, searching)
        self.check_seconds += time.perf_counter() - started

    def _check(self, found: Candidates, searching: np.ndarray) -> None:
        """Asks about candidates as long as a row has one that its estimator wants to know about."""
        together = searching & ~self._checked_one_by_one(found, searching)
        while together.any():
            if found.uniforms is None:
                needed = checks_needed(
                    found.log_probs,
                    found.log_tail,
                    found.accepted,
                    found.num_checked,
                    lookahead=self.awrs.lookahead,
                    max_checks=self.awrs.max_checks,
                )
            else:
                assert self.awrs.rounds is not None
                needed = checks_needed_geometric(
                    found.log_probs,
                    found.log_tail,
                    found.accepted,
                    found.num_checked,
                    found.uniforms,
                    rounds=self.awrs.rounds,
                )
            num_tokens = (found.log_probs > -np.inf).sum(axis=1)
            needed = np.maximum(needed, np.minimum(found.num_at_once, num_tokens) - found.num_checked)
            needed = np.where(together & searching, needed, 0)
            if not needed.any():
                return
            self._check_places(found, needed, searching)

    def _checked_one_by_one(self, found: Candidates, searching: np.ndarray) -> np.ndarray:
        """Does so in each row whose judge gains nothing from many questions at once; says which these are."""
        done = np.zeros(len(searching), bool)
        if found.uniforms is not None:
            return done
        lookahead = self.awrs.lookahead
        limit = min(found.width, self.awrs.max_checks or found.width)
        ids, places = found.ids.tolist(), found.num_checked.tolist()
        ends = np.minimum(limit, (found.log_probs > -np.inf).sum(axis=1)).tolist()
        has_one, first = found.accepted.any(axis=1), found.accepted.argmax(axis=1)
        lasts = np.where(has_one, first + lookahead, limit).tolist()
        accepted: tuple[list[int], list[int]] = ([], [])
        for index in np.flatnonzero(searching & (found.num_at_once == 0)).tolist():
            row = self._row(index)
            if row.gains_from_lists:
                continue
            done[index] = True
            place, end, last, tokens = places[index], ends[index], lasts[index], ids[index]
            allows = self.checks.answers(row).allows
            try:
                while place < end and place <= last:
                    if allows(tokens[place]):
                        accepted[0].append(index)
                        accepted[1].append(place)
                        last = min(last, place + lookahead)
                    place += 1
            except CheckTimedOut:
                self._lose_late(index, searching)
                self.checks.num_checks += 1
            self.checks.num_checks += place - places[index]
            places[index] = place
        found.accepted[accepted] = True
        found.num_checked[:] = places
        return done

    def _check_places(self, found: Candidates, needed: np.ndarray, searching: np.ndarray) -> None:
        """Asks about the next candidates of each row, so many of each, all together."""
        rows = np.repeat(np.arange(len(needed)), needed).tolist()
        places = np.concatenate(
            [first + np.arange(n) for first, n in np.stack([found.num_checked, needed], 1)]
        )
        asked = [
            (self._row(i), token) for i, token in zip(rows, found.ids[rows, places].tolist(), strict=True)
        ]
        answers = self.checks.run(asked)
        found.accepted[rows, places] = [answer is True for answer in answers]
        found.num_checked += needed
        late = [i for i, answer in zip(rows, answers, strict=True) if isinstance(answer, CheckTimedOut)]
        for index in dict.fromkeys(late):
            self._lose_late(index, searching)

    def lose(self, index: int, cause: str) -> None:
        """Loses a row."""
        self.rows[index] = self._row(index).lose(cause)
        self.lost[index] = cause

    def _lose_late(self, index: int, searching: np.ndarray) -> None:
        searching[index] = False
        self.lose(index, TIMED_OUT)

    def _row(self, index: int) -> Row:
        row = self.rows[index]
        assert row is not None
        return row


def fetched(counters: Counters, array: Any) -> np.ndarray:
    """Waits for an array of the device and copies it."""
    counters.num_transfers += 1
    counters.num_synchronisations += 1
    return np.asarray(array)


def _budget(lm: LanguageModel, awrs: AWRS) -> int:
    return min(awrs.max_checks, len(lm.vocabulary))
