"""Text to token ids and back, for a model with a tokenizer.json."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from lmppl.errors import CheckpointError, InvalidInputError, InvalidTypeError
from lmppl.language_model import Vocabulary
from lmppl.models.canonical_merges import MergesRule
from lmppl.models.chat_templates import render
from lmppl.models.longest_match import LongestMatch, utf8
from lmppl.models.token_bytes import read_token_bytes
from lmppl.text import Chat

_CACHED_TEXTS = 65_536


class TokenCodec:
    """Turns prompts and texts into ids, and knows the bytes of every id.

    Two tokenizers are kept. The one of prompts is as the checkpoint gives it: special tokens written
    in a prompt are read as such. The one of texts that follow a prompt adds nothing: no space in
    front (sentencepiece would), no special tokens, so that its tokens' bytes are the text.
    """

    def __init__(
        self, folder: Path, vocab_size: int, eos_ids: Iterable[int], bos_token: str | None, adds_bos: bool
    ):
        """Use `read_codec`, which finds these values in a folder."""
        self._folder = folder
        self._spec = _read_spec(folder)
        self._bos_token = bos_token
        self._adds_bos = adds_bos
        eos = frozenset(eos_ids)
        token_bytes = read_token_bytes(self._spec, vocab_size)
        self.vocabulary = Vocabulary(
            tuple(b"" if index in eos else data for index, data in enumerate(token_bytes)), eos
        )
        self._prompts = _tokenizer(self._spec, folder)
        self._opening = self._find_opening()
        self._cached_encode = lru_cache(_CACHED_TEXTS)(self._encode)

    def encode(self, text: str) -> tuple[int, ...]:
        """Gives the canonical ids of a text that follows a prompt; their joined bytes are the text.

        Where the tokenizer would change the text (by Unicode normalisation, say), the longest tokens
        that spell it are taken instead.

        Raises:
            InvalidInputError: No tokens spell the text, or it is no Unicode.
        """
        if not isinstance(text, str):
            raise InvalidTypeError(f"A text to encode is a str, not {type(text).__name__}: {text!r}.")
        return self._cached_encode(text)

    def encode_prompt(self, prompt: str | Chat) -> tuple[int, ...]:
        """Gives the ids of a prompt, after the beginning-of-text token if the tokenizer adds one.

        Raises:
            InvalidInputError: An empty prompt, or a chat for a model without a chat template.
            InvalidTypeError: Neither a string nor a chat.
        """
        if isinstance(prompt, str):
            if not prompt:
                raise InvalidInputError(self._empty_prompt())
            ids = self._prompt_ids(prompt)
            return ids if ids[: len(self._opening)] == self._opening else self._opening + ids
        if not isinstance(prompt, Chat):
            raise InvalidTypeError(
                f"A prompt is a str or lp.chat(...), not {type(prompt).__name__}: {prompt!r}."
            )
        return self._prompt_ids(render(self._folder, prompt))  # the template writes its own opening

    def _prompt_ids(self, text: str) -> tuple[int, ...]:
        utf8(text)  # refuses what is no text
        ids = tuple(self._prompts.encode(text, add_special_tokens=False).ids)
        beyond = [index for index in ids if index >= len(self.vocabulary)]
        if beyond:
            token = self._prompts.id_to_token(beyond[0])
            raise InvalidInputError(
                f"The prompt contains {token!r}, id {beyond[0]}, but the model has only "
                f"{len(self.vocabulary)} ids. Write the prompt without it."
            )
        return ids

    def _encode(self, text: str) -> tuple[int, ...]:
        data = utf8(text)
        ids = tuple(self._continuations.encode(text, add_special_tokens=False).ids)
        table = self.vocabulary.token_bytes
        if all(index < len(table) for index in ids) and b"".join(table[i] for i in ids) == data:
            return ids
        return self._longest_match.encode(text)

    @cached_property
    def canonical_rule(self) -> MergesRule:
        """The rule that `encode`'s own token sequences keep.

        Raises:
            InvalidInputError: The tokenizer is of a kind of which prefixes cannot be judged.
        """
        return MergesRule(self._spec, self._continuations, self.vocabulary)

    @cached_property
    def _continuations(self) -> Tokenizer:
        tokenizer = _tokenizer(_without_prefix(self._spec), self._folder)
        tokenizer.encode_special_tokens = True  # a control token written in a text is plain text
        return tokenizer

    @cached_property
    def _longest_match(self) -> LongestMatch:
        return LongestMatch(self.vocabulary.token_bytes)

    def _find_opening(self) -> tuple[int, ...]:
        """Gives the ids that the tokenizer puts before every text."""
        bare = self._prompts.encode("a", add_special_tokens=False).ids
        whole = self._prompts.encode("a").ids
        starts = (i for i in range(len(whole) - len(bare) + 1) if whole[i : i + len(bare)] == bare)
        opening = tuple(whole[: next(starts, 0)])
        if not opening and self._adds_bos and self._bos_token is not None:
            index = self._prompts.token_to_id(self._bos_token)
            opening = () if index is None else (index,)
        return opening

    def _empty_prompt(self) -> str:
        message = "The prompt is empty, and this model needs at least one token to start from."
        bos = self._bos_token or (self._prompts.id_to_token(self._opening[0]) if self._opening else None)
        if bos is not None:
            return (
                f"{message} Pass some text, or {bos!r}, its beginning-of-text token, to start from nothing."
            )
        return f'{message} Pass some text; "\\n" is the most neutral.'


def read_codec(folder: Path, vocab_size: int, config: Mapping[str, Any]) -> TokenCodec:
    """Reads the tokenizer of a checkpoint folder.

    Args:
        folder: Holds tokenizer.json; tokenizer_config.json and generation_config.json may be missing.
        vocab_size: Rows of the model's embedding.
        config: The parsed config.json.

    Raises:
        CheckpointError: The tokenizer is missing, damaged, or of another kind.
    """
    settings = _read_optional(folder / "tokenizer_config.json")
    bos = _token_text(settings.get("bos_token"))
    generation = _read_optional(folder / "generation_config.json")
    eos_ids = _eos_ids(generation.get("eos_token_id"), config.get("eos_token_id"))
    _check_eos(eos_ids, vocab_size)
    return TokenCodec(folder, vocab_size, eos_ids, bos, settings.get("add_bos_token") is True)


def _eos_ids(*candidates: Any) -> tuple[int, ...]:
    """Gives the first candidate that names an id or several; what generation uses comes first."""
    for candidate in candidates:
        if candidate is not None:
            return tuple(candidate) if isinstance(candidate, list) else (candidate,)
    return ()


def _check_eos(eos_ids: tuple[int, ...], vocab_size: int) -> None:
    for index in eos_ids:
        if type(index) is not int or not 0 <= index < vocab_size:
            raise CheckpointError(f"eos_token_id is {index!r}; expected an id from 0 to {vocab_size - 1}.")


def _token_text(token: Any) -> str | None:
    return token.get("content") if isinstance(token, Mapping) else token


def _read_spec(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer.json"
    if not path.is_file():
        old = [name for name in ("tokenizer.model", "vocab.json", "vocab.txt") if (folder / name).is_file()]
        hint = (
            f" It has {old[0]}, which transformers converts: "
            "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)."
            if old
            else " Download the tokenizer too."
        )
        raise CheckpointError(f"{folder} has no tokenizer.json, so its ids have no text.{hint}")
    spec = _read_optional(path)
    if not isinstance(spec.get("model"), dict) or "vocab" not in spec["model"]:
        raise CheckpointError(
            f"{path} describes no tokenizer (no model with a vocabulary). Download it again."
        )
    return spec


def _read_optional(path: Path) -> dict[str, Any]:
    """Reads a JSON object; a file that is not there is an empty one."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(
            f"{path} is no JSON ({error}); it may be cut short. Download it again."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a JSON {type(content).__name__}; expected an object.")
    return content


def _tokenizer(spec: Mapping[str, Any], folder: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_str(json.dumps(spec))
    except Exception as error:  # tokenizers raises bare Exception
        raise CheckpointError(
            f"{folder / 'tokenizer.json'} cannot be used: {error}. Download it again."
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _without_prefix(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Gives the same tokenizer without what it would put in front of a text."""
    bare = {key: value for key, value in spec.items() if key not in ("normalizer", "pre_tokenizer")}
    for key, parts in (("normalizer", "normalizers"), ("pre_tokenizer", "pretokenizers")):
        bare[key] = _component_without_prefix(copy.deepcopy(spec.get(key)), parts)
    bare["post_processor"] = None
    return bare


def _component_without_prefix(component: dict[str, Any] | None, parts: str) -> dict[str, Any] | None:
    if component is None or component["type"] == "Prepend":
        return None
    if component["type"] == "Sequence":
        kept = [_component_without_prefix(part, parts) for part in component[parts]]
        component[parts] = [part for part in kept if part is not None]
    if component["type"] == "Metaspace":
        component["prepend_scheme"] = "never"
        component.pop("add_prefix_space", None)
    if component["type"] == "ByteLevel" and "add_prefix_space" in component:
        component["add_prefix_space"] = False
    return component
