"""Grammars as Lark reads them: what a user may pass, and Lark's own objects for it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmppl.errors import ConstraintError, InvalidInputError, InvalidTypeError, MissingExtraError

LEXERS = {"earley": ("dynamic", "dynamic_complete", "basic"), "lalr": ("contextual", "basic")}
"""The lexers of each parser, the one that Lark chooses first."""


@dataclass(frozen=True)
class GrammarSource:
    """A grammar and the options that decide its language. Equal ones have equal languages.

    Attributes:
        text: The grammar.
        start: The rule that stands for the whole text.
        parser: `earley` or `lalr`.
        lexer: One that goes with the parser.
        path: The file that the text came from; imports beside it work.
        import_paths: Folders to look for imported grammars in.
    """

    text: str
    start: str
    parser: str
    lexer: str
    path: str | None
    import_paths: tuple[str, ...]

    @staticmethod
    def of(
        grammar: str | os.PathLike[str],
        start: str,
        parser: str,
        lexer: str,
        import_paths: Iterable[str | os.PathLike[str]],
    ) -> GrammarSource:
        """Checks what a user passed, and reads the file if it is one."""
        if not isinstance(grammar, str | os.PathLike):
            raise InvalidTypeError(
                f"`grammar` of lark() is the text of a grammar, or a path, but was given {grammar!r}."
            )
        if not isinstance(start, str):
            raise InvalidTypeError(f"`start` of lark() is the name of a rule, but was given {start!r}.")
        if parser not in LEXERS:
            raise InvalidInputError(f"`parser` of lark() is 'earley' or 'lalr', but was given {parser!r}.")
        lexers = LEXERS[parser]
        if lexer not in ("auto", *lexers):
            known = ", ".join(map(repr, ("auto", *lexers)))
            raise InvalidInputError(
                f"`lexer` of lark() with parser={parser!r} is one of {known}, but was given {lexer!r}."
            )
        text, path = _read(grammar)
        folders = tuple(os.fspath(folder) for folder in import_paths)
        return GrammarSource(text, start, parser, lexers[0] if lexer == "auto" else lexer, path, folders)

    def loaded(self, parser: str = "earley", lexer: str = "dynamic") -> Any:
        """Gives Lark's own parser of the grammar; by default the one that takes Lark the least time.

        Raises:
            ConstraintError: Lark refuses the grammar; its message has line and column.
            MissingExtraError: Lark is not installed.
        """
        try:
            import lark
        except ImportError as error:
            raise MissingExtraError("lp.lark needs the package lark: pip install lark") from error
        try:
            return lark.Lark(
                self.text,
                start=self.start,
                parser=parser,
                lexer=lexer,
                source_path=self.path,
                import_paths=list(self.import_paths),
            )
        except lark.exceptions.LarkError as error:
            raise ConstraintError(f"Lark cannot read the grammar: {error}") from error
        except RecursionError as error:
            raise ConstraintError(
                "The grammar is nested too deeply for Lark. Give its parts names."
            ) from error
        except OSError as error:
            raise ConstraintError(
                f"Lark cannot read the grammar: it imports a file that cannot be read, {error}. Files are "
                "looked for beside the grammar's own file, and in `import_paths`."
            ) from error


def _read(grammar: str | os.PathLike[str]) -> tuple[str, str | None]:
    is_path = isinstance(grammar, os.PathLike) or ("\n" not in grammar and grammar.endswith(".lark"))
    if not is_path:
        assert isinstance(grammar, str)
        return grammar, None
    try:
        return Path(grammar).read_text("utf-8"), os.path.abspath(grammar)
    except (OSError, UnicodeDecodeError) as error:
        raise ConstraintError(f"The grammar file {os.fspath(grammar)!r} cannot be read: {error}") from error
