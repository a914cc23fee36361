"""How a tokenizer splits a text before it merges: the kinds whose splits are known to settle.

A text goes on while it is generated, and what comes may move the borders of its last pieces. For the kinds
listed here two things hold, whatever follows: a border with two pieces or more behind it stays, and a piece
that is more than whitespace is never split. `tests/models/test_canonical_merges.py` tries all short
texts over one character of each class that the expressions tell apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_ANY_CASE = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_EACH_CASE = "('s|'S|'t|'T|'re|'rE|'Re|'RE|'ve|'vE|'Ve|'VE|'m|'M|'ll|'lL|'Ll|'LL|'d|'D)"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_BEFORE, _UPPER, _LOWER = (
    r"[^\r\n\p{L}\p{N}]?",
    r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]",
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]",
)


def _with_cases(contractions: str) -> str:
    words = f"{_BEFORE}{_UPPER}*{_LOWER}+{contractions}?|{_BEFORE}{_UPPER}+{_LOWER}*{contractions}?"
    return rf"{words}|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"


SETTLING = frozenset(
    {
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",  # GPT-2
        rf"{_ANY_CASE}|{_WORDS}|\p{{N}}{{1,3}}|{_SIGNS}|{_SPACES}",  # cl100k, Llama 3
        rf"'(?i:[sdmt]|ll|ve|re)|{_WORDS}|\p{{N}}{{1,3}}|{_SIGNS}|{_SPACES}",
        rf"{_ANY_CASE}|{_WORDS}|\p{{N}}|{_SIGNS}|{_SPACES}",  # Qwen 2 and 3
        _with_cases(_ANY_CASE),  # o200k
        _with_cases(_EACH_CASE),
        r"\n|\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|[^\S\n]+",  # of the model that comes with lmppl
    }
)
"""Expressions of `Split` pre-tokenizers."""


def parts_of(component: Mapping[str, Any] | None, key: str) -> Iterator[Mapping[str, Any]]:
    """Goes through a component of tokenizer.json and, if it is a sequence, through its parts."""
    if component is not None and component["type"] == "Sequence":
        for part in component[key]:
            yield from parts_of(part, key)
    elif component is not None:
        yield component


def splits(pre_tokenizer: Mapping[str, Any] | None) -> bool:
    """Says whether a text is split at all."""
    return any(_role(part) in ("split", "digits") for part in parts_of(pre_tokenizer, "pretokenizers"))


def why_not_settling(pre_tokenizer: Mapping[str, Any] | None) -> str | None:
    """Gives what of a pre-tokenizer is not of a kind that settles; None if all is."""
    roles = []
    for part in parts_of(pre_tokenizer, "pretokenizers"):
        role = _role(part)
        if role is None:
            return f"its pre-tokenizer {part['type']} splits in a way that is not known to settle"
        roles.append(role)
    if roles.count("split") > 1 or ("digits" in roles and "split" not in roles):
        return "its pre-tokenizer splits in several ways, which together are not known to settle"
    return None


def _role(part: Mapping[str, Any]) -> str | None:
    """Gives what a pre-tokenizer does: split by an expression, part digits, nothing; None if unknown."""
    kind = part["type"]
    if kind == "ByteLevel":
        return "split" if part.get("use_regex", True) else "nothing"
    if kind == "Digits":
        return "digits"
    if kind == "Metaspace":
        return None if part.get("split", True) else "nothing"
    if kind == "Split":
        known = part["pattern"].get("Regex") in SETTLING
        return "split" if known and part["behavior"] == "Isolated" and not part.get("invert") else None
    return None
