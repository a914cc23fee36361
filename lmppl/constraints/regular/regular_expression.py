"""`lp.regex`: regular expressions in Python's syntax, as exact byte automata."""

from __future__ import annotations

import re
from functools import lru_cache

from lmppl.constraints.mistaken_values import hint
from lmppl.constraints.protocol import Constraint
from lmppl.constraints.regular.automaton import MAX_STATES, ByteAutomaton
from lmppl.constraints.regular.back_references import parsed
from lmppl.constraints.regular.character_automaton import CharacterAutomaton, TooLarge, determinised, size
from lmppl.constraints.regular.character_language import CharacterLanguage, description
from lmppl.constraints.regular.regex_package import shown
from lmppl.constraints.regular.regex_syntax import Node, Repetition, Written, parse, walk
from lmppl.constraints.regular.regular_language import RegularLanguage
from lmppl.constraints.regular.utf8_encoding import byte_automaton
from lmppl.constraints.stored_compilations import stored
from lmppl.errors import ConstraintError, InvalidTypeError
from lmppl.progress import tell_compiling


def regex(pattern: str | re.Pattern[str]) -> Constraint:
    """Allows the strings that match a regular expression as a whole.

    The language is `{s : re.fullmatch(pattern, s)}` over the bytes of UTF-8, with this Python's
    meaning of classes, cases, flags and anchors. A prefix is viable exactly when it can be completed,
    inside a character too. Compiled once for each pattern: 1-50 ms, and 1 KiB a state. A pattern whose
    automaton has more than 50,000 states is followed on the host instead, its states made when they are
    met; it has no automaton then.

    Args:
        pattern: In the syntax of Python's `re`; or compiled by `re.compile`, with its flags. Lazy
            quantifiers have the language of greedy ones. A back-reference may be to a group of at most 1,000
            texts that has matched for sure, as in `(a|b).*\\1`.

    Raises:
        ConstraintError: It is no pattern; it uses another back-reference, look-around, a conditional,
            an atomic group or a possessive quantifier; it matches nothing; or it is too large: more than
            10,000 states before it is made deterministic, or anchors in what has more than 50,000 of
            characters.
        InvalidTypeError: It is something else, such as bytes.
    """
    flags = 0
    if isinstance(pattern, re.Pattern):
        pattern, flags = pattern.pattern, pattern.flags & ~int(re.UNICODE | re.DEBUG)
    if not isinstance(pattern, str):
        is_other = type(pattern).__module__ == "_regex"
        advice = " Patterns of the package `regex` are for lp.pattern." if is_other else hint(pattern)
        raise InvalidTypeError(
            f"A pattern is a str, or compiled by re.compile, but regex() was given {pattern!r}.{advice}"
        )
    return _regex(pattern, flags)


class TooManyStates(ConstraintError):
    """The automaton of a pattern is too large, or takes too long to make.

    Attributes:
        tree: What the pattern means.
        characters: Its automaton of characters, if that was made.
    """

    def __init__(self, message: str, tree: Node, characters: CharacterAutomaton | None):
        super().__init__(message)
        self.tree = tree
        self.characters = characters


@lru_cache(256)
def _regex(pattern: str, flags: int) -> Constraint:
    try:
        machine = compiled(pattern, flags)
    except TooManyStates as error:
        large = CharacterLanguage.of(pattern, flags, error.tree, error.characters)
        if large is None:
            raise
        return large
    if machine.is_empty:
        raise ConstraintError(f"The pattern {shown(pattern)} matches no string at all.")
    return RegularLanguage(machine, description(pattern, flags))


@lru_cache(1024)
def compiled(
    pattern: str, flags: int = 0, look_around: bool = False, written: Written | None = None
) -> ByteAutomaton:
    """Gives the automaton of a pattern under flags of `re`; it may be empty.

    Args:
        pattern: As of `regex`.
        flags: Of `re`.
        look_around: Whether look-ahead and look-behind are allowed.
        written: What errors show, where that is not the pattern itself.

    Raises:
        ConstraintError: As `regex`.
    """
    tree = parse(pattern, flags, True, written=written) if look_around else parsed(pattern, flags)
    written = written or Written(pattern)
    tell_compiling(f"regex({written.pattern[:40]!r})")
    characters: list[CharacterAutomaton] = []

    def make() -> ByteAutomaton:
        characters.append(determinised(tree))
        return byte_automaton(*characters[0])

    try:
        return stored(("regex", pattern, flags, look_around), make)
    except TooLarge:
        raise TooManyStates(
            f"The pattern {shown(written.pattern)} needs more than {MAX_STATES:,} states, or too long to "
            f"compile.{_largest(tree, written) or f' It has {len(written.pattern):,} characters.'}\n"
            "Write a smaller bound or `*`, and limit the length by `max_tokens=`.",
            tree,
            characters[0] if characters else None,
        ) from None
    except RecursionError as error:
        raise ConstraintError(
            f"The pattern {shown(written.pattern)} is nested too deeply. Use fewer groups."
        ) from error


def _largest(tree: Node, written: Written) -> str:
    counted = [node for node in walk(tree) if isinstance(node, Repetition) and (node.high or node.low) > 1]
    if not counted:
        return ""
    worst = max(counted, key=size)
    high = "" if worst.high is None else str(worst.high)
    bounds = high if high == str(worst.low) else f"{worst.low},{high}"
    return f" The largest construct is the repetition {{{bounds}}} {written.at(worst.position)}."
