"""Rows of a host site that are read and searched together: all of them, or one of two halves.

While the host checks one half's candidates, the device reads the other half's tokens. This wins where
checks take as long as a step of the model (docs/performance.md), and loses where they do not: two halves
take the model longer than the whole, and what it has read ahead is thrown away when rows are resampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmppl.device_layout import ROWS, WHOLE, layout_of
from lmppl.inference.contexts import rearranged, rewound
from lmppl.inference.host_candidates import Candidates, Checks
from lmppl.inference.host_search import Search, fetched, num_candidates
from lmppl.inference.proposals import AWRS
from lmppl.inference.site_potentials import unsatisfied
from lmppl.inference.step_asks import packed_ask
from lmppl.inference.step_programs import propose_program
from lmppl.inference.text_rows import Row, active_rows
from lmppl.inference.text_sites import TRUNCATED, Batch
from lmppl.inference.text_steps import Fixed, Plan, Waiting

_SCARCE = 12  # a row where fewer than one in so many candidates was accepted
_LEAST_ROWS = 16  # of a part; 8 rows take a model on CPU about as long


@dataclass
class Held:
    """What a part has on the device between two steps.

    Attributes:
        cache: Of the model, one row a row.
        logits: The last step's, whose memory the next ones take; before the first those of the prompt.
        masks: Of the states that were visited.
        states: Of the judges' automata, `int32[rows, 3]`.
    """

    cache: Any
    logits: Any
    masks: Any
    states: Any


@dataclass(frozen=True)
class PartStep:
    """What a token did to the rows of a part; see `TextStep`."""

    log_increments: np.ndarray
    lost: dict[int, str]
    num_drawn: int
    check_seconds: float
    num_by_priority: int


class HostPart:
    """Some rows of a site, padding included.

    Attributes:
        rows: Their strings so far; there are none for padding.
        tokens: What each has to read next.
        twins: Equal for rows that have read the same and read the same next.
        held: What they have on the device; that of the next step once it is launched.
    """

    def __init__(
        self,
        batch: Batch,
        plan: Plan,
        fixed: Fixed,
        held: Held,
        rows: list[Row | None],
        tokens: np.ndarray,
        twins: np.ndarray,
    ):
        self.rows = rows
        self.held = held
        self._batch, self._plan = batch, plan
        self._keys: Any = fixed.keys
        self._prompt_is_read = bool(fixed.is_read)
        layout = layout_of(batch.lm)
        self._fixed = fixed._replace(
            keys=layout.put(fixed.keys, ROWS), is_read=layout.put(fixed.is_read, WHOLE)
        )
        self.tokens, self.twins = tokens, twins
        self._ancestors = np.arange(self.size, dtype=np.int32)
        self._waiting: tuple[Waiting, Any] | None = None
        self._states_before: Any = None

    @property
    def size(self) -> int:
        """How many rows are computed."""
        return len(self.tokens)

    @property
    def is_launched(self) -> bool:
        """Whether the device has been given the next step."""
        return self._waiting is not None

    @property
    def pending(self) -> np.ndarray:
        """Where in the cache each row is, `int32[size]`."""
        return self._ancestors

    def reorder(self, ancestors: np.ndarray) -> None:
        """Makes row `i` a copy of row `ancestors[i]`; their caches follow when the next step is launched."""
        self.rows = [self.rows[ancestor] for ancestor in ancestors.tolist()]
        self._ancestors[: len(ancestors)] = ancestors
        self.tokens = self.tokens[self._ancestors]
        self.twins = self.twins[self._ancestors]

    def halves(self, masks: Any) -> list[HostPart]:
        """Divides the rows into two parts. This one is used up; to be called between two steps.

        Args:
            masks: Of the second half, as large as this one's.
        """
        size, held = self.size // 2, self.held
        spans = [slice(0, size), slice(size, None)]
        numbers = [np.arange(self.size)[span] for span in spans]
        states = np.asarray(held.states)
        moved = rearranged([(held.cache, held.logits)], numbers)
        parts = []
        for span, (cache, logits), own in zip(spans, moved, (held.masks, masks), strict=True):
            fixed = self._fixed._replace(keys=self._keys[span])
            part = Held(cache, logits, own, states[span])
            strings = (self.rows[span], self.tokens[span], self.twins[span])
            parts.append(HostPart(self._batch, self._plan, fixed, part, *strings))
        return parts

    def launch(self, step: int, awrs: AWRS, base: np.ndarray | None, allowed: np.ndarray | None) -> None:
        """Lets the device read the last tokens and draw candidates for the next; does not wait for it."""
        ask = packed_ask(self.rows, self._ancestors, self.tokens, self.twins, step)
        lm, held = self._batch.lm, self.held
        go = propose_program(lm, self._plan, num_candidates(lm, self._plan, awrs))
        self._states_before = held.states
        waiting, packed = go(
            self._fixed, held.cache, held.logits, held.masks, held.states, ask, base, allowed
        )
        self.held = Held(waiting.cache, waiting.rows.logits, waiting.masks, waiting.states)
        self._ancestors = np.arange(self.size, dtype=np.int32)
        self._waiting = waiting, packed
        self._batch.counters.num_forwards += int(step > 0 or not self._prompt_is_read)

    def take_back(self, lengths: np.ndarray) -> None:
        """Forgets a step that was launched, because rows will be resampled before it.

        Args:
            lengths: Tokens that each row had read before, behind what all share, `int32[size]`.
        """
        self._waiting = None
        self.held.cache = rewound(self._batch.lm, self.held.cache, lengths)
        self.held.states = self._states_before

    def take(self, step: int, awrs: AWRS, checks: Checks) -> PartStep:
        """Waits for the candidates and draws a token for every active row, or loses it."""
        assert self._waiting is not None
        (waiting, packed), self._waiting = self._waiting, None
        batch, plan = self._batch, self._plan
        found = Candidates.unpacked(fetched(batch.counters, packed))
        keys: Any = self._fixed.keys
        search = Search(batch.lm, plan, batch.proposal, awrs, batch.counters, checks, self.rows, keys, step)
        if plan.check is None:
            chosen, log_weights = np.zeros(self.size, int), found.log_mass
        else:
            chosen, log_weights = search.run(waiting, found)
        log_increments = np.zeros(len(self.rows))
        num_drawn = self._advance(found, chosen, log_weights, log_increments, search)
        return PartStep(log_increments, search.lost, num_drawn, search.check_seconds, search.num_by_priority)

    def _advance(
        self,
        found: Candidates,
        chosen: np.ndarray,
        log_weights: np.ndarray,
        log_increments: np.ndarray,
        search: Search,
    ) -> int:
        num_drawn = 0
        twins: dict[tuple[int, int], int] = {}
        # Lists, because a loop over rows takes longer to index arrays than for anything else.
        every = np.arange(self.size)
        tokens, log_probs = found.ids[every, chosen].tolist(), found.log_probs[every, chosen].tolist()
        weights, old_twins = np.asarray(log_weights).tolist(), self.twins.tolist()
        scarce = (_SCARCE * found.accepted.sum(axis=1) < found.num_checked).tolist()
        for index, row in active_rows(self.rows):
            token, log_prob, weight = tokens[index], log_probs[index], weights[index]
            if weight == -np.inf or log_prob == -np.inf:
                search.lose(index, TRUNCATED if row.at_limit else unsatisfied(row))
                continue
            checked = search.checks.cursor_after(row, token)
            self.rows[index] = row.advance(token, log_prob, weight, checked, scarce[index])
            self.tokens[index] = token
            self.twins[index] = twins.setdefault((old_twins[index], token), index)
            log_increments[index] = weight
            num_drawn += 1
        return num_drawn


def can_be_halved(num_rows: int, plan: Plan) -> bool:
    """Says whether two halves of a site's rows could take turns at all, and are large enough."""
    return num_rows >= 2 * _LEAST_ROWS and num_rows % 2 == 0 and "host" not in (plan.local, plan.mask)


