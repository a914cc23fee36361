"""What is looked for behind a place, and which of all texts before it that tells apart.

Look-behind asks whether the last characters are of some word, that is, of one set of characters after the
other. So of what stands before a place only this matters: of which words the last characters are a
beginning, and how long it is. Automata that search for words keep the same (Aho & Corasick 1975).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lmppl.constraints.regular.character_sets import CharacterSet, Partition
from lmppl.errors import ConstraintError

MAX_STATES = 300

Word = tuple[CharacterSet, ...]
"""What each character may be; at least one."""

Begun = frozenset[tuple[int, int]]
"""The words of which the last characters are a beginning: number, and how many characters."""

NOTHING_BEGUN: Begun = frozenset()
"""Where the text begins, and where the same is found."""


class WordsBehind:
    """The words of one pattern, or of several.

    Args:
        words: Distinct ones.
        partition: Tells apart what is in them.
    """

    def __init__(self, words: Sequence[Word], partition: Partition):
        members = {options: frozenset(partition.members[options]) for word in words for options in word}
        self._words = [[members[options] for options in word] for word in words]
        self._after: dict[tuple[Begun, int], Begun] = {}

    def after(self, begun: Begun, symbol: int) -> Begun:
        """Gives what is begun after one more character, of a class."""
        key = begun, symbol
        found = self._after.get(key)
        if found is None:
            places = [*begun, *((number, 0) for number in range(len(self._words)))]
            found = self._after[key] = frozenset(
                (number, size + 1)
                for number, size in places
                if size < len(self._words[number]) and symbol in self._words[number][size]
            )
        return found


class PrecedingTexts:
    """All texts, as far as they are told apart by which of some words they may come to end with.

    Args:
        words: They.

    Attributes:
        partition: The classes of characters that matter.
        table: The next state by state and class; state 0 is that of the empty text.
        examples: A text for each state.

    Raises:
        ConstraintError: There are more than 300 states.
    """

    def __init__(self, words: Iterable[Word]):
        words = [*dict.fromkeys(words)]
        self.partition = Partition.of(options for word in words for options in word)
        behind = WordsBehind(words, self.partition)
        letters = self.partition.examples
        numbers = {NOTHING_BEGUN: 0}
        states = [NOTHING_BEGUN]
        self.examples = [""]
        self.table: list[list[int]] = []
        for begun in states:  # grows while it is walked
            following = [behind.after(begun, symbol) for symbol in range(len(letters))]
            for after, letter in zip(following, letters, strict=True):
                if after not in numbers:
                    self.examples.append(self.examples[numbers[begun]] + letter)
                    numbers[after] = len(numbers)
                    states.append(after)
            self.table.append([numbers[after] for after in following])
            if len(states) > MAX_STATES:
                raise ConstraintError(
                    f"look-behind tells apart more than {MAX_STATES} texts that may stand before a terminal. "
                    "Let it look for fewer, or for shorter ones."
                )

    def example_of(self, text: str) -> str:
        """Gives the example of the state that a text leads to."""
        state = 0
        for character in text:
            state = self.table[state][self.partition.class_of(character)]
        return self.examples[state]
