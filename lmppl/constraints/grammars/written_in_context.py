"""How tokens can be written one after another where terminals look at what stands before them.

As in `token_texts`, each token has one text. It is written after a filler, which decides what is found
whatever stands before that; or right after the token before it, if it is found there whatever that is. All is
tried with the scanners that may read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

from lmppl.constraints.grammars.grammar_terminals import Terminal
from lmppl.constraints.grammars.lalr_tables import END
from lmppl.constraints.grammars.left_contexts import START, LeftContexts
from lmppl.constraints.grammars.scanner import IGNORED, Point, Scanner
from lmppl.constraints.grammars.token_texts import TextTree, followed, is_cut, matched, sure_behind

MAX_REPEATED = 8

InContexts = tuple[Scanner, ...]
"""The scanners of a place, by what stands before it."""


class WrittenInContext:
    """The texts of one grammar. Sets of tokens are the bits of an int; END says that the text may end.

    Args:
        terminals: All.
        ignored: The names of those that are left out.
        contexts: Of the terminals.
        readers: For each token, the scanners of the places where it may be wanted.

    Attributes:
        filler: What is left out wherever it is written, empty if nothing is known that is.
        filled: The tokens whose texts may be written after the filler.
        all: What may be written after a lexeme that has ended.
    """

    def __init__(
        self,
        terminals: Sequence[Terminal],
        ignored: Set[str],
        contexts: LeftContexts,
        readers: Mapping[int, Iterable[InContexts]],
    ):
        self._contexts = contexts
        every = {each: None for several in readers.values() for each in several}
        scanners = [*dict.fromkeys(scanner for in_contexts in every for scanner in in_contexts)]
        self.filler = _filler([t for t in terminals if t.name in ignored], contexts, scanners)
        self._context = contexts.after_text(START, self.filler)
        self._texts = {
            t.token: contexts.terminal(t, self._context).automaton.shortest
            for t in terminals
            if t.name not in ignored
        }
        self._tree = TextTree(self._texts)
        self.filled = sum(
            1 << token
            for token, text in self._texts.items()
            if self.filler and text and all(_divides(scanner, self.filler, text) for scanner in scanners)
        )
        self._anywhere = sum(
            1 << token
            for token, several in readers.items()
            if all(self._place(scanner, token) for in_contexts in several for scanner in in_contexts)
        )
        self.all = self.filled | self._anywhere | 1 << END

    def is_found(self, in_contexts: InContexts, token: int) -> bool:
        """Says whether a token is found in its text, wherever that may be written."""
        return all(self._place(scanner, token) for scanner in self._reading(in_contexts, token))

    def following(self, token: int, several: Iterable[InContexts]) -> int:
        """Gives what may come next after a token that was written by its text, whatever read it."""
        found = self.all
        for in_contexts in several:
            for scanner in self._reading(in_contexts, token):
                place = self._place(scanner, token)
                if place is not None:
                    found &= self.after(scanner, *place)
        return found

    def after(self, scanner: Scanner, point: Point, slot: int) -> int:
        """Gives what may come next for sure if the match of a slot, which ends here, is to be found."""
        if point.settled:
            return self.all if slot == 0 else 0
        found = 1 << END if point.end == slot else 0
        for filler, tokens in ((self.filler, self.filled), (b"", self._anywhere)):
            place = followed(scanner, (point, slot), filler) if tokens else None
            found |= sure_behind(scanner, place, tokens & ~found, self._tree)
        return found

    def is_filler(self, scanner: Scanner, point: Point, context: int) -> bool:
        """Says whether the filler, or what is no different, has just been written at the beginning."""
        if not self.filler or context != self._context:
            return False
        place = matched(scanner, self.filler, IGNORED)
        return place is not None and place[0] is point

    def _reading(self, in_contexts: InContexts, token: int) -> Sequence[Scanner]:
        return in_contexts if self._anywhere >> token & 1 else (in_contexts[self._context],)

    def _place(self, scanner: Scanner, token: int) -> tuple[Point, int] | None:
        text = self._texts.get(token)
        return matched(scanner, text, token) if text else None


def _filler(ignored: Sequence[Terminal], contexts: LeftContexts, scanners: Sequence[Scanner]) -> bytes:
    """Gives a shortest text that every scanner leaves out, and after which all stand in one context.

    Empty if none is found. White space may have to be repeated, where terminals look further back.
    """
    texts = {
        contexts.terminal(t, context).automaton.shortest for t in ignored for context in contexts.numbers
    }
    texts = {text * count for text in texts for count in range(1, 1 + min(contexts.width, MAX_REPEATED))}
    for text in sorted(texts - {b""}, key=lambda text: (len(text), text)):
        if len({contexts.after_text(context, text) for context in contexts.numbers}) == 1 and all(
            matched(scanner, text, IGNORED) for scanner in scanners
        ):
            return text
    return b""


def _divides(scanner: Scanner, filler: bytes, text: bytes) -> bool:
    """Says whether a filler is left out before a text for sure."""
    place = matched(scanner, filler, IGNORED)
    return place is not None and is_cut(scanner, place, text)
