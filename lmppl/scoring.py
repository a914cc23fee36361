"""Log-probabilities of complete strings under text distributions, many in one pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmppl.acceptance import acceptor
from lmppl.errors import InvalidInputError
from lmppl.language_model import LanguageModel, Vocabulary
from lmppl.shape_buckets import bucket
from lmppl.text import Text

_MAX_LOGITS = 2**26  # floats at a time: 256 MB
_SMALLEST_LENGTH = 16


def text_log_probs(texts: Sequence[Text], values: Sequence[str]) -> np.ndarray:
    """Scores one complete string under each distribution.

    Equal pairs are scored once; pairs of one language model share their passes.

    Returns:
        `Float64[n]`, nats, including the end of each string; `-inf` outside the support.
    """
    pairs: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for position, (text, value) in enumerate(zip(texts, values, strict=True)):
        pairs[text, value].append(position)
    result = np.full(len(texts), -np.inf)
    by_model: dict[LanguageModel, list[tuple[Text, str]]] = defaultdict(list)
    for text, value in pairs:
        by_model[text.lm].append((text, value))
    for lm, wanted in by_model.items():
        paths = [(text, value, _encoded(lm, value)) for text, value in wanted]
        possible = [
            (text, value, tokens)
            for text, value, tokens in paths
            if tokens is not None and _is_possible(text, value, tokens)
        ]
        wanted_rows = [(text.prompt_tokens, tokens, text.temperature) for text, _, tokens in possible]
        rows = token_log_probs(lm, wanted_rows, [text.local_limit for text, _, _ in possible])
        for (text, value, tokens), scored in zip(possible, rows, strict=True):
            result[pairs[text, value]] = _string_log_prob(text, value, tokens, scored)
    return result


def path_log_probs(texts: Sequence[Text], paths: Sequence[tuple[int, ...]]) -> np.ndarray:
    """Scores one token path, its ending token included, under each distribution.

    This is the density of what a sampler draws. The ids are those of each text's own vocabulary.

    Returns:
        `Float64[n]`, nats; `-inf` for a path that the distribution cannot take.
    """
    result = np.full(len(texts), -np.inf)
    by_model: dict[LanguageModel, list[int]] = defaultdict(list)
    for position, text in enumerate(texts):
        by_model[text.lm].append(position)
    for lm, positions in by_model.items():
        wanted = [(texts[p].prompt_tokens, paths[p], texts[p].temperature) for p in positions]
        needs = [texts[p].local_limit for p in positions]
        for position, scored in zip(positions, token_log_probs(lm, wanted, needs), strict=True):
            result[position] = _path_log_prob(texts[position], paths[position], scored)
    return result


class ScoredPath:
    """The log-probabilities along one row: of its tokens, of what may follow, and, if asked for, all.

    Attributes:
        tokens: `Float64[length]`, of each token given those before.
        last: `Float64[vocab]`, of what may follow the last token.
        rows: `Float64[length, vocab]` where each token stands, or None.
    """

    def __init__(self, tokens: np.ndarray, last: np.ndarray, rows: np.ndarray | None):
        self.tokens = tokens
        self.last = last
        self.rows = rows

    def row(self, position: int) -> np.ndarray | None:
        """Gives the whole row of one position, if it was asked for."""
        return None if self.rows is None else self.rows[position]


def token_log_probs(
    lm: LanguageModel,
    paths: Sequence[tuple[tuple[int, ...], tuple[int, ...], float]],
    needs_rows: Sequence[bool],
) -> list[ScoredPath]:
    """Scores token paths after prompts.

    Args:
        lm: The model.
        paths: Prompt ids, ids of the path, temperature.
        needs_rows: Which paths want the whole row of every position.
    """
    results: list[ScoredPath | None] = [None] * len(paths)
    order = sorted(range(len(paths)), key=lambda i: len(paths[i][0]) + len(paths[i][1]))
    at = 0
    while at < len(order):
        longest = len(paths[order[-1]][0]) + len(paths[order[-1]][1])
        room = max(1, _MAX_LOGITS // (bucket(longest, _SMALLEST_LENGTH) * len(lm.vocabulary)))
        chunk = order[at : at + room]
        at += len(chunk)
        scored = _score_chunk(lm, [paths[i] for i in chunk], any(needs_rows[i] for i in chunk))
        for position, path in zip(chunk, scored, strict=True):
            results[position] = path
    return [path for path in results if path is not None]


def compiled(lm: LanguageModel, name: str, make: Callable[[], Any]) -> Any:
    """Gives a compiled function that belongs to a model, made at most once and kept with it."""
    functions = vars(lm).setdefault("_compiled", {})
    if name not in functions:
        functions[name] = make()
    return functions[name]


def log_softmax_of_text(logits: Any, possible: Any, temperature: Any) -> Any:
    """Normalises logits over the tokens that may stand in a string. Traceable."""
    scaled = logits.astype(jnp.float32) / temperature[..., None]
    return jax.nn.log_softmax(jnp.where(possible, scaled, -jnp.inf), axis=-1)


def _score_chunk(
    lm: LanguageModel, paths: list[tuple[Any, Any, float]], wants_rows: bool
) -> list[ScoredPath]:
    lengths = [len(prompt) + len(tokens) for prompt, tokens, _ in paths]
    rows, length = bucket(len(paths), 1), bucket(max(lengths), _SMALLEST_LENGTH)
    tokens = np.zeros((rows, length), np.int32)
    temperature = np.ones(rows, np.float32)
    last = np.zeros(rows, np.int32)
    for row, (prompt, path, degree) in enumerate(paths):
        tokens[row, : lengths[row]] = (*prompt, *path)
        temperature[row], last[row] = degree, lengths[row]
    score = compiled(lm, "score", lambda: _make_score(lm))
    chosen, final, everything = score(
        lm.params, tokens, temperature, last, lm.vocabulary.possible, wants_rows
    )
    chosen, final = np.asarray(chosen, float), np.asarray(final, float)
    results = []
    for row, (prompt, path, _) in enumerate(paths):
        span = slice(len(prompt), len(prompt) + len(path))
        whole = np.asarray(everything[row, span], float) if wants_rows else None
        results.append(ScoredPath(chosen[row, span], final[row], whole))
    return results


def _make_score(lm: LanguageModel) -> Any:
    def score(params: Any, tokens: Any, temperature: Any, last: Any, possible: Any, wants_rows: bool) -> Any:
        log_probs = log_softmax_of_text(lm.full_logits(params, tokens), possible, temperature[:, None])
        chosen = jnp.take_along_axis(log_probs[:, :-1], tokens[..., None], axis=-1)[..., 0]
        final = jnp.take_along_axis(log_probs, last[:, None, None], axis=1)[:, 0]
        return chosen, final, log_probs if wants_rows else None

    return jax.jit(score, static_argnums=5)


def _encoded(lm: LanguageModel, value: str) -> tuple[int, ...] | None:
    """Gives the canonical tokens; None where none spell the string, which then has no probability."""
    try:
        return lm.encode(value)
    except InvalidInputError:
        return None


def _is_possible(text: Text, value: str, tokens: tuple[int, ...]) -> bool:
    """Says whether a complete string has mass at all, by everything but its probability."""
    if text.max_tokens is not None and len(tokens) > text.max_tokens:
        return False
    needed = len(text.prompt_tokens) + len(tokens) + 1
    if needed > text.lm.context_length:
        raise InvalidInputError(
            f"Scoring {value[:40]!r} needs {needed} tokens with its prompt and end, but {text.lm.name!r} "
            f"reads at most {text.lm.context_length}. Shorten the prompt or the string."
        )
    data = value.encode()
    for constraint in (text.constraint, text.local_constraint):
        judge = acceptor(text.lm.vocabulary, constraint, text.stop_bytes)
        cursor = judge.extend(judge.initial, data) if data else judge.initial
        if cursor is None or cursor.ended or not judge.may_end(cursor):
            return False
    return True


def _string_log_prob(text: Text, value: str, tokens: tuple[int, ...], scored: ScoredPath) -> float:
    """The canonical tokens of the string, then every way to end exactly there."""
    walk = _Walk(text)
    total = 0.0
    for position, token in enumerate(tokens):
        total += scored.tokens[position] - walk.log_normaliser(scored.row(position))
        if not walk.step(token) or walk.ended:
            return -np.inf
    return total + _end_log_prob(text, walk, value.encode(), tokens, scored.last, b"")


def _end_log_prob(
    text: Text, walk: _Walk, data: bytes, tokens: tuple[int, ...], row: np.ndarray, begun: bytes
) -> float:
    """Log-probability that a string ends now, of which `begun` is the part of the stop already said."""
    vocabulary, stop = text.lm.vocabulary, text.stop_bytes
    eos = [] if begun else list(vocabulary.eos_ids)
    total = np.logaddexp.reduce(row[eos]) if eos else -np.inf
    if stop is not None:
        for token, piece in _pieces_of(vocabulary, stop[len(begun) :]):
            if len(begun + piece) >= len(stop):
                if (data + begun + piece).find(stop) == len(data):
                    total = np.logaddexp(total, row[token])
            elif text.max_tokens is None or len(tokens) < text.max_tokens:
                further = walk.copy()
                if further.step(token):
                    longer = (*tokens, token)
                    path = (text.prompt_tokens, longer, text.temperature)
                    after = token_log_probs(text.lm, [path], [False])[0]
                    end = _end_log_prob(text, further, data, longer, after.last, begun + piece)
                    total = np.logaddexp(total, row[token] + end)
    return float(total - walk.log_normaliser(row))


def _path_log_prob(text: Text, path: tuple[int, ...], scored: ScoredPath) -> float:
    """Adds up what each step of a token path is charged; the path must end with its last token."""
    walk = _Walk(text)
    total = 0.0
    for position, token in enumerate(path):
        total += scored.tokens[position] - walk.log_normaliser(scored.row(position))
        if not walk.step(token) or walk.ended != (position == len(path) - 1):
            return -np.inf
    return float(total)


class _Walk:
    """Follows a token path through a text's constraints, and knows what `lp.local` divides by."""

    def __init__(self, text: Text):
        self.text = text
        constraints = (text.local_constraint, text.constraint)
        self._judges = [
            acceptor(text.lm.vocabulary, constraint, text.stop_bytes) for constraint in constraints
        ]
        self._cursors = [judge.initial for judge in self._judges]
        self._num_tokens = 0

    @property
    def ended(self) -> bool:
        return self._cursors[0].ended

    def copy(self) -> _Walk:
        other = _Walk(self.text)
        other._cursors, other._num_tokens = list(self._cursors), self._num_tokens
        return other

    def log_normaliser(self, row: np.ndarray | None) -> float:
        """What a locally normalised distribution divides the next token's probability by."""
        if not self.text.local_limit or row is None:
            return 0.0
        judge, cursor = self._judges[0], self._cursors[0]
        allowed = judge.end_mask(cursor) if self._at_limit else judge.mask(cursor)
        return float(np.logaddexp.reduce(row[allowed])) if allowed.any() else 0.0

    def step(self, token: int) -> bool:
        """Takes a token; False if it is not allowed here."""
        stepped = [
            judge.step(cursor, token) for judge, cursor in zip(self._judges, self._cursors, strict=True)
        ]
        if any(cursor is None for cursor in stepped):
            return False
        if self._at_limit and not any(cursor is not None and cursor.ended for cursor in stepped):
            return False
        self._cursors = [cursor for cursor in stepped if cursor is not None]
        self._num_tokens += 1
        return True

    @property
    def _at_limit(self) -> bool:
        return self.text.max_tokens is not None and self._num_tokens >= self.text.max_tokens


@lru_cache(maxsize=1024)
def _pieces_of(vocabulary: Vocabulary, rest: bytes) -> list[tuple[int, bytes]]:
    """The tokens that begin with `rest`, or that `rest` begins with."""
    return [
        (token, data)
        for token, data in enumerate(vocabulary.token_bytes)
        if data and (data.startswith(rest) or rest.startswith(data))
    ]
