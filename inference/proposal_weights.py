"""What a text proposal owes its target: the ratio by which a string drawn from it is weighed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lmppl.scoring import path_log_probs, string_log_probs
from lmppl.text import Text


def proposal_corrections(drawn: Sequence[tuple[Text, Text, tuple[int, ...], str]]) -> np.ndarray:
    """Gives `log target - log proposal` of strings that were drawn from a proposal, but for potentials.

    Where both read the same vocabulary this is a ratio of token paths. Otherwise it is a ratio of
    strings, and only the proposal's canonical tokens of a string count: it would else be drawn
    by several paths and be weighed by its whole probability each time.

    Args:
        drawn: Target, proposal, the proposal's token path, the string.
    """
    owed = np.zeros(len(drawn))
    paths = [i for i, (target, source, _, _) in enumerate(drawn) if _same_paths(target, source)]
    if paths:
        tokens = [drawn[i][2] for i in paths]
        owed[paths] = path_log_probs([drawn[i][0] for i in paths], tokens)
        owed[paths] -= path_log_probs([drawn[i][1] for i in paths], tokens)
    strings = [i for i, (target, source, _, _) in enumerate(drawn) if not _same_paths(target, source)]
    if strings:
        values = [drawn[i][3] for i in strings]
        owed[strings] = string_log_probs([drawn[i][0] for i in strings], values)
        owed[strings] -= _finite(string_log_probs([drawn[i][1] for i in strings], values))
    for i in strings:
        _, source, tokens_of_path, value = drawn[i]
        canonical = source.lm.encode(value)
        if tokens_of_path[: len(canonical)] != canonical:
            owed[i] = -np.inf
    return owed


def _same_paths(target: Text, source: Text) -> bool:
    return target.lm.vocabulary is source.lm.vocabulary and target.stop == source.stop


def _finite(log_probs: np.ndarray) -> np.ndarray:
    """A path that is not canonical may lie outside of what its own string scores; it is lost anyway."""
    return np.where(np.isfinite(log_probs), log_probs, 0.0)
