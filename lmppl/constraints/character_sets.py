"""Sets of Unicode characters, and the partition of all characters that a few of them induce."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

NUM_CHARACTERS = 0x110000 - 0x800  # surrogates are no characters: UTF-8 cannot write them
_GAP = 0xD800

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

    Python's `re` itself is asked about every character, so classes, escapes and cases mean here
    exactly what they mean there, in the Unicode version of this Python. 1-20 ms, then remembered. Plain
    lists of characters and ranges, which most are, are read as they stand.

    Args:
        source: Such as `.`, `\\w`, `[^a-z\\d]` or an escaped literal.
        flags: Of `re`; IGNORECASE, ASCII and DOTALL matter.
    """
    flags &= re.IGNORECASE | re.ASCII | re.DOTALL
    if not flags & re.IGNORECASE:
        if match := _PLAIN_CLASS.fullmatch(source):
            return _listed(match[2], bool(match[1]), flags)
        if source == "." and flags & re.DOTALL:
            return ((0, NUM_CHARACTERS),)
        if source[0] == "\\" and _PLAIN.fullmatch(source):
            return _listed(source, False, flags)
        if flags & re.ASCII and _KIND.fullmatch(source):  # above ASCII all are alike
            found = [match.span() for match in re.finditer(f"(?:{source})+", every_character()[:128], flags)]
            return tuple((low, NUM_CHARACTERS if high == 128 else high) for low, high in found)
    return tuple(match.span() for match in re.finditer(f"(?:{source})+", every_character(), flags))


_CODE = r"\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\U[0-9a-fA-F]{8}"
_CONTROLS = dict(zip("tnrfv", "\t\n\r\f\v", strict=True))
_LITERAL = rf"(?:{_CODE}|\\[tnrfv!-/:-@\[-`{{-~]|[^\\\[\]^&~|\-])"
_PLAIN_CLASS = re.compile(rf"\[(\^?)(-?(?:\\[dDsSwW]|{_LITERAL}(?:-{_LITERAL})?)+-?)\]", re.DOTALL)
_PLAIN = re.compile(_LITERAL)
_KIND = re.compile(r"\\[dDsSwW]")
_MEMBER = re.compile(rf"(\\[dDsSwW])|({_LITERAL}|-)(?:-({_LITERAL}))?", re.DOTALL)


def _listed(members: str, negated: bool, flags: int) -> CharacterSet:
    """Gives the characters of a class of `re` that lists characters, ranges and kinds of characters."""
    spans: list[tuple[int, int]] = []
    for kind, first, last in _MEMBER.findall(members):
        if kind:
            spans += matched_by(kind, flags)
        else:
            spans.append((_number(_code(first)), _number(_code(last or first) + 1)))
    merged: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if merged and low <= merged[-1][1]:
            low, high = merged[-1][0], max(high, merged.pop()[1])
        if low < high:
            merged.append((low, high))
    if not negated:
        return tuple(merged)
    edges = [0, *(edge for span in merged for edge in span), NUM_CHARACTERS]
    gaps = zip(edges[::2], edges[1::2], strict=True)
    return tuple((low, high) for low, high in gaps if low < high)


def _code(literal: str) -> int:
    if literal[0] != "\\":
        return ord(literal)
    return int(literal[2:], 16) if len(literal) > 2 else ord(_CONTROLS.get(literal[1], literal[1]))


def _number(code: int) -> int:
    """Gives the number of a code point's character, or of the first one behind it."""
    return code if code < _GAP else max(_GAP, code - 0x800)


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
    return "".join(c for c in every_character() if c.lower() != c or c.upper() != c)


@cache
def every_character() -> str:
    """Gives every character, one after the other."""
    codes = np.concatenate([np.arange(_GAP), np.arange(_GAP + 0x800, 0x110000)])
    return codes.astype("<u4").tobytes().decode("utf-32-le")


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
