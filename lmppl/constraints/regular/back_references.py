"""Back-references to groups of few texts, written out: `(a|b)x\\1` is `ax(?:a)|bx(?:b)`, in this order.

Of all ways to match, backtracking tries those first in which a group matches the text that it likes best,
with all that can be made of the rest up to the last back-reference to it; then those with the next text.
That is what it does with alternatives, so `re` finds the same, and what is written out is regular.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from lmppl.constraints.regular import regex_package
from lmppl.constraints.regular.character_sets import CharacterSet, case_variants, single
from lmppl.constraints.regular.regex_syntax import (
    Alternation,
    Assertion,
    Character,
    Group,
    Look,
    Node,
    Reference,
    Repetition,
    Written,
    may_refer,
    parse,
    refusal,
    walk,
)
from lmppl.constraints.regular.regex_syntax import Sequence as InTurn
from lmppl.errors import ConstraintError

MAX_TEXTS = 1_000
"""Of a group that is referred to."""

MAX_WRITTEN = 500_000
"""Parts that are written out, all of them together: some seconds."""


def parsed(
    pattern: str,
    flags: int = 0,
    look_around: bool = False,
    by_regex: bool = False,
) -> Node:
    """Reads a pattern as `parse` does, and writes out its back-references.

    Args:
        pattern: As of `parse`, with the other arguments.
        flags: Of `re`.
        look_around: Whether look-ahead and look-behind are read.
        by_regex: Whether it means what it does to the package `regex`.

    Raises:
        ConstraintError: As of `parse`; or what a back-reference refers to has more than 1,000 texts, or may
            not have matched; or too much would have to be written out.
    """
    tree = parse(pattern, flags, look_around, by_regex, references=True)
    if not may_refer(pattern):
        return tree
    writer = _Writer(tree, Written(pattern))
    if by_regex and writer.first is not None:
        raise ConstraintError(
            f"The pattern {regex_package.shown(pattern)} has a back-reference at position "
            f"{writer.first.position}, with which the package `regex` does not always find what matches. Let "
            "`re` read it, or write it without."
        )
    try:
        return writer.tree(tree, {})
    except RecursionError as error:
        raise ConstraintError(
            f"The pattern {regex_package.shown(pattern)} is nested too deeply. Use fewer groups."
        ) from error


def numbered(pattern: str, flags: int = 0, by_regex: bool = False) -> Reference | None:
    """Gives the first back-reference that counts groups, such as `\\1`; None if there is none."""
    if not may_refer(pattern):
        return None
    tree = parse(pattern, flags, True, by_regex, references=True)
    return next((n for n in walk(tree) if isinstance(n, Reference) and not n.by_name), None)


Known = Mapping[int, str]
"""The texts of the groups that have matched for sure, by number."""


class Way(NamedTuple):
    """How a part of a pattern may match: what is read, the text that it is, and texts of groups in it."""

    nodes: tuple[Node, ...]
    text: str
    groups: tuple[tuple[int, str], ...]


NOTHING = Way((), "", ())


class _TooManyTexts(Exception):
    """A group has more texts than are written out."""


class _Writer:
    """The back-references of one pattern."""

    def __init__(self, tree: Node, written: Written):
        self._written = written
        self._first: dict[int, Reference] = {}
        for node in walk(tree):
            if isinstance(node, Reference):
                self._first.setdefault(node.number, node)
        self._num_written = 0

    @property
    def first(self) -> Reference | None:
        """The first back-reference, if there is one."""
        return min(self._first.values(), key=lambda reference: reference.position, default=None)

    def tree(self, node: Node, known: Known) -> Node:
        """Writes out a part of the pattern.

        Args:
            node: It.
            known: What back-references in it may refer to, beside the groups in it.
        """
        match node:
            case Group() | InTurn():
                return self._in_turn(self._opened([node]), known)
            case Reference():
                return _joined(self._referred(node, known))
            case Alternation(options):
                return Alternation(tuple(self.tree(option, known) for option in options))
            case Repetition(item, low, high, position, lazy):
                return Repetition(self.tree(item, known), low, high, position, lazy)
            case Look(item, ahead, negative, position):
                return Look(self.tree(item, known), ahead, negative, position)
        return node

    def _opened(self, items: Iterable[Node]) -> Iterator[Node]:
        """Gives what stands in turn; only groups that are referred to are left as groups."""
        for item in items:
            while isinstance(item, Group) and item.number not in self._first:
                item = item.item
            if isinstance(item, InTurn):
                yield from self._opened(item.items)
            else:
                yield item

    def _in_turn(self, nodes: Iterable[Node], known: Known) -> Node:
        items = list(nodes)
        last = self._last_references(items)
        parts: list[Node] = []
        at = 0
        while at < len(items):
            item = items[at]
            end = _scope(items, at, last) if isinstance(item, Group) else at
            if end > at:
                parts.append(self._by_text(item, items[at + 1 : end + 1], known))
            else:
                parts.append(self.tree(item.item if isinstance(item, Group) else item, known))
            at = end + 1
        return _joined(parts)

    def _by_text(self, group: Node, scope: Sequence[Node], known: Known) -> Node:
        """Writes out a group with what comes after it, up to the last back-reference to it."""
        try:
            ways = self._ways(group, known)
        except _TooManyTexts:
            numbers = [node.number for node in walk(group) if isinstance(node, Group)]
            first = min((self._first[n] for n in numbers if n in self._first), key=lambda r: r.position)
            raise self._refusal(
                first,
                f" to a group that matches more than {MAX_TEXTS:,} texts, or may grow without bound",
                "List what it matches, as in `(\"|')`, or bound its repeats.",
            ) from None
        options = [_joined((*way.nodes, self._in_turn(scope, {**known, **dict(way.groups)}))) for way in ways]
        return Alternation(tuple(options)) if options else Character(())

    def _last_references(self, items: Sequence[Node]) -> dict[int, int]:
        """Gives where the last back-reference to each group is."""
        last: dict[int, int] = {}
        for at, item in enumerate(items):
            for node in walk(item):
                self._num_written += 1
                if isinstance(node, Reference):
                    last[node.number] = at
        if self._num_written > MAX_WRITTEN and self.first is not None:
            raise self._refusal(
                self.first,
                f", and more than {MAX_WRITTEN:,} steps to write them out",
                "Let groups that are referred to match fewer texts.",
            )
        return last

    def _ways(self, node: Node, known: Known) -> list[Way]:
        """Gives the ways to match a part, those that are tried first first, each once."""
        match node:
            case Character(options):
                if sum(high - low for low, high in options) > MAX_TEXTS:
                    raise _TooManyTexts
                return [Way((_one(c),), c, ()) for c in _characters(options)]
            case InTurn(items):
                return self._ways_in_turn(items, known)
            case Group(item, number):
                found = self._ways(item, known)
                if number in self._first:
                    found = [way._replace(groups=(*way.groups, (number, way.text))) for way in found]
                return found
            case Reference():
                return self._ways_in_turn(self._referred(node, known), known)
            case Alternation(options):
                return _few(
                    way._replace(groups=()) for option in options for way in self._ways(option, known)
                )
            case Repetition():
                return self._repeated(node, known)
            case Assertion() | Look():
                return [Way((self.tree(node, known),), "", ())]

    def _ways_in_turn(self, items: Iterable[Node], known: Known) -> list[Way]:
        found = [NOTHING]
        for item in items:
            found = _few(
                Way(way.nodes + more.nodes, way.text + more.text, way.groups + more.groups)
                for way in found
                for more in self._ways(item, {**known, **dict(way.groups)})
            )
        return found

    def _repeated(self, repetition: Repetition, known: Known) -> list[Way]:
        once = [way._replace(groups=()) for way in self._ways(repetition.item, known)]
        high = repetition.high
        if high is None or high > MAX_TEXTS or (high > 1 and any(not way.text for way in once)):
            raise _TooManyTexts  # or loops that `re` leaves where nothing more is read
        found = [NOTHING]
        for count in reversed(range(high)):  # the ways to go on after so many
            more = [Way(way.nodes + rest.nodes, way.text + rest.text, ()) for way in once for rest in found]
            stopped = [NOTHING] if count >= repetition.low else []
            found = _few([*stopped, *more] if repetition.lazy else [*more, *stopped])
        return found

    def _referred(self, reference: Reference, known: Known) -> list[Node]:
        """Gives what a back-reference reads."""
        if reference.number not in known:
            raise self._refusal(
                reference,
                " to a group that may not have matched before it, or that stands in a repetition, in "
                "alternatives or in look-around that the back-reference is not in",
                "Put both into the same.",
            )
        text = known[reference.number]
        if not reference.flags & re.IGNORECASE:
            return [_one(character) for character in text]
        flags = reference.flags & (re.IGNORECASE | re.ASCII)
        return [Character(_same_but_for_case(c, int(flags))) for c in text]

    def _refusal(self, reference: Reference, more: str, advice: str) -> ConstraintError:
        return refusal(self._written, "a back-reference", reference.position, more, advice)


def _scope(items: Sequence[Node], at: int, last: Mapping[int, int]) -> int:
    """Gives where the last back-reference is to the group at a place, or to another one in between."""
    end = at
    while at <= end:
        if isinstance(items[at], Group):
            numbers = [node.number for node in walk(items[at]) if isinstance(node, Group)]
            end = max(end, *(last.get(number, end) for number in numbers))
        at += 1
    return end


def _few(ways: Iterable[Way]) -> list[Way]:
    """Gives ways in order, each once."""
    found: dict[Way, None] = {}
    for number, way in enumerate(ways):
        if number >= MAX_TEXTS:
            raise _TooManyTexts
        found[way] = None
    return list(found)


def _joined(items: Iterable[Node]) -> Node:
    flat: list[Node] = []
    for item in items:
        if isinstance(item, InTurn):
            flat += item.items
        else:
            flat.append(item)
    return flat[0] if len(flat) == 1 else InTurn(tuple(flat))


def _one(character: str) -> Character:
    return Character(single(character))


def _characters(options: CharacterSet) -> Iterator[str]:
    return (chr(n if n < 0xD800 else n + 0x800) for span in options for n in range(*span))


@lru_cache(4096)
def _same_but_for_case(character: str, flags: int) -> CharacterSet:
    """Gives what a back-reference under IGNORECASE takes for a character: fewer than a literal does."""
    taken = re.compile(r"(?s)(.)\1", flags).fullmatch
    variants = _characters(case_variants(character, flags))
    return tuple(single(other)[0] for other in variants if taken(character + other))
