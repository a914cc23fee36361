"""Sets of texts that JSON Schema's keywords describe: by length, one by one, or by an automaton."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lmppl.constraints.json_values.sized_texts import Lengths, Sized
from lmppl.constraints.json_values.spelling import any_content, quoted
from lmppl.constraints.json_values.string_readers import Reader, Spelled
from lmppl.constraints.regular import automaton_algebra
from lmppl.constraints.regular.alternatives import automaton_of, encoded
from lmppl.constraints.regular.automaton import MAX_STATES, ByteAutomaton
from lmppl.constraints.regular.character_automaton import TooLarge
from lmppl.constraints.regular.transition_tables import DEAD

_LONGEST_ESCAPE = 6
_MOST_ROWS = 12  # of states that `quoted` makes of one
MAX_COUNTED_STATES = 20_000  # of an automaton that counts characters too
FEW_COUNTED_STATES = 2_000  # up to these it is made at once; else only where one is asked for


@dataclass(frozen=True)
class Listed:
    """Some texts, or all but those. It has an automaton only where one is asked for.

    Attributes:
        words: At least one.
        inside: Whether they are the texts of the set, or the others are.
    """

    words: frozenset[str]
    inside: bool = True


Texts = Lengths | Sized | Listed | ByteAutomaton

EVERY_TEXT = Lengths(((0, None),))
NO_TEXT = Lengths(())


def longer_than(length: int) -> Lengths:
    """Gives the texts of more than so many characters."""
    return Lengths(((length + 1, None),))


def up_to(length: int) -> Lengths:
    """Gives the texts of at most so many characters; below 0 there is none."""
    return Lengths(((0, length),)) if length >= 0 else NO_TEXT


def both(one: Texts, other: Texts) -> Texts:
    """Gives the texts that are in both sets.

    Raises:
        TooLarge: The automaton has too many states.
    """
    if EVERY_TEXT in (one, other):
        return other if one == EVERY_TEXT else one
    if NO_TEXT in (one, other):
        return NO_TEXT
    if isinstance(one, Lengths) and isinstance(other, Lengths):
        return complement(either(complement(one), complement(other)))
    if isinstance(other, Listed) and (other.inside or not isinstance(one, Listed)):
        one, other = other, one
    if isinstance(one, Listed):
        met = frozenset(word for word in one.words if holds(other, word))
        if one.inside:
            return _listed(met)
        if isinstance(other, Listed):
            return Listed(one.words | other.words, False)
        if not met:
            return other
    (machine, lengths), (other_machine, other_lengths) = _parts(one), _parts(other)
    if lengths == other_lengths == EVERY_TEXT:
        return named(automaton_algebra.intersection(machine, other_machine))
    return _sized(automaton_algebra.intersection(machine, other_machine), both(lengths, other_lengths))


def _parts(texts: Texts) -> tuple[ByteAutomaton, Lengths]:
    """Gives an automaton and lengths that both describe a set."""
    if isinstance(texts, Lengths):
        return any_content(), texts
    return (texts.machine, texts.lengths) if isinstance(texts, Sized) else (content(texts), EVERY_TEXT)


def _sized(machine: ByteAutomaton, lengths: Texts) -> Texts:
    """Gives the texts of an automaton that have some lengths, by one automaton if that is small."""
    assert isinstance(lengths, Lengths)
    if machine.num_states * (lengths.last_edge + 1) <= FEW_COUNTED_STATES:
        return named(_counted(machine, lengths))
    found = Sized(machine, lengths)
    return NO_TEXT if found.is_empty else found


def either(one: Texts, other: Texts) -> Texts:
    """Gives the texts that are in at least one set; raises as `both`."""
    if EVERY_TEXT in (one, other):
        return EVERY_TEXT
    if NO_TEXT in (one, other):
        return other if one == NO_TEXT else one
    if isinstance(one, Lengths) and isinstance(other, Lengths):
        merged: list[tuple[int, int | None]] = []
        for low, high in sorted(one.ranges + other.ranges, key=lambda bounds: bounds[0]):
            if merged and (merged[-1][1] is None or low <= merged[-1][1] + 1):
                before, end = merged.pop()
                merged.append((before, None if end is None or high is None else max(end, high)))
            else:
                merged.append((low, high))
        return Lengths(tuple(merged))
    if isinstance(other, Listed) and (not other.inside or not isinstance(one, Listed)):
        one, other = other, one
    if isinstance(one, Listed):
        left = frozenset(word for word in one.words if not holds(other, word))
        if not one.inside:
            return complement(_listed(left))
        if not left:
            return other
        if isinstance(other, Listed):
            return Listed(left | other.words)
        one = Listed(left)
    if isinstance(one, Lengths) or isinstance(other, Lengths):
        return complement(both(complement(one), complement(other)))
    return named(automaton_algebra.union(content(one), content(other)))


def complement(texts: Texts) -> Texts:
    """Gives the texts outside a set; raises as `both`."""
    if isinstance(texts, Listed):
        return Listed(texts.words, not texts.inside)
    if isinstance(texts, Sized):
        texts = content(texts)
    if not isinstance(texts, Lengths):
        return named(automaton_algebra.difference(any_content(), texts))
    gaps: list[tuple[int, int | None]] = []
    start: int | None = 0
    for low, high in texts.ranges:
        if start is not None and low > start:
            gaps.append((start, low - 1))
        start = None if high is None else high + 1
    if start is not None:
        gaps.append((start, None))
    return Lengths(tuple(gaps))


@lru_cache(256)
def content(texts: Texts) -> ByteAutomaton:
    """Gives the automaton of a set; raises as `both`."""
    if isinstance(texts, Listed):
        machine = automaton_of(sorted(map(encoded, texts.words)))
        return machine if texts.inside else automaton_algebra.difference(any_content(), machine)
    if isinstance(texts, Sized):
        return _counted(texts.machine, texts.lengths)
    if not isinstance(texts, Lengths):
        return texts
    if texts == EVERY_TEXT:
        return any_content()
    if texts == NO_TEXT:
        return automaton_algebra.difference(any_content(), any_content())
    return _counted(any_content(), texts)


def _counted(machine: ByteAutomaton, lengths: Lengths) -> ByteAutomaton:
    """Gives the texts of an automaton whose lengths are allowed; each character has one byte that begins it.

    Raises:
        TooLarge: More than 20,000 states.
    """
    size, most = machine.num_states, lengths.last_edge
    if size * (most + 1) > MAX_COUNTED_STATES:
        raise TooLarge
    counts = np.arange(most + 1, dtype=np.int32)
    begins = (np.arange(256) & 0xC0) != 0x80
    after = np.where(begins, np.minimum(counts + 1, most)[:, None], counts[:, None]) * np.int32(size)
    targets = after[:, None, :] + machine.transitions
    table = np.where(machine.transitions == DEAD, np.int32(DEAD), targets).reshape(-1, 256)
    is_allowed = np.array([count in lengths for count in counts.tolist()])
    return ByteAutomaton.of_table(table, machine.start, np.outer(is_allowed, machine.accepting).reshape(-1))


@lru_cache(512)
def spelled(texts: Texts) -> Reader | None:
    """Gives what reads the JSON strings that stand for the texts of a set, each in the spelling of `quoted`.

    Returns:
        None for the empty set; a set by length as it is, as any spelling of its texts will do; one by length
        and by an automaton as it is too, which reads the same spelling.

    Raises:
        TooLarge: More than 50,000 states.
    """
    if isinstance(texts, Lengths | Sized):
        return None if texts == NO_TEXT else texts
    if isinstance(texts, Listed) and texts.inside:
        words = sorted(json.dumps(word, ensure_ascii=False).encode() for word in texts.words)
        return Spelled(automaton_of(words))
    return Spelled(quoted(content(texts)))


def is_surely_spelled(texts: Texts) -> bool:
    """Whether a set is so small that `spelled` cannot raise."""
    if isinstance(texts, Listed):
        rows = _LONGEST_ESCAPE if texts.inside else 4 * _MOST_ROWS
        return sum(map(len, texts.words)) < MAX_STATES // rows
    return isinstance(texts, Lengths | Sized) or texts.num_states < MAX_STATES // _MOST_ROWS


def holds(texts: Texts, text: str) -> bool:
    """Says whether a text is in a set; one with a lone surrogate is in none."""
    if isinstance(texts, Lengths):
        return len(text) in texts
    if isinstance(texts, Listed):
        return (text in texts.words) == texts.inside
    if isinstance(texts, Sized):
        return len(text) in texts.lengths and holds(texts.machine, text)
    state = texts.advance(texts.start, text.encode(errors="surrogatepass"))
    return state is not None and texts.accepts(state)


def listed(words: Iterable[str]) -> Texts:
    """Gives the set of some texts.

    Raises:
        ConstraintError: One holds a lone surrogate, or is too long.
        TooLarge: They are so many that their automaton has too many states.
    """
    found = frozenset(words)
    if sum(len(encoded(word)) for word in found) >= MAX_STATES:
        automaton_of(sorted(map(encoded, found)))  # raises if it is too large, as shared ends may prevent
    return _listed(found)


def _listed(words: frozenset[str]) -> Texts:
    return Listed(words) if words else NO_TEXT


def named(machine: ByteAutomaton) -> Texts:
    """Gives the plain form of the sets that have one, so that equal ones are found equal."""
    if machine.is_empty:
        return NO_TEXT
    return EVERY_TEXT if machine == any_content() else machine
