"""`lp.lark`: context-free grammars in Lark's syntax, judged byte by byte."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import IO, Any, Protocol, Unpack, cast

from lmppl.constraints.grammars.earley import Matcher, Recogniser
from lmppl.constraints.grammars.earley_exactness import can_always_complete
from lmppl.constraints.grammars.grammar_terminals import Terminal, compile_terminals
from lmppl.constraints.grammars.lalr_tables import NotLalr
from lmppl.constraints.grammars.lark_grammars import GrammarSource, LoadedGrammar, Loader
from lmppl.constraints.grammars.lark_options import LanguageOptions, TreeOptions
from lmppl.constraints.grammars.left_contexts import LeftContexts
from lmppl.constraints.grammars.lexed_grammars import earley_texts, lalr_texts, never_found
from lmppl.constraints.grammars.lexed_texts import LexedTexts
from lmppl.constraints.grammars.numbered_rules import grammar_rules
from lmppl.constraints.grammars.token_neighbours import followers
from lmppl.constraints.protocol import Constraint, State, require_bytes
from lmppl.errors import ConstraintError
from lmppl.progress import tell_compiling


def lark(
    grammar: str | os.PathLike[str] | IO[str],
    start: str = "start",
    *,
    parser: str = "earley",
    lexer: str = "auto",
    import_paths: Iterable[str | os.PathLike[str] | Loader] = (),
    source_path: str | os.PathLike[str] | None = None,
    postlex: Any = None,
    g_regex_flags: int = 0,
    regex: bool = False,
    priority: str | None = "auto",
    strict: bool = False,
    edit_terminals: Callable[[Any], Any] | None = None,
    **others: Unpack[TreeOptions],
) -> Constraint:
    """Allows the strings of a grammar in Lark's syntax.

    The language is what `lark.Lark(grammar, ...)` parses with the same options, defaults included. Lark
    reads the grammar, so imports, templates, priorities, flags and `%ignore` mean what they mean there.
    Where terminals overlap, the options matter: with `"if" NAME` and names of letters, `iffy` is one name
    to the basic lexer, and a keyword and a name to the dynamic one.

    A prefix that is refused has no completion. Whether one that is let through always has one is known for
    many grammars (`viable_is_exact`): if any lexeme can be ended for sure by something ignored, or by what
    follows it; with a lexer elsewhere too, by a bounded search in each state. What is accepted is right in
    any case. A grammar is read again when a file that it imports has changed; what took more than 50 ms to
    compile is kept on disk for other processes. States are made when first met, and remembered up to a bound;
    for LALR the time for a byte does not depend on the length, unless the lexer has to keep many endings of
    one lexeme open.

    Args:
        grammar: The text of a grammar, or the path of a file of it: a `Path`, or a str without line
            breaks that ends in `.lark`; or an open text file. A file may import from beside it.
        start: The rule that stands for the whole string.
        parser: `"earley"` for any grammar, or `"lalr"`, which takes less time for a byte.
        lexer: How texts are cut into terminals. `"auto"` is `"dynamic"` for Earley and `"contextual"` for
            LALR. Others are `"basic"`, and for Earley `"dynamic_complete"`: a terminal may then match any
            shorter string than the one that `re` finds.
        import_paths: Folders in which to look for imported grammars, and functions that find them, such as
            Lark's `FromPackageLoader`.
        source_path: The file that the grammar counts as, from beside which it imports.
        postlex: An instance of a subclass of `lark.indenter.Indenter`, such as its `PythonIndenter()`, which
            makes blocks of indented lines. `"auto"` is then `"basic"` for Earley, as there must be a lexer;
            and it is not known whether a prefix can be completed: an indentation may fit no block.
        g_regex_flags: Flags of `re` that every terminal has, strings and what is ignored too. With `regex`,
            they are those of the package `regex`, where `regex.ASCII` is another number.
        regex: Whether terminals are read by the package `regex`, in its version 0: with `\\p{...}`, and with
            its Unicode data for classes and cases. What else it has beyond `re` is refused.
        priority: `"invert"` turns the priorities of terminals and rules around, None takes them away.
        strict: Whether to refuse what Lark refuses then: conflicts, and with a lexer terminals that match the
            same text. That takes the package `interegular`.
        edit_terminals: A function that is called with each of Lark's `TerminalDef`, and may change its
            pattern or its priority.
        **others: What else Lark has, so that the options of a parser can be passed on: `keep_all_tokens`,
            `maybe_placeholders`, `propagate_positions`, `debug`, `cache`, `cache_grammar`, `tree_class`,
            `ambiguity`, `ordered_sets`. They say what becomes of a text, and not which ones are parsed.

    Raises:
        ConstraintError: Lark refuses the grammar; a terminal has back-references to groups of many texts, or
            by number with a lexer, tells apart too many texts before it, or has other look-around that is not
            supported; or no string is in the language, which with a lexer may show at the first question.
        InvalidInputError: There is no such parser, or the lexer does not go with it; or an option cannot be
            followed: a lexer class, a `transformer`, `lexer_callbacks`, `use_bytes`, flags such as LOCALE.
        InvalidTypeError: There is no such option, its value is of the wrong type, or `postlex` is something
            else than an `Indenter` as Lark has it.
    """
    options = LanguageOptions.of(
        parser, g_regex_flags, regex, priority, strict, edit_terminals, cast(dict[str, Any], others)
    )
    source = GrammarSource.of(grammar, start, parser, lexer, import_paths, postlex, source_path, options)
    tell_compiling(f"lark(...), {source.parser}")
    loaded = source.loaded()
    made = _lark(loaded)
    loaded.parts.keep()
    return made


@lru_cache(64)
def _lark(loaded: LoadedGrammar) -> Grammar:
    source = loaded.source
    if source.parser == "lalr":
        return Grammar(loaded, _lalr_texts(loaded))
    if source.lexer == "basic":
        return Grammar(loaded, earley_texts(loaded, source.start))
    return _scannerless(loaded)


def _lalr_texts(loaded: LoadedGrammar) -> LexedTexts[Any]:
    source = loaded.source
    try:
        return lalr_texts(loaded, source.start, source.lexer == "contextual")
    except NotLalr as error:
        source.parser_of_lark()  # which says where the conflict is
        raise ConstraintError(
            "The grammar is LR(k) for no k: rules that may be empty follow one another in a circle. Give "
            "parser='earley', or rewrite them."
        ) from error


def _scannerless(loaded: LoadedGrammar) -> Grammar:
    source = loaded.source
    complete = source.lexer == "dynamic_complete"
    options = source.options
    terminals = [
        Terminal.of_lark(terminal, token, options.flags, options.by_regex)
        for token, terminal in enumerate(loaded.terminals)
    ]
    compile_terminals(terminals, loaded.parts)
    numbers = {terminal.name: terminal.token for terminal in terminals}
    used = {symbol.name for rule in loaded.rules for symbol in rule.expansion if symbol.is_term}
    for name in sorted(used - numbers.keys()):  # declared, without a pattern: it matches nothing
        numbers[name] = len(numbers)
    for terminal in terminals:
        if complete and (terminal.looked_at or terminal.automaton.has_conditions):
            what = "depends on what stands before it" if terminal.looked_at else "uses look-ahead"
            raise ConstraintError(
                f"Terminal {terminal.name} of the grammar {what}, which lexer='dynamic_complete' cannot "
                "have. Use lexer='dynamic'."
            )
    contexts = LeftContexts.of(terminals)
    variants = [variant for terminal in terminals for variant in _in_contexts(terminal, contexts)]
    live = frozenset(terminal.token for terminal, _ in variants if terminal.automaton.runs[0])
    rules = grammar_rules(loaded.reading, source.start, numbers, live)
    ignored = set(loaded.ignore_tokens)
    matchers = [Matcher(t.automaton, t.token, not complete, c) for t, c in variants if t.name in used]
    matchers += [Matcher(t.automaton, None, True, c) for t, c in variants if t.name in ignored]
    is_exact = contexts is None and loaded.parts.get(
        "can always complete",
        lambda: can_always_complete(
            matchers, followers(rules.productions, rules.nullable, rules.first_nonterminal)
        ),
    )
    return Grammar(loaded, Recogniser(rules, matchers, is_exact, contexts))


def _in_contexts(terminal: Terminal, contexts: LeftContexts | None) -> list[tuple[Terminal, int | None]]:
    """Gives a terminal as it is in each context, with that; only once if none matters to it."""
    if contexts is None or not terminal.looked_at:
        return [(terminal, None)]
    return [(contexts.terminal(terminal, context), context) for context in contexts.numbers]


class Texts(Protocol):
    """The states of a language."""

    @property
    def is_exact(self) -> bool:
        """Whether it is known that every state that has been given can be completed."""
        ...

    @property
    def initial(self) -> Any:
        """The state of the empty text."""
        ...

    def advance(self, state: Any, data: bytes, /) -> Any:
        """Gives the state after some bytes, or None."""
        ...

    def accepts(self, state: Any, /) -> bool:
        """Says whether the text so far is in the language."""
        ...


@dataclass(frozen=True, repr=False)
class Grammar(Constraint):
    """The strings of a context-free grammar. Made by `lark`.

    Attributes:
        loaded: The grammar as the user wrote it, the options, and the files that it imports.
        texts: What knows the states.
    """

    loaded: LoadedGrammar
    texts: Texts = field(compare=False)

    @property
    def viable_is_exact(self) -> bool:
        """True if it is known that every prefix that is let through can be completed.

        With a lexer it turns False, for good, once the search for a completion of one state has been given
        up: the prefix was let through then.
        """
        return self.texts.is_exact

    @property
    def revisits_states(self) -> bool:
        """True."""
        return True

    def initial(self) -> State:
        """Gives the state of the empty string.

        Raises:
            ConstraintError: No string is in the language, for Lark's LALR parser resolves conflicts so.
        """
        initial = self.texts.initial
        if initial is None:
            unfound = ", ".join(never_found(self.loaded)[:3])
            raise ConstraintError(
                f"No string is in the language of the grammar: {unfound}. Where two terminals match a text, "
                "give that which is meant a greater priority, as in NAME.1; let `%ignore` match less; or "
                "give parser='earley', which looks for each on its own."
                if unfound
                else "No string is in the language of the grammar: where more than one rule applies, Lark's "
                "LALR parser takes one that never comes to an end, or a terminal is found nowhere that it "
                "may stand. Give parser='earley'."
            )
        return initial

    def advance(self, state: State, data: bytes) -> State | None:
        """Gives the state after `data`, or None if no string of the language starts so."""
        try:
            return self.texts.advance(state, data)
        except TypeError:
            require_bytes(data)
            raise

    def accepts(self, state: State) -> bool:
        """Says whether the string that led to `state` is in the language."""
        return self.texts.accepts(state)

    def describe(self) -> str:
        """Gives the first line of the grammar."""
        lines = [line.strip() for line in self.loaded.source.text.splitlines() if line.strip()] or [""]
        first = lines[0] if len(lines[0]) <= 40 else lines[0][:37] + "..."
        return f"lark({first!r}{', ...' if len(lines) > 1 else ''})"
