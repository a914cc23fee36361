"""Questions about what a model says along token sequences, answered together in few passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from lmppl.compilation import compiled
from lmppl.device_layout import ROWS, WHOLE, layout_of
from lmppl.language_model import LanguageModel
from lmppl.reading_plan import Pass, Tokens, hosts, plan_passes
from lmppl.shape_buckets import bucket

_LOGITS_AT_ONCE = 2**22  # floats: 16 MB
_MOST_CACHE_BYTES = 2**28
_MOST_SET_BYTES = 2**26
_MOST_TOKENS = 2**14
_ROW_FLOATS = 2**24
_SHORTEST_PREFIX = 16
_FEWEST_PLACES = 16

_Kind = Literal["tokens", "sets", "rows"]


def log_softmax_of_text(logits: Any, possible: Any, temperature: Any) -> Any:
    """Normalises logits over the tokens that may stand in a string. Traceable."""
    return jax.nn.log_softmax(_scaled(logits, possible, temperature), axis=-1)


@dataclass(frozen=True)
class Answers:
    """Log-probabilities, in nats, in the order in which they were asked for.

    Attributes:
        tokens: `Float64[questions]`.
        sets: `Float64[questions]`.
        rows: One `Float32[vocab]` a question.
    """

    tokens: np.ndarray
    sets: np.ndarray
    rows: list[np.ndarray]


@dataclass(frozen=True)
class _Question:
    """What is asked for after the first tokens of a line, at least one: a token, a mask's number, a row."""

    line: int
    position: int
    temperature: float
    about: int


