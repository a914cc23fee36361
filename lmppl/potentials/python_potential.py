"""`lp.potential`: Python functions of the text as a potential, remembered by text and timed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lmppl.constraints.functions.check_calls import AnswerKind
from lmppl.constraints.functions.remembered_answers import Answers, CheckTimedOut, require_askable
from lmppl.constraints.protocol import Constraint
from lmppl.constraints.utf8_decoding import decodable_head
from lmppl.errors import InvalidInputError, InvalidTypeError
from lmppl.potentials.log_values import ADVICE, WANTED, log_weight_or_none
from lmppl.potentials.protocol import Potential
from lmppl.potentials.support import Support


def potential(
    name: str,
    prefix: Callable[[Any], Any] | None = None,
    complete: Callable[[Any], Any] | None = None,
    batch: bool = False,
    timeout: float | None = 5.0,
    hard: bool | None = None,
) -> Potential:
    """Gives Python functions of a text as a potential: a soft reward, a classifier's or a critic's score.

    The functions are given the text so far and return nats in `[-inf, inf)`. They must be pure:
    answers are remembered by text, as those of `lp.check` are.

    Args:
        name: Says in results and errors what was scored.
        prefix: The forecast of what `complete` will say. It steers and is divided out again, so it
            may be rough. Once `-inf` it must stay `-inf` for every longer text. It sees whole characters
            only. Without it, 0.0.
        complete: The log-weight of the finished text. Without it, `prefix` of the whole text. Where `prefix`
            says `-inf`, the text has no mass, whatever `complete` says.
        batch: The functions take a list of texts and return as many numbers: they are called once for
            all particles that reach a token.
        timeout: Seconds for one call. A call that takes longer is lost mass (`check timed out`). None
            waits for ever.
        hard: Whether the functions are asked about each token before it is drawn, as a check is, so that
            one for which they say `-inf` is not drawn. That takes some calls a token and particle instead
            of one. Otherwise a particle that comes to `-inf` is lost. By default True unless `batch`.

    Raises:
        InvalidInputError: Neither function was given, or the name or timeout cannot be used.
        InvalidTypeError: A function is none, or an option is not True or False.
    """
    given = (("prefix", prefix), ("complete", complete))
    functions = {role: function for role, function in given if function is not None}
    require_askable(name, functions, timeout, batch=batch, noun="potential")
    if not functions:
        raise InvalidInputError(
            f"The potential {name!r} weighs nothing. Give `prefix=`, `complete=`, or both."
        )
    if hard is not None and not isinstance(hard, bool):
        raise InvalidTypeError(f"`hard=` of the potential {name!r} is {hard!r}; give True or False.")
    answers = Answers(name, functions, timeout, batch=batch, kind=_LOG_WEIGHTS)
    return (BatchPotential if batch else PythonPotential)(answers, not batch if hard is None else hard)


_LOG_WEIGHTS = AnswerKind("potential", WANTED, ADVICE, log_weight_or_none)


@dataclass(frozen=True, repr=False)
class PythonPotential(Potential):
    """Log-weights by Python. Made by `potential`.

    Two are equal when name, timeout and functions are the same by value, as checks are.

    Attributes:
        answers: Of `prefix=` and `complete=`.
        hard: Whether candidates are asked about.
    """

    answers: Answers
    hard: bool

    def prefix(self, data: bytes) -> float:
        """Gives what `prefix` says of the whole characters of `data`; `-inf` if they can be no UTF-8."""
        text = decodable_head(data)
        if text is None:
            return -math.inf
        return self.answers.ask("prefix", text) if "prefix" in self.answers.functions else 0.0

    def complete(self, data: bytes) -> float:
        """Gives what `complete` says, or `prefix` in its place; `-inf` for what is no UTF-8."""
        text = _whole_text(data)
        if text is None:
            return -math.inf
        forecast = self.prefix(data)
        if forecast == -math.inf or "complete" not in self.answers.functions:
            return forecast
        return self.answers.ask("complete", text)

    def describe(self) -> str:
        """Gives the name."""
        return f"potential({self.answers.name!r})"

    def support(self) -> Constraint | None:
        """Gives what is above `-inf`, if candidates are to be asked about."""
        return Support(self) if self.hard else None


@dataclass(frozen=True, repr=False)
class BatchPotential(Potential):
    """Log-weights by Python, many at once. Made by `potential(batch=True)`.

    Attributes:
        answers: Of `prefix=` and `complete=`, which take lists of texts.
        hard: Whether candidates are asked about.
    """

    answers: Answers
    hard: bool

    def prefix(self, data: bytes) -> float:
        """Gives what `prefix` says of a list of one."""
        return _in_time(self.prefix_batch([data])[0])

    def complete(self, data: bytes) -> float:
        """Gives what `complete`, or `prefix` in its place, says of a list of one."""
        return _in_time(self.complete_batch([data])[0])

    def prefix_batch(self, data: Sequence[bytes]) -> list[float | CheckTimedOut]:
        """Gives what `prefix` says of the whole characters of each; `-inf` for what can be no UTF-8."""
        texts = [decodable_head(one) for one in data]
        if "prefix" not in self.answers.functions:
            return [-math.inf if text is None else 0.0 for text in texts]
        return self._asked("prefix", texts)

    def complete_batch(self, data: Sequence[bytes]) -> list[float | CheckTimedOut]:
        """Gives what `complete` says of each, or `prefix` in its place; `-inf` for what is no UTF-8."""
        texts = [_whole_text(one) for one in data]
        if "prefix" not in self.answers.functions:
            return self._asked("complete", texts)
        forecasts = self._asked("prefix", texts)
        if "complete" not in self.answers.functions:
            return forecasts
        is_open = [isinstance(forecast, float) and forecast > -math.inf for forecast in forecasts]
        said = self._asked(
            "complete", [text if open_ else None for text, open_ in zip(texts, is_open, strict=True)]
        )
        return [last if open_ else first for first, last, open_ in zip(forecasts, said, is_open, strict=True)]

    def describe(self) -> str:
        """Gives the name."""
        return f"potential({self.answers.name!r})"

    def support(self) -> Constraint | None:
        """Gives what is above `-inf`, if candidates are to be asked about."""
        return Support(self) if self.hard else None

    def _asked(self, role: str, texts: Sequence[str | None]) -> list[float | CheckTimedOut]:
        """Asks about texts, each once; None has no mass."""
        distinct = list(dict.fromkeys(text for text in texts if text is not None))
        values = dict(zip(distinct, self.answers.ask_all(role, distinct), strict=True))
        found = (-math.inf if text is None else values[text] for text in texts)
        return [
            self.answers.timed_out(text) if value is None else value
            for text, value in zip(texts, found, strict=True)
        ]


def _in_time(answer: float | CheckTimedOut) -> float:
    if isinstance(answer, CheckTimedOut):
        raise answer
    return answer


def _whole_text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
