"""Assertions about what comes next, rewritten so that partial matching sees that they reach the end.

`regex` answers `\\b`, `\\B`, `$` and the like at the end of a prefix as if nothing followed. Where a
look-ahead comes to the end, it calls that a partial match. So in the expression that prefixes are asked of,
each such assertion is written as the look-ahead that it means.
"""

from __future__ import annotations

import re

import regex

from lmppl.errors import ConstraintError

_NOTHING = r"(?!\p{Any})"
_ESCAPED = {
    "b": r"(?:(?<=\w)(?!\w)|(?<!\w)(?=\w))",
    "B": r"(?:(?<=\w)(?=\w)|(?<!\w)(?!\w))",
    "m": r"(?:(?<!\w)(?=\w))",
    "M": r"(?:(?<=\w)(?!\w))",
    "Z": _NOTHING,
    "z": _NOTHING,
}
_DOLLAR = rf"(?=\n?{_NOTHING})"
_DOLLAR_OF_LINES = rf"(?:(?=\n)|{_NOTHING})"

_ERRORS = r"(?:(?:\d+\s*<=?\s*)?[eids](?:\s*<=?\s*\d+)?|(?:\d*[ids]\+?)+\s*<=?\s*\d+)"
_PART = re.compile(
    rf"""(?P<property>\\[pPNgxLk][{{<][^}}>]*[}}>])   # an escape with an argument
      | (?P<escape>\\.)
      | (?P<comment>\(\?\#[^)]*\))
      | (?P<fuzzy>\{{\s*{_ERRORS}(?:\s*,\s*{_ERRORS})*\s*(?::[^}}]*)?\}})   # {{e<=1}}: approximate matching
      | (?P<dollar>\$)
      | (?P<set>\[)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_SET_OPERATION = re.compile(r"--|&&|~~|\|\||^\[\^?\[(?!:)")
_SCOPED_LINES = re.compile(r"\(\?(?:\w*m\w*(?:-\w+)?|\w*-\w*m\w*):")


def with_visible_ends(expression: str, flags: int) -> str:
    """Gives an expression with the same matches whose assertions about the end are look-aheads.

    Args:
        expression: One that compiles.
        flags: Those that it was compiled under.

    Raises:
        ConstraintError: It uses approximate matching, or an assertion that cannot be rewritten.
    """
    rewritten, position, is_asserting = [], 0, False
    while position < len(expression):
        part = _PART.match(expression, position)
        assert part is not None  # `other` matches anything
        kind, text = part.lastgroup, part.group()
        if kind == "fuzzy":
            raise ConstraintError(
                f"The expression {expression[:60]!r} asks for approximate matching by {text!r} at position "
                f"{position}. That is not supported. Write the strings that you mean."
            )
        if kind == "set":
            text = expression[position : _end_of_set(expression, position, bool(flags & regex.VERSION1))]
            _require_one_meaning(expression, text, flags)
        elif kind == "dollar":
            text, is_asserting = _DOLLAR_OF_LINES if flags & regex.MULTILINE else _DOLLAR, True
        elif kind == "escape" and text[1] in _ESCAPED:
            text, is_asserting = _ESCAPED[text[1]], True
        rewritten.append(text)
        position += len(text) if kind == "set" else len(part.group())
    if not is_asserting:
        return expression
    _require_plain_context(expression, flags)
    return "".join(rewritten)


def _end_of_set(expression: str, start: int, nests: bool) -> int:
    """Gives the position behind the set that starts at `start`."""
    position = start + 1 + expression.startswith("^", start + 1)
    position += expression.startswith("]", position)  # a bracket in the first place is itself
    while position < len(expression) and expression[position] != "]":
        if expression[position] == "\\":
            position += 2
        elif expression.startswith("[:", position) and ":]" in expression[position:]:
            position = expression.index(":]", position) + 2
        elif nests and expression[position] == "[":
            position = _end_of_set(expression, position, nests)
        else:
            position += 1
    return position + 1


def _require_one_meaning(expression: str, text: str, flags: int) -> None:
    """Refuses what is a set operation in version 1 and some characters in version 0."""
    if not flags & regex.VERSION1 and _SET_OPERATION.search(text):
        raise ConstraintError(
            f"The set {text[:60]!r} of the expression {expression[:60]!r} may not mean what it says: in "
            "version 0 of `regex` the operators in it are characters. Write `(?V1)` in front of the "
            "expression if you mean an operation on sets; otherwise escape them."
        )


def _require_plain_context(expression: str, flags: int) -> None:
    reasons = {
        "is verbose, by `(?x)`": flags & regex.VERBOSE or re.search(r"\(\?\w*x[\w-]*[:)]", expression),
        "is read under `(?w)`": flags & regex.WORD or re.search(r"\(\?\w*w[\w-]*[:)]", expression),
        "sets `m` for a part of itself": _SCOPED_LINES.search(expression)
        or (flags & regex.VERSION1 and re.search(r".\(\?\w*-?\w*m\w*\)", expression[4:])),
    }
    for reason, holds in reasons.items():
        if holds:
            raise ConstraintError(
                f"The expression {expression[:60]!r} {reason}, and asserts something about what comes "
                "next by `$`, `\\b`, `\\B`, `\\m`, `\\M` or `\\Z`. Prefixes cannot be judged by both: leave "
                "one of them out, or write the assertion as a look-ahead."
            )
