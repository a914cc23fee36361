"""Which token sequences byte-pair encoding gives, judged while the text is being generated."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple, cast

from tokenizers import Tokenizer

from lmppl.constraints.utf8_decoding import decodable_head
from lmppl.errors import InvalidInputError
from lmppl.language_model import Vocabulary
from lmppl.models.splitting import parts_of, splits, why_not_settling
from lmppl.token_rules import RuleState, TokenRule

_MAX_REMEMBERED = 65_536


class Tail(NamedTuple):
    """A state: what is not settled yet.

    Attributes:
        tokens: The last tokens. Those before them are canonical whatever follows.
        before: The text before them, as far back as a normaliser could join it with what follows.
    """

    tokens: tuple[int, ...]
    before: str


class MergesRule(TokenRule):
    """Keeps the sequences that a BPE tokenizer gives for their own text.

    Merges are made in the order of their ranks, and the first that crosses a boundary between two tokens is
    the same whether the two stand alone or in a longer piece. So a sequence within one piece is canonical
    exactly when each window of it is, and so are the prefixes of a canonical one. Where pieces begin
    is asked of the tokenizer's own splits, as far as these are settled (`splitting`).

    What is accepted is exact. A prefix passes while its last pieces may still be split otherwise.

    Reference:
        Berglund & van der Merwe (2023), Formalizing BPE tokenization, arXiv:2309.08715.
    """

    def __init__(self, spec: Mapping[str, Any], tokenizer: Tokenizer, vocabulary: Vocabulary):
        """Reads the kind of tokenizer.

        Args:
            spec: A parsed tokenizer.json.
            tokenizer: Of texts that follow a prompt: it adds nothing in front.
            vocabulary: Of the model.

        Raises:
            InvalidInputError: A kind of which prefixes cannot be judged.
        """
        _require_judgeable(spec)
        self.vocabulary = vocabulary
        self._tokenizer = tokenizer
        self._splits = splits(spec.get("pre_tokenizer"))
        normalizers = [part["type"] for part in parts_of(spec.get("normalizer"), "normalizers")]
        self._normalizer = tokenizer.normalizer if normalizers == ["NFC"] else None
        self._takes_whole_pieces = bool(spec["model"].get("ignore_merges"))
        self._of_pieces, self._of_windows = _without_splits(tokenizer)
        added = spec.get("added_tokens") or ()
        self._added = {token["content"]: token["id"] for token in added if not token.get("special")}
        self._remembered = lru_cache(_MAX_REMEMBERED)(self._advanced)

    @property
    def viable_is_exact(self) -> bool:
        """False: the last pieces of a prefix are not settled."""
        return False

    def initial(self) -> RuleState:
        """Gives the state of no tokens."""
        return Tail((), "")

    def advance(self, state: RuleState, token: int) -> RuleState | None:
        """Gives the state after a token, or None if what is settled is not canonical."""
        return self._remembered(cast(Tail, state), token)

    def accepts(self, state: RuleState) -> bool:
        """Says whether the tokenizer gives these tokens for their text."""
        tokens = cast(Tail, state).tokens
        try:
            text = b"".join(self._spelled(tokens)).decode()
        except UnicodeDecodeError:
            return False
        return _ids(self._tokenizer, text) == tokens

    def _advanced(self, tail: Tail, token: int) -> Tail | None:
        tokens, before = (*tail.tokens, token), tail.before
        text = decodable_head(b"".join(self._spelled(tokens)))
        if text is None or not self._is_normal(before + text):
            return None
        known = text
        for piece, is_added in self._settled(text):
            ids = (self._added[piece],) if is_added else _ids(self._of_pieces, piece)
            if tokens[: len(ids)] != ids:
                return None
            tokens, before, known = tokens[len(ids) :], before + piece, known[len(piece) :]
        known = known[: self._next_added(known)[0]]
        start = 0
        for piece in self._pieces(known):
            if not self._is_viable(tokens, known, start, start + len(piece)):
                return None
            start += len(piece)
        if not self._splits:
            dropped = _before_last_boundary(self._spelled(tokens), known)
            before += b"".join(self._spelled(tokens[:dropped])).decode()
            tokens = tokens[dropped:]
        return Tail(tokens, self._joinable(before))

    def _settled(self, text: str) -> Iterator[tuple[str, bool]]:
        """Goes through the pieces that stay as they are, and says of each whether it is an added token."""
        at, added = self._next_added(text)
        while added:
            yield from ((piece, False) for piece in self._pieces(text[:at]))
            yield added, True
            text = text[at + len(added) :]
            at, added = self._next_added(text)
        if self._splits:
            yield from ((piece, False) for piece in self._pieces(text[:at])[:-2])

    def _is_viable(self, tokens: Sequence[int], text: str, start: int, end: int) -> bool:
        """Says whether what of the tokens lies in one piece of a text is the encoding of its own text."""
        piece = text[start:end]
        if self._splits and piece.isspace():
            return True  # may still be split anywhere
        offset = len(text[:start].encode())
        boundaries = {offset + size for size in accumulate(len(letter.encode()) for letter in piece)} | {
            offset
        }
        ends = list(accumulate((len(data) for data in self._spelled(tokens)), initial=0))
        inside = [index for index, end in enumerate(ends) if end in boundaries]
        if not inside or inside[0] == inside[-1]:
            return True
        window = tuple(tokens[inside[0] : inside[-1]])
        if self._takes_whole_pieces and len(window) == 1:
            return True  # a piece that is a token may be one that no merges make
        return window == _ids(self._of_windows, b"".join(self._spelled(window)).decode())

    def _pieces(self, text: str) -> list[str]:
        if not self._splits or not text:
            return [text] if text else []
        splitter = self._tokenizer.pre_tokenizer
        assert splitter is not None
        return [text[start:end] for _, (start, end) in splitter.pre_tokenize_str(text)]

    def _next_added(self, text: str) -> tuple[int, str]:
        """Gives where the first added token begins, and which; none where more text has to tell."""
        for at in range(len(text)) if self._added else ():
            rest = text[at:]
            if any(len(token) > len(rest) and token.startswith(rest) for token in self._added):
                return at, ""
            found = max((token for token in self._added if rest.startswith(token)), key=len, default="")
            if found:
                return at, found
        return len(text), ""

    def _is_normal(self, text: str) -> bool:
        return self._normalizer is None or self._normalizer.normalize_str(text) == text

    def _joinable(self, before: str) -> str:
        """Gives the end of a text that normalisation could join with what follows."""
        if self._normalizer is None:
            return ""
        at = len(before)
        while at > 0:
            at -= 1
            if not _joins_backwards(before[at]):
                break
        return before[at:]

    def _spelled(self, tokens: Sequence[int]) -> list[bytes]:
        return [self.vocabulary.token_bytes[token] for token in tokens]


def _ids(tokenizer: Tokenizer, text: str) -> tuple[int, ...]:
    return tuple(tokenizer.encode(text, add_special_tokens=False).ids)


def _without_splits(tokenizer: Tokenizer) -> tuple[Tokenizer, Tokenizer]:
    """Gives tokenizers that merge a text as one piece: by all the model's rules, and by merges alone."""
    spec = json.loads(tokenizer.to_str())
    parts = parts_of(spec["pre_tokenizer"], "pretokenizers")
    kept = [dict(part) for part in parts if part["type"] in ("ByteLevel", "Metaspace")]
    for part in kept:
        part.update({"use_regex": False} if part["type"] == "ByteLevel" else {})
    spec["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": kept} if kept else None
    spec["added_tokens"] = []
    pieces = Tokenizer.from_str(json.dumps(spec))
    if not spec["model"].get("ignore_merges"):
        return pieces, pieces
    spec["model"]["ignore_merges"] = False
    return pieces, Tokenizer.from_str(json.dumps(spec))


