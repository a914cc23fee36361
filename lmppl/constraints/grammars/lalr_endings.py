"""Tokens that finish what an LALR parser has begun: a quick way to find that a stack can be completed.

At each place the rule is ended that needs the fewest tokens for it, and then the rule around it. That mostly
leads to the end of the text within a few tokens. Where it does not, nothing is known.
"""

from __future__ import annotations

from collections.abc import Sequence

from lmppl.constraints.grammars.lalr_stacks import LalrParser, Stack
from lmppl.constraints.grammars.lalr_tables import END
from lmppl.constraints.grammars.scanner import Scanner
from lmppl.constraints.grammars.short_sentences import Ending
from lmppl.constraints.grammars.token_texts import TokenTexts

MAX_TOKENS = 30
MAX_RULES = 60
"""Rules that are ended before the next token."""

MAX_KNOWN = 200_000


class ShortEndings:
    """The endings that are found for one parser.

    Args:
        parser: Of the tokens.
        endings: By state, what ends a rule that has been begun.
        wanted: By state, the tokens that are not refused at once, as bits, END among them.
        scanners: By state.
        texts: Of the tokens.
    """

    def __init__(
        self,
        parser: LalrParser,
        endings: Sequence[Ending | None],
        wanted: Sequence[int],
        scanners: Sequence[Scanner],
        texts: TokenTexts,
    ):
        self._parser = parser
        self._endings = endings
        self._wanted = wanted
        self._scanners = scanners
        self._texts = texts
        self._next: dict[Stack, int] = {}

    def exists(self, stack: Stack, tokens: int) -> bool:
        """Says whether one is found that begins with one of some tokens; if not, there still may be one.

        Args:
            stack: Right after a token, or the initial one.
            tokens: What may be written next, as bits; END stands for the empty text.
        """
        path: list[tuple[Stack, int]] = []
        for _ in range(MAX_TOKENS):
            known = self._next.get(stack)
            token = self._nearest(stack) if known is None else known
            if token < 0 or not self._can_come(stack, token, tokens):
                return False
            path.append((stack, token))
            after = self._parser.after(stack, token)
            if after is None:
                return False
            if known is not None or token == END:
                if len(self._next) >= MAX_KNOWN:
                    self._next.clear()
                self._next.update(path)  # wherever this token may come next, the others may come then
                return True
            tokens = self._texts.following(token, [self._scanners[stack.state]])
            stack = after
        return False

    def _can_come(self, stack: Stack, token: int, tokens: int) -> bool:
        """Says whether a token is one of those that may be written, and is read as it is meant."""
        if not tokens & self._wanted[stack.state] & 1 << token:
            return False
        return token == END or self._texts.is_found(self._scanners[stack.state], token)

    def _nearest(self, stack: Stack) -> int:
        """Gives the token that comes first on the way to the end; -1 if the way is not found."""
        for _ in range(MAX_RULES):
            ending = self._endings[stack.state]
            if ending is None:
                return -1
            if ending.sentence.length:
                return ending.sentence.first
            for _ in range(ending.rest.num_read):
                assert stack.below is not None
                stack = stack.below
            goto = self._parser.table.gotos[stack.state].get(ending.rest.origin)
            if goto is None:
                return END  # the rule is that of the whole text
            stack = self._parser.pushed(goto, stack)
        return -1
