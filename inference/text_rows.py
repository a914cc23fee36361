"""The host's side of a text site: which tokens each row may take, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any

import numpy as np

from lmppl.acceptance import Acceptor, Cursor, acceptor
from lmppl.constraints.combined.combinators import both
from lmppl.constraints.protocol import Constraint
from lmppl.constraints.regular.ended_automaton import EndedAutomaton, ended_automaton_of
from lmppl.inference.proposals import Proposal
from lmppl.language_model import Vocabulary
from lmppl.text import Text
from lmppl.traces import TextRecord


@dataclass(frozen=True)
class Judges:
    """A text's constraints, sorted by how they enter a step.

    Attributes:
        local: Its mask renormalises and is not charged; None where the text is not `lp.local`.
        mask: Its mask is charged to the weight. It has no constraint where nothing is masked, and
            still knows which tokens end a string.
        check: Checked candidate by candidate; None where nothing is left to check.
    """

    local: Acceptor | None
    mask: Acceptor
    check: Acceptor | None

    def all(self) -> tuple[Acceptor | None, ...]:
        """Gives the three, in a fixed order."""
        return (self.local, self.mask, self.check)

    def automata(self) -> tuple[EndedAutomaton | None, ...]:
        """Gives the three as automata of strings and their ends; None where there is none."""
        return tuple(
            None if judge is None else _automaton(judge, judge is not self.local) for judge in self.all()
        )


def judges(text: Text, extra: tuple[Constraint, ...], proposal: Proposal) -> Judges:
    """Sorts the constraints of a text, and of a target that it is proposed for."""
    local = text.local_constraint if text.local_limit else None
    conditions = (*text.conditions, *extra)
    return _judges(text.lm.vocabulary, text.stop_bytes, text.local_limit, local, conditions, proposal)


@lru_cache(maxsize=1024)
def _judges(
    vocabulary: Vocabulary,
    stop: bytes | None,
    is_local: bool,
    local: Constraint | None,
    conditions: tuple[Constraint, ...],
    proposal: Proposal,
) -> Judges:
    """Remembered by what they are made of, and not by the text: that would keep the model's weights alive."""
    parts = [part for condition in conditions for part in condition.parts()]
    masked = [part for part in parts if proposal.masks(part, len(vocabulary))]
    checked = [part for part in parts if not proposal.masks(part, len(vocabulary))]
    return Judges(
        acceptor(vocabulary, local, stop) if is_local else None,
        acceptor(vocabulary, _conjunction(masked), stop),
        acceptor(vocabulary, _conjunction(checked), stop) if checked else None,
    )


