"""Which bytes each token id stands for, read from a tokenizer.json."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lmppl.errors import CheckpointError

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE_MARK = "\u2581"  # sentencepiece writes a space as LOWER ONE EIGHTH BLOCK


def read_token_bytes(spec: Mapping[str, Any], vocab_size: int) -> tuple[bytes, ...]:
    """Gives one byte string for each row of an embedding with `vocab_size` rows.

    Control tokens, the unknown token and rows without a token are `b""`.

    Args:
        spec: A parsed tokenizer.json: byte-level BPE (GPT-2, Llama 3, tiktoken) or sentencepiece
            style (spaces as U+2581, `<0xNN>` for single bytes).
        vocab_size: Rows of the embedding; may exceed the tokenizer's ids.

    Raises:
        CheckpointError: Another kind of tokenizer, or text tokens that the embedding has no row for.
    """
    kind = _kind(spec)
    table: dict[int, bytes] = {}
    for token, index in _vocabulary(spec):
        table[index] = _byte_level(token) if kind == "byte-level" else _sentencepiece(token, spec)
    unknown = spec["model"].get("unk_token")
    for added in spec.get("added_tokens") or ():
        content, index = added["content"], added["id"]
        control = added.get("special", False) or content == unknown
        spaced = content if kind == "byte-level" else content.replace(_SPACE_MARK, " ")
        table[index] = b"" if control else spaced.encode()
    beyond = sorted(index for index, data in table.items() if index >= vocab_size and data)
    if beyond:
        raise CheckpointError(
            f"tokenizer.json has {len(beyond)} text tokens with ids from {beyond[0]} on, but the model has "
            f"only {vocab_size} rows (vocab_size in config.json). The two files do not belong together."
        )
    return tuple(table.get(index, b"") for index in range(vocab_size))


def _kind(spec: Mapping[str, Any]) -> str:
    decoders = {part["type"] for part in _parts(spec.get("decoder"), "decoders")}
    if "ByteLevel" in decoders:
        return "byte-level"
    model = spec["model"].get("type")
    if decoders <= {"Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"} and decoders:
        return "sentencepiece"
    raise CheckpointError(
        f"tokenizer.json has a {model!r} model and the decoder {sorted(decoders) or None}; lmppl knows the "
        "bytes of byte-level BPE and of sentencepiece-style tokens only. Choose a model with one of these."
    )


def _parts(component: Mapping[str, Any] | None, key: str) -> Iterator[Mapping[str, Any]]:
    """Goes through a component of tokenizer.json and, if it is a sequence, through its parts."""
    if component is None:
        return
    if component["type"] != "Sequence":
        yield component
        return
    for part in component[key]:
        yield from _parts(part, key)


def _vocabulary(spec: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    vocab = spec["model"]["vocab"]
    if isinstance(vocab, Mapping):
        unknown = spec["model"].get("unk_token")
        yield from ((token, index) for token, index in vocab.items() if token != unknown)
    else:  # Unigram: a list of (token, score)
        unknown_id = spec["model"].get("unk_id")
        yield from ((token, i) for i, (token, _) in enumerate(vocab) if i != unknown_id)


def _byte_level(token: str) -> bytes:
    """Undoes the GPT-2 alphabet; a token written otherwise stands for itself, as in its decoder."""
    try:
        return bytes(map(_GPT2_BYTES.__getitem__, token))
    except KeyError:
        return token.encode()


def _sentencepiece(token: str, spec: Mapping[str, Any]) -> bytes:
    single = _BYTE_TOKEN.fullmatch(token)
    falls_back = spec["model"].get("byte_fallback", False)
    if single and falls_back:
        return bytes([int(single[1], 16)])
    return token.replace(_SPACE_MARK, " ").encode()


def _gpt2_bytes() -> dict[str, int]:
    """Gives the byte of each character of the GPT-2 alphabet (Radford et al. 2019, encoder.py).

    Printable Latin-1 bytes are their own characters; the others follow from U+0100 on, in order.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_GPT2_BYTES = _gpt2_bytes()
