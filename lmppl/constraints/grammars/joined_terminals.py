"""Groups of terminals under a lexer: Lark joins all terminals of a place into one expression.

There a group that is counted has another number, and a name may be that of only one group. Lark takes such a
grammar, and fails on every text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from lmppl.constraints.grammars.grammar_terminals import Terminal
from lmppl.constraints.regular import regex_package
from lmppl.constraints.regular.back_references import numbered
from lmppl.errors import ConstraintError


def require_names(terminals: Iterable[Terminal]) -> None:
    """Refuses a terminal that refers to a group by its number.

    Raises:
        ConstraintError: One does.
    """
    for terminal in terminals:
        if terminal.word is not None:
            continue
        reference = numbered(terminal.pattern, terminal.common_flags, terminal.by_regex)
        if reference is not None:
            raise ConstraintError(
                f"Terminal {terminal.name} of the grammar: The pattern "
                f"{regex_package.shown(terminal.pattern)} has a back-reference by number at position "
                f"{reference.position}. With this lexer Lark joins terminals into one expression, where that "
                "is the number of another group. Give the group a name, as in `(?P<quote>\"|')` and "
                "`(?P=quote)`."
            )


def require_distinct_names(terminals: Iterable[Terminal]) -> None:
    """Refuses terminals that may stand in one place if names of groups in them clash.

    Raises:
        ConstraintError: One has a group with the name of another group, or of a terminal.
    """
    owners: dict[str, str] = {}
    terminals = [*terminals]
    names = {terminal.name for terminal in terminals}
    for terminal in terminals:
        for name in _groups(terminal):
            other = owners.setdefault(name, terminal.name)
            if name in names or other != terminal.name:
                where = f"a terminal is called {name!r}" if name in names else f"so has terminal {other}"
                raise ConstraintError(
                    f"Terminal {terminal.name} of the grammar has a group of the name {name!r}, and {where}. "
                    "With this lexer Lark joins terminals into one expression, where names of groups must "
                    "differ. Give it another name."
                )


def _groups(terminal: Terminal) -> Iterable[str]:
    """Gives the names of the groups in a terminal."""
    if "(?P<" not in terminal.pattern or terminal.word is not None:
        return ()
    compiled = regex_package.compiled if terminal.by_regex else re.compile
    return compiled(terminal.pattern, terminal.common_flags).groupindex