class ScoreSheet:
    """Collects questions about one model, then answers all of them.

    A question is about the token that follows a sequence: the log-probability of one token, of a set of
    tokens, or of each. The head of the model is applied to a few positions at a time, and only to those
    that are asked about: log-probabilities of many positions never lie side by side.
    """

    def __init__(self, lm: LanguageModel):
        self._lm = lm
        self._lines: dict[Tokens, int] = {}
        self._asked: dict[_Kind, dict[_Question, int]] = {"tokens": {}, "sets": {}, "rows": {}}
        self._masks: dict[bytes, int] = {}

    def line(self, tokens: Tokens) -> int:
        """Gives the number of a sequence that questions are about, its prompt included; never empty."""
        return self._lines.setdefault(tokens, len(self._lines))

    def ask_token(self, line: int, position: int, temperature: float, token: int) -> int:
        """Asks for the log-probability of a token; gives its place in `Answers.tokens`."""
        return self._ask("tokens", line, position, temperature, token)

    def ask_set(self, line: int, position: int, temperature: float, allowed: np.ndarray) -> int:
        """Asks for the log-probability of a set, `Bool[vocab]`; gives its place in `Answers.sets`."""
        number = self._masks.setdefault(np.packbits(allowed).tobytes(), len(self._masks))
        return self._ask("sets", line, position, temperature, number)

    def ask_row(self, line: int, position: int, temperature: float) -> int:
        """Asks for the log-probability of every token; gives its place in `Answers.rows`."""
        return self._ask("rows", line, position, temperature, 0)

    def _ask(self, kind: _Kind, line: int, position: int, temperature: float, about: int) -> int:
        asked = self._asked[kind]
        return asked.setdefault(_Question(line, position, temperature, about), len(asked))

    def answer(self) -> Answers:
        """Reads every sequence as far as it is asked about, and answers."""
        answers = Answers(
            np.zeros(len(self._asked["tokens"])),
            np.zeros(len(self._asked["sets"])),
            [np.zeros(0)] * len(self._asked["rows"]),
        )
        host_of = self._hosts()
        waiting: dict[Tokens, list[tuple[_Kind, int, _Question]]] = {}
        for kind, asked in self._asked.items():
            for question, place in asked.items():
                waiting.setdefault(host_of[question.line], []).append((kind, place, question))
        most_tokens = max(1, _MOST_CACHE_BYTES // max(1, self._lm.cache_bytes(1, 1)))
        for one in plan_passes(waiting, min(_MOST_TOKENS, most_tokens)):
            self._answer_pass(one, waiting, answers)
        return answers

    def _hosts(self) -> list[Tokens]:
        """Gives for each line the sequence whose reading answers it."""
        needed = np.zeros(len(self._lines), int)
        for asked in self._asked.values():
            for question in asked:
                needed[question.line] = max(needed[question.line], question.position)
        read = [tokens[: max(1, n)] for tokens, n in zip(self._lines, needed, strict=True)]
        found = hosts(read)
        return [found[tokens] for tokens in read]

    def _answer_pass(
        self, one: Pass, waiting: dict[Tokens, list[tuple[_Kind, int, _Question]]], answers: Answers
    ) -> None:
        """Reads the rows of a pass and what they share, and answers all questions about them."""
        in_rows: list[tuple[_Kind, int, _Question, int, int]] = []
        in_prefix: list[tuple[_Kind, int, _Question, int, int]] = []
        for row, tokens in enumerate(one.rows):
            for kind, place, question in waiting[one.prefix + tokens]:
                column = question.position - 1 - len(one.prefix)
                if column >= 0:
                    in_rows.append((kind, place, question, row, column))
                else:
                    in_prefix.append((kind, place, question, 0, column + len(one.prefix)))
        prefix = None
        if one.prefix:
            length = bucket(len(one.prefix), _SHORTEST_PREFIX)
            prefix, hidden = self._read(None, [one.prefix], 1, length, in_prefix)
            self._answer_from(hidden, in_prefix, answers)
        _, hidden = self._read(prefix, one.rows, one.num_rows, one.length, in_rows)
        self._answer_from(hidden, in_rows, answers)

    def _read(
        self, prefix: Any, rows: Sequence[Tokens], num_rows: int, length: int, asked: Sequence[tuple]
    ) -> tuple[Any, Any]:
        """Gives the cache and the hidden states at the places asked about, in that order."""
        layout = layout_of(self._lm)
        place = WHOLE if num_rows == 1 else ROWS  # one row is read everywhere
        num_rows = num_rows if place == WHOLE else layout.num_rows(num_rows)
        tokens = np.zeros((num_rows, length), np.int32)
        lengths = np.zeros(num_rows, np.int32)
        for row, ids in enumerate(rows):
            tokens[row, : len(ids)] = ids
            lengths[row] = len(ids)
        where = np.zeros((2, bucket(len(asked), _FEWEST_PLACES)), np.int32)
        where[:, : len(asked)] = np.array([part[3:] for part in asked], np.int32).reshape(-1, 2).T
        over_rows = layout.over_rows(
            partial(_read, self._lm.skeleton, place), (WHOLE, WHOLE, place, place, WHOLE), (place, WHOLE)
        )
        name = "read" if place == ROWS or layout.mesh is None else "read one row"
        read = compiled(self._lm.skeleton, name, lambda: jax.jit(over_rows))
        return read(self._lm.params, prefix, tokens, lengths, where)

    def _answer_from(self, hidden: Any, asked: Sequence[tuple], answers: Answers) -> None:
        by_kind: dict[_Kind, list[tuple[int, int, _Question]]] = {"tokens": [], "sets": [], "rows": []}
        for at, (kind, place, question, _, _) in enumerate(asked):
            by_kind[kind].append((at, place, question))
        if by_kind["tokens"]:
            self._answer_tokens(hidden, by_kind["tokens"], answers.tokens)
        masks = sorted({question.about for _, _, question in by_kind["sets"]})
        most = max(1, _MOST_SET_BYTES // len(self._lm.vocabulary))
        for start in range(0, len(masks), most):
            numbers = masks[start : start + most]
            held = set(numbers)
            part = [entry for entry in by_kind["sets"] if entry[2].about in held]
            self._answer_sets(hidden, part, numbers, answers.sets)
        most = max(1, _ROW_FLOATS // len(self._lm.vocabulary))
        for start in range(0, len(by_kind["rows"]), most):
            self._answer_rows(hidden, by_kind["rows"][start : start + most], answers.rows)

    def _answer_tokens(
        self, hidden: Any, part: list[tuple[int, int, _Question]], answers: np.ndarray
    ) -> None:
        head = self._head("token head", _token_head)
        about = [question.about for _, _, question in part]
        log_probs = head(self._lm.params, hidden, *self._columns(part, about), self._lm.vocabulary.possible)
        answers[[place for _, place, _ in part]] = np.asarray(log_probs, float)[: len(part)]

    def _answer_sets(
        self, hidden: Any, part: list[tuple[int, int, _Question]], numbers: list[int], answers: np.ndarray
    ) -> None:
        packed = {number: data for data, number in self._masks.items()}
        size = len(self._lm.vocabulary)
        masks = np.zeros((bucket(len(numbers)), size), bool)
        for row, number in enumerate(numbers):
            masks[row] = np.unpackbits(np.frombuffer(packed[number], np.uint8), count=size)
        row_of = {number: row for row, number in enumerate(numbers)}
        about = [row_of[question.about] for _, _, question in part]
        head = self._head("set head", _set_head)
        possible = self._lm.vocabulary.possible
        log_masses = head(self._lm.params, hidden, *self._columns(part, about), masks, possible)
        answers[[place for _, place, _ in part]] = np.asarray(log_masses, float)[: len(part)]

    def _answer_rows(
        self, hidden: Any, part: list[tuple[int, int, _Question]], answers: list[np.ndarray]
    ) -> None:
        head = self._head("row head", _row_head)
        at = np.zeros(bucket(len(part)), np.int32)
        temperature = np.ones(len(at), np.float32)
        at[: len(part)] = [index for index, _, _ in part]
        temperature[: len(part)] = [question.temperature for _, _, question in part]
        rows = np.asarray(head(self._lm.params, hidden, at, temperature, self._lm.vocabulary.possible))
        for (_, place, _), row in zip(part, rows, strict=False):
            answers[place] = row

    def _head(self, name: str, function: Callable[..., Any]) -> Any:
        layout, skeleton = layout_of(self._lm), self._lm.skeleton

        def go(*args: Any) -> Any:
            return layout.whole(function(skeleton, *args))

        return compiled(skeleton, name, lambda: jax.jit(layout.over_rows(go, WHOLE, WHOLE)))

    def _columns(
        self, part: list[tuple[int, int, _Question]], about: list[int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.int32]:
        """Gives where each question stands, its temperature, what it is about, and how many there are."""
        size = bucket(len(part), _positions_at_once(len(self._lm.vocabulary)))
        at, wanted = np.zeros((2, size), np.int32)
        temperature = np.ones(size, np.float32)
        at[: len(part)] = [index for index, _, _ in part]
        wanted[: len(part)] = about
        temperature[: len(part)] = [question.temperature for _, _, question in part]
        return at, temperature, wanted, np.int32(len(part))


def _read(
    lm: LanguageModel, place: Any, params: Any, prefix: Any, tokens: Any, lengths: Any, where: Any
) -> Any:
    """Reads rows from the start; gives their cache and the hidden states at places (row, column)."""
    layout = layout_of(lm)
    cache, hidden = lm.extend(params, lm.empty(*tokens.shape), tokens, lengths, prefix)
    cache = layout.heads_apart(cache)
    if place == WHOLE or layout.num_parts == 1:
        return cache, layout.whole(hidden[where[0], where[1]])
    rows = where[0] - layout.first_row(len(hidden))
    here = (rows >= 0) & (rows < len(hidden))
    found = hidden[jnp.clip(rows, 0, len(hidden) - 1), where[1]]
    return cache, layout.total(layout.whole(jnp.where(here[:, None], found, jnp.zeros_like(found))))


def _token_head(
    lm: LanguageModel,
    params: Any,
    hidden: Any,
    at: Any,
    temperature: Any,
    token: Any,
    count: Any,
    possible: Any,
) -> Any:
    """Gives the log-probability of a token at each place."""

    def log_prob(scaled: Any, token: Any) -> Any:
        chosen = jnp.take_along_axis(scaled, token[:, None], axis=-1)[:, 0]
        return chosen - jax.nn.logsumexp(scaled, axis=-1)

    return _in_chunks(lm, log_prob, params, hidden, at, temperature, token, count, possible)


def _set_head(
    lm: LanguageModel,
    params: Any,
    hidden: Any,
    at: Any,
    temperature: Any,
    number: Any,
    count: Any,
    masks: Any,
    possible: Any,
) -> Any:
    """Gives the log-probability of a set of tokens at each place."""

    def log_mass(scaled: Any, number: Any) -> Any:
        inside = jnp.where(masks[number], scaled, -jnp.inf)
        return jax.nn.logsumexp(inside, axis=-1) - jax.nn.logsumexp(scaled, axis=-1)

    return _in_chunks(lm, log_mass, params, hidden, at, temperature, number, count, possible)


def _in_chunks(
    lm: LanguageModel,
    ask: Callable[[Any, Any], Any],
    params: Any,
    hidden: Any,
    at: Any,
    temperature: Any,
    about: Any,
    count: Any,
    possible: Any,
) -> Any:
    """Applies the head to a few places at a time, as often as there are questions."""
    chunk = _positions_at_once(len(possible))

    def answer_chunk(number: Any, answers: Any) -> Any:
        here = partial(jax.lax.dynamic_slice_in_dim, start_index=number * chunk, slice_size=chunk)
        # Without the barrier the head is computed again inside each fused reduction (jax 0.11).
        logits = jax.lax.optimization_barrier(lm.logits(params, hidden[here(at)]))
        part = ask(_scaled(logits, possible, here(temperature)), here(about))
        return jax.lax.dynamic_update_slice_in_dim(answers, part, number * chunk, axis=0)

    num_chunks = -(-count // chunk)
    return jax.lax.fori_loop(0, num_chunks, answer_chunk, jnp.zeros(at.shape, jnp.float32))


def _row_head(lm: LanguageModel, params: Any, hidden: Any, at: Any, temperature: Any, possible: Any) -> Any:
    return log_softmax_of_text(lm.logits(params, hidden[at]), possible, temperature)


def _scaled(logits: Any, possible: Any, temperature: Any) -> Any:
    return jnp.where(possible, logits.astype(jnp.float32) / temperature[..., None], -jnp.inf)


def _positions_at_once(vocab_size: int) -> int:
    """A power of two: enough for the head to be a product of matrices, few enough to stay in caches."""
    return max(8, min(256, bucket(_LOGITS_AT_ONCE // vocab_size + 1) // 2))
