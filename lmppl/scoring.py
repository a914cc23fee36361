"""Log-probabilities of complete strings under text distributions, many in one pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lmppl.acceptance import acceptor
from lmppl.errors import InvalidInputError
from lmppl.language_model import NOTHING, LanguageModel, Vocabulary
from lmppl.potentials.evaluation import complete_log_weights
from lmppl.score_sheet import Answers, ScoreSheet
from lmppl.text import Text


def text_log_probs(texts: Sequence[Text], values: Sequence[str]) -> np.ndarray:
    """Scores one complete string under each distribution, potentials included.

    Returns:
        `Float64[n]`, nats, including the end of each string; `-inf` outside the support.

    Raises:
        CheckError: A potential raised, timed out, or gave what is no log-weight.
    """
    scores = string_log_probs(texts, values)
    asked = [
        (position, potential, values[position].encode())
        for position, text in enumerate(texts)
        if scores[position] > -np.inf
        for potential in text.potentials
    ]
    log_weights = complete_log_weights([(potential, data) for _, potential, data in asked])
    for (position, _, _), log_weight in zip(asked, log_weights, strict=True):
        scores[position] += log_weight
    return scores


def string_log_probs(texts: Sequence[Text], values: Sequence[str]) -> np.ndarray:
    """Scores one complete string under each distribution, its potentials left out.

    Equal pairs are scored once; pairs of one language model share their passes, and what their
    prompts and strings begin with.

    Returns:
        `Float64[n]`, nats, including the end of each string; `-inf` outside the support.
    """
    pairs: dict[tuple[Text, str], list[int]] = defaultdict(list)
    for position, (text, value) in enumerate(zip(texts, values, strict=True)):
        pairs[text, value].append(position)
    sheets: dict[LanguageModel, ScoreSheet] = {}
    charged: list[tuple[LanguageModel, _Charges, list[int]]] = []
    for (text, value), positions in pairs.items():
        tokens = canonical_tokens(text, value)
        if tokens is not None:
            charges = _ask_string(_sheet(sheets, text), text, value, tokens)
            if charges is not None:
                charged.append((text.lm, charges, positions))
    return _summed(len(texts), sheets, charged)


def path_log_probs(texts: Sequence[Text], paths: Sequence[tuple[int, ...]]) -> np.ndarray:
    """Scores one token path, its ending token included, under each distribution, potentials left out.

    This is the density of what a sampler draws. The ids are those of each text's own vocabulary.

    Returns:
        `Float64[n]`, nats; `-inf` for a path that the distribution cannot take.
    """
    sheets: dict[LanguageModel, ScoreSheet] = {}
    charged: list[tuple[LanguageModel, _Charges, list[int]]] = []
    for position, (text, path) in enumerate(zip(texts, paths, strict=True)):
        charges = _ask_path(_sheet(sheets, text), text, path)
        if charges is not None:
            charged.append((text.lm, charges, [position]))
    return _summed(len(texts), sheets, charged)


def canonical_tokens(text: Text, value: str) -> tuple[int, ...] | None:
    """Gives the tokens by which a complete string is scored; None where it has no mass in any case.

    That is where none spell it, there are too many, or a constraint or the stop string excludes it.
    """
    try:
        tokens = text.lm.encode(value)
    except InvalidInputError:
        return None
    return tokens if _is_possible(text, value, tokens) else None


def token_log_probs(texts: Sequence[Text], paths: Sequence[tuple[int, ...]]) -> np.ndarray:
    """Scores the tokens of one path after each prompt, whatever constraints say of them; no end is charged.

    Returns:
        `Float64[n]`, nats.
    """
    sheets: dict[LanguageModel, ScoreSheet] = {}
    charged: list[tuple[LanguageModel, _Charges, list[int]]] = []
    for position, (text, path) in enumerate(zip(texts, paths, strict=True)):
        sheet, prompt = _sheet(sheets, text), text.prompt_tokens or (NOTHING,)
        line = sheet.line((*prompt, *path))
        asked = [
            sheet.ask_token(line, at, text.temperature, token) for at, token in enumerate(path, len(prompt))
        ]
        charged.append((text.lm, _Charges(tuple(asked)), [position]))
    return _summed(len(texts), sheets, charged)


def next_log_probs(
    lm: LanguageModel, paths: Sequence[tuple[tuple[int, ...], tuple[int, ...], float]]
) -> list[np.ndarray]:
    """Gives the log-probabilities of every token after each path: `Float64[vocab]`, nats.

    Args:
        lm: The model.
        paths: Prompt ids, ids of the path, temperature.
    """
    sheet = ScoreSheet(lm)
    asked = []
    for prompt, path, temperature in paths:
        tokens = (*(prompt or (NOTHING,)), *path)
        asked.append(sheet.ask_row(sheet.line(tokens), len(tokens), temperature))
    rows = sheet.answer().rows
    return [rows[place].astype(float) for place in asked]


@dataclass(frozen=True)
class _Charges:
    """What a string costs, as places in the answers: tokens, what normalises them, and how it ends."""

    tokens: tuple[int, ...] = ()
    normalisers: tuple[int, ...] = ()
    end: _End | None = None

    def total(self, answers: Answers) -> float:
        total = answers.tokens[list(self.tokens)].sum() - answers.sets[list(self.normalisers)].sum()
        return float(total if self.end is None else total + self.end.total(answers))


@dataclass(frozen=True)
class _End:
    """The ways to end exactly here: at once by a set of tokens, or by a token and a further end."""

    at_once: int | None
    later: tuple[tuple[int, _End], ...]
    normaliser: int | None

    def total(self, answers: Answers) -> float:
        ways = [-np.inf] if self.at_once is None else [answers.sets[self.at_once]]
        ways += [answers.tokens[token] + end.total(answers) for token, end in self.later]
        total = float(np.logaddexp.reduce(ways))
        return total if self.normaliser is None else total - answers.sets[self.normaliser]


def _sheet(sheets: dict[LanguageModel, ScoreSheet], text: Text) -> ScoreSheet:
    return sheets.setdefault(text.lm, ScoreSheet(text.lm))


def _summed(
    size: int,
    sheets: dict[LanguageModel, ScoreSheet],
    charged: Sequence[tuple[LanguageModel, _Charges, list[int]]],
) -> np.ndarray:
    answers = {lm: sheet.answer() for lm, sheet in sheets.items()}
    result = np.full(size, -np.inf)
    for lm, charges, positions in charged:
        result[positions] = charges.total(answers[lm])
    return result


def _is_possible(text: Text, value: str, tokens: tuple[int, ...]) -> bool:
    """Says whether a complete string has mass at all, by everything but its probability."""
    if text.max_tokens is not None and len(tokens) > text.max_tokens:
        return False
    needed = len(text.prompt_tokens) + len(tokens) + 1
    if needed > text.lm.context_length:
        raise InvalidInputError(
            f"Scoring {value[:40]!r} needs {needed} tokens with its prompt and end, but {text.lm.name!r} "
            f"reads at most {text.lm.context_length}. Shorten the prompt or the string."
        )
    data = value.encode()
    for constraint in (text.constraint, text.local_constraint):
        judge = acceptor(text.lm.vocabulary, constraint, text.stop_bytes)
        cursor = judge.extend(judge.initial, data) if data else judge.initial
        if cursor is None or cursor.ended or not judge.may_end(cursor):
            return False
    return True


def _ask_string(sheet: ScoreSheet, text: Text, value: str, tokens: tuple[int, ...]) -> _Charges | None:
    """The canonical tokens of the string, then every way to end exactly there."""
    walk = _Walk(text)
    charges = _ask_tokens(sheet, walk, tokens)
    if charges is None or walk.ended:
        return None
    end = _ask_end(sheet, walk, value.encode(), tokens, b"")
    return _Charges(charges.tokens, charges.normalisers, end)


def _ask_path(sheet: ScoreSheet, text: Text, path: tuple[int, ...]) -> _Charges | None:
    """What each step of a token path is charged; the path must end with its last token."""
    walk = _Walk(text)
    charges = _ask_tokens(sheet, walk, path)
    return charges if charges is not None and (walk.ended or not path) else None


def _ask_tokens(sheet: ScoreSheet, walk: _Walk, tokens: tuple[int, ...]) -> _Charges | None:
    """Takes the tokens one by one; None if one is not allowed or follows the end."""
    text = walk.text
    prompt = text.prompt_tokens or (NOTHING,)
    line, start = sheet.line((*prompt, *tokens)), len(prompt)
    masks = []
    for token in tokens:
        if walk.ended:
            return None
        masks.append(walk.allowed())
        if not walk.step(token):
            return None
    asked = tuple(
        sheet.ask_token(line, position, text.temperature, token)
        for position, token in enumerate(tokens, start)
    )
    normalisers = tuple(
        sheet.ask_set(line, position, text.temperature, allowed)
        for position, allowed in enumerate(masks, start)
        if allowed is not None
    )
    return _Charges(asked, normalisers)


def _ask_end(sheet: ScoreSheet, walk: _Walk, data: bytes, tokens: tuple[int, ...], begun: bytes) -> _End:
    """How a string may end now, of which `begun` is the part of the stop already said."""
    text, vocabulary, stop = walk.text, walk.text.lm.vocabulary, walk.text.stop_bytes
    line = sheet.line((*(text.prompt_tokens or (NOTHING,)), *tokens))
    position = max(1, len(text.prompt_tokens)) + len(tokens)
    ending = np.zeros(len(vocabulary), bool)
    ending[[] if begun else sorted(vocabulary.eos_ids)] = True
    later = []
    for token, piece in () if stop is None else _pieces_of(vocabulary, stop[len(begun) :]):
        assert stop is not None
        if len(begun + piece) >= len(stop):
            ending[token] = (data + begun + piece).find(stop) == len(data)
        elif text.max_tokens is None or len(tokens) < text.max_tokens:
            further = walk.copy()
            if further.step(token):
                asked = sheet.ask_token(line, position, text.temperature, token)
                later.append((asked, _ask_end(sheet, further, data, (*tokens, token), begun + piece)))
    at_once = sheet.ask_set(line, position, text.temperature, ending) if ending.any() else None
    allowed = walk.allowed()
    normaliser = None if allowed is None else sheet.ask_set(line, position, text.temperature, allowed)
    return _End(at_once, tuple(later), normaliser)


class _Walk:
    """Follows a token path through a text's constraints, and knows what `lp.local` divides by."""

    def __init__(self, text: Text):
        self.text = text
        constraints = (text.local_constraint, text.constraint)
        self._judges = [
            acceptor(text.lm.vocabulary, constraint, text.stop_bytes) for constraint in constraints
        ]
        self._cursors = [judge.initial for judge in self._judges]
        self._num_tokens = 0

    @property
    def ended(self) -> bool:
        return self._cursors[0].ended

    def copy(self) -> _Walk:
        other = _Walk(self.text)
        other._cursors, other._num_tokens = list(self._cursors), self._num_tokens
        return other

    def allowed(self) -> np.ndarray | None:
        """What a locally normalised distribution divides the next token's probability by, as a mask."""
        if not self.text.local_limit:
            return None
        judge, cursor = self._judges[0], self._cursors[0]
        allowed = judge.end_mask(cursor) if self._at_limit else judge.mask(cursor)
        return allowed if allowed.any() else None

    def step(self, token: int) -> bool:
        """Takes a token; False if it is not allowed here."""
        stepped = [
            judge.step(cursor, token) for judge, cursor in zip(self._judges, self._cursors, strict=True)
        ]
        if any(cursor is None for cursor in stepped):
            return False
        if self._at_limit and not any(cursor is not None and cursor.ended for cursor in stepped):
            return False
        self._cursors = [cursor for cursor in stepped if cursor is not None]
        self._num_tokens += 1
        return True

    @property
    def _at_limit(self) -> bool:
        return self.text.max_tokens is not None and self._num_tokens >= self.text.max_tokens


@lru_cache(maxsize=1024)
def _pieces_of(vocabulary: Vocabulary, rest: bytes) -> list[tuple[int, bytes]]:
    """The tokens that begin with `rest`, or that `rest` begins with."""
    return [
        (token, data)
        for token, data in enumerate(vocabulary.token_bytes)
        if data and (data.startswith(rest) or rest.startswith(data))
    ]
