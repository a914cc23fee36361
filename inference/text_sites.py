"""Runs text sites: all particles that stand in one advance together, one compiled call a token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmppl.constraints.python_check import CheckTimedOut
from lmppl.inference.awrs import (
    checks_needed,
    checks_needed_geometric,
    needs_refill,
    weigh,
    weigh_geometric,
)
from lmppl.inference.proposal_weights import proposal_corrections
from lmppl.inference.proposals import Proposal
from lmppl.inference.text_rows import Checks, Row, check_candidates
from lmppl.inference.text_steps import make_decode, propose_tokens, refill_tokens, repeat_uniforms
from lmppl.language_model import LanguageModel
from lmppl.scoring import compiled
from lmppl.shape_buckets import bucket
from lmppl.text import Text

UNSATISFIABLE = "constraint unsatisfiable"
TRUNCATED = "truncated"
TIMED_OUT = "check timed out"
UNDECODABLE = "undecodable"

_MAX_CANDIDATES = 64
_FIRST_ROOM = 64  # tokens a row has room for at first where there is no max_tokens
_MOST_TOKENS = 4096  # and in the end: a string that will not end is lost as truncated


@dataclass(frozen=True)
class TextRequest:
    """One particle at a text site: the distribution it wants, and the one that is drawn from."""

    target: Text
    source: Text


class TextSites:
    """A batch of strings in the making, of one language model.

    Row `i` belongs to request `i`; a request of None is a slot that is empty until resampling fills
    it. `keys` are raw, `uint32[slots, 2]`, and stay with their slots. After every `step`,
    `log_increments` says by what the rows' weights are multiplied, in nats.
    """

    def __init__(
        self, lm: LanguageModel, requests: Sequence[TextRequest | None], keys: np.ndarray, proposal: Proposal
    ):
        self._lm = lm
        self._awrs = proposal.rejection
        self._checks = Checks()
        self._num_rows = bucket(len(requests))
        self.rows: list[Row | None] = [
            None if request is None else Row.start(request.source, request.target, proposal)
            for request in requests
        ]
        self._keys = np.zeros((self._num_rows, keys.shape[1]), np.uint32)
        self._keys[: len(keys)] = keys
        self._possible = jnp.asarray(lm.vocabulary.possible)
        self._cache: Any = None
        self._capacity = 0
        self._logits: Any = None
        self._last_tokens = np.zeros(self._num_rows, np.int32)
        self.log_increments = np.zeros(len(requests))

    @property
    def active(self) -> bool:
        """Whether any row wants another token."""
        return any(row is not None and row.active for row in self.rows)

    @property
    def num_checks(self) -> int:
        """How many candidates were checked so far."""
        return self._checks.num_checks

    def reorder(self, ancestors: np.ndarray) -> None:
        """Makes row `i` a copy of row `ancestors[i]`."""
        self.rows = [self.rows[ancestor] for ancestor in ancestors]
        moved = np.arange(self._num_rows, dtype=np.int32)
        moved[: len(ancestors)] = ancestors
        self._last_tokens = self._last_tokens[moved]
        if self._cache is None:
            return
        if self._logits is not None:
            self._logits = self._logits[moved]
        gather = compiled(self._lm, "gather", lambda: jax.jit(self._lm.gather))
        self._cache = gather(self._cache, moved)

    def step(self) -> None:
        """Draws one token for every active row; rows that cannot go on are lost."""
        self.log_increments[:] = 0.0
        if self._cache is None:
            self._prefill()
        self._make_room()
        local, mask = self._masks()
        if not self.active:
            return
        num_candidates = self._num_candidates()
        drawn = self._draw(local, mask, num_candidates)
        ids, log_probs, log_tail = (np.asarray(part) for part in drawn[:3])
        log_mass = np.asarray(drawn[3], float)
        log_probs, log_tail = log_probs.astype(float), log_tail.astype(float)
        if num_candidates == 1:
            chosen, chosen_log_probs, log_weights = ids[:, 0], log_probs[:, 0], np.zeros(self._num_rows)
        else:
            chosen, chosen_log_probs, log_weights = self._reject(ids, log_probs, log_tail, drawn[4])
        for index, row in enumerate(self.rows):
            if row is None or not row.active:
                continue
            weight = log_mass[index] + log_weights[index]
            if weight == -np.inf or chosen_log_probs[index] == -np.inf:
                self._lose(index, TRUNCATED if row.at_limit else UNSATISFIABLE)
                continue
            token = int(chosen[index])
            self.rows[index] = row.advance(
                token, float(chosen_log_probs[index] + log_mass[index]), float(weight)
            )
            self._last_tokens[index] = token
            self.log_increments[index] += weight
        self._checks.forget()

    def finish(self) -> list[str | None]:
        """Gives the strings; None for rows that are lost or empty.

        `log_increments` is set to what a proposal still owes: `log target - log proposal`.
        """
        self.log_increments[:] = 0.0
        values = [None if row is None or row.lost else row.value() for row in self.rows]
        proposed: list[int] = []
        drawn: list[tuple[Text, Text, tuple[int, ...], str]] = []
        for index, (row, value) in enumerate(zip(self.rows, values, strict=True)):
            if row is None or row.lost:
                continue
            if value is None:
                self._lose(index, UNDECODABLE)
            elif row.target is not row.text:
                proposed.append(index)
                drawn.append((row.target, row.text, row.tokens, value))
        for index, correction in zip(proposed, proposal_corrections(drawn) if drawn else (), strict=True):
            self.log_increments[index] = correction
            if correction == -np.inf:
                self._lose(index, UNSATISFIABLE)
                values[index] = None
        return values

    def _lose(self, index: int, cause: str) -> None:
        row = self.rows[index]
        assert row is not None
        self.rows[index] = row.lose(cause)
        self.log_increments[index] = -np.inf

    def _prefill(self) -> None:
        """Reads every different prompt once and copies its cache to the rows."""
        prompts = list(dict.fromkeys(row.text.prompt_tokens for row in self.rows if row is not None))
        of_row = np.zeros(self._num_rows, np.int32)
        for index, row in enumerate(self.rows):
            if row is not None:
                of_row[index] = prompts.index(row.text.prompt_tokens)
        length = bucket(max(1, max(map(len, prompts))), 16)
        tokens = np.zeros((bucket(len(prompts)), length), np.int32)
        lengths = np.ones(len(tokens), np.int32)
        for position, prompt in enumerate(prompts):
            tokens[position, : len(prompt)] = prompt
            lengths[position] = len(prompt)
        self._capacity = self._room(max(map(len, prompts)), 0)
        prefill = compiled(self._lm, "prefill", lambda: jax.jit(self._lm.prefill, static_argnums=3))
        cache, logits = prefill(self._lm.params, tokens, lengths, max(self._capacity, length))
        self._capacity = max(self._capacity, length)
        gather = compiled(self._lm, "gather", lambda: jax.jit(self._lm.gather))
        self._cache, self._logits = gather(cache, of_row), logits[of_row]

    def _room(self, prompt_length: int, num_tokens: int) -> int:
        limits = [row.text.max_tokens for row in self.rows if row is not None]
        if any(limit is None for limit in limits):
            wanted = max(_FIRST_ROOM, 2 * num_tokens)
        else:
            wanted = max(limit for limit in limits if limit is not None) + 1
        return min(bucket(prompt_length + wanted, 32), self._lm.context_length)

    def _make_room(self) -> None:
        """Grows the cache, or loses rows that have come to the end of the model's context."""
        for index, row in enumerate(self.rows):
            if row is None or not row.active:
                continue
            used = len(row.text.prompt_tokens) + len(row.tokens)
            unbounded = row.text.max_tokens is None and len(row.tokens) >= _MOST_TOKENS
            if used >= self._lm.context_length or unbounded:
                self._lose(index, TRUNCATED)
            elif used >= self._capacity:
                self._capacity = self._room(len(row.text.prompt_tokens), len(row.tokens))
                grow = compiled(self._lm, "grow", lambda: jax.jit(self._lm.grow, static_argnums=1))
                self._cache = grow(self._cache, self._capacity)

    def _masks(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        local: list[np.ndarray | None] = [None] * self._num_rows
        mask: list[np.ndarray | None] = [None] * self._num_rows
        for index, row in enumerate(self.rows):
            if row is None or not row.active:
                continue
            try:
                local[index], mask[index] = row.local_mask(), row.mask()
            except CheckTimedOut:
                self._lose(index, TIMED_OUT)
                continue
            if any(allowed is not None and not allowed.any() for allowed in (local[index], mask[index])):
                self._lose(index, TRUNCATED if row.at_limit else UNSATISFIABLE)
        return _stacked(local, len(self._lm.vocabulary)), _stacked(mask, len(self._lm.vocabulary))

    def _num_candidates(self) -> int:
        """One where nothing is checked: the candidate is then the draw itself."""
        if not any(row is not None and row.active and row.judges.check is not None for row in self.rows):
            return 1
        # The geometric estimator cannot draw again, so it is given all candidates at once.
        most = self._awrs.max_checks if self._awrs.rounds else min(self._awrs.max_checks, _MAX_CANDIDATES)
        return max(2, min(len(self._lm.vocabulary), most))

    def _draw(self, local: np.ndarray | None, mask: np.ndarray | None, num_candidates: int) -> Any:
        steps = self._steps()
        temperature = np.ones(self._num_rows, np.float32)
        for index, row in enumerate(self.rows):
            if row is not None:
                temperature[index] = row.text.temperature
        if self._logits is not None:  # the prompt's own
            propose = compiled(self._lm, "propose", lambda: jax.jit(propose_tokens, static_argnums=7))
            logits, self._logits = self._logits, None
            return propose(
                logits, self._possible, temperature, self._keys, steps, local, mask, num_candidates
            )
        decode = compiled(self._lm, "decode", lambda: make_decode(self._lm))
        self._cache, drawn = decode(
            self._lm.params,
            self._cache,
            self._last_tokens,
            self._possible,
            temperature,
            self._keys,
            steps,
            local,
            mask,
            num_candidates,
        )
        return drawn

    def _steps(self) -> np.ndarray:
        steps = np.zeros(self._num_rows, np.int32)
        for index, row in enumerate(self.rows):
            steps[index] = 0 if row is None else len(row.tokens)
        return steps

    def _reject(
        self, ids: np.ndarray, log_probs: np.ndarray, log_tail: np.ndarray, row_log_probs: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Checks candidates until every row has a token; gives tokens, log-probabilities, log-weights."""
        searching = np.array([row is not None and row.active for row in self.rows])
        searching = np.concatenate([searching, np.zeros(self._num_rows - len(searching), bool)])
        tokens = np.zeros(self._num_rows, int)
        chosen = np.full(self._num_rows, -np.inf)
        log_weights = np.full(self._num_rows, -np.inf)
        budget, number = self._awrs.max_checks, 0
        while True:
            places, weights, again = self._search(ids, log_probs, log_tail, searching, budget)
            done = searching & ~again
            tokens[done] = np.take_along_axis(ids, places[:, None], axis=1)[done, 0]
            chosen[done] = np.take_along_axis(log_probs, places[:, None], axis=1)[done, 0]
            log_weights[done] = weights[done]
            searching = searching & again
            if not searching.any():
                return tokens, chosen, log_weights
            refill = compiled(self._lm, "refill", lambda: jax.jit(refill_tokens))
            budget, number = budget - (ids.shape[1] - 1), number + 1
            row_log_probs, drawn = refill(row_log_probs, ids, self._keys, self._steps(), np.uint32(number))
            ids, log_probs, log_tail = (np.asarray(part) for part in drawn)
            log_probs, log_tail = log_probs.astype(float), log_tail.astype(float)

    def _search(
        self, ids: np.ndarray, log_probs: np.ndarray, log_tail: np.ndarray, searching: np.ndarray, budget: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Checks one order; gives places, log-weights, and which rows want to be drawn again."""
        accepted = np.zeros(ids.shape, bool)
        num_checked = np.zeros(len(ids), int)
        rounds, lookahead = self._awrs.rounds, self._awrs.lookahead
        uniforms = None
        if rounds is not None:
            uniforms = np.asarray(repeat_uniforms(self._keys, self._steps(), ids.shape[1], rounds), float)
        while True:
            if uniforms is None:
                needed = checks_needed(
                    log_probs,
                    log_tail,
                    accepted,
                    num_checked,
                    lookahead=lookahead,
                    max_checks=budget,
                    refill=True,
                )
            else:
                assert rounds is not None
                needed = checks_needed_geometric(
                    log_probs, log_tail, accepted, num_checked, uniforms, rounds=rounds
                )
            needed = np.where(searching, needed, 0)
            if not needed.any():
                break
            for index in check_candidates(self.rows, self._checks, ids, accepted, num_checked, needed):
                searching[index] = False
                self._lose(index, TIMED_OUT)
        if uniforms is None:
            weighed = weigh(
                log_probs, log_tail, accepted, lookahead=lookahead, max_checks=budget, refill=True
            )
            again = needs_refill(log_probs, log_tail, accepted, max_checks=budget)
        else:
            assert rounds is not None
            weighed = weigh_geometric(log_probs, log_tail, accepted, uniforms, rounds=rounds)
            again = np.zeros(len(ids), bool)
        return np.asarray(weighed.position), np.asarray(weighed.log_weight), np.asarray(again) & searching


def _stacked(masks: list[np.ndarray | None], width: int) -> np.ndarray | None:
    if all(mask is None for mask in masks):
        return None
    stacked = np.ones((len(masks), width), bool)
    for index, mask in enumerate(masks):
        if mask is not None:
            stacked[index] = mask
    return stacked
