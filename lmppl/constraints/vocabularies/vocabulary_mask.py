"""Which tokens of a vocabulary keep a constraint viable."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container
from functools import cached_property
from typing import cast
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Bool, Int, UInt8

from lmppl.constraints.combined.combinators import Conjunction
from lmppl.constraints.functions.time_limits import one_alarm
from lmppl.constraints.protocol import EVERY_BYTE, OUTSIDE, Constraint, State, has_mask
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.transition_tables import DEAD
from lmppl.constraints.vocabularies.byte_steps import ByteSteps, Standing, steps_of
from lmppl.constraints.vocabularies.token_classes import TokenClasses, classes_of
from lmppl.constraints.vocabularies.vocabulary_pieces import VocabularyPieces, do_repeat
from lmppl.constraints.vocabularies.vocabulary_trie import VocabularyTrie
from lmppl.constraints.vocabularies.wide_states import LEAST_STAYING, num_staying, wide
from lmppl.errors import InvalidInputError
from lmppl.language_model import Vocabulary

MAX_CACHED_BYTES = 64 * 2**20  # packed masks: 4,000 at a vocabulary of 128k; and as much for token classes
MAX_TRIES = 8  # of tokens that hold certain bytes; some 100 KB each
LEAST_FOR_WIDE = 4_096  # tokens
MAX_COUNTED = 1_024  # automata whose classes are not made yet

# Measured: sorting the tokens into classes takes as long as four masks without classes, or as the checks of
# 64 candidates at one place for each 128 tokens of the vocabulary. It is done when as much has been spent.
_MASKS_TO_PAY = 4
_TOKENS_A_PLACE = 128


class VocabularyIndex:
    """The byte strings of a vocabulary, laid out to be walked through a constraint together.

    For an automaton, tokens are sorted into classes once that pays, for all of its states (`token_classes`),
    and before that the vocabulary's prefix tree is walked from the one state. Any other constraint is asked
    for its own `mask`. One that revisits its states is asked once for each distinct pair of a state and a
    byte; of a state that nearly any text stays in, only the tokens that may leave it are walked
    (`wide_states`). What is left, functions of the user above all, is asked about the tokens that all other
    conjuncts allow, in pieces (`vocabulary_pieces`), and in lists if it gains from that.
    """

    def __init__(self, vocabulary: Vocabulary):
        self._trie = VocabularyTrie(vocabulary)
        # Not the same object: an index is kept as long as its vocabulary lives, and no longer.
        self._vocabulary = Vocabulary(vocabulary.token_bytes, vocabulary.eos_ids)
        self._tries: OrderedDict[bytes, VocabularyTrie] = OrderedDict()
        self._size = len(vocabulary)
        self._has_text = np.array([bool(data) for data in vocabulary.texts], bool)
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
            mask = self._said(constraint, state)
            if mask is None:
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
        made = self._classes[machine] = classes_of(machine, self._trie)
        while len(self._classes) > 1 and self._num_class_bytes > MAX_CACHED_BYTES:
            self._classes.popitem(last=False)
        return made

    @cached_property
    def _first_bytes(self) -> list[int]:
        return sorted({data[0] for data in self._vocabulary.texts if data})

    @cached_property
    def _sorted(self) -> Int[np.ndarray, " texts"]:
        """The ids that have a text, in the order of their texts."""
        texts = self._vocabulary.texts
        return np.array(sorted(np.flatnonzero(self._has_text).tolist(), key=texts.__getitem__), np.int64)

    @cached_property
    def _all_pieces(self) -> VocabularyPieces:
        return VocabularyPieces(self._vocabulary.texts, self._sorted.tolist())

    @property
    def _num_class_bytes(self) -> int:
        return sum(2**10 if each is None else each.num_bytes for each in self._classes.values())

    def _said(self, constraint: Constraint, state: State) -> Bool[np.ndarray, " vocab"] | None:
        """Gives the constraint's own mask, or those of all conjuncts in one; None if some has none."""
        if isinstance(constraint, Conjunction) and len(constraint.factors) > 1:
            if not all(has_mask(each) or each.automaton() is not None for each in constraint.factors):
                return None
            states = cast(tuple[State, ...], state)
            masks = [self.mask(each, at) for each, at in zip(constraint.factors, states, strict=True)]
            return np.logical_and.reduce(masks)
        said = constraint.mask(state, self._vocabulary)
        if said is None:  # as for those that have none
            return None
        mask = np.asarray(said)
        if mask.dtype != bool or mask.shape != (self._size,):
            raise InvalidInputError(
                f"mask() of {constraint.describe()} gave an array of {mask.dtype} of shape {mask.shape}. It "
                f"gives one bool for each of the {self._size:,} ids of the vocabulary."
            )
        return mask & self._has_text

    def _walked(self, constraint: Constraint, state: State) -> Bool[np.ndarray, " vocab"]:
        machine = constraint.automaton()
        if machine is not None:
            walked = self._trie.walk(_number(state), lambda states, data: machine.transitions[states, data])
            return walked != DEAD
        if not constraint.revisits_states:
            with one_alarm():
                return self._asked(constraint, state)
        steps = steps_of(constraint)
        start = steps.standing(state)
        found = None
        if self._size >= LEAST_FOR_WIDE:
            found = self._walked_wide(steps, start)
            if found is None:
                found = self._walked_apart(steps, start)
        return self._trie.walk(0, _Numbered(steps, start).walk) != DEAD if found is None else found

    def _asked(self, constraint: Constraint, state: State) -> Bool[np.ndarray, " vocab"]:
        """Asks in pieces; or by single bytes, if these lead to the same few states."""
        first = EVERY_BYTE
        if not constraint.gains_from_lists:
            steps = ByteSteps(constraint)
            start = steps.standing(state)
            after = {byte: steps.step(start, byte) for byte in self._first_bytes}
            if do_repeat(after.values()):
                return self._trie.walk(0, _Numbered(steps, start, asks_freely=False).walk) != DEAD
            first = {byte for byte, each in after.items() if each is not None}
        if not isinstance(constraint, Conjunction) or len(constraint.factors) == 1:
            return self._passed(constraint, state, self._has_text, first)
        factors = list(zip(constraint.factors, cast(tuple[State, ...], state), strict=True))
        mask = self._has_text
        for factor, at in factors:
            if _takes_little(factor):
                mask = mask & self.mask(factor, at)
        for factor, at in factors:
            if not _takes_little(factor):
                mask = self._passed(factor, at, mask, first)
        return mask

    def _passed(
        self, constraint: Constraint, state: State, wanted: Bool[np.ndarray, " vocab"], first: Container[int]
    ) -> Bool[np.ndarray, " vocab"]:
        """Gives which of some tokens are taken, no other being asked about."""
        pieces = self._all_pieces
        if not wanted[self._sorted].all():
            ids = self._sorted[wanted[self._sorted]].tolist()
            pieces = VocabularyPieces(self._vocabulary.texts, ids)
        if constraint.gains_from_lists:
            found = pieces.taken_together(constraint, state)
        else:
            found = pieces.taken(constraint, state, first)
        mask = np.zeros(self._size, bool)
        mask[found] = True
        return mask

    def _walked_wide(self, steps: ByteSteps, start: Standing) -> Bool[np.ndarray, " vocab"] | None:
        """Sorts what stays in a wide state into classes, and walks only what may leave it; None elsewhere."""
        found = wide(steps, start)
        classes = None if found is None else self.classes(found.machine)
        if found is None or classes is None:
            return None
        trie = self._tries.get(found.leaving)
        if trie is None:
            trie = self._tries[found.leaving] = VocabularyTrie(self._vocabulary, found.leaving)
            if len(self._tries) > MAX_TRIES:
                self._tries.popitem(last=False)
        return classes.mask(0) | (trie.walk(0, _Numbered(steps, start).walk) != DEAD)

    def _walked_apart(self, steps: ByteSteps, start: Standing) -> Bool[np.ndarray, " vocab"] | None:
        """Walks from the part of the text under way, if nearly any text stays in it; None elsewhere.

        As in a name that must be new: the state is another after each letter, but that of the part is not.
        What the part does not tell is asked about one by one.
        """
        part = steps.part(start)
        if part.state is OUTSIDE or num_staying(steps, part) < LEAST_STAYING:
            return None
        numbered = _Numbered(steps, part)
        walked = self._trie.walk(0, numbered.walk)
        mask = walked != DEAD
        for token in np.flatnonzero(np.isin(walked, numbered.outside)).tolist():
            mask[token] = steps.is_viable(start, self._vocabulary.texts[token])
        return mask


