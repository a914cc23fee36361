"""Texts and prompts as ids: the bytes are kept, the beginning-of-text token comes once."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers

from lmppl.errors import InvalidInputError
from lmppl.models.tokens import TokenCodec, read_codec
from lmppl.text import Chat

TEXTS = [
    "",
    "a",
    " ",
    "  two  spaces ",
    "hello world",
    " leading",
    "trailing\n\n",
    "naïve café ☃ 日本語 🙂",
    "\t\x00\x7f",
    "def f(x):\n    return x ** 2",
    "the end </s> <s> <unk> <|end|> <|endoftext|>",
    unicodedata.normalize("NFD", "éà"),
]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def write(folder: Path, spec: dict[str, Any] | str, **settings: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(spec if isinstance(spec, str) else json.dumps(spec))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def joined(codec: TokenCodec, ids: tuple[int, ...]) -> bytes:
    return b"".join(codec.vocabulary.token_bytes[index] for index in ids)


@pytest.fixture
def sentencepiece(tmp_path: Path, sentencepiece_spec: dict[str, Any]) -> TokenCodec:
    return read_codec(write(tmp_path, sentencepiece_spec, bos_token="<s>"), 330, {"eos_token_id": 2})


@pytest.fixture
def byte_level(checkpoint: Path) -> TokenCodec:
    return read_codec(checkpoint, 320, {})


@pytest.mark.parametrize("kind", ["byte_level", "sentencepiece"])
@pytest.mark.parametrize("text", TEXTS)
def test_the_bytes_of_an_encoded_text_are_the_text(kind: str, text: str, request: pytest.FixtureRequest):
    codec = request.getfixturevalue(kind)
    assert joined(codec, codec.encode(text)) == text.encode()


@pytest.mark.parametrize("name", ["cl100k_base", "o200k_base"])
def test_any_text_makes_the_round_trip_through_a_real_vocabulary(name: str, test_data: Path, tmp_path: Path):
    spec = (test_data / "tokenizers" / f"{name}.tokenizer.json").read_text()
    codec = read_codec(write(tmp_path, spec), 201_000, {})

    @settings(max_examples=200, derandomize=True, database=None)
    @given(st.one_of(st.text(max_size=30), st.sampled_from(TEXTS)))
    def round_trip(text: str):
        assert joined(codec, codec.encode(text)) == text.encode()

    round_trip()


def test_a_text_that_follows_has_no_space_put_in_front(sentencepiece: TokenCodec):
    vocab = {data: index for index, data in reversed(list(enumerate(sentencepiece.vocabulary.token_bytes)))}
    assert sentencepiece.encode("the") == (vocab[b"the"],)
    assert sentencepiece.encode(" the") == (vocab[b" the"],)
    assert sentencepiece.encode_prompt("the") == (1, vocab[b" the"])


def test_a_text_that_the_tokenizer_would_normalise_is_spelled_by_longest_match(checkpoint: Path):
    spec = json.loads((checkpoint / "tokenizer.json").read_text())
    spec["normalizer"] = json.loads(normalizers.NFC().__getstate__())
    codec = read_codec(write(checkpoint, spec), 320, {})
    text = unicodedata.normalize("NFD", "the café")
    assert joined(codec, codec.encode(text)) == text.encode()


def test_a_text_that_no_tokens_spell_is_an_error(tmp_path: Path, sentencepiece_spec: dict[str, Any]):
    vocab = sentencepiece_spec["model"]["vocab"]
    sentencepiece_spec["model"]["vocab"] = {
        (f"unused {piece}" if piece.startswith("<0x") else piece): index for piece, index in vocab.items()
    }
    codec = read_codec(write(tmp_path, sentencepiece_spec), 330, {})
    with pytest.raises(InvalidInputError, match="nothing fits at byte 3"):
        codec.encode("the7")


def test_half_a_surrogate_pair_is_refused(byte_level: TokenCodec):
    for encode in (byte_level.encode, byte_level.encode_prompt):
        with pytest.raises(InvalidInputError, match=r"'\\ud800' at 2"):
            encode("ab\ud800")


def test_the_beginning_of_text_comes_once(sentencepiece: TokenCodec):
    bare = sentencepiece.encode_prompt("the")
    assert bare[0] == 1
    assert sentencepiece.encode_prompt("<s>the") == bare
    assert sentencepiece.encode_prompt("<s>") == (1,)


def test_special_tokens_of_a_prompt_are_read_as_such(byte_level: TokenCodec):
    assert byte_level.encode_prompt("<|user|>")[0] == 1
    assert len(byte_level.encode_prompt("<|user|>")) == 1
    assert len(byte_level.encode("<|user|>")) > 1


def test_a_tokenizer_config_may_ask_for_a_beginning_that_the_tokenizer_does_not_add(checkpoint: Path):
    wanted = {"bos_token": {"content": "<|user|>"}, "add_bos_token": True}
    (checkpoint / "tokenizer_config.json").write_text(json.dumps(wanted))
    codec = read_codec(checkpoint, 320, {})
    assert codec.encode_prompt("the")[0] == 1
    assert codec.encode_prompt("<|user|>the") == codec.encode_prompt("the")


def test_an_empty_prompt_is_an_error_that_names_the_beginning_of_text(
    sentencepiece: TokenCodec, byte_level: TokenCodec
):
    with pytest.raises(InvalidInputError, match=r"prompt is empty.*'<s>', its beginning-of-text token"):
        sentencepiece.encode_prompt("")
    with pytest.raises(InvalidInputError, match=r"prompt is empty.*Pass some text"):
        byte_level.encode_prompt("")


def test_prompts_have_the_ids_that_transformers_gives(tmp_path: Path, sentencepiece_spec: dict[str, Any]):
    from transformers import PreTrainedTokenizerFast

    folder = write(tmp_path, sentencepiece_spec, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    reference = PreTrainedTokenizerFast.from_pretrained(folder)
    codec = read_codec(folder, 330, {})
    for text in filter(None, TEXTS):
        if not text.startswith("<s>"):
            assert list(codec.encode_prompt(text)) == reference(text)["input_ids"], text


@pytest.mark.parametrize("last", ["user", "assistant"])
def test_a_chat_has_the_ids_that_transformers_gives(
    last: str, tmp_path: Path, sentencepiece_spec: dict[str, Any]
):
    from transformers import PreTrainedTokenizerFast

    folder = write(tmp_path, sentencepiece_spec, bos_token="<s>", chat_template=TEMPLATE)
    messages = (("system", "be the cat"), ("user", "sit"), ("assistant", "on"))
    messages = messages if last == "assistant" else messages[:2]
    ids = read_codec(folder, 330, {}).encode_prompt(Chat(messages))
    expected = PreTrainedTokenizerFast.from_pretrained(folder).apply_chat_template(
        [{"role": role, "content": content} for role, content in messages],
        add_generation_prompt=last == "user",
        continue_final_message=last == "assistant",
        tokenize=True,
        return_dict=False,
    )
    assert list(ids) == expected
    assert ids.count(1) == 1


def test_a_chat_for_a_model_without_a_template_is_an_error(byte_level: TokenCodec):
    with pytest.raises(InvalidInputError, match="no chat template"):
        byte_level.encode_prompt(Chat((("user", "hello"),)))


def test_a_conversation_that_the_template_refuses_is_an_error(checkpoint: Path):
    template = (
        "{% if messages[0]['role'] != 'user' %}{{ raise_exception('the user speaks first') }}{% endif %}"
    )
    (checkpoint / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    with pytest.raises(InvalidInputError, match="the user speaks first"):
        read_codec(checkpoint, 320, {}).encode_prompt(Chat((("system", "x"),)))


@pytest.mark.parametrize(
    ("generation", "config", "expected"),
    [
        ({"eos_token_id": [0, 2]}, {"eos_token_id": 1}, {0, 2}),
        ({"eos_token_id": 2}, {}, {2}),
        ({}, {"eos_token_id": 1}, {1}),
        ({}, {"eos_token_id": [0, 1]}, {0, 1}),
        ({}, {}, set()),
    ],
)
def test_the_ends_are_those_of_generation_or_else_of_the_config(
    generation: dict, config: dict, expected: set, checkpoint: Path
):
    (checkpoint / "generation_config.json").write_text(json.dumps(generation))
    vocabulary = read_codec(checkpoint, 320, config).vocabulary
    assert vocabulary.eos_ids == expected
    assert all(vocabulary.token_bytes[index] == b"" for index in expected)
