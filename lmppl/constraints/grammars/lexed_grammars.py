"""From a grammar that Lark has loaded to the states of the texts that a lexer cuts for a parser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache, partial
from typing import Any

from lmppl.constraints.grammars.earley_sets import EarleySets, Frame
from lmppl.constraints.grammars.grammar_terminals import Terminal, compile_terminals
from lmppl.constraints.grammars.indented_blocks import IndentedParser
from lmppl.constraints.grammars.indented_texts import IndentedTexts
from lmppl.constraints.grammars.joined_terminals import require_distinct_names, require_names
from lmppl.constraints.grammars.lalr_completions import Completions, KeptAnswers
from lmppl.constraints.grammars.lalr_stacks import LalrParser
from lmppl.constraints.grammars.lalr_tables import END, GrammarRule, LalrTable, lalr_table
from lmppl.constraints.grammars.lark_grammars import LoadedGrammar
from lmppl.constraints.grammars.lark_readings import LarkSymbol, LarkTerminal
from lmppl.constraints.grammars.left_contexts import START, LeftContexts
from lmppl.constraints.grammars.lexed_texts import LexedTexts
from lmppl.constraints.grammars.lexer_exactness import lexemes_can_be_ended
from lmppl.constraints.grammars.numbered_rules import grammar_rules
from lmppl.constraints.grammars.scanner import IGNORED, Scanner
from lmppl.constraints.grammars.sure_completions import SureCompletions, WrittenEarley, WrittenLalr
from lmppl.constraints.grammars.texts_in_context import SureInContext, TextsInContext
from lmppl.constraints.grammars.token_texts import TokenTexts
from lmppl.constraints.grammars.written_in_context import WrittenInContext
from lmppl.errors import ConstraintError


def lalr_texts(loaded: LoadedGrammar, start: str, contextual: bool) -> LexedTexts[Any]:
    """Gives the texts of a grammar that Lark's LALR parser takes.

    Raises:
        ConstraintError: A terminal has no automaton.
        NotLalr: The grammar is not LALR(1).
    """
    scanners = _Scanners(loaded)
    rules, root = _rules(loaded, start, scanners.tokens)
    table = loaded.parts.get("table", lambda: lalr_table(rules, len(scanners.tokens) + 1, root))
    wanted = _wanted(table)
    anywhere = scanners.everywhere
    by_state = [
        scanners.in_contexts(tokens | anywhere if contextual else scanners.tokens.values())
        for tokens in wanted
    ]
    parser = LalrParser(table)
    all_derive = not table.has_conflicts and _all_derive(loaded)
    all_is_found = all_derive and loaded.parts.get(
        "all is found",
        lambda: all(
            scanners.can_find(in_contexts, token)
            for in_contexts, tokens in dict.fromkeys(zip(by_state, wanted, strict=True))
            for token in tokens - scanners.injected
        ),
    )
    can_complete = None
    if not all_is_found:
        found = lru_cache(None)(partial(_found, scanners))
        kept = KeptAnswers(loaded.parts, "completions")
        can_complete = Completions(parser, lambda state: found(by_state[state], wanted[state]), kept).exist
    if scanners.indentation is not None:
        blocks = IndentedParser(parser, scanners.indentation)
        return IndentedTexts(blocks, lambda stack: by_state[stack.state][0], can_complete)
    masks = {tokens: sum(1 << token for token in tokens) for tokens in dict.fromkeys(wanted)}
    bits = [
        masks[tokens] | (END in shifts or END in reductions) << END
        for tokens, shifts, reductions in zip(wanted, table.shifts, table.reductions, strict=True)
    ]
    if scanners.contexts is not None:
        readers: dict[int, dict[tuple[Scanner, ...], None]] = {}
        for in_contexts, tokens in zip(by_state, wanted, strict=True):
            for token in tokens:
                readers.setdefault(token, {})[in_contexts] = None
        texts = scanners.texts_in_context(scanners.contexts, readers)
        written = WrittenLalr(parser, rules, bits, by_state, texts, all_derive, loaded.parts)
        return TextsInContext(
            parser,
            scanners.contexts,
            lambda stack, context: by_state[stack.state][context],
            can_complete,
            SureInContext(SureCompletions(written, texts), texts).exist,
        )
    is_sure = None
    only = [scanner for scanner, *_ in by_state]
    if not scanners.lexemes_can_be_ended:
        texts = scanners.texts()
        written = WrittenLalr(parser, rules, bits, only, texts, all_derive, loaded.parts)
        is_sure = SureCompletions(written, texts).exist
    return LexedTexts(
        parser, lambda stack: only[stack.state], can_complete, scanners.lexemes_can_be_ended, is_sure
    )


def _wanted(table: LalrTable) -> list[frozenset[int]]:
    """Gives, by state, the tokens that are not refused at once; equal ones are one."""
    known: dict[frozenset[int], frozenset[int]] = {}
    reduced: dict[int, frozenset[int]] = {}  # many states that shift nothing share a row
    wanted = []
    for shifts, reductions in zip(table.shifts, table.reductions, strict=True):
        tokens = None if shifts else reduced.get(id(reductions))
        if tokens is None:
            tokens = frozenset((*shifts, *reductions)) - {END}
            tokens = known.setdefault(tokens, tokens)
            if not shifts:
                reduced[id(reductions)] = tokens
        wanted.append(tokens)
    return wanted


def _found(scanners: _Scanners, in_contexts: Sequence[Scanner], tokens: frozenset[int]) -> int:
    injected = scanners.injected
    found = (token for token in tokens if token in injected or scanners.can_find(in_contexts, token))
    return sum(1 << token for token in found) | 1 << END


def earley_texts(loaded: LoadedGrammar, start: str) -> LexedTexts[Any]:
    """Gives the texts of a grammar that Lark's Earley parser takes with the basic lexer.

    Raises:
        ConstraintError: A terminal has no automaton; or no string is in the language.
    """
    scanners = _Scanners(loaded)
    in_contexts = scanners.in_contexts(scanners.tokens.values())
    scanner = in_contexts[0]
    found = frozenset(loaded.parts.get("found", lambda: tuple(sorted(_all_found(in_contexts)))))
    rules = grammar_rules(loaded.reading, start, scanners.tokens, found | scanners.injected)
    sets = EarleySets(rules)
    if scanners.indentation is not None:
        blocks = IndentedParser(_EarleyParser(sets), scanners.indentation)
        return IndentedTexts(blocks, lambda frame: scanner, None)
    if scanners.contexts is not None:
        texts = scanners.texts_in_context(scanners.contexts, {token: [in_contexts] for token in found})
        written = WrittenEarley(sets, rules, in_contexts, texts)
        return TextsInContext(
            _EarleyParser(sets),
            scanners.contexts,
            lambda frame, context: in_contexts[context],
            None,
            SureInContext(SureCompletions(written, texts), texts).exist if written.is_known else None,
        )
    is_sure = None
    if not scanners.lexemes_can_be_ended:
        texts = scanners.texts(needed=found)
        written = WrittenEarley(sets, rules, scanner, texts)
        if written.is_known:
            is_sure = SureCompletions(written, texts).exist
    return LexedTexts(
        _EarleyParser(sets), lambda frame: scanner, None, scanners.lexemes_can_be_ended, is_sure
    )


def _all_found(scanners: Sequence[Scanner]) -> frozenset[int]:
    """Gives the tokens that one of the scanners may find in some text."""
    found = frozenset().union(*(scanner.sampled for scanner in scanners))
    for scanner in scanners:
        found |= scanner.tokens(found)
    return found


def never_found(loaded: LoadedGrammar) -> list[str]:
    """Says of each terminal that no lexer finds, wherever it is wanted, what its texts are taken for."""
    scanners = _Scanners(loaded)
    said = []
    for terminal in loaded.terminals:
        token = scanners.tokens[terminal.name]
        alone = loaded.source.lexer == "contextual"
        in_contexts = scanners.in_contexts({token} if alone else scanners.tokens.values())
        if terminal.name not in loaded.ignore_tokens and not scanners.can_find(in_contexts, token):
            said.append(scanners.taker(terminal.name, in_contexts[0]))
    return said


def _all_derive(loaded: LoadedGrammar) -> bool:
    """Says whether every nonterminal derives a string, if every terminal is found."""
    sides = [(r.origin.name, {s.name for s in r.expansion if not s.is_term}) for r in loaded.rules]
    derive: set[str] = set()
    size = -1
    while size != len(derive):
        size = len(derive)
        derive |= {origin for origin, needed in sides if needed <= derive}
    return derive == {origin for origin, _ in sides}


def _rules(loaded: LoadedGrammar, start: str, tokens: dict[str, int]) -> tuple[list[GrammarRule], int]:
    """Gives the rules, and the nonterminal that stands for the whole text."""
    first = len(tokens) + 1
    numbers: dict[str, int] = {}

    def number(symbol: LarkSymbol) -> int:
        name, is_term = symbol
        return tokens[name] if is_term else numbers.setdefault(name, first + len(numbers))

    rules = [
        GrammarRule(number(rule.origin), tuple(map(number, rule.expansion)), rule.priority)
        for rule in loaded.rules
    ]
    return rules, numbers[start]


class _Scanners:
    """The scanners of a grammar, by the tokens that they may find."""

    def __init__(self, loaded: LoadedGrammar):
        declared = {s.name for rule in loaded.rules for s in rule.expansion if s.is_term}
        names = dict.fromkeys([terminal.name for terminal in loaded.terminals] + sorted(declared))
        self.tokens = {name: token for token, name in enumerate(names, 1)}
        in_order = sorted(loaded.terminals, key=_rank)
        options = loaded.source.options
        self._terminals = [
            Terminal.of_lark(t, self.tokens[t.name], options.flags, options.by_regex) for t in in_order
        ]
        require_names(self._terminals)
        self._parts = loaded.parts
        compile_terminals(self._terminals, self._parts)
        self.contexts = LeftContexts.of(self._terminals)
        self._ignored = frozenset(loaded.ignore_tokens)
        self._scanners: dict[tuple[frozenset[int], int], Scanner] = {}
        self._hidden: dict[int, bool] = {}
        indentation = loaded.source.indentation
        if indentation is not None and self.contexts is not None:
            looking = next(terminal.name for terminal in self._terminals if terminal.looked_at)
            raise ConstraintError(
                f"Terminal {looking} of the grammar depends on what stands before it, which is not supported "
                "with `postlex`. Write it without."
            )
        self.indentation = None if indentation is None else indentation.numbered(self.tokens)

    @property
    def everywhere(self) -> frozenset[int]:
        """Tokens that contextual scanners look for whether the parser wants them or not."""
        return frozenset() if self.indentation is None else frozenset({self.indentation.newline})

    @property
    def injected(self) -> frozenset[int]:
        """Tokens that stand for blocks, which no scanner has to find."""
        return frozenset() if self.indentation is None else frozenset(self.indentation[1:3])

    @cached_property
    def lexemes_can_be_ended(self) -> bool:
        return self._parts.get(
            "lexemes can be ended", lambda: lexemes_can_be_ended(self._terminals, self._ignored)
        )

    def taker(self, name: str, scanner: Scanner) -> str:
        """Says that a terminal is never found, and what a scanner takes a text of it for."""
        terminal = next(terminal for terminal in self._terminals if terminal.name == name)
        if self.contexts is not None:
            terminal = self.contexts.terminal(terminal, START)
        taken = scanner.find(terminal.automaton.shortest)
        names = {token: name for name, token in self.tokens.items()}
        what = "what is ignored" if taken == IGNORED else names.get(taken or -1, "another terminal")
        return f"terminal {name} is never found, as its texts are taken for {what}"

    def texts(self, needed: Iterable[int] = ()) -> TokenTexts:
        """Gives how the tokens can be written; some are looked for."""
        return TokenTexts(self._terminals, self._ignored, self.of(self.tokens.values()), needed)

    def texts_in_context(
        self, contexts: LeftContexts, readers: Mapping[int, Iterable[tuple[Scanner, ...]]]
    ) -> WrittenInContext:
        """Gives how the tokens can be written, for the scanners of the places where each is wanted."""
        return WrittenInContext(self._terminals, self._ignored, contexts, readers)

    def can_find(self, in_contexts: Sequence[Scanner], token: int) -> bool:
        """Says whether one of the scanners of a place may find a token; what takes least is tried first."""

        def is_token(found: int) -> bool:
            return found == token

        if any(token in scanner.start.later or scanner.samples(is_token) for scanner in in_contexts):
            return True
        return not self._is_hidden(token) and any(scanner.can_find(token) for scanner in in_contexts)

    def _is_hidden(self, token: int) -> bool:
        """Says that no scanner finds a token, since what is left out comes before each of its matches.

        Beside more terminals an expression is found in fewer texts. Not so a word: another expression may
        be matched first, which then turns out to be that word.
        """
        if token not in self._hidden:
            alone = [t for t in self._terminals if t.token == token or t.name in self._ignored]
            is_known = self.contexts is None and all(t.word is None for t in alone if t.token == token)
            alone = [t for t in alone if t.word is None]
            self._hidden[token] = is_known and not Scanner(alone, self._ignored).can_find(token)
        return self._hidden[token]

    def in_contexts(self, tokens: Iterable[int]) -> tuple[Scanner, ...]:
        """Gives the scanner of some terminals, and of the ignored ones, in each context; else only one."""
        tokens = frozenset(tokens)
        require_distinct_names(t for t in self._terminals if t.token in tokens or t.name in self._ignored)
        numbers = (0,) if self.contexts is None else self.contexts.numbers
        return tuple(self.of(tokens, context) for context in numbers)

    def of(self, tokens: Iterable[int], context: int = 0) -> Scanner:
        """Gives the scanner of some terminals, and of the ignored ones, where a context stands before."""
        wanted = frozenset(tokens)
        key = wanted, context
        if key not in self._scanners:
            terminals = [t for t in self._terminals if t.token in wanted or t.name in self._ignored]
            if self.contexts is not None and any(terminal.looked_at for terminal in terminals):
                terminals = [self.contexts.terminal(terminal, context) for terminal in terminals]
            elif context:
                self._scanners[key] = self.of(wanted)
                return self._scanners[key]
            self._scanners[key] = Scanner(terminals, self._ignored)
        return self._scanners[key]


def _rank(terminal: LarkTerminal) -> tuple[int, int, int, str]:
    """Gives the place of a terminal in the order in which Lark's lexers try them."""
    return -terminal.priority, -terminal.max_width, -len(terminal.value), terminal.name


class _EarleyParser:
    """Earley sets as the stacks of a parser of tokens."""

    def __init__(self, sets: EarleySets):
        self._sets = sets
        self.initial = self._sets.initial

    def after(self, stack: Frame, token: int) -> Frame | None:
        """Gives the set after a token, or None if no rule wants it."""
        return self._sets.after(stack, token) if token in self._sets.expected(stack) else None

    def ends(self, stack: Frame) -> bool:
        """Says whether the text may end here."""
        return self._sets.accepts(stack)
