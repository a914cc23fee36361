"""Which tokens of a vocabulary keep a constraint viable."""

from __future__ import annotations

from collections import OrderedDict
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Bool, Int, UInt8

from lmppl.constraints.automaton import ByteAutomaton
from lmppl.constraints.byte_steps import ByteSteps, Standing, byte_steps
from lmppl.constraints.protocol import Constraint, State
from lmppl.constraints.token_classes import TokenClasses, token_classes
from lmppl.constraints.transition_tables import DEAD
from lmppl.constraints.vocabulary_trie import VocabularyTrie
from lmppl.language_model import Vocabulary

MAX_CACHED_BYTES = 64 * 2**20  # packed masks: 4,000 at a vocabulary of 128k; and as much for token classes
MAX_COUNTED = 1_024  # automata whose classes are not made yet

# Measured: to sort the tokens into classes takes as long as four masks without classes, or as the checks of 64
# candidates at one place for each 128 tokens of the vocabulary. So it is done when as much has been spent.
_MASKS_TO_PAY = 4
_TOKENS_A_PLACE = 128


class VocabularyIndex:
    """The byte strings of a vocabulary, laid out to be walked through a constraint together.

    For an automaton, tokens are sorted into classes once that pays, for all of its states (`token_classes`).
    Otherwise the vocabulary's prefix tree is walked from the one state. Any other constraint is asked once for
    each distinct pair of a state and a byte, which is at most once for each node of the tree, and far less
    where states repeat.
    """

    def __init__(self, vocabulary: Vocabulary):
        self._trie = VocabularyTrie(vocabulary)
        self._size = len(vocabulary)
        self._cache: OrderedDict[tuple[Constraint, State], np.ndarray] = OrderedDict()
        self._max_cached = max(16, 8 * MAX_CACHED_BYTES // max(1, self._size))
        self._classes: OrderedDict[ByteAutomaton, TokenClasses | None] = OrderedDict()
        self._spent: OrderedDict[ByteAutomaton, float] = OrderedDict()

    def mask(self, constraint: Constraint, state: State) -> Bool[np.ndarray, " vocab"]:
        """Gives True for the ids whose bytes `advance` takes from a state. Read-only.

        Ids without bytes give False, and so do those that end a string: ends are the engine's business.
        Remembered by constraint and state, up to 64 MB, if it is not made of token classes.

        Raises:
            CheckError: A check raised.
            CheckTimedOut: A check did not return in time on some token.
        """
        key = (constraint, state)
        packed = self._cache.get(key)
        if packed is not None:
            self._cache.move_to_end(key)
            mask = np.unpackbits(packed, count=self._size).view(bool)
        else:
            machine = constraint.automaton()
            classes = None if machine is None else self.classes(machine, 1 / _MASKS_TO_PAY)
            if classes is not None:
                return classes.mask(_number(state))
            mask = self._walked(constraint, state)
            self._cache[key] = np.packbits(mask)
            if len(self._cache) > self._max_cached:
                self._cache.popitem(last=False)
        mask.setflags(write=False)
        return mask

    def classes_if_they_pay(self, machine: ByteAutomaton) -> TokenClasses | None:
        """Gives the classes of the tokens under an automaton for the checks at one more place.

        None as long as they would take longer than all checks did so far, and where they take too much.
        """
        return self.classes(machine, _TOKENS_A_PLACE / max(1, self._size))

    def classes(self, machine: ByteAutomaton, share: float = 1.0) -> TokenClasses | None:
        """Gives the classes of the tokens under an automaton, if they are made or there is reason to.

        Args:
            machine: The automaton.
            share: What this reason is; several add up, and 1 is enough.
        """
        if machine in self._classes:
            self._classes.move_to_end(machine)
            return self._classes[machine]
        spent = self._spent.pop(machine, 0.0) + share
        if spent < 1.0:
            self._spent[machine] = spent
            if len(self._spent) > MAX_COUNTED:
                self._spent.popitem(last=False)
            return None
        made = self._classes[machine] = token_classes(machine, self._trie)
        while len(self._classes) > 1 and self._num_class_bytes > MAX_CACHED_BYTES:
            self._classes.popitem(last=False)
        return made

    @property
    def _num_class_bytes(self) -> int:
        return sum(2**10 if each is None else each.num_bytes for each in self._classes.values())

    def _walked(self, constraint: Constraint, state: State) -> Bool[np.ndarray, " vocab"]:
        machine = constraint.automaton()
        if machine is not None:
            walked = self._trie.walk(_number(state), lambda states, data: machine.transitions[states, data])
        else:
            steps = byte_steps(constraint) if constraint.revisits_states else ByteSteps(constraint)
            walked = self._trie.walk(0, _Numbered(steps, steps.standing(state)).walk)
        return walked != DEAD


class _Numbered:
    """A constraint's states as numbers in the order in which they are met, from one state on."""

    def __init__(self, steps: ByteSteps, start: Standing):
        self._steps = steps
        self._standings = [start]
        self._numbers = {start: 0}

    def walk(
        self, states: Int[np.ndarray, " nodes"], data: UInt8[np.ndarray, " nodes"]
    ) -> Int[np.ndarray, " nodes"]:
        """Moves many states by one byte each, asking about each distinct pair once."""
        asked = 256 * states + data
        num_pairs = 256 * len(self._standings)
        if num_pairs > 4 * len(asked):  # a table of all pairs would cost more than sorting
            pairs, which = np.unique(asked, return_inverse=True)
            return self._targets(pairs)[which]
        met = np.zeros(num_pairs, bool)
        met[asked] = True
        pairs = np.flatnonzero(met)
        table = np.full(num_pairs, DEAD, np.int32)
        table[pairs] = self._targets(pairs)
        return table[asked]

    def _targets(self, pairs: Int[np.ndarray, " pairs"]) -> Int[np.ndarray, " pairs"]:
        return np.array([self._step(pair >> 8, pair & 255) for pair in pairs.tolist()], np.int32)

    def _step(self, number: int, byte: int) -> int:
        after = self._steps.step(self._standings[number], byte)
        if after is None:
            return DEAD
        known = self._numbers.setdefault(after, len(self._standings))
        if known == len(self._standings):
            self._standings.append(after)
        return known


def _number(state: State) -> int:
    assert isinstance(state, int | np.integer)
    return int(state)


_indices: WeakKeyDictionary[Vocabulary, VocabularyIndex] = WeakKeyDictionary()


def index_of(vocabulary: Vocabulary) -> VocabularyIndex:
    """Gives the index of a vocabulary, built once for as long as the vocabulary lives."""
    if vocabulary not in _indices:
        _indices[vocabulary] = VocabularyIndex(vocabulary)
    return _indices[vocabulary]
