"""Python's syntax of regular expressions as a tree, without what is not regular.

Back-references are read where they are asked for: `back_references` writes out those that are regular.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from lmppl.constraints.regular import regex_package
from lmppl.constraints.regular.character_sets import CharacterSet, case_variants, matched_by, single
from lmppl.constraints.regular.regex_package import shown
from lmppl.errors import ConstraintError

MAX_LENGTH = 200_000  # characters: 2 s and 60 MB
MAX_CLASSES = 300  # different ones, each a search through all characters, of 1 to 30 ms

_IGNORECASE, _VERBOSE = int(re.IGNORECASE), int(re.VERBOSE)  # less work for `&` than Python's enumeration
_CASES = int(re.IGNORECASE | re.ASCII)
_WHITESPACE = frozenset(" \t\n\r\v\f")  # what `re.VERBOSE` skips
_PLAIN = re.compile(r"[^\\.^$*+?{}\[\]|()#\s]+")  # a run of characters that stand for themselves
_MAY_REFER = re.compile(r"\\[1-9]|\(\?P=")
_REFERENCE = re.compile(r"\\(?P<number>[1-9][0-9]?)|\(\?P=(?P<name>[^)]*)\)")
_COUNT = re.compile(r"\{(?!\})([0-9]*)(,?)([0-9]*)\}")
_HEX = "[0-9a-fA-F]"
_ESCAPE = re.compile(
    rf"\\(?:x{_HEX}{{2}}|u{_HEX}{{4}}|U{_HEX}{{8}}|N\{{[^}}]*\}}|0[0-7]{{0,2}}|[0-7]{{3}}|.)", re.S
)
_CLASS = re.compile(r"\[\^?(?:\\.|[^\\])(?:\\.|[^\\\]])*\]", re.S)
_FLAGS = re.compile(r"\(\?([aiLmstux]*)(?:-([imsx]+))?([:)])")
_LOOK = re.compile(r"\(\?(<?)([=!])")
_REFUSED_GROUPS = {
    "(?=": "look-ahead",
    "(?!": "negative look-ahead",
    "(?<=": "look-behind",
    "(?<!": "negative look-behind",
    "(?(": "a conditional on a group",
    "(?>": "an atomic group",
}


@dataclass(frozen=True)
class Character:
    """One character out of a set."""

    options: CharacterSet


@dataclass(frozen=True)
class Assertion:
    """A condition on the characters to the left and right: `^ $ \\A \\Z \\b \\B`.

    Attributes:
        kind: One of `text start`, `text end`, `last line end`, `line start`, `line end`,
            `word edge`, `no word edge`.
        words: The characters of a word, where words matter.
    """

    kind: str
    words: CharacterSet = ()


@dataclass(frozen=True)
class Sequence:
    """One thing after another; no things are the empty string."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Alternation:
    """Any one of several things."""

    options: tuple[Node, ...]


@dataclass(frozen=True)
class Repetition:
    """`item`, `low` to `high` times; `high` is None for any number. `position` is where it is written.

    `lazy` prefers few; that matters to what is found first, and not to the language.
    """

    item: Node
    low: int
    high: int | None
    position: int
    lazy: bool = False


@dataclass(frozen=True)
class Look:
    """Look-ahead or look-behind: whether `item` stands (or not, if `negative`) right after or before."""

    item: Node
    ahead: bool
    negative: bool
    position: int


@dataclass(frozen=True)
class Group:
    """What a back-reference may refer to by `number`."""

    item: Node
    number: int


@dataclass(frozen=True)
class Reference:
    """A back-reference: the text that the group `number` has matched.

    Attributes:
        number: Of the group.
        flags: Of `re`, at this place.
        by_name: Whether it was written `(?P=name)`.
        position: Where it is written.
    """

    number: int
    flags: int
    by_name: bool
    position: int


Node = Character | Assertion | Sequence | Alternation | Repetition | Look | Group | Reference


class Written(NamedTuple):
    """What a user wrote, where the pattern that is read is a translation of it.

    Attributes:
        pattern: As it was written.
        places: Where parts begin in the translation, ascending, each with where it begins in `pattern`. None
            if that is the same.
    """

    pattern: str
    places: tuple[tuple[int, int], ...] | None = None

    def at(self, position: int) -> str:
        """Says where a part is written that begins at a position of the translation."""
        if self.places is not None:
            place = bisect_right(self.places, (position, len(self.pattern))) - 1
            position = self.places[max(0, place)][1]
        return f"at position {position}"


