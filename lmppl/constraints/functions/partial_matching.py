"""`lp.pattern`: expressions that are not regular, asked of the `regex` package one prefix at a time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import regex

from lmppl.constraints.functions.described_check import DescribedCheck
from lmppl.constraints.functions.python_check import Check
from lmppl.constraints.functions.remembered_answers import Answers, require_askable
from lmppl.constraints.functions.right_context import with_visible_ends
from lmppl.constraints.functions.time_limits import TimeLimitReached
from lmppl.constraints.mistaken_values import hint
from lmppl.constraints.protocol import Constraint
from lmppl.constraints.regular.regex_package import shown
from lmppl.errors import ConstraintError, InvalidTypeError

MAX_REMEMBERED = 4_096  # texts of one expression


def pattern(expression: str | regex.Pattern[str], timeout: float | None = 5.0) -> Constraint:
    """Allows the strings that an expression of the `regex` package matches as a whole.

    For what `lp.regex` refuses: look-around, most back-references, recursion, atomic groups, conditionals,
    properties such as `\\p{Greek}`. The language is `{s : regex.fullmatch(expression, s)}`. Use `lp.regex`
    where it takes the expression: it is exact and far quicker.

    Viability is over-approximate: a prefix passes if the matcher comes to its end anywhere on its way.
    In particular a look-ahead that would read beyond the end always passes, so `(?!.*aa)[a-z]+` refuses
    "aa" only as a whole. Each prefix is matched from its beginning, so the cost of a text grows with the
    square of its length.

    Args:
        expression: In the syntax of `regex`, version 0 as by default there; write `(?V1)` in front for set
            operations such as `[\\w--\\d]`. Or compiled by `regex.compile`, with its flags.
        timeout: Seconds for one match. A match that takes longer, as catastrophic expressions do, is lost
            mass (`check timed out`), as for `lp.check`. None waits for ever. So is one that recurs without
            end, as that of `(?R)a` does, which takes seconds and 1 GB of memory.

    Raises:
        ConstraintError: It is no expression; it matches no string; it writes a set operation without
            `(?V1)`; or it uses approximate matching, `(?r)`, or an assertion about the end of a word or line
            where that cannot be followed (in verbose expressions, and under `(?w)` or `(?m:...)`).
        InvalidTypeError: It is something else, such as a pattern of `re`, which may mean something else here.
    """
    shown = f"pattern({expression!r})"
    expression, flags = _text_and_flags(expression)
    functions = {"prefix": Prefix(expression, timeout, flags), "complete": Whole(expression, timeout, flags)}
    require_askable(shown, functions, timeout)
    if not _may_match(functions["prefix"]):
        raise ConstraintError(f"The expression {expression[:60]!r} matches no string.")
    return DescribedCheck(Check(Answers(shown, functions, timeout)), shown)


def _text_and_flags(expression: object) -> tuple[str, int]:
    if isinstance(expression, str):
        return expression, 0
    advice = hint(expression)
    if isinstance(expression, regex.Pattern) and isinstance(expression.pattern, str):
        if not expression.named_lists:
            return expression.pattern, expression.flags
        advice = " It has named lists: write them out."
    elif isinstance(expression, re.Pattern):
        advice = " Give that to lp.regex, or its text here."
    elif isinstance(getattr(expression, "pattern", None), bytes):
        advice = hint(b"")
    raise InvalidTypeError(
        "An expression is a str, or compiled by regex.compile of the package `regex`, but pattern() was "
        f"given {expression!r}.{advice}"
    )


@dataclass(frozen=True)
class Prefix:
    """Whether a text may be continued to a match, as far as partial matching can say of it and its prefixes.

    Partial matching alone may refuse a prefix, and pass a longer one at whose end a recursion begins.
    """

    expression: str
    timeout: float | None
    flags: int = 0

    def __call__(self, text: str) -> bool:
        passed = _passed(self.expression, self.flags)
        size = len(text)
        while size >= 0 and text[:size] not in passed:
            size -= 1
        for end in range(size + 1, len(text) + 1):
            begun = text[:end]
            if not _matches(compiled(self.expression, self.flags)[1], begun, self.timeout, partial=True):
                return False
            if len(passed) >= MAX_REMEMBERED:
                passed.clear()
            passed[begun] = None
        return True


@dataclass(frozen=True)
class Whole:
    """Whether a text matches."""

    expression: str
    timeout: float | None
    flags: int = 0

    def __call__(self, text: str) -> bool:
        return _matches(compiled(self.expression, self.flags)[0], text, self.timeout, partial=False)


def _matches(compiled_expression: Any, text: str, timeout: float | None, *, partial: bool) -> bool:
    try:
        return compiled_expression.fullmatch(text, partial=partial, timeout=timeout) is not None
    except (TimeoutError, MemoryError):  # `regex` ends a recursion without end at 1 GB
        raise TimeLimitReached from None


def _may_match(prefix: Prefix) -> bool:
    """Says False only for an expression that matches no string."""
    try:
        return prefix("")
    except TimeLimitReached:
        return True


@lru_cache(64)
def _passed(expression: str, flags: int) -> dict[str, None]:
    """Gives texts that passed, with all their prefixes; to be added to."""
    return {}


@lru_cache(256)
def compiled(expression: str, flags: int = 0) -> tuple[Any, Any]:
    """Gives the compiled expression, and the one that prefixes are asked of.

    Raises:
        ConstraintError: As `pattern`.
    """
    whole = _compile(expression, flags)
    if whole.flags & regex.REVERSE:
        raise ConstraintError(
            f"The expression {expression[:60]!r} is matched from its end, by `(?r)`, where no prefix can be "
            "judged. Leave `(?r)` out."
        )
    rewritten = with_visible_ends(expression, whole.flags)
    return whole, whole if rewritten == expression else _compile(rewritten, flags)


def _compile(expression: str, flags: int) -> Any:
    try:
        return regex.compile(expression, flags)
    except RecursionError as error:
        raise ConstraintError(
            f"The expression {shown(expression)} is nested too deeply for the package `regex`. Use fewer "
            "groups."
        ) from error
    except (regex.error, OverflowError, ValueError) as error:
        raise ConstraintError(
            f"The expression {shown(expression)} cannot be used: {error}. It is read by the package `regex`."
        ) from error
