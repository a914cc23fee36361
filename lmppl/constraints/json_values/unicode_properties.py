r"""Unicode properties as ECMA-262 names them in `\p{...}`: general categories, scripts, a few others."""

from __future__ import annotations

from functools import lru_cache

import regex

from lmppl.constraints.regular.character_sets import every_character

_CATEGORIES = {
    "C": ("Other", "Cc Control cntrl", "Cf Format", "Cn Unassigned", "Co Private_Use", "Cs Surrogate"),
    "L": (
        "Letter",
        "LC Cased_Letter",
        "Ll Lowercase_Letter",
        "Lm Modifier_Letter",
        "Lo Other_Letter",
        "Lt Titlecase_Letter",
        "Lu Uppercase_Letter",
    ),
    "M": ("Mark Combining_Mark", "Mc Spacing_Mark", "Me Enclosing_Mark", "Mn Nonspacing_Mark"),
    "N": ("Number", "Nd Decimal_Number digit", "Nl Letter_Number", "No Other_Number"),
    "P": (
        "Punctuation punct",
        "Pc Connector_Punctuation",
        "Pd Dash_Punctuation",
        "Pe Close_Punctuation",
        "Pf Final_Punctuation",
        "Pi Initial_Punctuation",
        "Po Other_Punctuation",
        "Ps Open_Punctuation",
    ),
    "S": ("Symbol", "Sc Currency_Symbol", "Sk Modifier_Symbol", "Sm Math_Symbol", "So Other_Symbol"),
    "Z": ("Separator", "Zl Line_Separator", "Zp Paragraph_Separator", "Zs Space_Separator"),
}
_CATEGORY_OF = {
    name: names.split()[0] if i else short
    for short, groups in _CATEGORIES.items()
    for i, names in enumerate((f"{short} {groups[0]}", *groups[1:]))
    for name in names.split()
}
_YES_OR_NO = frozenset(
    ["Alphabetic", "Alpha", "Lowercase", "Lower", "Uppercase", "Upper", "White_Space", "space"]
)
_FIXED = {"Any": r"\x00-\U0010ffff", "ASCII": r"\x00-\x7f"}


@lru_cache(64)
def members(name: str, negated: bool = False) -> str | None:
    r"""Gives what stands between the brackets of a class of `re` for `\p{name}`, or `\P{name}`.

    The characters are those that the package `regex` counts, in its version of Unicode.

    Returns:
        None for what is no property, or none that is known here.
    """
    if name in _FIXED and not negated:
        return _FIXED[name]
    kind, _, value = name.rpartition("=")
    if kind in ("", "General_Category", "gc") and value in _CATEGORY_OF:
        found = "gc=" + _CATEGORY_OF[value]
    elif (
        (kind in ("Script", "sc") and value.isidentifier())
        or (not kind and value in _YES_OR_NO)
        or name in _FIXED
    ):
        found = name
    else:
        return None
    try:
        runs = regex.finditer(rf"\{'P' if negated else 'p'}{{{found}}}+", every_character(), regex.V0)
        spans = [run.group() for run in runs]
    except regex.error:
        return None
    return "".join(f"\\U{ord(run[0]):08x}-\\U{ord(run[-1]):08x}" for run in spans)
