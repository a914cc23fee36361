r"""Patterns as the package `regex` reads them, where it reads what Python's `re` does, and `\p{...}`.

Everything else that `regex` has, such as fuzzy matching, is refused. What classes and cases mean is asked of
`regex` itself: it has Unicode data of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

import regex

from lmppl.constraints.regular.character_sets import CharacterSet, every_character
from lmppl.errors import ConstraintError

PROPERTY = re.compile(r"\\[pP](?:\{[^{}\[\]]*\}|[A-Z])")

_IGNORING = re.compile(r"\(\?[a-zA-Z]*i")
_HEEDING = re.compile(r"\(\?[a-zA-Z]*-[a-z]*i")
_ESCAPED = re.compile(rf"{PROPERTY.pattern}|\\.", re.S)
_ASCII = int(regex.ASCII)  # which is another number in `re`


@lru_cache(4096)
def matched_by(source: str, flags: int) -> CharacterSet:
    r"""Gives the characters that an expression for one character matches.

    Args:
        source: Such as `.`, `\w`, `\p{Lu}`, `[^a-z\d]` or an escaped literal.
        flags: Of `re`; IGNORECASE, ASCII and DOTALL matter.
    """
    flags &= re.IGNORECASE | re.ASCII | re.DOTALL
    return tuple(
        match.span() for match in regex.finditer(f"(?:{source})+", every_character(), flags_of_regex(flags))
    )


def case_variants(character: str, flags: int) -> CharacterSet:
    """Gives the characters that `regex` takes for this one under IGNORECASE, itself included."""
    return matched_by(re.escape(character), flags | re.IGNORECASE)


def compiled(pattern: str, flags: int) -> regex.Pattern[str]:
    """Gives the package's own pattern, under flags of `re`."""
    return regex.compile(pattern, flags_of_regex(flags))


def takes(pattern: str, word: str, flags: int) -> bool:
    """Says whether `regex` matches a word as a whole, without being asked to."""
    found = regex.match(pattern, word, flags_of_regex(flags))
    return found is not None and found[0] == word


def unsure(patterns: Iterable[str], flags: int) -> str | None:
    """Gives a property of upper or lower case in some patterns that `regex` does not always read alike.

    Under ASCII and IGNORECASE, `\\p{Lu}+` matches other characters than `\\p{Lu}`. And `\\P{Lu}|(?i:b)` is
    read as `(?i:\\P{Lu}|b)`, also where the two are terminals that a lexer looks for at once.

    Args:
        patterns: What is looked for at once, at most.
        flags: Of `re`, on all of them.
    """
    joined = "|".join(patterns)
    has_cases = bool(_IGNORING.search(joined)), bool(_HEEDING.search(joined))
    if flags & re.IGNORECASE:
        is_sure = not (has_cases[1] or flags & re.ASCII)
    else:
        is_sure = not has_cases[0]
    found = (
        () if is_sure else dict.fromkeys(m[0] for m in _ESCAPED.finditer(joined) if PROPERTY.fullmatch(m[0]))
    )
    return next((each for each in found if matched_by(each, 0) != matched_by(each, re.IGNORECASE)), None)


def flags_of(pattern: str, flags: int) -> int:
    """Gives all flags of a pattern, as those of `re`, if both packages read it.

    Raises:
        ConstraintError: One of them does not.
    """
    in_common = _ESCAPED.sub(lambda found: r"\d" if PROPERTY.fullmatch(found[0]) else found[0], pattern)
    try:
        flags = re.compile(in_common, flags).flags
        compiled(pattern, flags)
    except (re.error, regex.error) as error:
        raise ConstraintError(
            f"The pattern {shown(pattern)} cannot be read as Python's `re` and the package `regex` both do, "
            f"where only \\p{{...}} may be more: {error}. Write it without."
        ) from error
    return flags


def flags_of_regex(flags: int) -> int:
    """Gives the numbers that flags of `re` have there."""
    return (flags & ~re.ASCII) | (_ASCII if flags & re.ASCII else 0)


def shown(pattern: str) -> str:
    """Gives a pattern for an error, shortened."""
    return repr(pattern) if len(pattern) <= 60 else repr(pattern[:57] + "...")
