"""Potentials at a text site: twists that steer its rows, and log-weights of the strings they end with."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from lmppl.constraints.functions.remembered_answers import CheckTimedOut
from lmppl.constraints.functions.time_limits import one_alarm
from lmppl.inference.expert_reading import ExpertReader, Line, has_simple_end
from lmppl.inference.text_rows import Row
from lmppl.inference.text_sites import TIMED_OUT, UNSATISFIABLE, Batch
from lmppl.language_model import LanguageModel
from lmppl.potentials.evaluation import Answer, log_weights
from lmppl.potentials.experts import Expert, Role
from lmppl.potentials.protocol import Potential
from lmppl.potentials.support import Support
from lmppl.scoring import canonical_tokens


class Question(NamedTuple):
    """A row, what it is weighed by, and its bytes: all of them, or so far."""

    row: int
    potential: Potential
    role: Role
    data: bytes


def potentials_of(row: Row) -> tuple[Potential, ...]:
    """Gives what a row is steered by: its target's potentials, and those that only its proposal has."""
    if row.text is row.target:
        return row.target.potentials
    own = [potential for potential in row.text.potentials if potential not in row.target.potentials]
    return (*row.target.potentials, *own)


def no_mass(potential: Potential) -> str:
    """Gives the cause of losses to a potential that says `-inf`."""
    return f"no mass under {potential.describe()}"


def unsatisfied(row: Row) -> str:
    """Gives the cause of a row without an allowed token, which is a potential if nothing else was asked."""
    constraints = [judge.constraint for judge in row.judges.all() if judge is not None]
    parts = [part for constraint in constraints if constraint is not None for part in constraint.parts()]
    supports = [part for part in parts if isinstance(part, Support)]
    if not supports or len(supports) < len(parts):
        return UNSATISFIABLE
    return no_mass(supports[0].potential)


@dataclass(frozen=True)
class Weighed:
    """What the potentials have said after a token.

    Attributes:
        log_increments: By what weights are multiplied, in nats.
        log_twists: What of it the end of the strings will take back.
        lost: Row -> cause.
    """

    log_increments: np.ndarray
    log_twists: np.ndarray
    lost: dict[int, str] = field(default_factory=dict)


class SitePotentials:
    """Weighs the rows of a site after each token.

    With `t` a row's text so far, its weight holds the factor `exp(prefix(t))` while it grows, and
    `exp(complete(t))` once it has ended: each step multiplies by the ratio of the new factor and the old one.
    """

    def __init__(self, batch: Batch, rows: Sequence[Row | None]):
        self._batch = batch
        self._log_twists = np.zeros(len(rows))
        self._is_open = np.array([row is not None and bool(potentials_of(row)) for row in rows], bool)
        self._readers: dict[tuple[LanguageModel, int], ExpertReader] = {}
        somebody = next((row for row in rows if row is not None), None)
        self._shown = () if somebody is None else potentials_of(somebody)

    def describe(self) -> str:
        """Says what rows are weighed by, to stand behind how their tokens are proposed."""
        return "".join(f", weighed by {potential.describe()}" for potential in self._shown)

    def reorder(self, ancestors: np.ndarray) -> None:
        """Makes row `i` a copy of row `ancestors[i]`."""
        self._log_twists = self._log_twists[ancestors]
        self._is_open = self._is_open[ancestors]
        for reader in self._readers.values():
            reader.reorder(ancestors)

    def weigh(self, rows: Sequence[Row | None]) -> Weighed:
        """Asks about what the rows have become. Rows that have ended are asked about once."""
        log_twists = np.zeros(len(rows))
        totals = np.zeros(len(rows))
        lost: dict[int, str] = {}
        if self._is_open.any():
            started = time.perf_counter()
            asked = self._questions(rows)
            with one_alarm():
                answers = self._answers(asked)
            for question, answer in zip(asked, answers, strict=True):
                if isinstance(answer, CheckTimedOut):
                    lost.setdefault(question.row, TIMED_OUT)
                elif answer == -np.inf:
                    lost.setdefault(question.row, no_mass(question.potential))
                else:
                    (log_twists if question.role == "prefix" else totals)[question.row] += answer
            self._batch.counters.check_seconds += time.perf_counter() - started
        totals += log_twists
        for index in lost:
            totals[index] = log_twists[index] = 0.0
            self._is_open[index] = False
        before, self._log_twists = self._log_twists, log_twists
        return Weighed(totals - before, log_twists - before, lost)

    def _questions(self, rows: Sequence[Row | None]) -> list[Question]:
        """Gives what to ask about rows that grow, and about rows that have just ended."""
        asked: list[Question] = []
        for index in np.flatnonzero(self._is_open).tolist():
            row = rows[index]
            assert row is not None
            if row.active:
                asked += [Question(index, one, "prefix", row.settled) for one in potentials_of(row)]
                continue
            self._is_open[index] = False
            value = None if row.lost else row.value()
            if value is not None:  # else the row is lost anyway
                asked += [Question(index, one, "complete", value.encode()) for one in row.target.potentials]
        return asked

    def _answers(self, asked: list[Question]) -> list[Answer]:
        """Asks experts by what their caches hold, and all else directly."""
        answers: list[Answer] = [-np.inf] * len(asked)
        by_reader: dict[tuple[LanguageModel, int], dict[int, int]] = defaultdict(dict)
        direct: dict[Role, list[int]] = {"prefix": [], "complete": []}
        for place, question in enumerate(asked):
            expert = question.potential
            if not isinstance(expert, Expert) or not _is_read_here(expert, question.role):
                direct[question.role].append(place)
                continue
            number = 0
            while question.row in by_reader[expert.text.lm, number]:
                number += 1
            by_reader[expert.text.lm, number][question.row] = place
        for role, places in direct.items():
            said = log_weights(role, [(asked[place].potential, asked[place].data) for place in places])
            for place, answer in zip(places, said, strict=True):
                answers[place] = answer
        for (lm, number), places in by_reader.items():
            for place, answer in self._read(lm, number, [(place, asked[place]) for place in places.values()]):
                answers[place] = answer
        return answers

    def _read(
        self, lm: LanguageModel, number: int, asked: list[tuple[int, Question]]
    ) -> list[tuple[int, float]]:
        """Lets the rows' experts of one model read on; gives the answers that are above `-inf`, by place."""
        reader = self._readers.get((lm, number))
        if reader is None:
            batch = self._batch
            reader = ExpertReader(lm, len(self._log_twists), batch.contexts, batch.counters)
            self._readers[lm, number] = reader
        lines: dict[int, Line] = {}
        possible: list[tuple[int, Question, Expert]] = []
        for place, question in asked:
            expert, is_whole = question.potential, question.role == "complete"
            assert isinstance(expert, Expert)
            if is_whole:
                tokens = canonical_tokens(expert.text, question.data.decode())
            else:
                tokens = expert.tokens_of(question.data)
            if tokens is not None:
                lines[question.row] = Line(expert.text, tokens, is_whole)
                possible.append((place, question, expert))
        scores = reader.log_probs(lines)
        return [
            (place, expert.log_weight(question.role, scores[question.row]))
            for place, question, expert in possible
        ]


def _is_read_here(expert: Expert, role: Role) -> bool:
    """Whether the reader can say it: models on several devices, and some ends, it cannot."""
    text = expert.text
    if text.lm.mesh is not None:
        return False
    return role == "prefix" or (has_simple_end(text) and not text.local_limit and not text.potentials)
