"""Which states of a lexed text can be completed for sure, by tokens that are written as they are meant.

Tokens have texts, and which may be written after which is known (`token_texts`). So where the parser has a
completion of tokens whose neighbours go together, there is one of bytes. A lexeme under way is sure if it
can be cut off before what such a completion begins with. Elsewhere, another spelling may still do.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from lmppl.constraints.grammars.earley_sets import EarleySets, Frame
from lmppl.constraints.grammars.lalr_completions import Completions, KeptAnswers
from lmppl.constraints.grammars.lalr_endings import ShortEndings
from lmppl.constraints.grammars.lalr_stacks import LalrParser, Stack
from lmppl.constraints.grammars.lalr_tables import END, GrammarRule
from lmppl.constraints.grammars.lexeme_outcomes import LexemeOutcomes
from lmppl.constraints.grammars.numbered_rules import Rules, bits
from lmppl.constraints.grammars.scanner import IGNORED, Point, Scanner
from lmppl.constraints.grammars.short_sentences import few_tokens, nearest_endings
from lmppl.constraints.grammars.token_neighbours import avoidable, followers
from lmppl.constraints.grammars.token_texts import WrittenTokens
from lmppl.constraints.stored_compilations import StoredParts

MAX_ANSWERS = 200_000

State = TypeVar("State", bound=Hashable)
Reader = TypeVar("Reader", bound=Hashable)


class TokenParser(Protocol[State]):
    """A parser whose stacks can be completed by tokens, where it is known which may be next."""

    def after(self, stack: State, token: int) -> State | None:
        """Gives the stack after a token, or None if the parser refuses it."""
        ...

    def completes(self, stack: State, tokens: int) -> bool:
        """Says whether a text that can be written, and begins with one of some tokens, completes a stack.

        Args:
            stack: Right after a token, or the initial one.
            tokens: As bits; END stands for the empty text.
        """
        ...


class SureCompletions(Generic[State]):
    """The sure states of one parser."""

    def __init__(self, parser: TokenParser[State], texts: WrittenTokens[Any]):
        self._parser = parser
        self._texts = texts
        self._outcomes: dict[Scanner, LexemeOutcomes] = {}
        self._answers: dict[tuple[State, int], bool] = {}

    def exist(self, stack: State, scanner: Scanner, point: Point) -> bool:
        """Says whether a text completes for sure what a stack has read and the lexeme at a point.

        Args:
            stack: Before the lexeme.
            scanner: Of that place.
            point: The start if no lexeme is under way.
        """
        if point is scanner.start:
            return self.complete(stack, self._texts.all)
        if scanner not in self._outcomes:
            self._outcomes[scanner] = LexemeOutcomes(scanner, self._texts)
        return self._outcomes[scanner].lead_on(point, lambda *outcome: self._goes_on(stack, *outcome))

    def _goes_on(self, stack: State, token: int, following: int) -> bool:
        after = stack if token == IGNORED else self._parser.after(stack, token)
        return after is not None and self.complete(after, following)

    def complete(self, stack: State, tokens: int) -> bool:
        """Says whether a text for sure completes a stack that begins with one of some tokens, as bits."""
        key = stack, tokens
        if key not in self._answers:
            if len(self._answers) >= MAX_ANSWERS:
                self._answers.clear()
            self._answers[key] = self._parser.completes(stack, tokens)
        return self._answers[key]


class WrittenLalr(Generic[Reader]):
    """What an LALR parser can be given in writing.

    Args:
        parser: Of the tokens.
        rules: Of the parser.
        wanted: By state, the tokens that are not refused at once, as bits, END among them.
        scanners: By state, what reads the next token there.
        texts: Of the tokens.
        all_is_completed: Whether every viable sequence of tokens can be completed by more.
        parts: Of the grammar, as far as they are kept.
    """

    def __init__(
        self,
        parser: LalrParser,
        rules: Sequence[GrammarRule],
        wanted: Sequence[int],
        scanners: Sequence[Reader],
        texts: WrittenTokens[Reader],
        all_is_completed: bool,
        parts: StoredParts,
    ):
        self._parser = parser
        self._wanted = wanted
        self._scanners = scanners
        self._texts = texts
        shifts = parser.table.shifts
        self._before = {target: token for moves in shifts for token, target in moves.items()}
        readers: dict[int, dict[Reader, None]] = {}
        for state in (0, *self._before):  # only where a token has just been read is the next one looked at
            for token in bits(wanted[state] & ~(1 << END)):
                readers.setdefault(token, {})[scanners[state]] = None
        self._readers = readers
        endings = nearest_endings(rules, parser.table.rests)
        self._endings = ShortEndings(parser, endings, self._is_found, self._following)
        self._few = few_tokens(endings) | 1 << END
        self._short = Completions(
            parser,
            lambda state: self._written(state, self._few),
            KeptAnswers(parts, "completions by few tokens"),
        )
        self._all = Completions(
            parser,
            lambda state: self._written(state, texts.all),
            KeptAnswers(parts, "completions by written tokens"),
        )
        self._all_is_written = all_is_completed and all(
            self._written(state, texts.all) == wanted[state] for state in (0, *self._before)
        )

    def after(self, stack: Stack, token: int) -> Stack | None:
        """Gives the stack after a token, or None if the parser refuses it."""
        return self._parser.after(stack, token)

    def completes(self, stack: Stack, tokens: int) -> bool:
        """Says whether a text that can be written, and begins with one of some tokens, completes a stack."""
        if self._all_is_written:
            found = bits(self._found(stack.state, tokens))
            return any(self._parser.after(stack, token) is not None for token in found)
        return self._endings.exists(stack, tokens) or any(
            completions.exist(stack, self._found(stack.state, among))
            for completions, among in ((self._short, tokens & self._few), (self._all, tokens))
        )

    def _found(self, state: int, among: int) -> int:
        """Gives those of some tokens that the state wants, and its scanner finds in their texts."""
        tokens = self._wanted[state] & among
        return sum(1 << token for token in bits(tokens) if self._is_found(state, token))

    def _is_found(self, state: int, token: int) -> bool:
        is_wanted = self._wanted[state] >> token & 1
        return bool(is_wanted) and (token == END or self._texts.is_found(self._scanners[state], token))

    def _following(self, state: int, token: int) -> int:
        return self._texts.following(token, [self._scanners[state]])

    def _written(self, state: int, among: int) -> int:
        """Gives those of some tokens that can be written after the token that leads to a state."""
        before = self._before.get(state)
        if before is not None:
            among &= self._texts.following(before, self._readers[before])
        return self._found(state, among)


class WrittenEarley(Generic[Reader]):
    """What an Earley parser can be given in writing, if all that it may ever want can be.

    Args:
        sets: Of the rules.
        rules: Every symbol of them derives a string.
        scanner: What reads tokens: it looks for all terminals.
        texts: Of the tokens.
    """

    def __init__(self, sets: EarleySets, rules: Rules, scanner: Reader, texts: WrittenTokens[Reader]):
        self._sets = sets
        follow = followers(rules.productions, rules.nullable, rules.first_nonterminal)
        tokens = {s for sides in rules.productions.values() for side in sides for s in side}
        tokens = {token for token in tokens if token < rules.first_nonterminal}
        after = {token: texts.following(token, [scanner]) for token in tokens}
        self._unwritten = {token for token in tokens if not texts.is_found(scanner, token)}
        for unwritten in {follow.get(token, 0) & ~after[token] for token in tokens}:
            self._unwritten.update(bits(unwritten))
        self.is_known = all(after[token] >> END & 1 for token in tokens) and avoidable(self._unwritten, rules)

    def after(self, stack: Frame, token: int) -> Frame | None:
        """Gives the set after a token, or None if no rule wants it."""
        return self._sets.after(stack, token) if token in self._sets.expected(stack) else None

    def completes(self, stack: Frame, tokens: int) -> bool:
        """Says whether a text that can be written, and begins with one of some tokens, completes a set."""
        if tokens >> END & 1 and self._sets.accepts(stack):
            return True
        return any(tokens >> t & 1 and t not in self._unwritten for t in self._sets.expected(stack))
