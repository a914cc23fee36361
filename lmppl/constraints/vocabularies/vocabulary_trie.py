"""The byte strings of a vocabulary as a prefix tree, walked level by level through any automaton."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Int, UInt8

from lmppl.constraints.regular.transition_tables import DEAD
from lmppl.language_model import Vocabulary

Step = Callable[[Int[np.ndarray, " nodes"], UInt8[np.ndarray, " nodes"]], Int[np.ndarray, " nodes"]]
"""Moves many values by one byte each; `DEAD` is where nothing viable follows."""


class VocabularyTrie:
    """The prefix tree of a vocabulary: a node for each distinct prefix of a token, in breadth-first order.

    The children of a node stand side by side, so that a walk goes on below the nodes that are still viable
    and never looks at the others. Takes 0.1 s and 1 MB at 32k tokens, 0.6 s and 5 MB at 200k.

    Attributes:
        size: The number of ids.
        ends: The ids that end a string. They stand for no text here, whatever their bytes are.
    """

    size: int
    ends: Int[np.ndarray, " ends"]

    def __init__(self, vocabulary: Vocabulary, holding: bytes | None = None):
        """Lays the tokens out.

        Args:
            vocabulary: Of a model.
            holding: Only the tokens that hold one of these bytes; the others count as tokens without text.
        """
        self.size = len(vocabulary)
        self.ends = np.array(sorted(vocabulary.eos_ids), np.int64)
        texts = vocabulary.texts
        if holding is not None:
            texts = [data if len(data.translate(None, holding)) < len(data) else b"" for data in texts]
        order = np.array(sorted(range(len(texts)), key=texts.__getitem__), np.int64)
        lengths = np.array([len(texts[i]) for i in order.tolist()], np.int64)
        offsets = np.cumsum(lengths) - lengths
        data = np.frombuffer(b"".join(texts[i] for i in order.tolist()), np.uint8)
        level_bytes, level_parents = [np.zeros(1, np.uint8)], [np.zeros(0, np.int64)]
        nodes, num_nodes = np.zeros(len(texts), np.int64), 1
        rows, parents = np.arange(len(texts)), np.zeros(len(texts), np.int64)
        for depth in range(int(lengths.max(initial=0))):
            longer = lengths[rows] > depth
            rows, parents = rows[longer], parents[longer]
            values = data[offsets[rows] + depth]
            is_new = np.ones(len(rows), bool)
            is_new[1:] = (parents[1:] != parents[:-1]) | (values[1:] != values[:-1])
            level_bytes.append(values[is_new])
            level_parents.append(parents[is_new])
            parents = nodes[rows] = num_nodes + np.cumsum(is_new) - 1
            num_nodes += int(is_new.sum())
        self._bytes = np.concatenate(level_bytes)
        num_children = np.bincount(np.concatenate(level_parents), minlength=num_nodes)
        self._num_children = num_children.astype(np.int32)
        self._first_child = (1 + np.cumsum(num_children) - num_children).astype(np.int32)
        self._token_at = np.full(num_nodes, _NONE, np.int32)
        self._token_at[nodes[::-1]] = order[::-1]  # of several with the same bytes, the first
        self._token_at[_ROOT] = _NONE
        is_again = self._token_at[nodes] != order
        is_again &= nodes != _ROOT
        self._again = order[is_again]
        self._said_before = self._token_at[nodes[is_again]]

    def walk(self, start: int, step: Step) -> Int[np.ndarray, " vocab"]:
        """Gives what a value becomes by the bytes of each token, `DEAD` where that is nothing viable.

        Tokens without text, ends among them, come to `DEAD` too.

        Args:
            start: The value before the token.
            step: Asked about all prefixes of one length together, if what comes before them is viable.
        """
        found = np.full(self.size + 1, DEAD, np.int32)  # the last is for nodes at which no token ends
        alive, values = np.zeros(1, np.int32), np.full(1, start, np.int32)
        while len(alive):
            counts = self._num_children[alive]
            inner = np.flatnonzero(counts)
            alive, values, counts = alive[inner], values[inner], counts[inner]
            if not len(alive):
                break
            ends = np.cumsum(counts, dtype=np.int32)
            children = np.arange(ends[-1], dtype=np.int32)
            children += np.repeat(self._first_child[alive] - (ends - counts), counts)
            after = step(np.repeat(values, counts), self._bytes[children])
            viable = np.flatnonzero(after != DEAD)
            alive, values = children[viable], after[viable]
            found[self._token_at[alive]] = values
        found[self._again] = found[self._said_before]
        return found[:-1]


_ROOT = 0
_NONE = -1
