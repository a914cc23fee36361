"""Grammars as Lark reads them: what a user may pass, and Lark's own objects for it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

from lmppl.constraints.grammars.indentation import Indentation
from lmppl.constraints.grammars.lark_readings import (
    LarkRule,
    LarkSymbol,
    LarkTerminal,
    Reading,
    contents,
    digest,
)
from lmppl.constraints.grammars.rule_alternatives import bound_alternatives, bound_literals, bound_terminals
from lmppl.constraints.grammars.stored_grammars import KINDS
from lmppl.constraints.grammars.template_uses import bound_templates
from lmppl.constraints.stored_compilations import StoredParts
from lmppl.errors import ConstraintError, InvalidInputError, InvalidTypeError, MissingExtraError

LEXERS = {"earley": ("dynamic", "dynamic_complete", "basic"), "lalr": ("contextual", "basic")}
"""The lexers of each parser, the one that Lark chooses first."""

MAX_LOADED = 64


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
        indentation: How blocks are indented, where a lexer is told.
    """

    text: str
    start: str
    parser: str
    lexer: str
    path: str | None
    import_paths: tuple[str, ...]
    indentation: Indentation | None = None

    @staticmethod
    def of(
        grammar: str | os.PathLike[str],
        start: str,
        parser: str,
        lexer: str,
        import_paths: Iterable[str | os.PathLike[str]],
        postlex: Any = None,
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
        lexers = [lexer for lexer in LEXERS[parser] if postlex is None or "dynamic" not in lexer]
        if lexer not in ("auto", *lexers):
            known = ", ".join(map(repr, ("auto", *lexers)))
            also = "" if postlex is None else " and `postlex`"
            raise InvalidInputError(
                f"`lexer` of lark() with parser={parser!r}{also} is one of {known}, but was given {lexer!r}."
            )
        text, path = _read(grammar)
        folders = tuple(os.fspath(folder) for folder in import_paths)
        lexer = lexers[0] if lexer == "auto" else lexer
        indentation = None if postlex is None else Indentation.of(postlex)
        return GrammarSource(text, start, parser, lexer, path, folders, indentation)

    def loaded(self) -> LoadedGrammar:
        """Reads the grammar, with what it imports. It is not read again unless a file has changed.

        Raises:
            ConstraintError: Lark refuses the grammar; its message has line and column.
            MissingExtraError: Lark is not installed.
        """
        loaded = _LOADED.get(self)
        if loaded is None or not loaded.is_current():
            if len(_LOADED) >= MAX_LOADED:
                _LOADED.clear()
            loaded = _LOADED[self] = _loaded(self)
        return loaded

    def parser_of_lark(self) -> Any:
        """Makes Lark's own parser of the grammar, to see what it has to say.

        Raises:
            ConstraintError: Lark refuses the grammar; its message has line and column.
        """
        with _refusals() as lark:
            return lark.Lark(
                self.text,
                start=self.start,
                parser=self.parser,
                lexer=self.lexer,
                source_path=self.path,
                import_paths=list(self.import_paths),
                postlex=None if self.indentation is None else self.indentation.indenter(),
            )


@dataclass(frozen=True)
class LoadedGrammar:
    """A grammar with all that it imports, as Lark reads it. Equal ones have equal languages.

    Attributes:
        source: What the user passed.
        files: As of `Reading`.
        reading: What Lark makes of it.
        parts: What else is compiled of it, as far as it is kept.
    """

    source: GrammarSource
    files: tuple[tuple[str, str | None], ...]
    reading: Reading = field(compare=False, repr=False)
    parts: StoredParts = field(compare=False, repr=False)

    @property
    def terminals(self) -> tuple[LarkTerminal, ...]:
        """Those that are used."""
        return self.reading.terminals

    @property
    def rules(self) -> tuple[LarkRule, ...]:
        """The rules: imports, templates and EBNF are expanded."""
        return self.reading.rules

    @property
    def ignore_tokens(self) -> tuple[str, ...]:
        """Names of the terminals that are left out."""
        return self.reading.ignored

    def is_current(self) -> bool:
        """Says whether the same files would be found, and hold the same."""
        return self.reading.is_current()


_LOADED: dict[GrammarSource, LoadedGrammar] = {}


def _loaded(source: GrammarSource) -> LoadedGrammar:
    parts = StoredParts(_description(source), KINDS, _is_current)
    reading = parts.get("reading", lambda: _read_by_lark(source))
    return LoadedGrammar(source, reading.files, reading, parts)


def _is_current(parts: Mapping[str, Any]) -> bool:
    return isinstance(parts.get("reading"), Reading) and parts["reading"].is_current()


def _description(source: GrammarSource) -> object:
    """Gives all that a grammar depends on but the files that it imports; None where Lark is not known."""
    try:
        versions = [version("lark")]
    except PackageNotFoundError:
        return None
    with suppress(PackageNotFoundError):  # Lark uses it where it is there
        versions.append(version("regex"))
    return "lark", versions, source


def _read_by_lark(source: GrammarSource) -> Reading:
    imports = _Imports(source.import_paths)
    with _refusals() as lark:
        from lark.load_grammar import load_grammar

        grammar, _ = load_grammar(source.text, source.path or "<string>", [imports], False)
        bound_literals(grammar)
        bound_alternatives(grammar, source.parser == "earley")
        bound_templates(grammar)
        kept = set() if source.indentation is None else {source.indentation.newline}
        terminals, rules, ignored = grammar.compile([source.start], kept)
        bound_terminals(len(terminals))
        for terminal in terminals:
            try:
                is_empty = terminal.pattern.min_width == 0
            except Exception as error:  # of the package `regex`, where Lark finds it, or a ValueError
                raise lark.exceptions.GrammarError(
                    f"Terminal {terminal.name} is no regular expression: {terminal.pattern.value!r}, {error}"
                ) from error
            if is_empty:
                raise lark.exceptions.GrammarError(
                    f"Terminal {terminal.name} matches the empty string, so no lexer could go on."
                )
    names = dict.fromkeys(str(rule.origin.name) for rule in rules)
    if source.start not in names:
        raise ConstraintError(
            f"Lark cannot read the grammar: it has no rule {source.start!r}. Name the rule that stands for "
            "the whole string in `start`."
        )
    return Reading(
        tuple(imports.digests.items()),
        tuple(map(_terminal, terminals)),
        tuple(
            LarkRule(_symbol(rule.origin), tuple(map(_symbol, rule.expansion)), rule.options.priority or 0)
            for rule in rules
        ),
        tuple(map(str, ignored)),
    )


def _terminal(terminal: Any) -> LarkTerminal:
    pattern = terminal.pattern
    return LarkTerminal(
        str(terminal.name),
        str(pattern.to_regexp()),
        str(pattern.value),
        pattern.type == "str",
        frozenset(map(str, pattern.flags)),
        int(terminal.priority),
        int(pattern.max_width),
    )


def _symbol(symbol: Any) -> LarkSymbol:
    return LarkSymbol(str(symbol.name), bool(symbol.is_term))


class _Imports:
    """Finds imported files where Lark does, and remembers what it has looked at."""

    def __init__(self, folders: tuple[str, ...]):
        self.folders = folders
        self.digests: dict[str, str | None] = {}

    def __call__(self, base: str | None, name: str) -> tuple[str, str]:
        """Gives path and text of a file; Lark's own library is searched if there is none."""
        for folder in (*self.folders, *([base] if isinstance(base, str) else [])):
            path = os.path.join(folder, name)
            found = contents(path)
            self.digests[path] = digest(found)
            if found is not None:
                try:
                    return path, found.decode()
                except UnicodeDecodeError as error:
                    raise ConstraintError(f"The imported file {path!r} cannot be read: {error}") from error
        raise FileNotFoundError(name)


@contextmanager
def _refusals() -> Iterator[ModuleType]:
    """Gives the package lark, and turns its errors into ours."""
    try:
        import lark
    except ImportError as error:
        raise MissingExtraError("lp.lark needs the package lark: pip install lark") from error
    try:
        yield lark
    except lark.exceptions.LarkError as error:
        raise ConstraintError(f"Lark cannot read the grammar: {error}") from error
    except RecursionError as error:
        raise ConstraintError("The grammar is nested too deeply for Lark. Give its parts names.") from error
    except (OSError, AssertionError) as error:  # Lark asserts that a missing file is not in this folder
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
