"""A regular expression as a program of ordered choices, which says what `re.match` would find first.

Thompson's automaton with its choices in order (Pike 1987; Cox 2010, "Regular expression matching: the
virtual machine approach"): of all ways to match, the backtracking of `re` finds the one that takes the
earliest option at the earliest choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

from lmppl.constraints.grammars.preceding_texts import Word
from lmppl.constraints.regular.character_automaton import size
from lmppl.constraints.regular.character_sets import (
    NUM_CHARACTERS,
    CharacterSet,
    Partition,
    matched_by,
    single,
)
from lmppl.constraints.regular.regex_syntax import (
    Alternation,
    Assertion,
    Character,
    Look,
    Node,
    Repetition,
    Sequence,
    walk,
)
from lmppl.errors import ConstraintError

MAX_STEPS = 100_000
MAX_LOOKED_FOR = 1_000  # characters behind a place, of all words together

_ANYTHING: CharacterSet = ((0, NUM_CHARACTERS),)
_NEWLINE = single("\n")
_NO_NEWLINE = matched_by(".", 0)


@dataclass(frozen=True)
class Step:
    """Reads one character of some classes (bits), and goes on at `after`."""

    classes: int
    after: int


@dataclass(frozen=True)
class Choice:
    """Goes on at any of several places, the preferred first."""

    options: tuple[int, ...]


@dataclass(frozen=True)
class Ahead:
    """Goes on at `after` if a match of the program at `begin` comes next, or if none does."""

    negative: bool
    begin: int
    after: int


@dataclass(frozen=True)
class Behind:
    """Goes on at `after` if the last `width` characters are, or are not, one of some words.

    They are given by their numbers among all that are looked for.
    """

    negative: bool
    words: frozenset[int]
    width: int
    position: int
    after: int


@dataclass(frozen=True)
class Found:
    """The end: of the whole, or of a look-ahead."""


Instruction = Step | Choice | Ahead | Behind | Found


class Program:
    """The instructions of a pattern.

    Args:
        pattern: As it is written.
        tree: What it means.

    Attributes:
        pattern: As it is written.
        partition: The classes of characters that the pattern tells apart.
        instructions: By number; 0 is the end.
        begin: The first.
        looked_at: The words that are looked for behind a place.
        look_behind: How many characters back it looks.

    Raises:
        ConstraintError: It has what cannot be followed: the message says what.
    """

    def __init__(self, pattern: str, tree: Node):
        self.pattern = pattern
        tree = expanded(tree)
        nodes = list(walk(tree))
        self._refuse(tree, nodes)
        self.partition = Partition.of(node.options for node in nodes if isinstance(node, Character))
        self.instructions: list[Instruction] = [Found()]
        self._numbers: dict[Step | Choice, int] = {}
        self._words: dict[Word, int] = {}
        self.begin = self._added(tree, 0)
        self.looked_at = tuple(self._words)
        self.look_behind = max(map(len, self._words), default=0)

    def classes(self, options: CharacterSet) -> int:
        """Gives the bits of the classes that a set consists of."""
        return sum(1 << number for number in self.partition.members[options])

    def _new(self, instruction: Instruction) -> int:
        self.instructions.append(instruction)
        return len(self.instructions) - 1

    def _shared(self, instruction: Step | Choice) -> int:
        """Gives the number of an instruction; equal ones are one, so that words share their endings."""
        if instruction not in self._numbers:
            self._numbers[instruction] = self._new(instruction)
        return self._numbers[instruction]

    def _added(self, tree: Node, after: int) -> int:
        """Adds a tree that goes on at `after`, and gives where it begins."""
        match tree:
            case Character(options):
                return self._shared(Step(self.classes(options), after))
            case Sequence(items):
                for item in reversed(items):
                    after = self._added(item, after)
                return after
            case Alternation(options):
                return self._shared(Choice(tuple(self._added(option, after) for option in options)))
            case Repetition():
                return self._repeated(tree, after)
            case Look(item, True, negative):
                return self._new(Ahead(negative, self._added(item, 0), after))
            case Look(item, False, negative, position):
                return self._new(self._behind(item, negative, position, after))
        raise AssertionError(tree)

    def _behind(self, item: Node, negative: bool, position: int, after: int) -> Behind:
        words = dict.fromkeys(_words(item))
        numbers = frozenset(self._words.setdefault(word, len(self._words)) for word in words if word)
        if sum(map(len, self._words)) > MAX_LOOKED_FOR:
            raise self.refusal(f"looks back for more than {MAX_LOOKED_FOR:,} characters", position)
        return Behind(negative, numbers, max(map(len, words), default=0), position, after)

    def _repeated(self, tree: Repetition, after: int) -> int:
        def choice(more: int) -> tuple[int, int]:
            return (after, more) if tree.lazy else (more, after)

        begin = after
        if tree.high is None:
            begin = self._new(Choice(()))
            self.instructions[begin] = Choice(choice(self._added(tree.item, begin)))
        else:
            for _ in range(tree.high - tree.low):
                begin = self._new(Choice(choice(self._added(tree.item, begin))))
        for _ in range(tree.low):
            begin = self._added(tree.item, begin)
        return begin

    def _refuse(self, tree: Node, nodes: list[Node]) -> None:
        if size(tree) > MAX_STEPS:
            raise ConstraintError(
                f"The pattern {self.pattern[:60]!r} has more than {MAX_STEPS:,} steps when its repeats are "
                "written out. Write a smaller bound or `*`."
            )
        for node in nodes:
            if isinstance(node, Repetition) and _may_be_empty(node.item) and _prefers_empty(node.item):
                raise self.refusal("repeats what may be empty and prefers to be,", node.position)
            if isinstance(node, Look) and not node.ahead:
                if any(isinstance(inner, Look) for inner in walk(node.item)):
                    raise self.refusal("has look-around or an anchor inside look-behind", node.position)
                if _length(node.item) > MAX_LOOKED_FOR:
                    raise self.refusal(
                        f"looks back for more than {MAX_LOOKED_FOR:,} characters", node.position
                    )

    def refusal(self, what: str, position: int) -> ConstraintError:
        """Gives the error for a pattern that does something that is not supported."""
        return ConstraintError(self.refused(what, position))

    def refused(self, what: str, position: int) -> str:
        """Gives the message of that."""
        return (
            f"The pattern {self.pattern[:60]!r} {what} at position {position}, which is not supported in "
            "a terminal. Write it without."
        )


def expanded(tree: Node) -> Node:
    """Writes `^ $ \\A \\Z \\b \\B` as look-around."""
    match tree:
        case Sequence(items):
            return Sequence(tuple(map(expanded, items)))
        case Alternation(options):
            return Alternation(tuple(map(expanded, options)))
        case Repetition(item, low, high, position, lazy):
            return Repetition(expanded(item), low, high, position, lazy)
        case Look(item, ahead, negative, position):
            return Look(expanded(item), ahead, negative, position)
        case Assertion():
            return _as_look_around(tree)
    return tree


def _as_look_around(assertion: Assertion) -> Node:
    anything, no_newline = Character(_ANYTHING), Character(_NO_NEWLINE)
    match assertion.kind:
        case "text start":
            return Look(anything, False, True, 0)
        case "line start":
            return Look(no_newline, False, True, 0)
        case "text end":
            return Look(anything, True, True, 0)
        case "last line end":
            more = Alternation((no_newline, Sequence((Character(_NEWLINE), anything))))
            return Look(more, True, True, 0)
        case "line end":
            return Look(no_newline, True, True, 0)
    word = Character(assertion.words)
    sides = ((False, True), (True, False)) if assertion.kind == "word edge" else ((False,) * 2, (True,) * 2)
    return Alternation(
        tuple(Sequence((Look(word, False, no, 0), Look(word, True, none, 0))) for no, none in sides)
    )


def _words(tree: Node) -> list[Word]:
    """Gives what a look-behind looks for; `re` has made sure that all have one length."""
    match tree:
        case Character(options):
            return [(options,)]
        case Sequence(items):
            found: list[Word] = [()]
            for item in items:
                found = [word + more for word in found for more in _words(item)]
            return found
        case Alternation(options):
            return [word for option in options for word in _words(option)]
        case Repetition(item, low):
            return _words(Sequence((item,) * low))
    raise AssertionError(tree)


def _length(tree: Node) -> int:
    """Gives a bound of the characters in all words that a look-behind looks for."""
    number, width = _number_and_width(tree)
    return number * width


def _number_and_width(tree: Node) -> tuple[int, int]:
    match tree:
        case Sequence(items):
            numbers, widths = zip(*map(_number_and_width, items), strict=True) if items else ((), ())
            return reduce(_times, numbers, 1), sum(widths)
        case Alternation(options):
            numbers, widths = zip(*map(_number_and_width, options), strict=True)
            return sum(numbers), max(widths)
        case Repetition(item, low):
            number, width = _number_and_width(item)
            return reduce(_times, [number] * min(low, 10), 1), width * low  # 2**10 are too many
    return 1, 1


def _times(one: int, other: int) -> int:
    return min(one * other, MAX_LOOKED_FOR + 1)


def _may_be_empty(tree: Node) -> bool:
    match tree:
        case Character():
            return False
        case Sequence(items):
            return all(map(_may_be_empty, items))
        case Alternation(options):
            return any(map(_may_be_empty, options))
        case Repetition(item, low):
            return low == 0 or _may_be_empty(item)
    return True


def _prefers_empty(tree: Node) -> bool:
    """Says whether the empty match comes before another one: then `re` leaves a loop where we would not."""
    match tree:
        case Sequence(items):
            return any(map(_prefers_empty, items))
        case Alternation(options):
            return any(map(_may_be_empty, options[:-1])) or any(map(_prefers_empty, options))
        case Repetition(item, _, _, _, lazy):
            return (lazy and not _is_empty(item)) or _prefers_empty(item)
    return False


def _is_empty(tree: Node) -> bool:
    return tree == Sequence(())
