"""Tokens that finish what an LALR parser has begun: a quick way to find that a stack can be completed.

At each place the rule is ended that needs the fewest tokens for it, and then the rule around it. That mostly
leads to the end of the text within a few tokens. Where it does not, nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lmppl.constraints.grammars.lalr_stacks import LalrParser, Stack
from lmppl.constraints.grammars.lalr_tables import END
from lmppl.constraints.grammars.short_sentences import Ending

MAX_TOKENS = 30
MAX_RULES = 60
"""Rules that are ended before the next token."""

MAX_KNOWN = 200_000


class ShortEndings:
    """The endings that are found for one parser.

    Args:
        parser: Of the tokens.
        endings: By state, what ends a rule that has been begun.
        is_found: Says whether a state wants a token, END included, and it is read there as it is meant.
        following: Gives what can be written after a token that was read in a state, as bits.
    """

    def __init__(
        self,
        parser: LalrParser,
        endings: Sequence[Ending | None],
        is_found: Callable[[int, int], bool],
        following: Callable[[int, int], int],
    ):
        self._parser = parser
        self._endings = endings
        self._is_found = is_found
        self._following = following
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
            if token < 0 or not tokens >> token & 1 or not self._is_found(stack.state, token):
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
            tokens = self._following(stack.state, token)
            stack = after
        return False

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
