"""What experts say of the texts of a site's rows so far: each token is read once, all rows together."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmppl.compilation import compiled
from lmppl.inference.contexts import (
    Contexts,
    Tokens,
    common_length,
    common_prefix,
    empty_rows,
    gathered,
    grown,
    read,
    require_memory,
    rewound,
)
from lmppl.inference.counters import Counters
from lmppl.language_model import NOTHING, LanguageModel
from lmppl.score_sheet import log_softmax_of_text
from lmppl.shape_buckets import bucket, row_bucket
from lmppl.text import Text

_LEAST_CAPACITY = 32
_MOST_AT_ONCE = 8  # tokens of a row that are scored in one call


class ExpertReader:
    """The caches of one model behind the rows of a site, for one expert of each row.

    A text is read by its canonical tokens. Those of a longer text need not begin with those of a
    shorter one: then a row forgets the tokens that are no more and reads the new ones.
    """

    def __init__(self, lm: LanguageModel, num_rows: int, contexts: Contexts, counters: Counters):
        self._lm = lm
        self._contexts, self._counters = contexts, counters
        self._num_rows = row_bucket(num_rows)
        self._scored: list[Tokens] = [()] * self._num_rows  # prompts included
        self._sums: list[list[float]] = [[0.0]] * self._num_rows  # after the prompt, after each token
        self._held: list[Tokens] = [()] * self._num_rows  # what the cache has read
        self._cache: Any = None
        self._prefix: Any = None
        self._prefix_length = self._capacity = 0

    def reorder(self, ancestors: np.ndarray) -> None:
        """Makes row `i` a copy of row `ancestors[i]`."""
        rows = np.arange(self._num_rows)
        rows[: len(ancestors)] = ancestors
        order = rows.tolist()
        self._scored = [self._scored[row] for row in order]
        self._sums = [self._sums[row] for row in order]
        self._held = [self._held[row] for row in order]
        if self._cache is not None:
            self._cache = gathered(self._lm, self._cache, rows)

    def log_probs(self, texts: Mapping[int, tuple[Text, Tokens]]) -> dict[int, float]:
        """Scores tokens after prompts, without an end, in nats.

        Args:
            texts: By row: whose prompt and temperature count, which stay the same, and the tokens so far.
        """
        lines = {row: _prompt(text) + tokens for row, (text, tokens) in texts.items()}
        starts = {row: self._known(row, lines[row], len(_prompt(text))) for row, (text, _) in texts.items()}
        if any(starts[row] < len(line) for row, line in lines.items()):
            temperatures = np.ones(self._num_rows, np.float32)
            for row, (text, _) in texts.items():
                temperatures[row] = text.temperature
            self._read_up_to(lines, starts, max(len(_prompt(text)) for text, _ in texts.values()))
            self._score(lines, starts, temperatures)
        for row, line in lines.items():
            self._scored[row] = line
        return {row: self._sums[row][-1] for row in lines}

    def _known(self, row: int, line: Tokens, prompt_length: int) -> int:
        """Gives how far a line is scored already, and forgets the scores of what is no more."""
        same = max(common_length(self._scored[row], line), prompt_length)
        self._sums[row] = self._sums[row][: same - prompt_length + 1]
        return same

    def _read_up_to(self, lines: Mapping[int, Tokens], starts: Mapping[int, int], longest: int) -> None:
        """Makes the cache of each row what comes before its last scored token, with room for the line."""
        wanted = {row: line[: starts[row] - 1] for row, line in lines.items() if starts[row] < len(line)}
        if self._cache is None:
            self._prefix_length = common_prefix([_before(line, starts[row]) for row, line in lines.items()])
            shared = next(iter(lines.values()))[: self._prefix_length]
            self._capacity = bucket(longest - self._prefix_length + _LEAST_CAPACITY, _LEAST_CAPACITY)
            self._require()
            self._prefix = self._contexts.prefix(self._lm, shared)
            self._cache = empty_rows(self._lm, self._num_rows, self._capacity)
            self._held = [shared] * self._num_rows
        self._make_room(max(len(lines[row]) for row in wanted))
        rest: list[Tokens] = [()] * self._num_rows
        lengths = np.array([len(held) - self._prefix_length for held in self._held])
        for row, tokens in wanted.items():
            same = common_length(self._held[row], tokens)
            assert same >= self._prefix_length
            lengths[row] = same - self._prefix_length
            rest[row] = tokens[same:]
            self._held[row] = tokens
        self._cache = rewound(self._lm, self._cache, lengths)
        if any(rest):
            self._cache = read(self._lm, self._prefix, self._cache, rest)

    def _make_room(self, length: int) -> None:
        needed = length - self._prefix_length
        if needed > self._capacity:
            self._capacity = bucket(needed)
            self._require()
            self._cache = grown(self._lm, self._cache, self._capacity)

    def _require(self) -> None:
        size = require_memory(self._lm, self._num_rows, self._capacity, self._prefix_length)
        self._counters.cache_bytes = max(self._counters.cache_bytes, size)

    def _score(
        self, lines: Mapping[int, Tokens], starts: Mapping[int, int], temperatures: np.ndarray
    ) -> None:
        """Reads the last scored token of each line and on, all but its last; adds up what it says of them."""
        at = dict(starts)
        while any(at[row] < len(line) for row, line in lines.items()):
            most = max(len(line) - at[row] for row, line in lines.items())
            length = min(bucket(most), _MOST_AT_ONCE)
            tokens, targets = np.zeros((2, self._num_rows, length), np.int32)
            lengths = np.zeros(self._num_rows, np.int32)
            for row, line in lines.items():
                stop = min(at[row] + length, len(line))
                lengths[row] = stop - at[row]
                targets[row, : lengths[row]] = line[at[row] : stop]
                tokens[row, : lengths[row]] = line[at[row] - 1 : stop - 1]
                if lengths[row]:
                    self._held[row] = line[: stop - 1]
            scores = self._scores(tokens, lengths, targets, temperatures)
            for row in lines:
                new = self._sums[row][-1] + np.cumsum(scores[row, : lengths[row]])
                self._sums[row] = [*self._sums[row], *new.tolist()]
                at[row] += int(lengths[row])

    def _scores(
        self, tokens: np.ndarray, lengths: np.ndarray, targets: np.ndarray, temperatures: np.ndarray
    ) -> np.ndarray:
        skeleton = self._lm.skeleton
        go = compiled(
            skeleton, "score rows", lambda: jax.jit(partial(_read_and_score, skeleton), donate_argnums=1)
        )
        possible = self._lm.vocabulary.possible
        self._cache, scores = go(
            self._lm.params, self._cache, tokens, lengths, self._prefix, targets, temperatures, possible
        )
        self._counters.num_forwards += 1
        self._counters.num_transfers += 1
        self._counters.num_synchronisations += 1
        return np.asarray(scores, float)


def _read_and_score(
    lm: LanguageModel,
    params: Any,
    cache: Any,
    tokens: Any,
    lengths: Any,
    prefix: Any,
    targets: Any,
    temperatures: Any,
    possible: Any,
) -> tuple[Any, Any]:
    """Reads tokens; gives the cache and the log-probability of what follows each, one position at a time."""
    cache, hidden = lm.extend(params, cache, tokens, lengths, prefix)

    def score(position: tuple[Any, Any]) -> Any:
        states, following = position
        rows = log_softmax_of_text(lm.logits(params, states), possible, temperatures)
        return jnp.take_along_axis(rows, following[:, None], axis=-1)[:, 0]

    scores = jax.lax.map(score, (jnp.moveaxis(hidden, 1, 0), targets.T))
    return cache, scores.T


def _prompt(text: Text) -> Tokens:
    return text.prompt_tokens or (NOTHING,)


def _before(line: Tokens, start: int) -> Tokens:
    return line[: start - 1]
