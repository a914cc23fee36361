"""The candidates of a host step: each row's order as far as it is drawn, and what the checks say of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lmppl.acceptance import Acceptor, Cursor
from lmppl.constraints.functions.remembered_answers import CheckTimedOut
from lmppl.inference.text_rows import Row
from lmppl.token_answers import StepAnswers, TokenAnswers


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
    _answers: dict[tuple[Acceptor, Cursor], TokenAnswers[Cursor]] = field(default_factory=dict)

    def run(self, asked: Sequence[tuple[Row, int]]) -> list[bool | CheckTimedOut]:
        """Says of each candidate whether it is accepted; those of all rows are judged together."""
        self.num_checks += len(asked)
        places = [self.answers(row) for row, _ in asked]
        missing: dict[Acceptor, dict[tuple[Cursor, int], StepAnswers[Cursor]]] = {}
        for (row, token), answers in zip(asked, places, strict=True):
            if row.gains_from_lists and isinstance(answers, StepAnswers) and not answers.knows(token):
                judge, cursor = _judge(row)
                missing.setdefault(judge, {})[cursor, token] = answers
        for judge, those in missing.items():
            found = judge.steps([cursor for cursor, _ in those], [token for _, token in those])
            for ((_, token), answers), after in zip(those.items(), found, strict=True):
                answers.learn(token, after)
        return [_said(answers, token) for (_, token), answers in zip(asked, places, strict=True)]

    def answers(self, row: Row) -> TokenAnswers[Cursor]:
        """Gives what says so at the place where a row stands, the same for equal places."""
        place = _judge(row)
        found = self._answers.get(place)
        if found is None:
            found = self._answers[place] = place[0].answers(place[1])
        return found

    def cursor_after(self, row: Row, token: int) -> Cursor | None:
        """Gives where the judge of checks stands after an accepted candidate; None if nothing was asked."""
        if row.judges.check is None or row.cursors[2] is None:
            return None
        found = self._answers.get(_judge(row))
        return None if found is None else found.after(token)

    def forget(self) -> None:
        """Drops what was remembered for the last step."""
        self._answers.clear()


def _judge(row: Row) -> tuple[Acceptor, Cursor]:
    judge, cursor = row.judges.check, row.cursors[2]
    assert judge is not None
    assert cursor is not None
    return judge, cursor


def _said(answers: TokenAnswers[Cursor], token: int) -> bool | CheckTimedOut:
    try:
        return answers.allows(token)
    except CheckTimedOut as late:
        return late
