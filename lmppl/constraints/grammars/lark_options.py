"""The options of `lark.Lark`: which decide the language, which do not, and which cannot be had."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import regex as regex_module

from lmppl.errors import InvalidInputError, InvalidTypeError

_PRIORITIES = ("auto", "normal", "invert", None)
_AMBIGUITIES = ("auto", "resolve", "explicit", "forest")
_OF_RE = {
    flag: int(getattr(re, flag))
    for flag in ("IGNORECASE", "MULTILINE", "DOTALL", "VERBOSE", "UNICODE", "ASCII")
}
_OF_REGEX = {flag: int(getattr(regex_module, flag)) for flag in _OF_RE} | {"V0": int(regex_module.V0)}


class TreeOptions(TypedDict, total=False):
    """Options of Lark that say what becomes of a text that is parsed, or how; not which ones can be.

    Those from `transformer` on may only be given as Lark has them by default.
    """

    keep_all_tokens: bool
    maybe_placeholders: bool
    propagate_positions: bool | Callable[[Any], bool]
    debug: bool
    cache: bool | str
    cache_grammar: bool
    tree_class: Callable[..., Any] | None
    ambiguity: Literal["auto", "resolve", "explicit", "forest"]
    ordered_sets: bool
    transformer: None
    lexer_callbacks: Mapping[str, Any]
    use_bytes: bool
    _plugins: Mapping[str, Any]


HONOURED = (
    "start",
    "parser",
    "lexer",
    "import_paths",
    "postlex",
    "source_path",
    "g_regex_flags",
    "regex",
    "priority",
    "strict",
    "edit_terminals",
)
_BOOLS = ("keep_all_tokens", "maybe_placeholders", "debug", "cache_grammar", "ordered_sets")
_REFUSED = {
    "transformer": (
        None,
        "which Lark runs while it parses, so that it may raise or change tokens. Leave it out, and transform "
        "what is parsed; where it decides what is right, make a condition of it by lp.check(complete=...)",
    ),
    "lexer_callbacks": (
        {},
        "which may change tokens, so that no prefix can be judged byte by byte. Leave them out, or make a "
        "condition of what they look at by lp.check(complete=...)",
    ),
    "use_bytes": (
        False,
        "but strings are text here, written in UTF-8. Leave it out; with g_regex_flags=re.ASCII, classes are "
        "those that patterns of bytes have, as far as ASCII goes",
    ),
    "_plugins": ({}, "which are parts of a parser of your own. Leave them out"),
}


@dataclass(frozen=True)
class LanguageOptions:
    """The options that decide the language, beside those that say where a grammar is, and how it is parsed.

    Attributes:
        flags: Of `re`, on every terminal.
        by_regex: Whether the package `regex` says what terminals match, instead of `re`.
        priority: As Lark has it: `"normal"`, `"invert"` or None.
        strict: Whether conflicts, and terminals that overlap, are refused.
        keep_all_tokens: Whether trees keep every token; only then, two alternatives may be told apart.
        edit_terminals: Is called with each of Lark's terminals, and may change it.
    """

    flags: int = 0
    by_regex: bool = False
    priority: str | None = "normal"
    strict: bool = False
    keep_all_tokens: bool = False
    edit_terminals: Callable[[Any], Any] | None = None

    @staticmethod
    def of(
        parser: str,
        g_regex_flags: int,
        regex: bool,
        priority: str | None,
        strict: bool,
        edit_terminals: Callable[[Any], Any] | None,
        others: Mapping[str, Any],
    ) -> LanguageOptions:
        """Checks what a user passed.

        Raises:
            InvalidInputError: An option has a value that cannot be had, or that Lark refuses.
            InvalidTypeError: There is no such option, or its value is of another type.
        """
        for name, value in {
            "regex": regex,
            "strict": strict,
            **{n: others.get(n, False) for n in _BOOLS},
        }.items():
            _require(isinstance(value, bool), name, "True or False", value)
        if priority not in _PRIORITIES:
            raise _unknown("priority", _PRIORITIES, priority)
        is_function = callable(edit_terminals) and isinstance(edit_terminals, Hashable)
        _require(edit_terminals is None or is_function, "edit_terminals", "a function", edit_terminals)
        _check_others(parser, others)
        return LanguageOptions(
            _flags(g_regex_flags, regex),
            regex,
            "normal" if priority == "auto" else priority,
            strict,
            others.get("keep_all_tokens", False),
            edit_terminals,
        )

    def edit(self, terminal: Any) -> None:
        """Lets a terminal of Lark's be changed, where the user wants that. Raises as `apply`."""
        if self.edit_terminals is None:
            return
        name = terminal.name
        try:
            self.edit_terminals(terminal)
        except Exception as error:
            raise InvalidInputError(
                f"`edit_terminals` of lark() raised {type(error).__name__} for terminal {name}: {error}"
            ) from error
        if terminal.name != name:
            raise InvalidInputError(
                f"`edit_terminals` of lark() renames terminal {name} to {terminal.name!r}, by which no "
                "rule knows it. Change its pattern or its priority only."
            )

    def apply(self, terminals: list[Any], rules: list[Any]) -> None:
        """Changes Lark's terminals and rules as Lark itself would, once they are compiled.

        Raises:
            InvalidInputError: `edit_terminals` raises, or gives a terminal another name.
        """
        for terminal in terminals:
            self.edit(terminal)
        if self.priority == "normal":
            return
        for rule in rules:
            if rule.options.priority is not None:
                rule.options.priority = -rule.options.priority if self.priority else None
        for terminal in terminals:
            terminal.priority = -terminal.priority if self.priority else 0


