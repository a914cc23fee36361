"""The automaton of a list of words, of which `re` finds the first one that the text begins with.

A list of thousands of words is built as a tree of their beginnings, whose equal branches are one in the end.
A word after one that it begins with is never found, so it is left out. Then all that is left below a word
comes before it, and would be found instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from itertools import pairwise

import numpy as np

from lmppl.constraints.grammars.match_automata import MAX_STATES, NEW, Label, MatchAutomaton
from lmppl.constraints.regular import regex_package
from lmppl.constraints.regular.character_automaton import TooLarge
from lmppl.constraints.regular.character_sets import CharacterSet, case_variants, single
from lmppl.constraints.regular.regex_syntax import Alternation, Character, Node
from lmppl.constraints.regular.regex_syntax import Sequence as InTurn
from lmppl.constraints.regular.transition_tables import DEAD
from lmppl.constraints.regular.utf8_encoding import all_texts

MAX_SPELLINGS = 8
"""Characters in a set that is written out."""

Word = tuple[CharacterSet, ...]
"""What each character may be."""

_WITHIN = Label(None, False, -1)
_LABELS = {"nothing": Label((), False, -1), "before": Label((0,), True, 0), "here": Label((NEW,), True, 0)}
"""By where the word ends that is found so far."""

_Kind = tuple[str, tuple[tuple[CharacterSet, int], ...]]
"""What a state says, and where characters lead from it."""


def words_of(tree: Node) -> list[Word] | None:
    """Gives the words of a pattern that is a list of them, in order; None if it is something else.

    Sets of characters are equal or have nothing in common, so that a text is read in one way only.
    """
    words = list(_written(tree))
    if any(word is None for word in words):
        return None
    sets = {options for word in words for options in word or ()}
    spans = sorted(span for options in sets for span in options)
    if any(high > low for (_, high), (low, _) in pairwise(spans)):
        return None
    is_short = all(sum(high - low for low, high in options) <= MAX_SPELLINGS for options in sets)
    return [word for word in words if word is not None] if is_short else None


def _written(tree: Node) -> Iterator[Word | None]:
    match tree:
        case Character(options):
            yield (options,)
        case Alternation(options):
            for option in options:
                yield from _written(option)
        case InTurn(items):
            sets = [item.options for item in items if isinstance(item, Character)]
            yield tuple(sets) if len(sets) == len(items) else None
        case _:
            yield None


@lru_cache(4096)
def word_automaton(word: str, flags: int, by_regex: bool = False) -> MatchAutomaton:
    """Makes the automaton of a literal string, without the cost of a pattern.

    Args:
        word: The string.
        flags: Of `re`.
        by_regex: Whether the package `regex` says what the cases of a letter are.
    """
    variants = regex_package.case_variants if by_regex else case_variants
    return words_automaton([tuple(variants(c, flags) if flags & re.IGNORECASE else single(c) for c in word)])


def words_automaton(words: Sequence[Word]) -> MatchAutomaton:
    """Makes the automaton of words, of which earlier ones are preferred.

    Args:
        words: As of `words_of`. The empty one is no match, but it keeps later ones from being found.

    Raises:
        TooLarge: More than 50,000 states.
    """
    tree = _Tree()
    for word in words:
        if not word:
            break
        tree.add(word)
    kinds = tree.kinds()
    return _Bytes(kinds).automaton()


class _Tree:
    """The beginnings of words, by number; 0 is the empty one."""

    def __init__(self):
        self.following: list[dict[CharacterSet, int]] = [{}]
        self.is_word = [False]

    def add(self, word: Word) -> None:
        """Adds a word after all that are preferred, unless it begins with one of those."""
        if () in word:
            return  # a surrogate, which no text has
        node = 0
        for options in word:
            after = self.following[node].get(options)
            if after is None:
                after = len(self.following)
                self.following[node][options] = after
                self.following.append({})
                self.is_word.append(False)
            elif self.is_word[after]:
                return
            node = after
        self.is_word[node] = True

    def kinds(self) -> list[_Kind]:
        """Gives the states, of which no two are alike, each after those that it leads to."""
        says = ["nothing"] * len(self.following)
        for node, following in enumerate(self.following):
            if self.is_word[node]:
                says[node] = "here"
            for after in following.values():
                says[after] = "nothing" if says[node] == "nothing" else "before"
        numbers: dict[_Kind, int] = {}
        state_of = [DEAD] * len(self.following)
        for node in reversed(range(len(self.following))):
            after = tuple((options, state_of[child]) for options, child in self.following[node].items())
            state_of[node] = numbers.setdefault((says[node], after), len(numbers))
        return list(numbers)


class _Bytes:
    """The states of words, their characters written out as bytes.

    Args:
        kinds: What words are read by; the last one is the start.
    """

    def __init__(self, kinds: list[_Kind]):
        self._kinds = kinds
        self._others = len(kinds)  # where a word is found whatever follows: then states in characters
        self._first_inner = self._others + len(_any_character())
        self._inner: dict[tuple[int, tuple[tuple[int, int], ...]], int] = {}

    def automaton(self) -> MatchAutomaton:
        last = len(self._kinds) - 1
        edges: list[tuple[int, int, int]] = []
        defaults: dict[int, int] = {}
        for number, (says, following) in enumerate(self._kinds):
            default = 0 if says != "nothing" and following else DEAD
            defaults[last - number] = default
            written = [(s, last - after) for options, after in following for s in _spellings(options)]
            edges += [(last - number, byte, after) for byte, after in self._ways(written, default)]
        for (default, ways), number in self._inner.items():
            defaults[number] = default
            edges += [(number, byte, after) for byte, after in ways]
        return MatchAutomaton(self._table(defaults, edges), self._labels())

    def _ways(self, written: list[tuple[bytes, int]], default: int) -> list[tuple[int, int]]:
        """Gives where bytes lead to from a state that reads some texts.

        Args:
            written: The texts, and where each leads to.
            default: What reads all other characters, DEAD if they are refused.
        """
        longer: dict[int, list[tuple[bytes, int]]] = {}
        ways: list[tuple[int, int]] = []
        for text, after in written:
            if len(text) == 1:
                ways.append((text[0], after))
            else:
                longer.setdefault(text[0], []).append((text[1:], after))
        for byte, rest in longer.items():
            within = DEAD if default == DEAD else int(_any_character()[default, byte])
            key = within, tuple(self._ways(rest, within))
            ways.append((byte, self._inner.setdefault(key, self._first_inner + len(self._inner))))
        return ways

    def _table(self, defaults: dict[int, int], edges: list[tuple[int, int, int]]) -> np.ndarray:
        size = self._first_inner + len(self._inner)
        if size > MAX_STATES:
            raise TooLarge
        others = np.where(_any_character() == DEAD, DEAD, _any_character() + self._others)
        table = np.full((size, 256), DEAD, np.int32)
        table[self._others + 1 : self._first_inner] = others[1:]
        for number, default in defaults.items():
            if default != DEAD:
                table[number] = others[default]
        if edges:
            states, data, after = np.array(edges).T
            table[states, data] = after
        return table

    def _labels(self) -> list[Label]:
        labels = [_LABELS[says] for says, _ in reversed(self._kinds)] + [_LABELS["before"]]
        return labels + [_WITHIN] * (self._first_inner + len(self._inner) - len(labels))


@cache
def _any_character() -> np.ndarray:
    """Gives the table of states that read one character after the other; between them is state 0."""
    return all_texts().transitions


@lru_cache(4096)
def _spellings(options: CharacterSet) -> list[bytes]:
    numbers = (number for span in options for number in range(*span))
    return [chr(n if n < 0xD800 else n + 0x800).encode() for n in numbers]
