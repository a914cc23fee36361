"""Every string of a text distribution and its mass, by walking all token paths."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from lmppl.acceptance import Acceptor, Cursor, acceptor
from lmppl.constraints.combined.combinators import both
from lmppl.constraints.functions.remembered_answers import CheckTimedOut
from lmppl.errors import CheckError, InvalidInputError
from lmppl.potentials.evaluation import complete_log_weights
from lmppl.scoring import next_log_probs
from lmppl.text import Text

_ROWS_AT_A_TIME = 4096


@dataclass(frozen=True)
class _Node:
    """A token path that has not ended."""

    tokens: tuple[int, ...]
    data: bytes
    log_prob: float
    cursors: tuple[Cursor, ...]


def text_support(text: Text, where: str, max_paths: int) -> dict[str, float]:
    """Gives every string that has mass, with the log of it; token paths of one string are pooled.

    A token path is not followed where a potential supports no completion of it.

    Args:
        text: The distribution.
        where: Named in errors.
        max_paths: Gives up above this many token paths.

    Raises:
        InvalidInputError: There are too many strings, or no end of them.
    """
    conditions = text.conditions
    constraints = (text.local_constraint, reduce(both, conditions) if conditions else None)
    judges = tuple(acceptor(text.lm.vocabulary, constraint, text.stop_bytes) for constraint in constraints)
    frontier = [_Node((), b"", 0.0, tuple(judge.initial for judge in judges))]
    masses: dict[str, float] = {}
    num_paths = 0
    try:
        while frontier:
            longer: list[_Node] = []
            for at in range(0, len(frontier), _ROWS_AT_A_TIME):
                chunk = frontier[at : at + _ROWS_AT_A_TIME]
                paths = [(text.prompt_tokens, node.tokens, text.temperature) for node in chunk]
                rows = next_log_probs(text.lm, paths)
                for node, row in zip(chunk, rows, strict=True):
                    longer.extend(_children(text, judges, node, row, masses))
                if num_paths + len(longer) + len(masses) > max_paths:
                    raise InvalidInputError(_too_many(text, where, max_paths))
            num_paths += len(longer)
            frontier = longer
    except CheckTimedOut as timeout:
        raise CheckError(
            f"The check {timeout.name!r} at {where} took too long; Enumerate cannot be exact without it."
        ) from timeout
    return _weighed(text, masses)


def _weighed(text: Text, masses: dict[str, float]) -> dict[str, float]:
    """Multiplies the mass of each string by what the potentials say of it."""
    if not text.potentials:
        return masses
    asked = [(potential, value.encode()) for value in masses for potential in text.potentials]
    log_weights = np.reshape(complete_log_weights(asked), (len(masses), len(text.potentials))).sum(axis=1)
    weighed = zip(masses.items(), log_weights.tolist(), strict=True)
    return {value: mass + weight for (value, mass), weight in weighed if weight > -np.inf}


def _children(
    text: Text, judges: tuple[Acceptor, ...], node: _Node, row: np.ndarray, masses: dict[str, float]
) -> list[_Node]:
    """Extends a path by every token that has mass; adds the strings that end here to `masses`."""
    at_limit = text.max_tokens is not None and len(node.tokens) >= text.max_tokens
    masks = [
        judge.end_mask(cursor) if at_limit else judge.mask(cursor)
        for judge, cursor in zip(judges, node.cursors, strict=True)
    ]
    log_normaliser = np.logaddexp.reduce(row[masks[0]]) if text.local_limit and masks[0].any() else 0.0
    longer = []
    for token in np.flatnonzero(masks[0] & masks[1] & (row > -np.inf)).tolist():
        cursors = tuple(
            judge.taken(cursor, token) for judge, cursor in zip(judges, node.cursors, strict=True)
        )
        log_prob = node.log_prob + float(row[token] - log_normaliser)
        data = node.data + text.lm.vocabulary.token_bytes[token]
        if cursors[0].ended:
            _add(text, data, log_prob, masses)
        else:
            longer.append(_Node((*node.tokens, token), data, log_prob, cursors))
    return longer


def _add(text: Text, data: bytes, log_prob: float, masses: dict[str, float]) -> None:
    at = -1 if text.stop_bytes is None else data.find(text.stop_bytes)
    try:
        value = (data if at < 0 else data[:at]).decode()
    except UnicodeDecodeError:  # no string, so no mass: samplers lose such particles as undecodable
        return
    masses[value] = float(np.logaddexp(masses.get(value, -np.inf), log_prob))


def _too_many(text: Text, where: str, max_paths: int) -> str:
    advice = "Set max_tokens=, which is not set," if text.max_tokens is None else "Lower max_tokens"
    return (
        f"Enumerate has found more than {max_paths:,} token paths of {text!r} at {where}. {advice} or add a "
        "constraint with few strings, such as lp.choices; or use lp.SMC."
    )
