"""How tokens can be written one after another under a lexer, so that it cuts them apart as they are meant.

Each token has one text, and may be written right after the token before it, or after a filler, which is
left out. That a scanner finds a match there is tried with these texts, by running it. A scanner of fewer
terminals finds the same, except for words, which another terminal may take: those are tried in each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from lmppl.constraints.grammars.grammar_terminals import Terminal
from lmppl.constraints.grammars.lalr_tables import END
from lmppl.constraints.grammars.scanner import IGNORED, Point, Scanner

Reader = TypeVar("Reader", contravariant=True)

MAX_SOUGHT = 5_000
"""Points of a scanner that are looked at to find texts."""

Place = tuple[Point, int]
"""A point, and the slot that is meant to be found."""


class WrittenTokens(Protocol[Reader]):
    """How the tokens of a grammar can be written. Sets of tokens are bits; END says that the text may end.

    Attributes:
        all: What may be written after a lexeme that has ended.
    """

    all: int

    def is_found(self, reader: Reader, token: int, /) -> bool:
        """Says whether what reads a place finds a token in its text."""
        ...

    def following(self, token: int, readers: Iterable[Reader], /) -> int:
        """Gives what may come next after a token that was written by its text, whatever read it."""
        ...

    def after(self, scanner: Scanner, point: Point, slot: int, /) -> int:
        """Gives what may come next for sure if the match of a slot, which ends here, is to be found."""
        ...


class TokenTexts:
    """The texts of one grammar. Sets of tokens are the bits of an int; END says that the text may end.

    Args:
        terminals: All.
        ignored: The names of those that are left out.
        scanner: Of all of them.
        needed: Tokens that are sure to be found in some text, so that another one is looked for if the
            shortest that a terminal matches does not do.
    """

    def __init__(
        self,
        terminals: Sequence[Terminal],
        ignored: frozenset[str],
        scanner: Scanner,
        needed: Iterable[int] = (),
    ):
        self._scanner = scanner
        shortest = {t: t.automaton.shortest for t in terminals}
        fillers = sorted({shortest[t] for t in terminals if t.name in ignored} - {b""}, key=len)
        self._texts = {
            t.token: _with_filler(t, shortest[t], fillers) for t in terminals if t.name not in ignored
        }
        missing = {t for t in needed if t not in self._texts or self._written(scanner, t) is None}
        self._texts |= _sought(scanner, missing) if missing else {}
        self._tree = TextTree(self._texts)
        self._words = {t.token for t in terminals if t.word is not None}
        self._by_all = {t for t in self._texts if self._written(scanner, t) is not None}
        self.all = sum(1 << token for token in self._texts) | 1 << END
        self._fillers = [*((f, self._divided_by(f)) for f in fillers), (b"", self.all & ~(1 << END))]
        self._after_fillers: dict[tuple[Scanner, bytes], Place | None] = {}
        self._found: dict[tuple[Scanner, int], bool] = {}
        self._following: dict[tuple[Scanner, int], int] = {}

    def is_found(self, scanner: Scanner, token: int) -> bool:
        """Says whether a scanner finds a token in its text."""
        if token not in self._texts:
            return False
        if token not in self._words and token in self._by_all:
            return True
        if (scanner, token) not in self._found:
            self._found[scanner, token] = self._written(scanner, token) is not None
        return self._found[scanner, token]

    def following(self, token: int, scanners: Iterable[Scanner]) -> int:
        """Gives what may come next after a token that was written by its text, whatever scanner read it."""
        found = self.all
        if token not in self._words and token in self._by_all:
            scanners = [self._scanner]
        for scanner in scanners:
            key = scanner, token
            if key not in self._following:
                place = self._written(scanner, token)
                self._following[key] = self.all if place is None else self.after(scanner, *place)
            found &= self._following[key]
        return found

    def after(self, scanner: Scanner, point: Point, slot: int) -> int:
        """Gives what may come next for sure if the match of a slot, which ends here, is to be found."""
        if point.settled:
            return self.all if slot == 0 else 0
        found = 1 << END if point.end == slot else 0
        is_filler = point.slots[slot] == ~IGNORED
        for filler, tokens in self._fillers:
            if is_filler and filler and self._filled(scanner, filler) == (point, slot):
                found |= tokens
                continue
            place = followed(scanner, (point, slot), filler)
            found |= sure_behind(scanner, place, tokens & ~found, self._tree)
        return found

    def _filled(self, scanner: Scanner, filler: bytes) -> Place | None:
        """Gives the place after a filler."""
        key = scanner, filler
        if key not in self._after_fillers:
            self._after_fillers[key] = matched(scanner, filler, IGNORED)
        return self._after_fillers[key]

    def _written(self, scanner: Scanner, token: int) -> Place | None:
        return matched(scanner, self._texts[token], token)

    def _divided_by(self, filler: bytes) -> int:
        """Gives the tokens before whose texts a filler is left out, by each scanner."""
        place = matched(self._scanner, filler, IGNORED)
        tokens = sum(1 << token for token, text in self._texts.items() if text)
        return sure_behind(self._scanner, place, tokens, self._tree)


def _with_filler(terminal: Terminal, text: bytes, fillers: Iterable[bytes]) -> bytes:
    """Puts a filler into the text of a token that would otherwise take it for its own beginning."""
    for filler in fillers:
        if text and terminal.automaton.find(filler + text) == len(filler + text):
            return filler + text
    return text


def _sought(scanner: Scanner, tokens: set[int]) -> dict[int, bytes]:
    """Gives a shortest text with which each token is found in the end, if there is one."""
    found: dict[int, bytes] = {}
    texts = {scanner.start: b""}
    todo = [scanner.start]
    for point in todo:  # grows while it is walked
        if point.settled or len(todo) > MAX_SOUGHT or len(found) == len(tokens):
            continue
        for byte in scanner.representatives(point):
            after = scanner.after(point, byte)
            if after is not None and after not in texts:
                texts[after] = texts[point] + bytes((byte,))
                todo.append(after)
                end = ~after.slots[after.end] if after.end >= 0 else IGNORED
                if end in tokens:
                    found.setdefault(end, texts[after])
    return found


def matched(scanner: Scanner, text: bytes, token: int) -> Place | None:
    """Gives the place after a text if a match of a token ends with it, and none is sure before."""
    point: Point | None = scanner.start
    for byte in text:
        point = None if point.settled else scanner.after(point, byte)
        if point is None:
            return None
    return (point, point.slots.index(~token)) if ~token in point.slots else None


class TextTree:
    """The beginnings of the texts of tokens, so that what many of them begin with is tried once.

    Attributes:
        tokens: Those whose texts begin so, as bits.
        longer: Longer beginnings, by the next byte.
    """

    def __init__(self, texts: Mapping[int, bytes]):
        self.tokens = 0
        self.longer: dict[int, TextTree] = {}
        for token, text in texts.items():
            node = self
            node.tokens |= 1 << token
            for byte in text:
                node = node.longer.get(byte) or node.longer.setdefault(byte, TextTree({}))
                node.tokens |= 1 << token


def sure_behind(scanner: Scanner, place: Place | None, tokens: int, tree: TextTree) -> int:
    """Gives those of some tokens, as bits, before whose texts the match at a place is found for sure."""
    found = 0
    todo = [] if place is None else [(*place, tree)]
    while todo:
        point, slot, node = todo.pop()
        if point.settled:
            found |= node.tokens & tokens if slot == 0 else 0
            continue
        for byte, longer in node.longer.items():
            after = scanner.after(point, byte) if longer.tokens & tokens else None
            if after is not None and slot in after.slots:
                todo.append((after, after.slots.index(slot), longer))
    return found


def is_cut(scanner: Scanner, place: Place, text: bytes) -> bool:
    after = followed(scanner, place, text)
    return after is not None and after[0].settled


def followed(scanner: Scanner, place: Place, text: bytes) -> Place | None:
    """Gives the place after some bytes, or where it is settled; None if another match is found."""
    point, slot = place
    for byte in text:
        if point.settled:
            break
        after = scanner.after(point, byte)
        if after is None or slot not in after.slots:
            return None
        point, slot = after, after.slots.index(slot)
    return None if point.settled and slot else (point, slot)
