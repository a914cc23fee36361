"""The bytes of every token, for real byte-level vocabularies and for sentencepiece-style ones."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from lmppl.errors import CheckpointError
from lmppl.models.token_bytes import read_token_bytes

VOCABULARIES = {"cl100k_base": 100_277, "o200k_base": 200_019}


@pytest.mark.parametrize("name", VOCABULARIES)
def test_the_bytes_of_every_token_of_a_real_vocabulary_are_what_it_decodes_to(name: str, test_data: Path):
    path = test_data / "tokenizers" / f"{name}.tokenizer.json"
    spec = json.loads(path.read_text())
    table = read_token_bytes(spec, VOCABULARIES[name])
    special = {added["id"] for added in spec["added_tokens"] if added["special"]}
    used = set(spec["model"]["vocab"].values())
    assert {index for index, data in enumerate(table) if not data} == special | (
        set(range(len(table))) - used
    )
    text = [data for data in table if data]
    assert len(set(text)) == len(text)
    assert {bytes([byte]) for byte in range(256)} <= set(text)
    ids = sorted(used - special)
    decoded = Tokenizer.from_file(str(path)).decode_batch([[index] for index in ids])
    assert decoded == [table[index].decode("utf-8", "replace") for index in ids]


def test_o200k_bytes_are_those_of_its_published_ranks(test_data: Path):
    spec = json.loads((test_data / "tokenizers" / "o200k_base.tokenizer.json").read_text())
    table = read_token_bytes(spec, VOCABULARIES["o200k_base"])
    published = gzip.decompress((test_data / "bpe_vocab" / "o200k_first32000.txt.gz").read_bytes()).split()
    assert len(published) == 32_000
    assert table[:32_000] == tuple(base64.b64decode(line) for line in published)


def test_sentencepiece_bytes_fall_back_and_write_spaces(sentencepiece_spec: dict[str, Any]):
    table = read_token_bytes(sentencepiece_spec, 330)
    vocab = sentencepiece_spec["model"]["vocab"]
    assert table[vocab["<0x0A>"]] == b"\n"
    assert table[vocab["<0xE2>"]] == b"\xe2"
    assert table[vocab["▁the"]] == b" the"
    assert table[vocab["▁"]] == b" "
    assert table[: vocab["<0x00>"]] == (b"", b"", b"")  # unknown, beginning and end are no text


def test_two_ids_may_have_the_same_bytes(sentencepiece_spec: dict[str, Any]):
    table = read_token_bytes(sentencepiece_spec, 330)
    vocab = sentencepiece_spec["model"]["vocab"]
    assert table[vocab["<0x61>"]] == table[vocab["a"]] == b"a"


def test_rows_of_the_embedding_beyond_the_vocabulary_are_no_text(sentencepiece_spec: dict[str, Any]):
    size = len(sentencepiece_spec["model"]["vocab"])
    assert read_token_bytes(sentencepiece_spec, size + 7)[size:] == (b"",) * 7


def test_an_added_token_that_is_not_special_is_text(sentencepiece_spec: dict[str, Any]):
    sentencepiece_spec["added_tokens"].append({"id": 325, "content": "<tool▁call>", "special": False})
    assert read_token_bytes(sentencepiece_spec, 330)[325] == b"<tool call>"


def test_a_unigram_vocabulary_is_read_by_position():
    spec = {
        "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["▁a", -1.0], ["b", -2.0]]},
        "decoder": {"type": "Metaspace"},
        "added_tokens": [],
    }
    assert read_token_bytes(spec, 3) == (b"", b" a", b"b")


def test_other_kinds_of_tokenizer_are_refused_by_name(sentencepiece_spec: dict[str, Any]):
    sentencepiece_spec["decoder"] = {"type": "WordPiece", "prefix": "##", "cleanup": True}
    with pytest.raises(CheckpointError, match="WordPiece"):
        read_token_bytes(sentencepiece_spec, 330)
    sentencepiece_spec["decoder"] = None
    with pytest.raises(CheckpointError, match="decoder None"):
        read_token_bytes(sentencepiece_spec, 330)


def test_more_text_tokens_than_rows_are_refused(sentencepiece_spec: dict[str, Any]):
    with pytest.raises(CheckpointError, match="only 300 rows"):
        read_token_bytes(sentencepiece_spec, 300)
