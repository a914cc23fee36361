"""Which token sequences `LongestMatch` gives: at each place the longest token after which a cut goes on."""

from __future__ import annotations

from typing import NamedTuple, cast

from lmppl.language_model import Vocabulary
from lmppl.token_rules import RuleState, TokenRule


class Cuts(NamedTuple):
    """A state: what could still turn out to be cut otherwise.

    Attributes:
        tail: The last bytes, as far back as an open place lies.
        starts: How far back each place lies, at which a token longer than the one that was said may begin,
            or at which a cut by such tokens has arrived.
    """

    tail: bytes
    starts: frozenset[int]


class LongestMatchRule(TokenRule):
    """Keeps the sequences that `LongestMatch(vocabulary.token_bytes)` gives.

    A sequence is not canonical exactly when, at one of its boundaries, a longer token than its own fits and
    the tokens of the vocabulary lead from its end to a boundary of the sequence: what comes after
    that can be cut as the sequence itself is. So all other cuts are followed until they meet a boundary,
    and a prefix is viable exactly when it is canonical.
    """

    def __init__(self, vocabulary: Vocabulary):
        self.vocabulary = vocabulary
        self._ids: dict[bytes, int] = {}
        for index, data in enumerate(vocabulary.token_bytes):
            if data:
                self._ids.setdefault(data, index)
        self._beginnings = {data[:size] for data in self._ids for size in range(len(data))}

    @property
    def viable_is_exact(self) -> bool:
        """True: a viable prefix is canonical itself."""
        return True

    def initial(self) -> RuleState:
        """Gives the state of no tokens."""
        return Cuts(b"", frozenset())

    def advance(self, state: RuleState, token: int) -> RuleState | None:
        """Gives the state after a token, or None if another cut meets its end."""
        cuts = cast(Cuts, state)
        said = self.vocabulary.token_bytes[token]
        if self._ids.get(said) != token:  # an id with the same bytes comes first
            return None
        text = cuts.tail + said
        arrived = {len(cuts.tail) - distance for distance in cuts.starts}
        open_places = set()
        while arrived:
            start = arrived.pop()
            open_places.add(start)
            for end in range(start + 1, len(text) + 1):
                if text[start:end] in self._ids and end > len(cuts.tail):
                    if end == len(text):
                        return None
                    if end not in open_places:
                        arrived.add(end)
        open_places.add(len(cuts.tail))
        starts = frozenset(len(text) - at for at in open_places if text[at:] in self._beginnings)
        return Cuts(text[len(text) - max(starts, default=0) :], starts)

    def accepts(self, state: RuleState) -> bool:
        """Says yes: every state is that of a canonical sequence."""
        return True
