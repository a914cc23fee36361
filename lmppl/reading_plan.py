"""Which token sequences are read in one pass, and what those of a pass have in common."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lmppl.shape_buckets import bucket

_WORTH_A_PASS = 128
"""Tokens that a pass of its own must save, being worth what it costs to start one."""

_SHORTEST = 8
_MOST_SCORES = 2**22  # of a head of attention: 16 MB

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Pass:
    """Sequences that are read together.

    Attributes:
        prefix: What all of them begin with, read once; may be empty.
        rows: What follows it in each.
        num_rows: Rows of the batch, the unused ones included.
        length: Columns of the batch: at least the longest row's.
    """

    prefix: Tokens
    rows: tuple[Tokens, ...]
    num_rows: int
    length: int


def hosts(sequences: Iterable[Tokens]) -> dict[Tokens, Tokens]:
    """Gives for each sequence the one to read: itself, or a longer one that begins with it.

    A causal model says after each token what it would say if the sequence ended there.
    """
    found: dict[Tokens, Tokens] = {}
    ordered = sorted(set(sequences))
    for sequence, after in zip(reversed(ordered), [None, *reversed(ordered)], strict=False):
        begins = after is not None and after[: len(sequence)] == sequence
        found[sequence] = found[after] if after is not None and begins else sequence
    return found


def plan_passes(sequences: Iterable[Tokens], most_tokens: int = 2**14) -> list[Pass]:
    """Puts sequences together so that long beginnings are shared and little is padded.

    In sorted order, those that share a beginning are neighbours. A set is divided where a part of it
    shares so much more than the whole that reading this once is worth a pass; what is left stays
    together. Then each part is divided by length.

    Args:
        sequences: None of which begins another.
        most_tokens: Of a pass, the padding included, because of what its cache and activations take.
    """
    ordered = sorted(set(sequences))
    passes: list[Pass] = []
    for shared, rows in _divided(ordered) if ordered else ():
        prefix = rows[0][:shared]
        passes += [
            Pass(prefix, tuple(part), bucket(len(part)), length)
            for part, length in _by_length([row[shared:] for row in rows], shared, most_tokens)
        ]
    return passes


def _divided(rows: list[Tokens]) -> Iterator[tuple[int, list[Tokens]]]:
    """Gives parts of sorted rows, each with the length of the beginning that is read once."""
    whole = _common(rows)
    left: list[Tokens] = []
    for _, group in itertools.groupby(rows, lambda row: row[whole : whole + 1]):
        part = list(group)
        if len(part) < len(rows) and (len(part) - 1) * (_common(part) - whole) > _WORTH_A_PASS:
            yield from _divided(part)
        else:
            left += part
    if left:
        shared = _common(left)
        yield (shared if (len(left) - 1) * shared > _WORTH_A_PASS else 0), left


def _common(rows: Sequence[Tokens]) -> int:
    """How many tokens sorted rows share: as many as the first and the last do."""
    pairs = zip(rows[0], rows[-1], strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _by_length(rows: list[Tokens], shared: int, most_tokens: int) -> Iterator[tuple[list[Tokens], int]]:
    """Divides rows by the bucket of their length; few short ones are padded to go with the longer."""
    ordered = sorted(rows, key=len, reverse=True)
    while ordered:
        length = bucket(len(ordered[0]), _SHORTEST)
        fitting = [row for row in ordered if bucket(len(row), _SHORTEST) == length]
        for shorter, group in itertools.groupby(
            ordered[len(fitting) :], lambda row: bucket(len(row), _SHORTEST)
        ):
            part = list(group)
            if len(part) * (length - shorter) > _WORTH_A_PASS:
                break
            fitting += part
        ordered = ordered[len(fitting) :]
        for start, stop in _row_counts(len(fitting), _most_rows(length, shared, most_tokens)):
            yield fitting[start:stop], length


def _most_rows(length: int, shared: int, most_tokens: int) -> int:
    most = max(1, min(most_tokens // length, _MOST_SCORES // (length * (length + shared))))
    return bucket(most + 1) // 2  # the power of two below


def _row_counts(num_rows: int, most: int) -> Iterator[tuple[int, int]]:
    """Cuts rows into powers of two, but for a last batch that is nearly full."""
    start = 0
    while start < num_rows:
        size = min(bucket(num_rows - start), most)
        if size > 16 and num_rows - start <= 0.75 * size:
            size //= 2
        yield start, min(num_rows, start + size)
        start += size
