"""Tokens sorted by what they do to an automaton: those that are allowed in the same states are one class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int, UInt8

from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.transition_tables import DEAD, distinct_columns
from lmppl.constraints.vocabularies.vocabulary_trie import VocabularyTrie

MAX_STATES = 8_192
MAX_TARGETS = 4_000_000  # that are computed, some 20 ms; fewer are kept
_UNKNOWN = -2
_LETTERS = 256  # classes that a byte can name


class TokenClasses:
    """Which tokens are allowed in which states of an automaton.

    Args:
        class_of: The class of each token. That of tokens without text is allowed nowhere; those that end a
            string have the last one for themselves.
        allowed: By state and class.

    Attributes:
        class_of: As given, quick to index.
        num_bytes: What the tables take.
    """

    def __init__(self, class_of: Int[np.ndarray, " vocab"], allowed: Bool[np.ndarray, "states classes"]):
        self._allowed = allowed
        self._names = class_of.astype(np.uint8).tobytes() if allowed.shape[1] <= _LETTERS else class_of
        self.class_of: Sequence[int] = self._names if isinstance(self._names, bytes) else class_of.data
        self.num_bytes = self._allowed.nbytes + (
            len(self._names) if isinstance(self._names, bytes) else class_of.nbytes
        )

    def row(self, state: int, may_end: bool) -> list[bool]:
        """Gives by class whether it is allowed in a state.

        Args:
            state: Of the automaton.
            may_end: Whether tokens that end the string are.
        """
        row = self._allowed[state].tolist()
        row[-1] = may_end
        return row

    def mask(self, state: int) -> Bool[np.ndarray, " vocab"]:
        """Gives True for the tokens whose text is allowed in a state. It may be read-only."""
        row = self._allowed[state]
        if isinstance(self._names, bytes):
            return np.frombuffer(self._names.translate(row.tobytes().ljust(_LETTERS, b"\0")), bool)
        return row.take(self._names)


def classes_of(machine: ByteAutomaton, trie: VocabularyTrie) -> TokenClasses | None:
    """Sorts the tokens of a vocabulary; None where that would take long.

    One walk down the vocabulary's tree serves all states. It follows, instead of a state, the function that a
    string is on states. There are few of these, as long as those that lead nowhere are left out.
    """
    if machine.num_states > MAX_STATES:
        return None
    actions = _Actions(machine)
    try:
        action_of = trie.walk(0, actions.walk)
    except _TooManyTargets:
        return None
    nowhere = np.zeros((machine.num_states, 1), bool)
    columns = np.concatenate([actions.targets().T != DEAD, nowhere], axis=1)  # DEAD is -1, the last
    allowed, class_of_action = distinct_columns(columns)
    class_of = class_of_action.astype(np.int64)[action_of]
    class_of[trie.ends] = allowed.shape[1]
    return TokenClasses(class_of, np.concatenate([allowed, nowhere], axis=1))


class _TooManyTargets(Exception):
    """There are too many functions of too many states."""


class _Actions:
    """The functions that strings are on the states of an automaton, numbered as they are met."""

    def __init__(self, machine: ByteAutomaton):
        columns, self._class_of = distinct_columns(machine.transitions)
        nowhere = np.full((1, columns.shape[1]), DEAD, np.int32)
        self._columns = np.concatenate([columns, nowhere])  # DEAD is -1, the last row
        identity = np.arange(machine.num_states, dtype=np.int32)
        self._functions = [identity]
        self._numbers = {identity.tobytes(): 0}
        self._after = np.full((1, columns.shape[1]), _UNKNOWN, np.int32)
        self._num_computed = 0

    def targets(self) -> Int[np.ndarray, "actions states"]:
        """Gives where each function leads from each state."""
        return np.stack(self._functions)

    def walk(
        self, actions: Int[np.ndarray, " nodes"], data: UInt8[np.ndarray, " nodes"]
    ) -> Int[np.ndarray, " nodes"]:
        """Gives the functions of strings that are longer by a byte."""
        num_classes = self._columns.shape[1]
        pairs = actions * num_classes + self._class_of[data]
        after = self._after.reshape(-1)[pairs]
        unknown = pairs[after == _UNKNOWN]
        if len(unknown):
            self._compute(np.unique(unknown).tolist())
            after = self._after.reshape(-1)[pairs]
        return after

    def _compute(self, pairs: list[int]) -> None:
        num_classes = self._columns.shape[1]
        known = len(self._functions)
        for pair in pairs:
            action, column = divmod(pair, num_classes)
            function = self._columns[self._functions[action], column]
            self._num_computed += len(function)
            if self._num_computed > MAX_TARGETS:
                raise _TooManyTargets
            self._after[action, column] = self._number(function)
        more = np.full((len(self._functions) - known, num_classes), _UNKNOWN, np.int32)
        self._after = np.concatenate([self._after, more])

    def _number(self, function: Int[np.ndarray, " states"]) -> int:
        if (function == DEAD).all():
            return DEAD
        number = self._numbers.setdefault(function.tobytes(), len(self._functions))
        if number == len(self._functions):
            self._functions.append(function)
        return number