def parse(
    pattern: str,
    flags: int = 0,
    look_around: bool = False,
    by_regex: bool = False,
    written: Written | None = None,
    references: bool = False,
) -> Node:
    """Reads a pattern. Whether it is one at all is decided by `re.compile`.

    Args:
        pattern: In the syntax of Python's `re`.
        flags: Of `re`, such as `re.IGNORECASE`.
        look_around: Whether look-ahead and look-behind are read, as `Look`, or refused.
        by_regex: Whether it means what it does to the package `regex`: see `regex_package`.
        written: What errors show and count positions in, where that is not the pattern itself.
        references: Whether back-references are read, as `Reference`, and what they may refer to as `Group`;
            or refused.

    Raises:
        ConstraintError: It is no pattern, or uses what has no automaton here: the message names
            the feature and its position. Or it has more than 200,000 characters, or more than 300
            different classes.
    """
    written = written or Written(pattern)
    name = shown(written.pattern)
    if len(pattern) > MAX_LENGTH:
        raise ConstraintError(
            f"The pattern {name} has {len(pattern):,} characters; at most {MAX_LENGTH:,} are "
            "read. Give a long list of strings to lp.choices."
        )
    try:
        flags = (regex_package.flags_of if by_regex else _flags_of)(pattern, flags)
        return _Reader(pattern, look_around, by_regex, written, references).alternation(flags)
    except re.error as error:
        where = "" if error.pos is None else " " + written.at(error.pos)
        raise ConstraintError(f"The pattern {name} is no regular expression: {error.msg}{where}.") from error
    except OverflowError as error:
        raise ConstraintError(f"The pattern {name} has a count that is too large: {error}.") from error
    except RecursionError as error:
        raise ConstraintError(f"The pattern {name} is nested too deeply. Use fewer groups.") from error


def may_refer(pattern: str) -> bool:
    """Says whether a pattern may have back-references: if not, it has none."""
    return _MAY_REFER.search(pattern) is not None


def refusal(
    written: Written, feature: str, position: int, more: str = "", advice: str = "Write it without."
) -> ConstraintError:
    """Gives the error for what has no automaton; `more` says why it has none, where others have."""
    return ConstraintError(
        f"The pattern {shown(written.pattern)} uses {feature} {written.at(position)}{more}, which has no "
        f"automaton here. {advice} As a constraint of its own it can be given to lp.pattern, which asks the "
        "package `regex` about each prefix."
    )


def walk(tree: Node) -> Iterator[Node]:
    """Gives every node of a tree, outer ones first."""
    yield tree
    match tree:
        case Sequence(items) | Alternation(items):
            for item in items:
                yield from walk(item)
        case Repetition(item) | Look(item) | Group(item):
            yield from walk(item)


def _flags_of(pattern: str, flags: int) -> int:
    return re.compile(pattern, flags).flags


