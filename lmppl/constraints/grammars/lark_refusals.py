"""What Lark says of a grammar that it cannot read, as errors of ours that say what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from lmppl.constraints.grammars.imported_files import Imports
from lmppl.errors import ConstraintError, MissingExtraError

_ASSIGNMENT = re.compile(r"^[ \t]*<?[\w-]+>?[ \t]*(::=|:=|=|->)", re.M)


@contextmanager
def refusals(text: str, imports: Imports | None = None) -> Iterator[ModuleType]:
    """Gives the package lark, and turns its errors about a grammar into ours."""
    try:
        import lark
    except ImportError as error:
        raise MissingExtraError("lp.lark needs the package lark: pip install lark") from error
    try:
        yield lark
    except lark.exceptions.LarkError as error:
        raise ConstraintError(f"Lark cannot read the grammar: {error}{_hint(text)}") from error
    except RecursionError as error:
        circle = None if imports is None else imports.circle()
        raise ConstraintError(
            "The grammar is nested too deeply for Lark. Give its parts names."
            if circle is None
            else f"The grammar imports {circle!r} again and again: that file imports itself, or files that "
            "import it. Let imports go one way, and put what both sides need into a file of its own."
        ) from error
    except RuntimeError as error:  # a file holds another text when it is read again
        raise ConstraintError(f"Lark cannot read the grammar: {error}") from error
    except (OSError, AssertionError) as error:  # Lark asserts that a missing file is not in this folder
        raise ConstraintError(
            f"Lark cannot read the grammar: it imports a file that cannot be read, {error}. Files are "
            "looked for beside the grammar's own file, and in `import_paths`."
        ) from error


def _hint(text: str) -> str:
    """Says how Lark writes rules, where a grammar has those of another notation."""
    found = _ASSIGNMENT.search(text)
    if found is None:
        return ""
    return (
        f"\nLark writes a rule as `name: ...`, but this grammar has `{found[0].strip()} ...`, as BNF, EBNF "
        "and GBNF do. Names of rules are in lower case, those of terminals in upper case, neither with a "
        "hyphen; classes of characters stand between slashes, /[a-z]/; the rule of the whole text is "
        "`start`, or named by start=."
    )
