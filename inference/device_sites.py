"""Text sites that the device runs alone: one compiled loop draws all strings, and comes back once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmppl.device_layout import ROWS, STEPS, WHOLE
from lmppl.inference import text_steps
from lmppl.inference.contexts import grown
from lmppl.inference.step_programs import run_program
from lmppl.inference.text_rows import Row
from lmppl.inference.text_sites import TRUNCATED, UNSATISFIABLE, Batch, TextSites, TextStep
from lmppl.inference.text_steps import (
    ALIVE,
    EMPTY,
    History,
    Loop,
    Plan,
    Resampling,
    Strings,
)
from lmppl.shape_buckets import bucket

_CAUSES = {text_steps.UNSATISFIABLE: UNSATISFIABLE, text_steps.TRUNCATED: TRUNCATED}
_NO_LIMIT = 2**30
_SECONDS_A_CALL = 5.0  # at most, by a guess: between calls a run can be watched and interrupted
_LEAST_STEPS_A_CALL = 4
_GUESSED_FLOPS = {"cpu": 1e11}  # a second; what is no CPU is taken for a hundred of them


class DeviceSites(TextSites):
    """A batch of strings whose judges are all automata."""

    def __init__(self, batch: Batch, rows: list[Row | None], plan: Plan):
        super().__init__(batch, rows, plan)
        self._room_now = self._room()
        self._loop: Loop | None = None
        self._origins = np.arange(len(rows))
        self._active = True

    def describe(self) -> str:
        return f"device: {self._proposal()}"

    @property
    def active(self) -> bool:
        return self._active

    def run(
        self,
        log_weights: np.ndarray,
        resampler: Callable[..., Any],
        resampling_key: np.ndarray,
        least_size: float,
        num_resamplings: int,
    ) -> Iterator[TextStep]:
        """Draws tokens until the strings are done, or for some seconds; gives what happened at each.

        Args:
            log_weights: `Float64[rows]`, of the particles.
            resampler: One of `lmppl.inference.resampling.BUILT_IN`.
            resampling_key: Raw; see `lmppl.keys.raw_name_key`.
            least_size: Resample when the effective sample size falls below it; 0 never does.
            num_resamplings: Of the run, before.
        """
        loop = self._begin() if self._loop is None else self._loop
        start = int(loop.step)
        loop = self._with_room(loop, start)
        weights = np.full(self._num_rows, -np.inf, np.float32)
        top = log_weights.max()
        weights[: len(log_weights)] = log_weights - (top if top > -np.inf else 0.0)
        fresh: dict[str, Any] = {
            "log_weights": weights,
            "num_resamplings": np.int32(0),
            "num_checks": np.int32(0),
        }
        loop = loop._replace(**fresh)
        options: tuple[Any, ...] = (
            resampling_key,
            np.float32(least_size),
            np.int32(len(log_weights)),
            np.int32(num_resamplings),
        )
        resampling = Resampling(*options)
        until = np.int32(min(self._room_now, start + self._steps_a_call()))
        go = run_program(self._lm, self._plan, resampler)
        self._loop = None
        loop, reported = go(self._fixed(), resampling, loop, until)
        counters = self._batch.counters
        counters.num_transfers += 1
        counters.num_synchronisations += 1
        stop, num_checks, history, strings = jax.device_get(reported)
        self._loop = loop
        self._machine.masks = loop.masks
        counters.num_forwards += int(stop) - start - int(self._prompt_is_read and start == 0 < int(stop))
        counters.num_checks += int(num_checks)
        return self._reported(start, int(stop), history, strings)

    def _begin(self) -> Loop:
        cache, last = self._start_caches(self._room_now)
        rows = self.rows + [None] * (self._num_rows - len(self.rows))
        texts = [None if row is None else row.text for row in rows]

        def each(of_text: Callable[[Any], Any], otherwise: Any, dtype: Any) -> np.ndarray:
            return np.array([otherwise if text is None else of_text(text) for text in texts], dtype)

        # NumPy's arrays go to the device with the compiled call; each of JAX's would be a call of its own.
        num_rows, room = self._num_rows, self._room_now
        strings: dict[str, Any] = {
            "states": self._states,
            "last": last,
            "twins": self._twins(),
            "lengths": np.zeros(num_rows, np.int32),
            "limit": each(
                lambda text: _NO_LIMIT if text.max_tokens is None else min(text.max_tokens, _NO_LIMIT),
                0,
                np.int32,
            ),
            "room": np.array([0 if row is None else self._left(row) for row in rows], np.int32),
            "local_limit": each(lambda text: text.local_limit, False, bool),
            "scale": each(lambda text: 1.0 / text.temperature, 1.0, np.float32),
            "ended": np.zeros(num_rows, bool),
            "lost": np.array([EMPTY if row is None else ALIVE for row in rows], np.int32),
            "ids": np.zeros((num_rows, room), np.int32),
            "log_probs": np.zeros((num_rows, room), np.float32),
            "log_normalisers": np.zeros((num_rows, room), np.float32),
        }
        history: dict[str, Any] = {
            "ancestors": np.zeros((room, num_rows), np.int32),
            "resampled": np.zeros(room, bool),
            "log_increments": np.zeros((room, num_rows), np.float32),
            "lost": np.zeros((room, num_rows), np.int32),
            "drew": np.zeros((room, num_rows), bool),
        }
        masks = self._machine.take_masks(self._lm, num_rows)
        place = self._layout.placed
        strings = place(strings, ROWS)
        resampled = place(history.pop("resampled"), WHOLE)
        history = {**place(history, STEPS), "resampled": resampled}
        start: Any = place(np.int32(0), WHOLE)
        weights: Any = np.zeros(num_rows, np.float32)
        logits = self._first_logits()
        return Loop(
            start, cache, logits, Strings(**strings), masks, weights, start, start, History(**history)
        )

    def _with_room(self, loop: Loop, used: int) -> Loop:
        """Doubles the room of strings without a limit when it is used up."""
        if used < self._room_now:
            return loop
        more = self._room_now
        self._room_now += more
        self._capacity = bucket(self._capacity + more, 32)
        self._require()
        strings = loop.strings

        def wider(leaf: Any) -> Any:
            return jnp.pad(leaf, ((0, 0), (0, more)))

        def longer(leaf: Any) -> Any:
            return jnp.pad(leaf, [(0, more)] + [(0, 0)] * (leaf.ndim - 1))

        return loop._replace(
            cache=grown(self._lm, loop.cache, self._capacity),
            strings=strings._replace(
                ids=wider(strings.ids),
                log_probs=wider(strings.log_probs),
                log_normalisers=wider(strings.log_normalisers),
            ),
            history=History(*map(longer, loop.history)),
        )

    def _steps_a_call(self) -> int:
        num_weights = sum(leaf.size for leaf in jax.tree.leaves(self._lm.params))
        speed = _GUESSED_FLOPS.get(jax.default_backend(), 1e13)
        seconds = 2 * num_weights * self._num_rows / speed
        return max(_LEAST_STEPS_A_CALL, int(_SECONDS_A_CALL / max(seconds, 1e-9)))

    def _reported(self, start: int, stop: int, history: Any, strings: Any) -> Iterator[TextStep]:
        size = len(self.rows)
        steps = []
        for number in range(start, stop):
            resampled = bool(history.resampled[number])
            ancestors = history.ancestors[number, :size] if resampled else None
            if ancestors is not None:
                self._origins = self._origins[ancestors]
            lost = history.lost[number, :size]
            causes = {int(row): _CAUSES[int(lost[row])] for row in np.flatnonzero(lost != ALIVE)}
            increments = history.log_increments[number, :size].astype(float)
            steps.append(
                TextStep(ancestors, increments, causes, int(history.drew[number, :size].sum()), True)
            )
        active = ~strings.ended & (strings.lost == ALIVE)
        self._active = bool(active.any()) and stop > start
        if not self._active:
            self._take_strings(strings)
        return iter(steps)

    def _take_strings(self, strings: Any) -> None:
        """Makes the rows what the device has drawn."""
        first = self.rows
        rows: list[Row | None] = []
        for index, origin in enumerate(self._origins.tolist()):
            row, cause, length = first[origin], int(strings.lost[index]), int(strings.lengths[index])
            if row is None or cause == EMPTY:
                rows.append(None)
                continue
            row = row.drawn(
                strings.ids[index, :length].tolist(),
                strings.log_probs[index, :length].tolist(),
                strings.log_normalisers[index, :length].tolist(),
            )
            rows.append(row if cause == ALIVE else row.lose(_CAUSES[cause]))
        self.rows = rows
        if self._loop is not None:
            self._done = self._loop.cache
            self._loop = None
