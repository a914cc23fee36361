"""What experts say of the texts of a site's rows so far: each token is read once, all rows together."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

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
from lmppl.language_model import NOTHING, LanguageModel, Vocabulary
from lmppl.score_sheet import log_softmax_of_text
from lmppl.shape_buckets import bucket, row_bucket
from lmppl.text import Text

_LEAST_CAPACITY = 32
_MOST_AT_ONCE = 8  # tokens of a row that are scored in one call
_END = -2
"""Stands for the end of a string, as if it were a token."""


class Line(NamedTuple):
    """What an expert is to score.

    Attributes:
        text: Whose prompt, temperature and stop count; it stays the same from call to call.
        tokens: Of the string so far, canonical.
        is_whole: Whether its end is scored too.
    """

    text: Text
    tokens: Tokens
    is_whole: bool


def has_simple_end(text: Text) -> bool:
    """Says whether a string ends by one of some tokens, so that one look at the last position tells."""
    return text.stop_bytes is None or len(text.stop_bytes) == 1


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

    def log_probs(self, asked: Mapping[int, Line]) -> dict[int, float]:
        """Scores the tokens of a line after its prompt, in nats; by row."""
        lines = {row: _tokens(line) for row, line in asked.items()}
        starts = {row: self._known(row, lines[row], len(_prompt(line.text))) for row, line in asked.items()}
        behind = {row: line for row, line in lines.items() if starts[row] < len(line)}
        if behind:
            self._read_up_to(behind, starts)
            self._score(behind, starts, _Heads.of(asked, self._num_rows))
        for row, line in lines.items():
            self._scored[row] = line
        return {row: self._sums[row][-1] for row in lines}

    def _known(self, row: int, line: Tokens, prompt_length: int) -> int:
        """Gives how far a line is scored already, and forgets the scores of what is no more."""
        same = max(common_length(self._scored[row], line), prompt_length)
        self._sums[row] = self._sums[row][: same - prompt_length + 1]
        return same

    def _read_up_to(self, lines: Mapping[int, Tokens], starts: Mapping[int, int]) -> None:
        """Makes the cache of each row what comes before its last scored token, with room for the line."""
        wanted = {row: line[: starts[row] - 1] for row, line in lines.items()}
        longest = max(map(len, lines.values()))
        if self._cache is None:
            self._start(list(wanted.values()), longest)
        if longest - self._prefix_length > self._capacity:
            self._capacity = bucket(longest - self._prefix_length)
            self._require()
            self._cache = grown(self._lm, self._cache, self._capacity)
        rest: list[Tokens] = [()] * self._num_rows
        lengths = np.array([len(held) - self._prefix_length for held in self._held])
        for row, tokens in wanted.items():
            same = common_length(self._held[row], tokens)
            lengths[row] = same - self._prefix_length
            rest[row] = tokens[same:]
            self._held[row] = tokens
        self._cache = rewound(self._lm, self._cache, lengths)
        if any(rest):
            self._cache = read(self._lm, self._prefix, self._cache, rest)

    def _start(self, wanted: list[Tokens], longest: int) -> None:
        """Reads what all prompts begin with, once."""
        shared = wanted[0][: common_prefix(wanted)]
        self._prefix_length = len(shared)
        self._capacity = bucket(longest - len(shared) + _LEAST_CAPACITY, _LEAST_CAPACITY)
        self._require()
        self._prefix = self._contexts.prefix(self._lm, shared).cache if shared else None
        self._cache = empty_rows(self._lm, self._num_rows, self._capacity)
        self._held = [shared] * self._num_rows

    def _require(self) -> None:
        size = require_memory(self._lm, self._num_rows, self._capacity, self._prefix_length)
        self._counters.cache_bytes = max(self._counters.cache_bytes, size)

    def _score(self, lines: Mapping[int, Tokens], starts: Mapping[int, int], heads: _Heads) -> None:
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
            scores = self._scores(tokens, lengths, targets, heads)
            for row in lines:
                new = self._sums[row][-1] + np.cumsum(scores[row, : lengths[row]])
                self._sums[row] = [*self._sums[row], *new.tolist()]
                at[row] += int(lengths[row])

    def _scores(
        self, tokens: np.ndarray, lengths: np.ndarray, targets: np.ndarray, heads: _Heads
    ) -> np.ndarray:
        skeleton = self._lm.skeleton
        go = compiled(
            skeleton, "score rows", lambda: jax.jit(partial(_read_and_score, skeleton), donate_argnums=1)
        )
        possible = self._lm.vocabulary.possible
        self._cache, scores = go(
            self._lm.params, self._cache, tokens, lengths, self._prefix, targets, heads, possible
        )
        self._counters.num_forwards += 1
        self._counters.num_transfers += 1
        self._counters.num_synchronisations += 1
        return np.asarray(scores, float)


class _Heads(NamedTuple):
    """How logits are scored.

    Attributes:
        temperatures: Of each row.
        ends: `Bool[kinds, vocab]`: the tokens that end a string, by kind of text.
        kinds: Of each row.
    """

    temperatures: np.ndarray
    ends: np.ndarray
    kinds: np.ndarray

    @classmethod
    def of(cls, asked: Mapping[int, Line], num_rows: int) -> _Heads:
        texts = {row: line.text for row, line in asked.items()}
        stops = {text.stop_bytes if has_simple_end(text) else None for text in texts.values()}
        numbers = {stop: number for number, stop in enumerate(sorted(stops, key=repr))}
        vocabulary = next(iter(texts.values())).lm.vocabulary
        ends = [_ends(vocabulary, stop) for stop in numbers]
        heads = cls(
            np.ones(num_rows, np.float32),
            np.stack(ends + [ends[0]] * (bucket(len(ends)) - len(ends))),
            np.zeros(num_rows, np.int32),
        )
        for row, text in texts.items():
            heads.temperatures[row] = text.temperature
            heads.kinds[row] = numbers[text.stop_bytes if has_simple_end(text) else None]
        return heads


def _read_and_score(
    lm: LanguageModel,
    params: Any,
    cache: Any,
    tokens: Any,
    lengths: Any,
    prefix: Any,
    targets: Any,
    heads: _Heads,
    possible: Any,
) -> tuple[Any, Any]:
    """Reads tokens; gives the cache and the log-probability of what follows each, one position at a time."""
    cache, hidden = lm.extend(params, cache, tokens, lengths, prefix)

    def score(position: tuple[Any, Any]) -> Any:
        states, following = position
        rows = log_softmax_of_text(lm.logits(params, states), possible, heads.temperatures)
        chosen = jnp.take_along_axis(rows, jnp.maximum(following, 0)[:, None], axis=-1)[:, 0]
        ends = jnp.take(heads.ends, heads.kinds, axis=0)
        return jnp.where(following == _END, jax.nn.logsumexp(rows, axis=-1, where=ends), chosen)

    scores = jax.lax.map(score, (jnp.moveaxis(hidden, 1, 0), targets.T))
    return cache, scores.T


@lru_cache(maxsize=128)
def _ends(vocabulary: Vocabulary, stop: bytes | None) -> np.ndarray:
    """Gives `Bool[vocab]`: the tokens that end a string whose stop is one byte, or that has none."""
    ends = np.array([stop is not None and data.startswith(stop) for data in vocabulary.token_bytes], bool)
    ends[sorted(vocabulary.eos_ids)] = True
    return ends


def _prompt(text: Text) -> Tokens:
    return text.prompt_tokens or (NOTHING,)


def _tokens(line: Line) -> Tokens:
    return (*_prompt(line.text), *line.tokens, *((_END,) if line.is_whole else ()))