def takes_long(rows: Sequence[Row | None]) -> bool:
    """Says whether it is known before the first check that checks take long."""
    judges = [row.judges.check for row in rows if row is not None]
    return any(one.constraint.takes_long for one in judges if one is not None and one.constraint is not None)


def reorder(parts: Sequence[HostPart], ancestors: np.ndarray) -> None:
    """Makes row `i` of all parts together a copy of row `ancestors[i]`. None may have been launched."""
    if len(parts) == 1:
        parts[0].reorder(ancestors)
        return
    ends = np.cumsum([part.size for part in parts])
    sources = np.arange(ends[-1])
    sources[: len(ancestors)] = ancestors
    spans = [slice(int(end) - part.size, int(end)) for part, end in zip(parts, ends, strict=True)]
    rows = [row for part in parts for row in part.rows]
    rows = [rows[ancestor] for ancestor in ancestors.tolist()]
    tokens = np.concatenate([part.tokens for part in parts])[sources]
    twins = [part.twins + span.start for part, span in zip(parts, spans, strict=True)]
    twins = np.concatenate(twins)[sources]
    states = np.concatenate([np.asarray(part.held.states) for part in parts])[sources]
    caches = rearranged([part.held.cache for part in parts], [sources[span] for span in spans])
    for part, span, cache in zip(parts, spans, caches, strict=True):
        part.rows, part.tokens, part.twins = rows[span], tokens[span], twins[span]
        part.held.cache, part.held.states = cache, states[span]
