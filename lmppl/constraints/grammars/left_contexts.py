"""What stands before a place of a text, as far as the terminals of a grammar look at it.

`re` sees the text before the place where a match begins: `\\b` and look-behind look at its end. Of all
texts, only a few classes are told apart. So a terminal has an automaton for each class, and whoever reads a
text keeps the class of what has been read.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from lmppl.constraints.grammars.grammar_terminals import Terminal
from lmppl.constraints.grammars.match_automata import MatchAutomaton
from lmppl.constraints.grammars.preceding_texts import PrecedingTexts
from lmppl.constraints.regular.transition_tables import DEAD
from lmppl.constraints.regular.utf8_encoding import byte_rows

START = 0
"""The context where the text begins, and where the same is found."""


class LeftContexts:
    """The contexts of one grammar: classes of what stands before a place.

    Args:
        terminals: Of the grammar. Some look at what stands before them.

    Attributes:
        numbers: Of the contexts. A text that ends within a character has another number.
        width: How many characters back any terminal looks.

    Raises:
        ConstraintError: A terminal has no automaton.
    """

    def __init__(self, terminals: Iterable[Terminal]):
        looking = [terminal for terminal in terminals if terminal.looked_at]
        texts = PrecedingTexts(word for terminal in looking for word in terminal.looked_at)
        own = [PrecedingTexts(terminal.looked_at) for terminal in looking]
        variants = [
            tuple(t.after(each.example_of(example)) for t, each in zip(looking, own, strict=True))
            for example in texts.examples
        ]
        number_of = _merged([tuple(each.automaton for each in several) for several in variants], texts.table)
        self.numbers = range(max(number_of) + 1)
        first = [number_of.index(number) for number in self.numbers]
        self._terminals = [dict(zip(looking, variants[state], strict=True)) for state in first]
        self.width = max(len(word) for terminal in looking for word in terminal.looked_at)
        table = np.array([[number_of[after] for after in texts.table[state]] for state in first], np.int32)
        rows = byte_rows(texts.partition, table)
        self._after = np.where(rows == DEAD, START, rows).reshape(-1).tolist()  # which no text leads to

    def after(self, number: int, byte: int) -> int:
        """Gives the number after one more byte."""
        return self._after[256 * number + byte]

    def after_text(self, number: int, text: bytes) -> int:
        """Gives the number after a text."""
        for byte in text:
            number = self.after(number, byte)
        return number

    def row(self, number: int) -> Sequence[int]:
        """Gives the number after each byte."""
        return self._after[256 * number : 256 * number + 256]

    def terminal(self, terminal: Terminal, context: int) -> Terminal:
        """Gives a terminal as it is where a context stands before it."""
        return self._terminals[context].get(terminal, terminal)

    @staticmethod
    def of(terminals: Iterable[Terminal]) -> LeftContexts | None:
        """Gives the contexts of some terminals, None if none of them looks at what stands before it."""
        terminals = list(terminals)
        return LeftContexts(terminals) if any(terminal.looked_at for terminal in terminals) else None


def _merged(automata: Sequence[tuple[MatchAutomaton, ...]], table: Sequence[Sequence[int]]) -> list[int]:
    """Gives each state of what stands before a place a number; what nothing tells apart has the same.

    Args:
        automata: By state, those of the terminals.
        table: The next state by state and class.
    """
    known: dict[int, tuple] = {}
    values = [tuple(known.setdefault(id(each), _value(each)) for each in several) for several in automata]
    found = _numbered(values)
    while True:
        finer = _numbered(
            [(found[state], *(found[after] for after in row)) for state, row in enumerate(table)]
        )
        if max(finer) == max(found):
            return finer
        found = finer


def _numbered(values: Iterable[Hashable]) -> list[int]:
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(value, len(numbers)) for value in values]


def _value(automaton: MatchAutomaton) -> tuple[bytes, tuple]:
    return automaton.flat.tobytes(), tuple(automaton.labels)
