"""What stands before a place of a text, as far as the terminals of a grammar look at it.

`re` sees the character before the place where a match begins: `\\b` and look-behind look at it. Of all
characters, only a few classes are told apart. So a terminal has an automaton for each class, and whoever
reads a text keeps the class of its last character.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from lmppl.constraints.character_sets import Partition
from lmppl.constraints.grammars.grammar_terminals import Terminal
from lmppl.constraints.grammars.match_automata import MatchAutomaton
from lmppl.constraints.transition_tables import DEAD
from lmppl.constraints.utf8_encoding import byte_rows

START = 0
"""The context where the text begins, and where the same is found."""


class LeftContexts:
    """The contexts of one grammar: classes of what stands before a place.

    Args:
        terminals: Of the grammar. Some look at what stands before them.

    Attributes:
        numbers: Of the contexts. A text that ends within a character has another number.

    Raises:
        ConstraintError: A terminal has no automaton.
    """

    def __init__(self, terminals: Iterable[Terminal]):
        looking = [terminal for terminal in terminals if terminal.looked_at]
        partition = Partition.of(options for terminal in looking for options in terminal.looked_at)
        in_turn = zip(*(_variants(terminal, partition) for terminal in looking), strict=True)
        numbers: dict[tuple, int] = {}
        context_of: list[int] = []
        self._terminals: list[dict[Terminal, Terminal]] = []
        for variants in in_turn:
            number = numbers.setdefault(tuple(_value(each.automaton) for each in variants), len(numbers))
            context_of.append(number)
            if number == len(self._terminals):
                self._terminals.append(dict(zip(looking, variants, strict=True)))
        self.numbers = range(len(numbers))
        table = np.tile(np.array(context_of[1:], np.int32), (len(numbers), 1))
        rows = byte_rows(partition, table)
        self._after = np.where(rows == DEAD, START, rows).reshape(-1).tolist()  # which no text leads to

    def after(self, number: int, byte: int) -> int:
        """Gives the number after one more byte."""
        return self._after[256 * number + byte]

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


def _variants(terminal: Terminal, partition: Partition) -> list[Terminal]:
    """Gives a terminal at the start of the text, and after each class; classes alike to it share one."""
    own = Partition.of(terminal.looked_at)
    by_class = [terminal.after(example) for example in own.examples]
    return [terminal.after(""), *(by_class[own.class_of(example)] for example in partition.examples)]


def _value(automaton: MatchAutomaton) -> tuple[bytes, tuple]:
    return automaton.flat.tobytes(), tuple(automaton.labels)
