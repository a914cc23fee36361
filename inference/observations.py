"""Log-probabilities of observed data, those of one kind in one call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lmppl import distributions
from lmppl.errors import InvalidInputError
from lmppl.scoring import text_log_probs
from lmppl.sites import Observe, Statement
from lmppl.text import Text


def observed_log_probs(statements: Sequence[Observe]) -> np.ndarray:
    """Scores what was observed: `Float64[n]`, nats, scaled.

    Raises:
        InvalidInputError: A log-probability is NaN or infinitely large.
    """
    scores = np.zeros(len(statements))
    for is_text, score in ((True, text_log_probs), (False, distributions.log_probs)):
        rows = [i for i, s in enumerate(statements) if isinstance(s.distribution, Text) is is_text]
        if rows:
            wanted = [statements[i] for i in rows]
            scores[rows] = score([s.distribution for s in wanted], [s.value for s in wanted])
    scores *= [statement.scale for statement in statements]
    for statement, log_prob in zip(statements, scores, strict=True):
        check_log_prob(statement, log_prob)
    return scores


def check_log_prob(statement: Statement, log_prob: float) -> None:
    """Raises unless a log-probability lies in `[-inf, inf)`."""
    if np.isnan(log_prob) or log_prob == np.inf:
        raise InvalidInputError(
            f"The log-probability at site {statement.name!r} ({statement.location}) is {log_prob}. Look for "
            "parameters or a value outside of the distribution's domain."
        )
