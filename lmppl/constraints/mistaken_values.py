"""What a value that was given to the wrong function is for, to be said in the error."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping


def hint(value: object) -> str:
    """Gives a sentence for the end of an error, with a space before it; nothing if the value says nothing."""
    from lmppl.constraints.protocol import Constraint  # which asks checks, whose errors these are

    if isinstance(value, bytes):
        return " Texts are written in UTF-8: decode it."
    if isinstance(value, Constraint):
        return f" {value.describe():.60} is a constraint already: use it as it is, or join it by `&`."
    if isinstance(value, os.PathLike):
        return " Give the file's text: Path(...).read_text()."
    if isinstance(value, Collection) and not isinstance(value, str | Mapping):
        return " lp.choices takes lists of strings."
    if callable(value) and not isinstance(value, type):
        return " lp.check takes functions of the text."
    return ""
