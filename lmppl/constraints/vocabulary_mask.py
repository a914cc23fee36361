"""Which tokens of a vocabulary keep a constraint viable."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Bool, Int, UInt8

from lmppl.constraints.protocol import Constraint, State
from lmppl.constraints.transition_tables import DEAD
from lmppl.language_model import Vocabulary

MAX_CACHED_BYTES = 64 * 2**20  # packed masks: 4,000 at a vocabulary of 128k

Step = Callable[[Int[np.ndarray, " rows"], UInt8[np.ndarray, " rows"]], Int[np.ndarray, " rows"]]


class VocabularyIndex:
    """The byte strings of a vocabulary, laid out to be walked through a constraint together.

    Tokens are sorted by length, so that those with a byte at position `j` are a tail of the order;
    at each position only tokens that are still viable move on. An automaton moves all of them by one
    look-up. Any other constraint is asked once for each distinct pair of a state and a byte, which is
    at most once for each node of the vocabulary's prefix tree, and far less where states repeat.
    """

    def __init__(self, vocabulary: Vocabulary):
        lengths = np.array([len(data) for data in vocabulary.token_bytes], np.int64)
        self._order = np.argsort(lengths, kind="stable")
        self._lengths = lengths[self._order]
        self._offsets = np.cumsum(self._lengths) - self._lengths
        joined = b"".join(vocabulary.token_bytes[i] for i in self._order.tolist())
        self._bytes = np.frombuffer(joined, np.uint8)
        self._size = len(vocabulary)
        self._cache: OrderedDict[tuple[Constraint, State], np.ndarray] = OrderedDict()
        self._max_cached = max(16, 8 * MAX_CACHED_BYTES // max(1, self._size))

    def mask(self, constraint: Constraint, state: State) -> Bool[np.ndarray, " vocab"]:
        """Gives True for the ids whose bytes `advance` takes from a state. Read-only.

        Ids without bytes give False: ends are the engine's business. Remembered by constraint and
        state, up to 64 MB.

        Raises:
            CheckError: A check raised.
            CheckTimedOut: A check did not return in time on some token.
        """
        key = (constraint, state)
        packed = self._cache.get(key)
        if packed is None:
            packed = np.packbits(self._walked(constraint, state))
            self._cache[key] = packed
            if len(self._cache) > self._max_cached:
                self._cache.popitem(last=False)
        self._cache.move_to_end(key)
        mask = np.unpackbits(packed, count=self._size).view(bool)
        mask.setflags(write=False)
        return mask

    def _walked(self, constraint: Constraint, state: State) -> Bool[np.ndarray, " vocab"]:
        machine = constraint.automaton()
        if machine is not None:
            assert isinstance(state, int | np.integer)
            return self._viable(int(state), lambda states, data: machine.transitions[states, data])
        return self._viable(0, _LazyAutomaton(constraint, state).walk)

    def _viable(self, start: int, step: Step) -> Bool[np.ndarray, " vocab"]:
        mask = np.zeros(self._size, bool)
        rows = np.arange(np.searchsorted(self._lengths, 1), self._size)
        states = np.full(len(rows), start, np.int64)
        position = 0
        while len(rows):
            states = step(states, self._bytes[self._offsets[rows] + position])
            alive = states != DEAD
            rows, states = rows[alive], states[alive]
            position += 1
            finished = np.searchsorted(self._lengths[rows], position, side="right")
            mask[self._order[rows[:finished]]] = True
            rows, states = rows[finished:], states[finished:]
        return mask


class _LazyAutomaton:
    """A constraint's states as numbers in the order in which they are met, from one state on."""

    def __init__(self, constraint: Constraint, start: State):
        self._constraint = constraint
        self._states: list[State] = [start]
        self._numbers: dict[State, int] = {start: 0}

    def walk(
        self, states: Int[np.ndarray, " rows"], data: UInt8[np.ndarray, " rows"]
    ) -> Int[np.ndarray, " rows"]:
        """Moves many states by one byte each, asking about each distinct pair once."""
        asked = 256 * states + data
        num_pairs = 256 * len(self._states)
        if num_pairs > 4 * len(asked):  # a table of all pairs would cost more than sorting
            pairs, which = np.unique(asked, return_inverse=True)
            return self._targets(pairs)[which]
        met = np.zeros(num_pairs, bool)
        met[asked] = True
        pairs = np.flatnonzero(met)
        table = np.full(num_pairs, DEAD, np.int64)
        table[pairs] = self._targets(pairs)
        return table[asked]

    def _targets(self, pairs: Int[np.ndarray, " pairs"]) -> Int[np.ndarray, " pairs"]:
        return np.array([self._advance(pair >> 8, pair & 255) for pair in pairs.tolist()], np.int64)

    def _advance(self, number: int, byte: int) -> int:
        state = self._constraint.advance(self._states[number], bytes((byte,)))
        if state is None:
            return DEAD
        known = self._numbers.setdefault(state, len(self._states))
        if known == len(self._states):
            self._states.append(state)
        return known


_indices: WeakKeyDictionary[Vocabulary, VocabularyIndex] = WeakKeyDictionary()


def index_of(vocabulary: Vocabulary) -> VocabularyIndex:
    """Gives the index of a vocabulary, built once for as long as the vocabulary lives."""
    if vocabulary not in _indices:
        _indices[vocabulary] = VocabularyIndex(vocabulary)
    return _indices[vocabulary]
