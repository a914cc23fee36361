"""The candidates of a host step: each row's order as far as it is drawn, and what the checks say of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lmppl.acceptance import Acceptor, Cursor
from lmppl.constraints.remembered_answers import CheckTimedOut
from lmppl.inference.text_rows import Row


@dataclass
class Candidates:
    """The order of each row as far as it is drawn, on the host.

    Attributes:
        ids: `Int[rows, candidates]`.
        log_probs: `Float64[rows, candidates]`, nats, normalised over the row's base.
        log_tail: `Float64[rows]`: log mass behind them.
        log_mass: `Float64[rows]`: log mass of what is drawn from.
        accepted: `Bool[rows, candidates]`: the answers so far.
        num_checked: `Int[rows]`: how many there are.
        thresholds: By width: `log p + Gumbel noise` of the candidate behind so many, as far as is known.
        num_at_once: `Int[rows]`: how many are checked in any case, all at once.
        uniforms: Of the geometric estimator.
    """

    ids: np.ndarray
    log_probs: np.ndarray
    log_tail: np.ndarray
    log_mass: np.ndarray
    log_base: np.ndarray
    accepted: np.ndarray
    num_checked: np.ndarray
    thresholds: dict[int, np.ndarray]
    num_at_once: np.ndarray
    uniforms: np.ndarray | None = None

    @classmethod
    def unpacked(cls, packed: np.ndarray) -> Candidates:
        """Reads what `text_steps.propose` has packed."""
        width = (packed.shape[1] - 4) // 2
        floats = packed[:, width:].view(np.float32).astype(float)
        log_base = np.where(floats[:, -2] > -np.inf, floats[:, -2], 0.0)
        return cls(
            ids=packed[:, :width],
            log_probs=floats[:, :width] - log_base[:, None],
            log_tail=floats[:, width] - log_base,
            log_mass=floats[:, -1] - log_base,
            log_base=log_base,
            accepted=np.zeros((len(packed), width), bool),
            num_checked=np.zeros(len(packed), int),
            thresholds={width: floats[:, width + 1] - log_base},
            num_at_once=np.zeros(len(packed), int),
        )

    def extend(self, packed: np.ndarray, size: int) -> None:
        """Takes up `size` further candidates; those drawn beyond stay in the tail."""
        more = Candidates.unpacked(packed)
        log_probs = more.log_probs - self.log_base[:, None]
        behind = np.concatenate([log_probs[:, size:], (more.log_tail - self.log_base)[:, None]], axis=1)
        self.ids = np.concatenate([self.ids, more.ids[:, :size]], axis=1)
        self.log_probs = np.concatenate([self.log_probs, log_probs[:, :size]], axis=1)
        self.log_tail = np.logaddexp.reduce(behind, axis=1)
        self.accepted = np.concatenate([self.accepted, more.accepted[:, :size]], axis=1)
        if not (behind[:, :-1] > -np.inf).any():
            (threshold,) = more.thresholds.values()
            self.thresholds[self.width] = threshold - self.log_base

    @property
    def width(self) -> int:
        """How many candidates of each row are drawn."""
        return self.ids.shape[1]


@dataclass
class Checks:
    """Runs the checks of candidates, each (row state, token) once a step.

    Attributes:
        num_checks: How many were asked for in all.
    """

    num_checks: int = 0
    _known: dict[tuple[Acceptor, Cursor, int], Cursor | CheckTimedOut | None] = field(default_factory=dict)

    def run(self, asked: Sequence[tuple[Row, int]]) -> list[bool | CheckTimedOut]:
        """Says of each candidate whether it is accepted; those of all rows are judged together."""
        self.num_checks += len(asked)
        questions = [self._question(row, token) for row, token in asked]
        missing: dict[Acceptor, list[tuple[Acceptor, Cursor, int]]] = {}
        for question in dict.fromkeys(questions):
            if question not in self._known:
                missing.setdefault(question[0], []).append(question)
        for judge, those in missing.items():
            found = judge.steps([cursor for _, cursor, _ in those], [token for *_, token in those])
            self._known.update(zip(those, found, strict=True))
        answers = (self._known[question] for question in questions)
        return [answer if isinstance(answer, CheckTimedOut) else answer is not None for answer in answers]

    def ask(self, row: Row, token: int) -> bool | CheckTimedOut:
        """Says whether one candidate is accepted."""
        self.num_checks += 1
        judge, cursor, _ = question = self._question(row, token)
        if question not in self._known:
            self._known[question] = judge.judged(cursor, token)
        answer = self._known[question]
        return answer if isinstance(answer, CheckTimedOut) else answer is not None

    def cursor_after(self, row: Row, token: int) -> Cursor | None:
        """Gives where the judge of checks stands after an accepted candidate; None if nothing was asked."""
        if row.judges.check is None or row.cursors[2] is None:
            return None
        known = self._known.get(self._question(row, token))
        return known if isinstance(known, Cursor) else None

    def forget(self) -> None:
        """Drops what was remembered for the last step."""
        self._known.clear()

    def _question(self, row: Row, token: int) -> tuple[Acceptor, Cursor, int]:
        judge, cursor = row.judges.check, row.cursors[2]
        assert judge is not None
        assert cursor is not None
        return judge, cursor, token
