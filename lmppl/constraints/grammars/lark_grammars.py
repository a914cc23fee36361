"""Grammars as Lark reads them: what a user may pass, and Lark's own objects for it."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from lmppl.constraints.grammars.imported_files import Imports, Loader, Where, sources_of
from lmppl.constraints.grammars.indentation import Indentation
from lmppl.constraints.grammars.lark_options import DEFAULTS, LanguageOptions
from lmppl.constraints.grammars.lark_readings import LarkRule, LarkSymbol, LarkTerminal, Reading
from lmppl.constraints.grammars.lark_refusals import refusals
from lmppl.constraints.grammars.rule_alternatives import bound_alternatives, bound_literals, bound_terminals
from lmppl.constraints.grammars.stored_grammars import KINDS
from lmppl.constraints.grammars.template_uses import bound_templates
from lmppl.constraints.mistaken_values import hint
from lmppl.constraints.regular import regex_package
from lmppl.constraints.stored_compilations import StoredParts
from lmppl.errors import ConstraintError, InvalidInputError, InvalidTypeError, MissingExtraError

LEXERS = {"earley": ("dynamic", "dynamic_complete", "basic"), "lalr": ("contextual", "basic")}
"""The lexers of each parser, the one that Lark chooses first."""

MAX_LOADED = 64
_BESIDE = re.compile(r"%import\s*\.")


@dataclass(frozen=True)
class GrammarSource:
    """A grammar and the options that decide its language. Equal ones have equal languages.

    Attributes:
        text: The grammar.
        start: The rule that stands for the whole text.
        parser: `earley` or `lalr`.
        lexer: One that goes with the parser.
        path: The file that the text came from; imports beside it work.
        import_paths: Folders to look for imported grammars in, and functions that find them.
        options: What else decides the language.
        indentation: How blocks are indented, where a lexer is told.
        folder: Where a text without a path looks for what it imports from beside it.
    """

    text: str
    start: str
    parser: str
    lexer: str
    path: str | None
    import_paths: tuple[str | Loader, ...]
    options: LanguageOptions
    indentation: Indentation | None = None
    folder: str | None = None

    @staticmethod
    def of(
        grammar: str | os.PathLike[str] | IO[str],
        start: str,
        parser: str,
        lexer: str,
        import_paths: Iterable[str | os.PathLike[str] | Loader],
        postlex: Any = None,
        source_path: str | os.PathLike[str] | None = None,
        options: LanguageOptions = DEFAULTS,
    ) -> GrammarSource:
        """Checks what a user passed, and reads the file if it is one."""
        if isinstance(start, list | tuple) and len(start) == 1:
            start = start[0]
        if not isinstance(start, str):
            raise InvalidTypeError(
                f"`start` of lark() is the name of one rule, but was given {start!r}. The languages "
                "of several can be joined by `|`."
            )
        if isinstance(lexer, type):
            raise InvalidInputError(
                f"`lexer` of lark() was given the class {lexer.__name__}; what a lexer of your own does "
                "cannot be followed byte by byte. Choose one of Lark's, or ask your parser in "
                "lp.check(complete=...)."
            )
        if parser not in tuple(LEXERS):
            raise InvalidInputError(f"`parser` of lark() is 'earley' or 'lalr', but was given {parser!r}.")
        lexers = [lexer for lexer in LEXERS[parser] if postlex is None or "dynamic" not in lexer]
        if lexer not in ("auto", *lexers):
            known = ", ".join(map(repr, ("auto", *lexers)))
            also = "" if postlex is None else " and `postlex`"
            raise InvalidInputError(
                f"`lexer` of lark() with parser={parser!r}{also} is one of {known}, but was given {lexer!r}."
            )
        text, path = _read(grammar)
        if source_path is not None:
            if not isinstance(source_path, str | os.PathLike):
                raise InvalidTypeError(f"`source_path` of lark() is a path, but was given {source_path!r}.")
            path = os.fspath(source_path)
        lexer = lexers[0] if lexer == "auto" else lexer
        indentation = None if postlex is None else Indentation.of(postlex)
        folders = sources_of(import_paths)
        folder = _folder() if path is None and _BESIDE.search(text) else None
        return GrammarSource(text, start, parser, lexer, path, folders, options, indentation, folder)

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
            loaded = _loaded(self)
            if self.options.strict and "dynamic" not in self.lexer:
                _require_interegular()
                self.parser_of_lark()  # which refuses what is not strict
            _LOADED[self] = loaded
        return loaded

    def parser_of_lark(self) -> Any:
        """Makes Lark's own parser of the grammar, to see what it has to say.

        Raises:
            ConstraintError: Lark refuses the grammar; its message has line and column.
        """
        flags = self.options.flags
        with refusals(self.text) as lark:
            return lark.Lark(
                self.text,
                start=self.start,
                parser=self.parser,
                lexer=self.lexer,
                source_path=self.path,
                import_paths=list(self.import_paths),
                postlex=None if self.indentation is None else self.indentation.indenter(),
                regex=self.options.by_regex,
                g_regex_flags=regex_package.flags_of_regex(flags) if self.options.by_regex else flags,
                priority=self.options.priority,
                strict=self.options.strict,
                keep_all_tokens=self.options.keep_all_tokens,
                edit_terminals=self.options.edit,
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
    files: tuple[tuple[Where, str | None], ...]
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
    """Gives all that a grammar depends on but the files that it imports; None where that has no name."""
    if source.options.edit_terminals is not None or any(map(callable, source.import_paths)):
        return None
    try:
        versions = [version("lark")]
    except PackageNotFoundError:
        return None
    with suppress(PackageNotFoundError):  # Lark uses it where it is there
        versions.append(version("regex"))
    return "lark", versions, source


def _read_by_lark(source: GrammarSource) -> Reading:
    options = source.options
    imports = Imports(source.import_paths)
    with refusals(source.text, imports):
        from lark.load_grammar import load_grammar

        grammar, _ = load_grammar(source.text, source.path or "<string>", [imports], options.keep_all_tokens)
        first = next((str(name) for name, *_ in grammar.rule_defs if not str(name).startswith("_")), "")
        bound_literals(grammar)
        bound_alternatives(grammar, source.parser == "earley")
        bound_templates(grammar)
        kept = set() if source.indentation is None else {source.indentation.newline}
        terminals, rules, ignored = grammar.compile([source.start], kept)
        bound_terminals(len(terminals))
    options.apply(terminals, rules)
    for terminal in terminals:
        _check_terminal(terminal, options, "dynamic" not in source.lexer)
    if options.by_regex:
        _check_properties([terminal.pattern.to_regexp() for terminal in terminals], options.flags)
    names = dict.fromkeys(str(rule.origin.name) for rule in rules)
    if source.start not in names:
        raise ConstraintError(
            f"Lark cannot read the grammar: it has no rule {source.start!r}. Name the rule that stands for "
            f"the whole string in `start`{f', such as start={first!r}' if first else ''}."
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


def _check_properties(patterns: list[str], flags: int) -> None:
    unsure = regex_package.unsure(patterns, flags)
    if unsure is not None:
        raise ConstraintError(
            f"The terminals of the grammar have {unsure}, where case is ignored in a part of them, or under "
            "ASCII too. The package `regex` then does not always give it the same meaning. Ignore case in "
            "all of them, by g_regex_flags without ASCII, or in none."
        )


def _require_interegular() -> None:
    if importlib.util.find_spec("interegular") is None:
        raise MissingExtraError(
            "`strict` of lark() needs the package interegular, which finds terminals that match the same "
            "text: pip install 'lark[interegular]'"
        )


def _check_terminal(terminal: Any, options: LanguageOptions, is_lexed: bool) -> None:
    """Refuses a terminal that is no pattern where Lark needs one, or that matches the empty string."""
    pattern = terminal.pattern.to_regexp()
    try:
        is_empty = terminal.pattern.min_width == 0
        if options.flags & re.VERBOSE and not is_empty:  # which Lark itself does not look at
            is_empty = type(terminal.pattern)(f"(?x:{pattern}\n)").min_width == 0
        if is_lexed and (
            options.flags & re.VERBOSE or "(?" in pattern
        ):  # it stands in a group of a larger one
            (regex_package.compiled if options.by_regex else re.compile)(f"(?:{pattern})", options.flags)
    except Exception as error:  # of the package `regex`, where Lark finds it, or a ValueError
        reason = "it is nested too deeply. Use fewer groups." if isinstance(error, RecursionError) else error
        raise ConstraintError(
            f"Lark cannot read the grammar: Terminal {terminal.name} is no regular expression: "
            f"{regex_package.shown(terminal.pattern.value)}, {reason}"
        ) from error
    if is_empty:
        raise ConstraintError(
            f"Lark cannot read the grammar: Terminal {terminal.name} matches the empty string, so no lexer "
            "could go on."
        )


def _folder() -> str:
    """Gives the folder that Lark takes for that of a grammar without a file: the script's, or this one."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    return os.getcwd() if script is None else os.path.dirname(os.path.abspath(script))


def _read(grammar: str | os.PathLike[str] | IO[str]) -> tuple[str, str | None]:
    if not isinstance(grammar, str | os.PathLike):
        text = grammar.read() if hasattr(grammar, "read") else None
        if not isinstance(text, str):
            raise InvalidTypeError(
                f"`grammar` of lark() is the text of a grammar, a path or a text file, but was given "
                f"{grammar!r}.{hint(grammar)}"
            )
        name = getattr(grammar, "name", None)
        return text, os.path.abspath(name) if isinstance(name, str) else None
    is_path = isinstance(grammar, os.PathLike) or ("\n" not in grammar and grammar.endswith(".lark"))
    if not is_path:
        assert isinstance(grammar, str)
        return grammar, None
    try:
        return Path(grammar).read_text("utf-8"), os.path.abspath(grammar)
    except (OSError, UnicodeDecodeError) as error:
        raise ConstraintError(f"The grammar file {os.fspath(grammar)!r} cannot be read: {error}") from error