def _before_last_boundary(spelled: Sequence[bytes], text: str) -> int:
    """Gives how many tokens come before the last that begins with a character and ends one, or later."""
    boundaries = {0, *accumulate(len(letter.encode()) for letter in text)}
    ends = accumulate((len(data) for data in spelled), initial=0)
    aligned = [index for index, end in enumerate(ends) if end in boundaries]
    return aligned[-2] if len(aligned) > 1 else 0


@lru_cache(4096)
def _joins_backwards(letter: str) -> bool:
    """Says whether normalisation may join a character with one before it."""
    return (
        unicodedata.combining(letter) > 0
        or "\u1160" <= letter <= "\u11ff"  # vowels and finals of Hangul
        or letter in _second_letters()
    )


@lru_cache(1)
def _second_letters() -> frozenset[str]:
    """Gives the second characters of all that decompose into two."""
    parts = (unicodedata.decomposition(chr(code)).split() for code in range(0x110000))
    return frozenset(chr(int(pair[1], 16)) for pair in parts if len(pair) == 2 and "<" not in pair[0])


def _require_judgeable(spec: Mapping[str, Any]) -> None:
    reason = _why_not(spec)
    if reason is not None:
        raise InvalidInputError(
            f"lp.canonical cannot follow this tokenizer: {reason}. Leave lp.canonical out; a text's "
            "probability under a sampler is then the sum over all its tokenisations."
        )


def _why_not(spec: Mapping[str, Any]) -> str | None:
    """Gives what of a tokenizer cannot be judged prefix by prefix; None if all can."""
    model = spec["model"]
    if model.get("type") != "BPE":
        return f"its model is {model.get('type')}, not BPE"
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(option):
            return f"its model sets {option} to {model[option]!r}"
    normalizers = [part["type"] for part in parts_of(spec.get("normalizer"), "normalizers")]
    if [kind for kind in normalizers if kind not in ("Prepend", "Replace")] not in ([], ["NFC"]):
        return f"it normalises text by {', '.join(normalizers)}"
    if "Replace" in normalizers and ("NFC" in normalizers or not _marks_spaces(spec)):
        return "it replaces more than the space"
    if model.get("ignore_merges") and not splits(spec.get("pre_tokenizer")):
        return "it looks up whole texts before it merges"
    for token in spec.get("added_tokens") or ():
        if not token.get("special") and any(token.get(flag) for flag in ("lstrip", "rstrip", "single_word")):
            return f"its added token {token['content']!r} takes in what stands beside it"
    return why_not_settling(spec.get("pre_tokenizer"))


def _marks_spaces(spec: Mapping[str, Any]) -> bool:
    parts = parts_of(spec["normalizer"], "normalizers")
    return [
        (part["pattern"].get("String"), len(part["content"])) for part in parts if part["type"] == "Replace"
    ] == [(" ", 1)]
