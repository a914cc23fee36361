"""Sets of Unicode characters, and the partition of all characters that a few of them induce."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache, partial

import numpy as np

from lmppl.constraints.stored_compilations import stored

NUM_CHARACTERS = 0x110000 - 0x800  # surrogates are no characters: UTF-8 cannot write them
_GAP = 0xD800
_CODES = re.compile(r"\\(?:(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})|N\{([^}]*)\})")
_SHARE = 0.2  # of what must have taken long to be kept: each process asks for it, and it is read in a moment
_CATEGORIES = re.compile(r"\\[wWdDsS]")

CharacterSet = tuple[tuple[int, int], ...]
"""Ascending, disjoint half-open ranges of character numbers: code points without the surrogates."""


def single(character: str) -> CharacterSet:
    """Gives the set of one character; a surrogate gives the empty set."""
    code = ord(character)
    if _GAP <= code < _GAP + 0x800:
        return ()
    number = code if code < _GAP else code - 0x800
    return ((number, number + 1),)


@lru_cache(4096)
def matched_by(source: str, flags: int) -> CharacterSet:
    """Gives the characters that a regular expression for one character matches.

    Python's `re` itself is asked, so classes, escapes and cases mean here exactly what they mean there,
    in the Unicode version of this Python. It is asked about one character out of each run of those that
    the source cannot tell apart.

    Args:
        source: Such as `.`, `\\w`, `[^a-z\\d]` or an escaped literal.
        flags: Of `re`; IGNORECASE, ASCII and DOTALL matter.
    """
    flags &= re.IGNORECASE | re.ASCII | re.DOTALL
    starts = _run_starts(source, flags)
    sample = _text(starts)
    numbers = [*starts.tolist(), NUM_CHARACTERS]
    spans = (match.span() for match in re.finditer(f"(?:{source})+", sample, flags))
    return tuple((numbers[low], numbers[high]) for low, high in spans)


def _run_starts(source: str, flags: int) -> np.ndarray:
    """Gives where runs of characters begin that a source for one character treats alike.

    Escapes without a number are below 256; a backslash too many gives a run too many, and no harm.
    """
    codes = set(map(ord, source))
    for number, name in _CODES.findall(source):
        codes.add(int(number[1:], 16) if number else ord(unicodedata.lookup(name)))
    written = np.array([edge for code in codes for edge in _edges_of(code)], np.int64)
    common = _common_edges(bool(_CATEGORIES.search(source)), bool(flags & re.IGNORECASE))
    return np.union1d(common, written[written < NUM_CHARACTERS])


def _edges_of(code: int) -> tuple[int, int]:
    """Gives the number of a code point and the next one; surrogates have that of what comes after them."""
    number = code if code < _GAP else max(_GAP, code - 0x800)
    return number, number + 1


@cache
def _common_edges(categories: bool, cases: bool) -> np.ndarray:
    """Gives the edges of ASCII and Latin-1 characters; of runs of one category; of letters with cases."""
    description = "edges of characters", categories, cases
    return stored(description, partial(_found_edges, categories, cases), share=_SHARE)


def _found_edges(categories: bool, cases: bool) -> np.ndarray:
    edges = {*range(257), _GAP}
    if categories:
        for others in (r"\W+", r"\D+", r"\S+"):  # longer runs than their opposites, so read in less time
            edges.update(e for match in re.finditer(others, every_character()) for e in match.span())
    if cases:
        edges.update(edge for character in _cased_characters() for edge in _edges_of(ord(character)))
    return np.array(sorted(edges - {NUM_CHARACTERS}), np.int64)


def _text(numbers: np.ndarray) -> str:
    """Gives the characters with some numbers."""
    codes = np.where(numbers < _GAP, numbers, numbers + 0x800)
    return codes.astype("<u4").tobytes().decode("utf-32-le")


@lru_cache(4096)
def case_variants(character: str, flags: int) -> CharacterSet:
    """Gives the characters that `re` takes for this one under IGNORECASE, itself included."""
    flags &= re.IGNORECASE | re.ASCII
    found = {character, *re.findall(re.escape(character), _cased_characters(), flags)}
    ranges: list[tuple[int, int]] = []
    for low, high in (span for each in sorted(found) for span in single(each)):
        if ranges and ranges[-1][1] == low:
            low = ranges.pop()[0]
        ranges.append((low, high))
    return tuple(ranges)


@cache
def _cased_characters() -> str:
    """Gives every character with another case; no other one is ever the variant of another."""
    return stored("characters with cases", _found_cased_characters, share=_SHARE)


def _found_cased_characters() -> str:
    every = every_character()
    blocks = (every[i : i + 256] for i in range(0, len(every), 256))
    cased = (block for block in blocks if block.lower() != block or block.upper() != block)
    return "".join(c for block in cased for c in block if c.lower() != c or c.upper() != c)


@cache
def every_character() -> str:
    """Gives every character, one after the other."""
    return _text(np.arange(NUM_CHARACTERS))


@dataclass(frozen=True)
class Partition:
    """The coarsest partition of all characters in which each of some sets is a union of classes.

    Attributes:
        starts: The first character number of each run of one class, ascending, the first one 0.
        classes: The class of each run.
        members: For each of the sets, the classes that it consists of.
    """

    starts: tuple[int, ...]
    classes: tuple[int, ...]
    members: dict[CharacterSet, tuple[int, ...]]

    @staticmethod
    def of(sets: Iterable[CharacterSet]) -> Partition:
        """Makes the partition that some sets induce."""
        distinct = tuple(dict.fromkeys(sets))
        edges = sorted(
            {0} | {edge for ranges in distinct for span in ranges for edge in span} - {NUM_CHARACTERS}
        )
        where = {edge: i for i, edge in enumerate(edges)} | {NUM_CHARACTERS: len(edges)}
        signatures = [0] * len(edges)
        for bit, ranges in enumerate(distinct):
            for low, high in ranges:
                for run in range(where[low], where[high]):
                    signatures[run] |= 1 << bit
        numbers: dict[int, int] = {}
        classes = tuple(numbers.setdefault(signature, len(numbers)) for signature in signatures)
        members: list[list[int]] = [[] for _ in distinct]
        for signature, number in numbers.items():
            while signature:  # most are few of many bits
                members[signature.bit_length() - 1].append(number)
                signature ^= 1 << signature.bit_length() - 1
        return Partition(tuple(edges), classes, dict(zip(distinct, map(tuple, members), strict=True)))

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return max(self.classes) + 1

    def class_of(self, character: str) -> int:
        """Gives the class of a character that is no surrogate."""
        ((number, _),) = single(character)
        return self.classes[bisect_right(self.starts, number) - 1]

    @property
    def examples(self) -> list[str]:
        """The first character of each class."""
        first = dict(reversed([*zip(self.classes, self.starts, strict=True)]))
        return [_text(np.array([first[number]])) for number in range(self.num_classes)]

    @property
    def code_point_runs(self) -> list[tuple[int, int]]:
        """The first code point and the class of each run of code points; -1 is the class of surrogates."""
        runs: list[tuple[int, int]] = []
        ends = (*self.starts[1:], NUM_CHARACTERS)
        for start, end, number in zip(self.starts, ends, self.classes, strict=True):
            if start < _GAP:
                runs.append((start, number))
            if start <= _GAP <= end and (_GAP, -1) not in runs[-1:]:
                runs.append((_GAP, -1))
            if end > _GAP:
                runs.append((max(start, _GAP) + 0x800, number))
        return runs
