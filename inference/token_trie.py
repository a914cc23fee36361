"""The byte strings of a vocabulary as device arrays: token by token, and as a prefix tree in levels."""

from __future__ import annotations

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import jax
import numpy as np
from jaxtyping import Array, Bool, Int32, UInt8

from lmppl.language_model import Vocabulary
from lmppl.shape_buckets import bucket

NO_NODE = 0  # of ids that stand for no text: always dead
EOS_NODE = 1
ROOT = 2
FIRST_NODE = 3

WORD_BITS = 32

_WIDE_CHUNK = 4096  # measured on CPU: 1,024 costs a third more, and whole levels no less
_NARROW_CHUNK = 128


class Levels(NamedTuple):
    """Nodes of the tree in breadth-first order, in chunks whose parents all stand in earlier ones.

    Padding has `NO_NODE` as its parent.
    """

    parents: Int32[Array, "chunks nodes"]
    bytes: UInt8[Array, "chunks nodes"]


class TokenTables(NamedTuple):
    """A vocabulary on the device. An EOS has no bytes here, whatever the vocabulary says.

    Attributes:
        data: The bytes of all tokens, one after the other.
        offsets: Where a token's bytes begin.
        lengths: How many it has.
        is_eos: Whether it ends a string.
        possible: Whether a string may contain it or end with it.
        wide: The upper levels of the tree. Its nodes have the numbers `FIRST_NODE, FIRST_NODE + 1, ...`
            in order, padding included.
        narrow: The lower levels, which have few nodes each; numbered on from `wide`.
        nodes: The node at which each token ends, 32 tokens a row, padded with `NO_NODE`.
    """

    data: UInt8[Array, " bytes"]
    offsets: Int32[Array, " vocab"]
    lengths: Int32[Array, " vocab"]
    is_eos: Bool[Array, " vocab"]
    possible: Bool[Array, " vocab"]
    wide: Levels
    narrow: Levels
    nodes: Int32[Array, "words 32"]

    @property
    def vocab_size(self) -> int:
        """How many ids there are; static under `jit`."""
        return self.lengths.shape[0]


def token_tables(vocabulary: Vocabulary) -> TokenTables:
    """Gives the tables of a vocabulary, built once for as long as it lives.

    Takes 0.3 s and 6 MB at 128k tokens.
    """
    if vocabulary not in _tables:
        _tables[vocabulary] = _built(vocabulary)
    return _tables[vocabulary]


_tables: WeakKeyDictionary[Vocabulary, TokenTables] = WeakKeyDictionary()


def _built(vocabulary: Vocabulary) -> TokenTables:
    is_eos = np.zeros(len(vocabulary), bool)
    is_eos[sorted(vocabulary.eos_ids)] = True
    texts = [b"" if ends else data for data, ends in zip(vocabulary.token_bytes, is_eos, strict=True)]
    lengths = np.array([len(data) for data in texts], np.int32)
    offsets = np.cumsum(lengths, dtype=np.int32) - lengths
    data = np.frombuffer(b"".join(texts) or b"\0", np.uint8)
    order = np.array(sorted(range(len(texts)), key=texts.__getitem__), np.int64)
    wide, narrow, nodes = _tree(data, offsets[order], lengths[order])
    node_of = np.full(-(-len(texts) // WORD_BITS) * WORD_BITS, NO_NODE, np.int32)
    node_of[order] = nodes
    node_of[np.flatnonzero(is_eos)] = EOS_NODE
    with jax.ensure_compile_time_eval():  # remembered, so never a tracer of whoever asked first
        put: Any = jax.device_put  # `jnp.asarray` would compile a program for each shape
        return TokenTables(
            put(data),
            put(offsets),
            put(lengths),
            put(is_eos),
            put(vocabulary.possible),
            Levels(*put(wide)),
            Levels(*put(narrow)),
            put(node_of.reshape(-1, WORD_BITS)),
        )


def _tree(
    data: np.ndarray, offsets: np.ndarray, lengths: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Gives both groups of levels, and the node of each token. Tokens are in the order of their bytes."""
    levels: list[tuple[np.ndarray, np.ndarray]] = []  # places of the parents in the level before; bytes
    level_of, place_of = np.full(len(lengths), -1), np.zeros(len(lengths), np.int64)
    rows, parents = np.arange(len(lengths)), np.zeros(len(lengths), np.int64)
    while True:
        longer = lengths[rows] > len(levels)
        rows, parents = rows[longer], parents[longer]
        if not len(rows):
            break
        values = data[offsets[rows] + len(levels)]
        first = np.ones(len(rows), bool)
        first[1:] = (parents[1:] != parents[:-1]) | (values[1:] != values[:-1])
        places = np.cumsum(first) - 1
        level_of[rows], place_of[rows] = len(levels), places
        levels.append((parents[first], values[first]))
        parents = places
    sizes = [len(values) for _, values in levels]
    num_wide = max((i + 1 for i, size in enumerate(sizes) if size > 2 * _NARROW_CHUNK), default=0)
    width = min(_WIDE_CHUNK, bucket(max(sizes, default=1)))
    widths = [width if i < num_wide else _NARROW_CHUNK for i in range(len(levels))]
    padded = [-(-size // width) * width for size, width in zip(sizes, widths, strict=True)]
    starts = FIRST_NODE + np.cumsum([0, *padded])
    groups = []
    for chosen, chunk in ((range(num_wide), width), (range(num_wide, len(levels)), _NARROW_CHUNK)):
        group_parents, group_bytes = [np.zeros(0, np.int32)], [np.zeros(0, np.uint8)]
        for i in chosen:
            above = ROOT if i == 0 else starts[i - 1]
            padding = (0, padded[i] - sizes[i])
            group_parents.append(np.pad(above + levels[i][0], padding, constant_values=NO_NODE))
            group_bytes.append(np.pad(levels[i][1], padding))
        groups.append(
            [
                np.concatenate(group_parents).astype(np.int32).reshape(-1, chunk),
                np.concatenate(group_bytes).reshape(-1, chunk),
            ]
        )
    nodes = np.where(level_of < 0, NO_NODE, starts[np.maximum(level_of, 0)] + place_of)
    return groups[0], groups[1], nodes