class _Numbered:
    """A constraint's states as numbers in the order in which they are met, from one state on."""

    def __init__(self, steps: ByteSteps, start: Standing, asks_freely: bool = True):
        self._steps = steps
        self._asks_freely = asks_freely
        self._standings = [start]
        self._numbers = {start: 0}

    @property
    def outside(self) -> list[int]:
        """The numbers of what does not tell whether it is viable."""
        return [number for number, each in enumerate(self._standings) if each.state is OUTSIDE]

    def walk(
        self, states: Int[np.ndarray, " nodes"], data: UInt8[np.ndarray, " nodes"]
    ) -> Int[np.ndarray, " nodes"]:
        """Moves many states by one byte each, asking about each distinct pair once."""
        if self._asks_freely and len(self._standings) == 1:  # the first level, which has nearly all bytes
            return self._first(data)
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

    def _first(self, data: UInt8[np.ndarray, " nodes"]) -> Int[np.ndarray, " nodes"]:
        table = np.full(256, DEAD, np.int32)
        for byte, after in self._steps.viable(self._standings[0]).items():
            table[byte] = self._number(after)
        return table[data]

    def _targets(self, pairs: Int[np.ndarray, " pairs"]) -> Int[np.ndarray, " pairs"]:
        return np.array([self._step(pair >> 8, pair & 255) for pair in pairs.tolist()], np.int32)

    def _step(self, number: int, byte: int) -> int:
        after = self._steps.step(self._standings[number], byte)
        return DEAD if after is None else self._number(after)

    def _number(self, after: Standing) -> int:
        known = self._numbers.setdefault(after, len(self._standings))
        if known == len(self._standings):
            self._standings.append(after)
        return known


def _takes_little(constraint: Constraint) -> bool:
    """Says whether a mask is made without asking about each token on its own."""
    return has_mask(constraint) or constraint.automaton() is not None or constraint.revisits_states


def _number(state: State) -> int:
    assert isinstance(state, int | np.integer)
    return int(state)


_indices: WeakKeyDictionary[Vocabulary, VocabularyIndex] = WeakKeyDictionary()


def index_of(vocabulary: Vocabulary) -> VocabularyIndex:
    """Gives the index of a vocabulary, built once for as long as the vocabulary lives."""
    if vocabulary not in _indices:
        _indices[vocabulary] = VocabularyIndex(vocabulary)
    return _indices[vocabulary]