class _Reader:
    """A position in a pattern that is known to be well formed, and what can be read from there."""

    def __init__(self, pattern: str, look_around: bool, by_regex: bool, written: Written, references: bool):
        self.pattern = pattern
        self.written = written
        self.look_around = look_around
        self.by_regex = by_regex
        self.matched_by = regex_package.matched_by if by_regex else matched_by
        self.case_variants = regex_package.case_variants if by_regex else case_variants
        self.references = references
        self.groups_matter = references and may_refer(pattern)
        self.num_groups = 0
        self.names: dict[str, int] = {}
        self.at = 0
        self.classes: set[str] = set()
        self.known: dict[int, dict[str, Character]] = {}  # by the flags that matter

    def alternation(self, flags: int) -> Node:
        options = [self.sequence(flags)]
        while self.take("|"):
            options.append(self.sequence(flags))
        return options[0] if len(options) == 1 else Alternation(tuple(options))

    def sequence(self, flags: int) -> Node:
        items: list[Node] = []
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            if flags & _VERBOSE and self.skipped_as_verbose():
                continue
            if plain := _PLAIN.match(self.pattern, self.at):
                self.at = plain.end()
                items += self.literals(plain[0], flags)
                continue
            start = self.at
            bounds = self.count()
            if bounds is not None:
                items[-1] = Repetition(items[-1], *bounds, start, self.take("?"))
                continue
            item = self.item(flags)
            if item is not None:
                items.append(item)
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    def skipped_as_verbose(self) -> bool:
        if self.pattern[self.at] in _WHITESPACE:
            self.at += 1
            return True
        if self.by_regex and self.pattern[self.at].isspace():
            raise self.unlike("a space that is not of ASCII in a verbose pattern", self.at)
        if self.pattern[self.at] == "#":
            end = self.pattern.find("\n", self.at)
            self.at = len(self.pattern) if end < 0 else end + 1
            return True
        return False

    def count(self) -> tuple[int, int | None] | None:
        """Reads a quantifier, if one stands here."""
        start = self.at
        simple = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        bounds = simple.get(self.pattern[self.at])
        if bounds is not None:
            self.at += 1
        elif match := _COUNT.match(self.pattern, self.at):
            low, comma, high = match.groups()
            bounds = (int(low or 0), int(high) if high else None if comma else int(low))
            self.at = match.end()
        else:
            return None
        if self.pattern.startswith("+", self.at):
            raise self.refusal("a possessive quantifier", start)
        return bounds

    def item(self, flags: int) -> Node | None:
        """Reads one thing that may be quantified; None for comments and flags."""
        character = self.pattern[self.at]
        if character == "(":
            return self.group(flags)
        if character == "[":
            return self.character_class(flags)
        if character == "\\":
            return self.escape(flags)
        self.at += 1
        if character == ".":
            return Character(self.matched_by(".", flags))
        if character == "^":
            return Assertion("line start" if flags & re.MULTILINE else "text start")
        if character == "$":
            return Assertion("line end" if flags & re.MULTILINE else "last line end")
        if character == "{" and self.by_regex:
            raise self.unlike("a brace that is no count, written `{` and not `\\{`,", self.at - 1)
        return self.literals(character, flags)[0]

    def literals(self, text: str, flags: int) -> list[Character]:
        """Gives characters that stand for themselves."""
        known = self.known.setdefault(flags & _CASES, {})
        for character in text:
            if character not in known:
                is_any = flags & _IGNORECASE
                known[character] = Character(
                    self.case_variants(character, flags) if is_any else single(character)
                )
        return [known[character] for character in text]

    def character_class(self, flags: int) -> Node:
        start = self.at
        source = self.match(_CLASS)
        if self.by_regex and "[:" in source:
            raise self.unlike("a POSIX class", start)
        self.classes.add(source)
        if len(self.classes) > MAX_CLASSES:
            raise ConstraintError(
                f"The pattern {shown(self.written.pattern)} has more than {MAX_CLASSES} different classes of "
                f"characters, that {self.written.at(start)} being one too many. Use fewer."
            )
        return Character(self.matched_by(source, flags))

    def escape(self, flags: int) -> Node:
        start = self.at
        is_property = self.by_regex and regex_package.PROPERTY.match(self.pattern, start)
        source = self.match(regex_package.PROPERTY if is_property else _ESCAPE)
        kinds = {"\\A": "text start", "\\Z": "text end", "\\b": "word edge", "\\B": "no word edge"}
        if source in kinds:
            return Assertion(kinds[source], self.matched_by(r"\w", flags) if source in ("\\b", "\\B") else ())
        if source[1] in "123456789" and len(source) == 2:
            return self.reference(start, flags)
        return Character(self.matched_by(source, flags))

    def reference(self, start: int, flags: int) -> Reference:
        found = _REFERENCE.match(self.pattern, start)
        assert found is not None
        if not self.references:
            raise self.refusal("a back-reference", start)
        self.at = found.end()
        number, name = found["number"], found["name"]
        return Reference(int(number) if number else self.names[name], flags, not number, start)

    def group(self, flags: int) -> Node | None:
        if self.look_around and (match := _LOOK.match(self.pattern, self.at)):
            start, self.at = self.at, match.end()
            inside = self.alternation(flags)
            assert self.take(")")
            return Look(inside, not match[1], match[2] == "!", start)
        if self.pattern.startswith("(?P=", self.at):
            return self.reference(self.at, flags)
        for prefix, feature in _REFUSED_GROUPS.items():
            if self.pattern.startswith(prefix, self.at):
                raise self.refusal(feature, self.at)
        if self.pattern.startswith("(?#", self.at):
            self.at = self.pattern.index(")", self.at) + 1
            return None
        number = None
        if self.pattern.startswith("(?P<", self.at):
            end = self.pattern.index(">", self.at)
            number = self.names[self.pattern[self.at + 4 : end]] = self.num_groups = self.num_groups + 1
            self.at = end + 1
        elif match := _FLAGS.match(self.pattern, self.at):
            if self.by_regex and ("a" in match[1] or ("u" in match[1] and flags & re.ASCII)):
                raise self.unlike(f"the flag {match[1]!r} inside", self.at)
            self.at = match.end()
            if match[3] == ")":  # global flags, which `re.compile` has told us
                return None
            flags = _changed(flags, match[1], match[2] or "")
        else:
            self.at += 1
            number = self.num_groups = self.num_groups + 1
        inside = self.alternation(flags)
        assert self.take(")")
        return inside if number is None or not self.groups_matter else Group(inside, number)

    def match(self, part: re.Pattern[str]) -> str:
        found = part.match(self.pattern, self.at)
        assert found is not None
        self.at = found.end()
        return found[0]

    def take(self, text: str) -> bool:
        if self.pattern.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def unlike(self, feature: str, position: int) -> ConstraintError:
        """Gives the error for what the package `regex` and Python's `re` do not read alike."""
        return ConstraintError(
            f"The pattern {shown(self.written.pattern)} has {feature} {self.written.at(position)}, which the "
            "package `regex` reads in another way than Python's `re`. Write it without."
        )

    def refusal(self, feature: str, position: int) -> ConstraintError:
        return refusal(self.written, feature, position)


def _changed(flags: int, on: str, off: str) -> int:
    for letter in on:
        if letter in "au":
            flags &= ~(re.ASCII | re.UNICODE)
        flags |= getattr(re, letter.upper())
    for letter in off:
        flags &= ~getattr(re, letter.upper())
    return int(flags)
