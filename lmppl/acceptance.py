"""Which tokens may come next, and which end a string: EOS, stop strings and constraints in one place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from lmppl.constraints.protocol import Constraint
from lmppl.constraints.vocabulary_mask import index_of
from lmppl.language_model import Vocabulary


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a string stands.

    Attributes:
        state: The constraint's state over the bytes that are settled; None without a constraint.
        held: The longest tail that is a proper prefix of the stop string. It may yet turn out to be
            text, so the constraint has not been given it.
        ended: True once EOS or the stop string has come.
    """

    state: Any
    held: bytes
    ended: bool = False


class Acceptor:
    """Judges the tokens of a string that obeys one constraint and ends by EOS or a stop string.

    The string's text is what stands before the first occurrence of the stop. A token may contain the
    stop in its middle, and the stop may be spread over several tokens.
    """

    def __init__(self, vocabulary: Vocabulary, constraint: Constraint | None, stop: bytes | None):
        self.vocabulary = vocabulary
        self.constraint = constraint
        self.stop = stop
        self.initial = Cursor(None if constraint is None else constraint.initial(), b"")
        self._eos = np.array(sorted(vocabulary.eos_ids), int)
        self._token_bytes = vocabulary.token_bytes  # `b""` for ends
        self._masks: dict[Cursor, np.ndarray] = {}
        self._end_masks: dict[Cursor, np.ndarray] = {}

    def allows(self, cursor: Cursor, token: int) -> bool:
        """Says whether `step` gives a cursor, for less."""
        if self.stop is None and (data := self._token_bytes[token]):
            return self.constraint is None or self.constraint.advance(cursor.state, data) is not None
        return self.step(cursor, token) is not None

    def step(self, cursor: Cursor, token: int) -> Cursor | None:
        """Gives the cursor after a token, or None if the token is not allowed."""
        if token in self.vocabulary.eos_ids:
            return Cursor(cursor.state, cursor.held, ended=True) if self.may_end(cursor) else None
        data = self.vocabulary.token_bytes[token]
        return self.extend(cursor, data) if data else None

    def extend(self, cursor: Cursor, data: bytes) -> Cursor | None:
        """Gives the cursor after some bytes, or None if they are not allowed."""
        if self.stop is None:
            state = self._advance(cursor.state, data)
            return None if state is _DEAD else Cursor(state, b"")
        window = cursor.held + data
        at = window.find(self.stop)
        if at >= 0:
            state = self._advance(cursor.state, window[:at])
            return Cursor(state, b"", ended=True) if state is not _DEAD and self._accepts(state) else None
        border = _border(window, self.stop)
        state = self._advance(cursor.state, window[: len(window) - border])
        held = window[len(window) - border :]
        if state is _DEAD or (held and not self._viable(state, held)):
            return None
        return Cursor(state, held)

    def may_end(self, cursor: Cursor) -> bool:
        """Says whether EOS is allowed here."""
        state = self._advance(cursor.state, cursor.held)
        return state is not _DEAD and self._accepts(state)

    def mask(self, cursor: Cursor) -> np.ndarray:
        """Gives `Bool[vocab]`: True for the tokens for which `step` gives a cursor. Cached."""
        mask = self._masks.get(cursor)
        if mask is None:
            mask = _remember(self._masks, cursor, self._mask(cursor))
        return mask

    def end_mask(self, cursor: Cursor) -> np.ndarray:
        """Gives `Bool[vocab]`: True for the allowed tokens that end the string. Cached."""
        mask = self._end_masks.get(cursor)
        if mask is None:
            mask = np.zeros(len(self.vocabulary), bool)
            for token in self._touching(cursor.held):
                after = self.step(cursor, int(token))
                mask[token] = after is not None and after.ended
            mask[self._eos] = self.may_end(cursor)
            _remember(self._end_masks, cursor, mask)
        return mask

    def _mask(self, cursor: Cursor) -> np.ndarray:
        state = self._advance(cursor.state, cursor.held)
        if state is _DEAD:
            mask = np.zeros(len(self.vocabulary), bool)
        elif self.constraint is None:
            mask = np.array(self.vocabulary.possible)
        else:
            mask = np.array(index_of(self.vocabulary).mask(self.constraint, state))
        for token in self._touching(cursor.held):
            mask[token] = self.step(cursor, int(token)) is not None
        mask[self._eos] = self.may_end(cursor)
        return mask

    def _touching(self, held: bytes) -> np.ndarray:
        """The tokens that meet the stop string after `held`: for all others, bytes are just text."""
        if self.stop is None:
            return np.zeros(0, int)
        return _tokens_that_meet(self.vocabulary, self.stop, held)

    def _viable(self, state: Any, held: bytes) -> bool:
        """Either the held bytes are text, or some tail of them begins the stop."""
        assert self.stop is not None
        if self._advance(state, held) is not _DEAD:
            return True
        for at in range(len(held)):
            if self.stop.startswith(held[at:]):
                before = self._advance(state, held[:at])
                if before is not _DEAD and self._accepts(before):
                    return True
        return False

    def _advance(self, state: Any, data: bytes) -> Any:
        if self.constraint is None or not data:
            return state
        after = self.constraint.advance(state, data)
        return _DEAD if after is None else after

    def _accepts(self, state: Any) -> bool:
        return self.constraint is None or self.constraint.accepts(state)


@lru_cache(maxsize=128)
def acceptor(vocabulary: Vocabulary, constraint: Constraint | None, stop: bytes | None) -> Acceptor:
    """Gives the acceptor of a vocabulary, constraint and stop, shared by equal constraints."""
    return Acceptor(vocabulary, constraint, stop)


_DEAD = object()
_MAX_MASK_BYTES = 64 * 2**20


def _remember(cache: dict[Cursor, np.ndarray], cursor: Cursor, mask: np.ndarray) -> np.ndarray:
    if len(cache) * len(mask) > _MAX_MASK_BYTES:
        cache.clear()
    cache[cursor] = mask
    return mask


@lru_cache(maxsize=256)
def _tokens_that_meet(vocabulary: Vocabulary, stop: bytes, held: bytes) -> np.ndarray:
    remainders = [stop[len(held) - at :] for at in range(len(held)) if stop.startswith(held[at:])]
    tokens = []
    for token, data in enumerate(vocabulary.token_bytes):
        if not data:
            continue
        crosses = any(data.startswith(rest) or rest.startswith(data) for rest in remainders)
        if crosses or stop in data or _border(data, stop):
            tokens.append(token)
    return np.array(tokens, int)


def _border(data: bytes, stop: bytes) -> int:
    """Length of the longest tail of `data` that is a proper prefix of `stop`."""
    for length in range(min(len(data), len(stop) - 1), 0, -1):
        if data.endswith(stop[:length]):
            return length
    return 0