DEFAULTS = LanguageOptions()
"""As Lark has them where nothing is said."""


def _flags(given: int, by_regex: bool) -> int:
    """Gives the flags of `re` that mean what a user passed."""
    if not isinstance(given, int) or isinstance(given, bool):
        raise InvalidTypeError(
            f"`g_regex_flags` of lark() are flags such as re.IGNORECASE | re.DOTALL, but was given {given!r}."
        )
    known, package = (_OF_REGEX, "regex") if by_regex else (_OF_RE, "re")
    left = int(given) & ~(0 if by_regex else int(re.DEBUG))
    found = 0
    for name, number in known.items():
        if left & number:
            left &= ~number
            found |= _OF_RE.get(name, 0)
    if left:
        raise InvalidInputError(
            f"`g_regex_flags` of lark() has {left:#x}, {_named(left, by_regex)}. The known flags are those "
            f"of the package `{package}`: {', '.join(f'{package}.{name}' for name in known)}."
        )
    if found & re.ASCII and found & re.UNICODE:
        raise InvalidInputError("`g_regex_flags` of lark() are both ASCII and UNICODE. Give one of them.")
    return found


def _named(number: int, by_regex: bool) -> str:
    if by_regex and number == re.ASCII:
        return "re.ASCII, which is V1 to the package `regex`; its own is regex.ASCII"
    flags = regex_module.RegexFlag if by_regex else re.RegexFlag
    names = [flag.name for flag in flags if flag & number and flag.name]
    return f"{' and '.join(names)}, which cannot be followed" if names else "which is no flag"


def _check_others(parser: str, others: Mapping[str, Any]) -> None:
    """Checks the options that do not decide the language."""
    for name in others:
        if name not in TreeOptions.__annotations__:
            known = [*HONOURED, *(each for each in TreeOptions.__annotations__ if each[0] != "_")]
            close = difflib.get_close_matches(name, known, 1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise InvalidTypeError(f"lark() has no option {name!r}.{hint} It has Lark's: {', '.join(known)}.")
    for name, (default, why) in _REFUSED.items():
        value = others.get(name, default)
        if value != default:
            raise InvalidInputError(f"`{name}` of lark() was given {value!r}, {why}.")
    positions, cache = others.get("propagate_positions", False), others.get("cache", False)
    tree_class, ambiguity = others.get("tree_class"), others.get("ambiguity", "auto")
    is_rule = isinstance(positions, bool) or callable(positions)
    _require(is_rule, "propagate_positions", "True, False or a function", positions)
    _require(isinstance(cache, bool | str), "cache", "True, False or a path as str", cache)
    _require(tree_class is None or callable(tree_class), "tree_class", "a class", tree_class)
    if ambiguity not in _AMBIGUITIES:
        raise _unknown("ambiguity", _AMBIGUITIES, ambiguity)
    for name, is_given, needed in (
        ("ambiguity", ambiguity != "auto", "earley"),
        ("cache", bool(cache), "lalr"),
    ):
        if is_given and parser != needed:
            raise InvalidInputError(
                f"`{name}` of lark() was given {others[name]!r}, which Lark has with parser={needed!r} only. "
                "Leave it out, as it does not matter to which texts are parsed."
            )


def _require(is_right: bool, name: str, expected: str, value: Any) -> None:
    if not is_right:
        raise InvalidTypeError(f"`{name}` of lark() is {expected}, but was given {value!r}.")


def _unknown(name: str, known: tuple[Any, ...], value: Any) -> InvalidInputError:
    return InvalidInputError(
        f"`{name}` of lark() is one of {', '.join(map(repr, known))}, but was given {value!r}."
    )
