"""`lp.regex`: regular expressions in Python's syntax, as exact byte automata."""

from __future__ import annotations

from functools import lru_cache

from lmppl.constraints.automaton import MAX_STATES, ByteAutomaton
from lmppl.constraints.character_automaton import TooLarge, determinised, size
from lmppl.constraints.character_language import CharacterLanguage
from lmppl.constraints.protocol import Constraint
from lmppl.constraints.regex_syntax import Node, Repetition, parse, walk
from lmppl.constraints.regular_language import RegularLanguage
from lmppl.constraints.stored_compilations import stored
from lmppl.constraints.utf8_encoding import byte_automaton
from lmppl.errors import ConstraintError, InvalidTypeError
from lmppl.progress import tell_compiling


def regex(pattern: str) -> Constraint:
    """Allows the strings that match a regular expression as a whole.

    The language is `{s : re.fullmatch(pattern, s)}` over the bytes of UTF-8, with this Python's
    meaning of classes, cases, flags and anchors. A prefix is viable exactly when it can be completed,
    inside a character too. Compiled once for each pattern: 1-50 ms, and 1 KiB a state. A pattern whose
    automaton has more than 50,000 states is followed on the host instead, its states made when they are
    met; it has no automaton then.

    Args:
        pattern: In the syntax of Python's `re`. Lazy quantifiers have the language of greedy ones.

    Raises:
        ConstraintError: It is no pattern; it uses a back-reference, look-around, a conditional, an
            atomic group or a possessive quantifier; it matches nothing; or it is too large: more than 10,000
            states before it is made deterministic, or anchors in what has more than 50,000 of characters.
    """
    if not isinstance(pattern, str):
        raise InvalidTypeError(f"A pattern is a str, but regex() was given {pattern!r}.")
    return _regex(pattern)


class TooManyStates(ConstraintError):
    """The automaton of a pattern is too large, or takes too long to make."""


@lru_cache(256)
def _regex(pattern: str) -> Constraint:
    try:
        machine = compiled(pattern)
    except TooManyStates:
        large = CharacterLanguage.of(pattern, parse(pattern))
        if large is None:
            raise
        return large
    if machine.is_empty:
        raise ConstraintError(f"The pattern {pattern!r} matches no string at all.")
    return RegularLanguage(machine, f"regex({pattern!r})")


@lru_cache(1024)
def compiled(pattern: str, flags: int = 0, look_around: bool = False) -> ByteAutomaton:
    """Gives the automaton of a pattern under flags of `re`; it may be empty.

    Args:
        pattern: As of `regex`.
        flags: Of `re`.
        look_around: Whether look-ahead and look-behind are allowed.

    Raises:
        ConstraintError: As `regex`.
    """
    tree = parse(pattern, flags, look_around)
    tell_compiling(f"regex({pattern[:40]!r})")
    try:
        return stored(("regex", pattern, flags, look_around), lambda: byte_automaton(*determinised(tree)))
    except TooLarge:
        raise TooManyStates(
            f"The pattern {pattern[:60]!r} needs more than {MAX_STATES:,} states, or too long to compile."
            f"{_largest(tree) or f' It has {len(pattern):,} characters.'}\n"
            "Write a smaller bound or `*`, and limit the length by `max_tokens=`."
        ) from None
    except RecursionError as error:
        raise ConstraintError(
            f"The pattern {pattern[:60]!r} is nested too deeply. Use fewer groups."
        ) from error


def _largest(tree: Node) -> str:
    counted = [node for node in walk(tree) if isinstance(node, Repetition) and (node.high or node.low) > 1]
    if not counted:
        return ""
    worst = max(counted, key=size)
    high = "" if worst.high is None else str(worst.high)
    bounds = high if high == str(worst.low) else f"{worst.low},{high}"
    return f" The largest construct is the repetition {{{bounds}}} at position {worst.position}."