@dataclass(frozen=True)
class Row:
    """One string in the making. Immutable, so that resampling copies references.

    Attributes:
        text: What it is drawn from: the site's distribution, or its proposal.
        target: What it is weighed for in the end.
        cursors: Of the three judges.
        data: The bytes so far, the stop string not removed.
        scarce: Whether few of the candidates for its last token were accepted.
        lost: The cause, if the row is lost.
    """

    text: Text
    target: Text
    judges: Judges
    cursors: tuple[Cursor | None, ...]
    data: bytes = b""
    tokens: tuple[int, ...] = ()
    token_log_probs: tuple[float, ...] = ()
    log_normalisers: tuple[float, ...] = ()
    ended: bool = False
    scarce: bool = False
    lost: str | None = None

    @classmethod
    def start(cls, text: Text, target: Text, proposal: Proposal) -> Row:
        """Gives the row of an empty string."""
        extra = () if target is text else target.conditions
        sorted_judges = judges(text, extra, proposal)
        return cls(text, target, sorted_judges, tuple(j.initial if j else None for j in sorted_judges.all()))

    @property
    def active(self) -> bool:
        """Whether it wants another token."""
        return not self.ended and self.lost is None

    @property
    def at_limit(self) -> bool:
        """Whether the next token must end the string."""
        return self.text.max_tokens is not None and len(self.tokens) >= self.text.max_tokens

    @property
    def settled(self) -> bytes:
        """The bytes that are text whatever comes next: those that may begin the stop string left out."""
        cursor = self.cursors[1]
        assert cursor is not None
        return self.data[: len(self.data) - len(cursor.held)]

    @property
    def gains_from_lists(self) -> bool:
        """Whether many questions at once take the judge of candidates less than one after the other."""
        judge = self.judges.check
        return judge is not None and judge.gains_from_lists

    def local_mask(self) -> np.ndarray | None:
        """Gives what `lp.local` allows, or None for everything."""
        judge, cursor = self.judges.local, self.cursors[0]
        return None if judge is None or cursor is None else _mask_of(judge, cursor, self.at_limit)

    def mask(self) -> np.ndarray | None:
        """Gives what the masked constraints and the token limit allow, or None for everything."""
        judge, cursor = self.judges.mask, self.cursors[1]
        assert cursor is not None
        if judge.constraint is None and not (self.at_limit and not self.text.local_limit):
            return None
        return _mask_of(judge, cursor, self.at_limit and not self.text.local_limit)

    def advance(
        self,
        token: int,
        log_prob: float,
        log_normaliser: float,
        checked: Cursor | None = None,
        scarce: bool = False,
    ) -> Row:
        """Gives the row after an allowed token.

        Args:
            checked: Where the judge that checks candidates stands after it, if it was asked.
            scarce: Whether few of its candidates were accepted.
        """
        local, mask, check = self.cursors
        assert mask is not None
        if checked is None and self.judges.check is not None and check is not None:
            checked = self.judges.check.step(check, token)
        if self.judges.local is not None and local is not None:
            local = self.judges.local.step(local, token)
        mask = self.judges.mask.taken(mask, token)
        return _changed(
            self,
            cursors=(local, mask, checked),
            data=self.data + self.text.lm.vocabulary.token_bytes[token],
            tokens=(*self.tokens, token),
            token_log_probs=(*self.token_log_probs, log_prob),
            log_normalisers=(*self.log_normalisers, log_normaliser),
            ended=mask.ended,
            scarce=scarce,
        )

    def drawn(
        self, tokens: Sequence[int], log_probs: Sequence[float], log_normalisers: Sequence[float]
    ) -> Row:
        """Gives the row after tokens that were drawn elsewhere, which are all it will have."""
        pieces = self.text.lm.vocabulary.token_bytes
        return _changed(
            self,
            data=b"".join(pieces[token] for token in tokens),
            tokens=tuple(tokens),
            token_log_probs=tuple(log_probs),
            log_normalisers=tuple(log_normalisers),
            ended=True,
        )

    def lose(self, cause: str) -> Row:
        """Gives the row, lost."""
        return _changed(self, lost=cause)

    def value(self) -> str | None:
        """Gives the finished string; None where its bytes are no UTF-8."""
        stop = self.text.stop_bytes
        at = -1 if stop is None else self.data.find(stop)
        try:
            return (self.data if at < 0 else self.data[:at]).decode()
        except UnicodeDecodeError:
            return None

    def record(self) -> TextRecord:
        """Gives what the trace keeps."""
        return TextRecord(self.tokens, self.token_log_probs, self.log_normalisers)


def _changed(row: Row, **fields: Any) -> Row:
    """As `dataclasses.replace`, in a fifth of the time: a step does this to every row."""
    changed = object.__new__(Row)
    vars(changed).update(vars(row))
    vars(changed).update(fields)
    return changed


def active_rows(rows: Sequence[Row | None]) -> list[tuple[int, Row]]:
    """Gives the rows that want another token, with their numbers."""
    return [(index, row) for index, row in enumerate(rows) if row is not None and row.active]


def _automaton(judge: Acceptor, is_charged: bool) -> EndedAutomaton | None:
    """A mask that renormalises has to be the acceptor's own; one that is charged may be the tighter one."""
    has_eos = bool(judge.vocabulary.eos_ids)
    trim = is_charged and (has_eos or judge.stop is not None)
    return ended_automaton_of(judge.constraint, judge.stop, has_eos=has_eos, trim=trim)


def _mask_of(judge: Acceptor, cursor: Cursor, at_limit: bool) -> np.ndarray:
    return judge.end_mask(cursor) if at_limit else judge.mask(cursor)


def _conjunction(parts: Sequence[Constraint]) -> Constraint | None:
    return reduce(both, parts) if parts else None
