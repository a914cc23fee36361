"""Text sites: the particles that stand in one, what they have read, and the strings they end with."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmppl.compilation import compiled
from lmppl.device_layout import WHOLE, layout_of
from lmppl.inference.contexts import (
    Contexts,
    RowContexts,
    Tokens,
    common_length,
    common_prefix,
    empty_rows,
    gathered,
    grown,
    read,
    require_memory,
    rewound,
    spread_logits,
)
from lmppl.inference.counters import Counters
from lmppl.inference.machines import Machine, machine_of
from lmppl.inference.proposal_weights import proposal_corrections
from lmppl.inference.proposals import Proposal
from lmppl.inference.text_rows import Row
from lmppl.inference.text_steps import Fixed, Plan
from lmppl.inference.token_trie import token_tables
from lmppl.language_model import NOTHING, LanguageModel
from lmppl.shape_buckets import bucket, row_bucket
from lmppl.text import Text

UNSATISFIABLE = "constraint unsatisfiable"
TRUNCATED = "truncated"
TIMED_OUT = "check timed out"
UNDECODABLE = "undecodable"

MOST_TOKENS = 4096  # of a string that has no limit: one that will not end is lost as truncated
_FIRST_ROOM = 64  # tokens that such a string has room for at first
_LEAST_ROOM = 16


@dataclass(frozen=True)
class TextRequest:
    """One particle at a text site: the distribution it wants, and the one that is drawn from."""

    target: Text
    source: Text


@dataclass(frozen=True)
class TextStep:
    """What one token did to the rows of a site.

    Attributes:
        ancestors: The rows were resampled before; None if they were not.
        log_increments: By what weights are multiplied, in nats; `-inf` for rows that are lost.
        lost: Row -> cause.
        num_drawn: Tokens.
        is_announced: Whether the population has yet to follow the ancestors.
        log_twists: What of the increments is to be divided out again if the site is left now.
    """

    ancestors: np.ndarray | None
    log_increments: np.ndarray
    lost: dict[int, str]
    num_drawn: int
    is_announced: bool = False
    log_twists: np.ndarray | None = None


@dataclass(frozen=True)
class Batch:
    """The particles at a text site, of one language model.

    Attributes:
        lm: What all of them draw from.
        requests: One a row; None is a slot that is empty until resampling fills it.
        slots: The place of each row in the population.
        keys: Raw, `uint32[rows, 2]`. They stay with their slots.
        proposal: How tokens are proposed.
        contexts: What was read before.
        counters: Are told what is done.
    """

    lm: LanguageModel
    requests: Sequence[TextRequest | None]
    slots: Sequence[int]
    keys: np.ndarray
    proposal: Proposal
    contexts: Contexts
    counters: Counters

    def rows(self) -> list[Row | None]:
        """Gives the rows of empty strings."""
        return [
            None if request is None else Row.start(request.source, request.target, self.proposal)
            for request in self.requests
        ]


class TextSites(abc.ABC):
    """A batch of strings in the making. Row `i` belongs to request `i`."""

    def __init__(self, batch: Batch, rows: list[Row | None], plan: Plan):
        self.rows = rows
        self._batch, self._plan, self._lm = batch, plan, batch.lm
        self._awrs = batch.proposal.rejection
        self._layout = layout_of(batch.lm)
        self._num_rows = self._layout.num_rows(row_bucket(len(rows)))
        automata = [() if row is None else row.judges.automata() for row in rows]
        known = [one for three in automata for one in three if one is not None]
        self._machine: Machine = machine_of(self._lm, known)
        self._states = np.zeros((self._num_rows, 3), np.int32)
        for index, three in enumerate(automata):
            for column, one in enumerate(three):
                self._states[index, column] = self._machine.start(one)
        self._keys = np.zeros((self._num_rows, 2), np.uint32)
        self._keys[: len(batch.keys)] = batch.keys
        self._capacity = 0
        self._read: list[Tokens] = []
        self._prefix: Any = None
        self._prompt_logits: Any = None  # of the first token, where all rows have one prompt
        self._prefix_length = 0
        self._done: Any = None  # the rows' cache when their strings are
        self._cache_rows = np.arange(self._num_rows)  # where in it each row is

    @property
    @abc.abstractmethod
    def active(self) -> bool:
        """Whether any row wants another token."""

    @abc.abstractmethod
    def describe(self) -> str:
        """Says where the strings are drawn and how tokens are proposed."""

    def finish(self) -> tuple[list[str | None], np.ndarray, dict[int, str]]:
        """Gives the strings, None for rows that are lost or empty; what a proposal owes; new losses.

        To be called when the population stands as the rows do: what they have read is kept by slot.
        """
        if self._done is not None:
            self._keep_context(self._done)
        owed = np.zeros(len(self.rows))
        lost: dict[int, str] = {}
        values = [None if row is None or row.lost else row.value() for row in self.rows]
        proposed: list[int] = []
        drawn: list[tuple[Text, Text, tuple[int, ...], str]] = []
        for index, (row, value) in enumerate(zip(self.rows, values, strict=True)):
            if row is None or row.lost:
                continue
            if value is None:
                lost[index] = UNDECODABLE
            elif row.target is not row.text:
                proposed.append(index)
                drawn.append((row.target, row.text, row.tokens, value))
        for index, correction in zip(proposed, proposal_corrections(drawn) if drawn else (), strict=True):
            owed[index] = correction
            if correction == -np.inf:
                lost[index] = UNSATISFIABLE
        for index, cause in lost.items():
            row = self.rows[index]
            assert row is not None
            self.rows[index], values[index] = row.lose(cause), None
        return values, owed, lost

    def _proposal(self) -> str:
        """Says how tokens are proposed, judge by judge."""
        row = next(row for row in self.rows if row is not None)
        local, mask, check = (judge and judge.constraint for judge in row.judges.all())
        parts = [f"{local.describe()} renormalised"] if local else []
        parts += [f"{mask.describe()} masked"] if mask else []
        parts += [f"{check.describe()} by {self._awrs!r}"] if check else []
        inexact = [each.describe() for each in (local, mask, check) if each and not each.viable_is_exact]
        over = f"; over-approximate: {', '.join(inexact)}" if inexact else ""
        return (", ".join(parts) or "unconstrained") + over

    def _fixed(self) -> Fixed:
        lm = self._lm
        bias = compiled(lm, "bias", self._bias)
        tokens = compiled(lm, "tokens", lambda: self._layout.placed(token_tables(lm.vocabulary), WHOLE))
        keys: Any = self._keys
        is_read: Any = np.bool_(self._prompt_is_read)
        return Fixed(lm.params, self._prefix, is_read, self._machine.tables, tokens, bias, keys)

    def _bias(self) -> Any:
        bias = np.where(self._lm.vocabulary.possible, 0.0, -np.inf).astype(np.float32)
        return self._layout.put(bias, WHOLE)

    def _room(self) -> int:
        """Gives how many tokens the rows should have room for at first."""
        limits = [row.text.max_tokens for row in self.rows if row is not None]
        most = max((self._left(row) for row in self.rows if row is not None), default=0)
        wanted = _FIRST_ROOM if None in limits else max((m for m in limits if m is not None), default=0) + 1
        return max(1, min(bucket(wanted, _LEAST_ROOM), max(most, _LEAST_ROOM)))

    def _left(self, row: Row) -> int:
        """Gives how many tokens a row may be given at all, by the model's context and our patience."""
        left = max(0, self._lm.context_length - len(_prompt(row)))
        return left if row.text.max_tokens is not None else min(left, MOST_TOKENS)

    def _start_caches(self, room: int) -> tuple[Any, np.ndarray]:
        """Reads the prompts; gives the rows' cache and the tokens that they have to read next.

        One prompt of all rows is read to its end, and the first tokens are drawn from what follows it.
        Others are read but for their last tokens, which the first step reads.
        """
        prompts = [() if row is None else _prompt(row) for row in self.rows]
        wanted = {
            slot: prompt[:-1] for slot, prompt in zip(self._batch.slots, prompts, strict=True) if prompt
        }
        last = np.zeros(self._num_rows, np.int32)
        last[: len(prompts)] = [prompt[-1] if prompt else 0 for prompt in prompts]
        distinct = list(dict.fromkeys(wanted.values()))
        self._read = [prompt[:-1] for prompt in prompts]
        kept = self._batch.contexts.take_rows(self._lm, wanted)
        if kept is not None:
            return self._continued(kept, room), last
        whole = {prompt for prompt in prompts if prompt}
        if len(whole) == 1:
            distinct = list(whole)
        length = common_prefix(distinct)
        rest = [tokens[length:] for tokens in distinct]
        self._capacity = bucket(max(map(len, rest)) + room, 32)
        self._prefix_length = length
        self._require()
        if length:
            prefix = self._batch.contexts.prefix(self._lm, distinct[0][:length])
            self._prefix = prefix.cache
            self._prompt_logits = prefix.logits if len(whole) == 1 else None
        if not any(rest):
            return empty_rows(self._lm, self._num_rows, self._capacity), last
        num_read = self._layout.num_rows(row_bucket(len(rest)))
        cache = empty_rows(self._lm, num_read, self._capacity)
        cache = read(self._lm, self._prefix, cache, _padded(rest, num_read))
        if len(rest) == len(prompts) == self._num_rows:
            return cache, last
        numbers = {tokens: number for number, tokens in enumerate(distinct)}
        rows = np.zeros(self._num_rows, np.int32)
        rows[: len(prompts)] = [numbers.get(tokens, 0) for tokens in self._read]
        return gathered(self._lm, cache, rows), last

    def _twins(self) -> np.ndarray:
        """Gives rows with the same prompt the same number, before anything is drawn."""
        first: dict[Tokens, int] = {}
        twins = np.arange(self._num_rows, dtype=np.int32)
        for index, row in enumerate(self.rows):
            if row is not None:
                twins[index] = first.setdefault(_prompt(row), index)
        return twins

    @property
    def _prompt_is_read(self) -> bool:
        """Whether the first tokens can be drawn before any row reads one."""
        return self._prompt_logits is not None

    def _first_logits(self) -> Any:
        """Gives the rows' logits before the first step; they mean nothing if it has to read a token first."""
        logits = self._prompt_logits
        if logits is None:
            logits = self._layout.placed(np.zeros((1, len(self._lm.vocabulary)), np.float32), WHOLE)
        return spread_logits(self._lm, logits, self._num_rows)

    def _require(self) -> None:
        """Asks for the memory of the caches, before they are made."""
        counters = self._batch.counters
        size = require_memory(self._lm, self._num_rows, self._capacity, self._prefix_length)
        counters.cache_bytes = max(counters.cache_bytes, size)

    def _continued(self, kept: RowContexts, room: int) -> Any:
        """Goes on from what each row read at an earlier site."""
        self._prefix, self._prefix_length = kept.prefix, kept.prefix_length
        rows = np.zeros(self._num_rows, np.int32)
        lengths = np.zeros(self._num_rows, np.int32)
        rest: list[Tokens] = []
        for index, (slot, tokens) in enumerate(zip(self._batch.slots, self._read, strict=True)):
            if self.rows[index] is None:
                rest.append(())
                continue
            rows[index] = kept.row_of[slot]
            same = common_length(kept.tokens[slot], tokens)
            lengths[index] = same - kept.prefix_length
            rest.append(tokens[same:])
        rest = _padded(rest, self._num_rows)
        most = max(int(own) + len(part) for own, part in zip(lengths, rest, strict=True))
        self._capacity = max(bucket(most + room, 32), kept.capacity)
        self._require()
        cache = gathered(self._lm, kept.cache, rows)
        if self._capacity > kept.capacity:
            cache = grown(self._lm, cache, self._capacity)
        cache = rewound(self._lm, cache, lengths)
        return read(self._lm, self._prefix, cache, rest) if any(rest) else cache

    def _keep_context(self, cache: Any) -> None:
        """Leaves what the rows have read to the sites that follow."""
        row_of, tokens = {}, {}
        for index, (slot, row) in enumerate(zip(self._batch.slots, self.rows, strict=True)):
            if row is not None and not row.lost and row.tokens:
                row_of[slot] = int(self._cache_rows[index])
                tokens[slot] = (*_prompt(row), *row.tokens[:-1])
        kept = RowContexts(self._prefix, self._prefix_length, cache, self._capacity, row_of, tokens)
        self._batch.contexts.keep_rows(self._lm, kept)


def _prompt(row: Row) -> Tokens:
    return row.text.prompt_tokens or (NOTHING,)


def _padded(rows: list[Tokens], size: int) -> list[Tokens]:
    return rows + [()] * (size - len(rows))
