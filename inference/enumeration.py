"""The oracle: the exact posterior and evidence of programs whose latents are finite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmppl import distributions
from lmppl.errors import CheckError, InvalidInputError, InvalidTypeError, NoPosterior
from lmppl.handlers import Handler, handling
from lmppl.inference.calls import CallPool
from lmppl.inference.numpyro_presence import NUMPYRO_LOCK, bridge_to
from lmppl.inference.observations import observed_log_probs
from lmppl.inference.replay import Recording
from lmppl.inference.text_enumeration import text_support
from lmppl.methods import Method
from lmppl.posterior import Posterior
from lmppl.progress import Progress
from lmppl.sites import Call, Constrain, Deterministic, Factor, Observe, Sample, Statement
from lmppl.text import Text
from lmppl.traces import Trace


@dataclass(frozen=True, repr=False)
class Enumerate(Method):
    """Exact inference by running the program over every combination of its latents' values.

    Text is enumerated over token paths, those of one string pooled; it needs `max_tokens` or a
    constraint with finitely many strings. `proposal=` and `lp.twist` change nothing here.

    Attributes:
        max_paths: Paths through the program, and values of one site, above which it gives up.
    """

    max_paths: int = 100_000

    def __post_init__(self) -> None:
        if isinstance(self.max_paths, bool) or not isinstance(self.max_paths, int):
            raise InvalidTypeError(f"Enumerate(max_paths=...) expects an int, got {self.max_paths!r}.")
        if self.max_paths < 1:
            raise InvalidInputError(f"Enumerate needs max_paths of at least 1, got {self.max_paths}.")

    def run(self, program: Callable[[], Any], key: Any, progress: Progress) -> Posterior:
        paths, interrupted = _all_paths(program, self.max_paths, progress)
        log_weights = np.array([path.log_weight for path in paths])
        if not (log_weights > -np.inf).any():
            raise NoPosterior(
                f"None of the {len(paths)} paths through the program has mass: its conditions exclude "
                "each other."
            )
        kept = np.flatnonzero(log_weights > -np.inf)
        return Posterior(
            values=[paths[i].answer for i in kept],
            traces=[paths[i].trace for i in kept],
            log_weights=log_weights[kept],
            log_evidence=float(np.logaddexp.reduce(log_weights)),
            log_evidence_error=0.0,
            diagnostics=EnumerationDiagnostics(len(paths), len(kept)),
            method=repr(self),
            partial=interrupted,
            exact=not interrupted,
        )


@dataclass(frozen=True)
class EnumerationDiagnostics:
    """How much was enumerated.

    Attributes:
        num_paths: Paths through the program that were run.
        num_possible: Those with mass.
    """

    num_paths: int
    num_possible: int


@dataclass
class _Path:
    """One finished path."""

    answer: Any
    trace: Trace
    log_weight: float


class _NoMass(BaseException):
    """Leaves a path whose mass is known to be zero; no `except Exception` of the user's stops it."""


def _all_paths(program: Callable[[], Any], max_paths: int, progress: Progress) -> tuple[list[_Path], bool]:
    """Runs the program depth first; observations are scored together at the end.

    Returns:
        The paths, and whether the user interrupted before they were all found.
    """
    unexplored: list[tuple[Any, ...]] = [()]
    supports = _Supports(max_paths)
    calls = CallPool()
    paths: list[_Path] = []
    observed: list[tuple[int, Observe]] = []
    interrupted = False
    try:
        while unexplored:
            handler = _PathHandler(unexplored.pop(), supports, calls)
            answer = handler.run(program)
            unexplored.extend(handler.siblings)
            observed.extend((len(paths), statement) for statement in handler.observations)
            paths.append(_Path(answer, handler.recording.trace(), handler.log_weight))
            if len(paths) + len(unexplored) > max_paths:
                raise InvalidInputError(
                    f"Enumerate has found more than {max_paths:,} paths through the program. Make its "
                    "latents smaller, raise max_paths, or use lp.SMC."
                )
            progress.update(site=f"path {len(paths)}", alive=len(unexplored))
    except KeyboardInterrupt:
        if not paths:
            raise
        interrupted = True
    finally:
        calls.close()
    _score(paths, observed)
    return paths, interrupted


class _PathHandler(Handler):
    """Follows the choices it is given, then takes the first value of every further site."""

    def __init__(self, choices: tuple[Any, ...], supports: _Supports, calls: CallPool):
        self._choices = choices
        self._taken: list[Any] = []
        self._supports = supports
        self._calls = calls
        self.recording = Recording()
        self.siblings: list[tuple[Any, ...]] = []
        self.observations: list[Observe] = []
        self.log_weight = 0.0

    def run(self, program: Callable[[], Any]) -> Any:
        """Runs the program along this path."""
        try:
            with NUMPYRO_LOCK, handling(self), bridge_to(self):
                return program()
        except _NoMass:
            self.log_weight = -np.inf
            return None

    def handle(self, statement: Statement) -> Any:
        if isinstance(statement, Call):
            (outcome,) = self._calls.run([statement])
            if outcome.timed_out:
                raise CheckError(
                    f"lp.cached({statement.name}) at {statement.location} took longer than "
                    f"{statement.timeout} s; Enumerate cannot be exact without its value. Raise the timeout, "
                    "or use lp.SMC."
                )
            return outcome.value
        self.recording.claim(statement)
        value = self._value(statement)
        self.recording.record(statement, value)
        return value

    def _value(self, statement: Statement) -> Any:
        if isinstance(statement, Sample):
            return self._choose(statement)
        if isinstance(statement, Observe):
            self.observations.append(statement)
        elif isinstance(statement, Constrain) and not statement.condition:
            raise _NoMass
        elif isinstance(statement, Factor):
            self.log_weight += statement.log_weight
            if statement.log_weight == -np.inf:
                raise _NoMass
        elif isinstance(statement, Deterministic):
            return statement.value
        return None

    def _choose(self, statement: Sample) -> Any:
        depth = len(self._taken)
        if depth < len(self._choices):
            value, log_prob = self._choices[depth]
        else:
            options = self._supports.of(statement)
            if not options:
                raise _NoMass
            self.siblings.extend((*self._taken, option) for option in options[1:])
            value, log_prob = options[0]
        self._taken.append((value, log_prob))
        self.log_weight += statement.scale * log_prob
        return value


class _Supports:
    """The values of sites and their log-masses; equal text distributions are enumerated once."""

    def __init__(self, max_values: int):
        self._max_values = max_values
        self._texts: dict[Text, list[tuple[Any, float]]] = {}

    def of(self, statement: Sample) -> list[tuple[Any, float]]:
        """Gives the values that have mass."""
        where = f"site {statement.name!r}"
        if not isinstance(statement.distribution, Text):
            values = distributions.support(statement.distribution, where, self._max_values)
            return [(value, log_prob) for value, log_prob in values if log_prob > -np.inf]
        text = statement.distribution
        if text not in self._texts:
            self._texts[text] = list(text_support(text, where, self._max_values).items())
        return self._texts[text]


def _score(paths: list[_Path], observed: list[tuple[int, Observe]]) -> None:
    log_probs = observed_log_probs([statement for _, statement in observed])
    for (path, _), log_prob in zip(observed, log_probs, strict=True):
        paths[path].log_weight += float(log_prob)
