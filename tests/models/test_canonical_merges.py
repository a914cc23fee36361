"""The canonical sequences of BPE tokenizers: those that the tokenizer itself gives for their text."""

from __future__ import annotations

import base64
import copy
import gzip
import itertools
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, pre_tokenizers

from lmppl.errors import InvalidInputError
from lmppl.models import splitting
from lmppl.models.splitting import SETTLING
from lmppl.models.token_bytes import _byte_level, read_token_bytes
from lmppl.models.tokens import TokenCodec

ONE_OF_A_CLASS = "aA's1 \n\t!/"  # what the expressions tell apart
RARE = "lLマ\u0301ǅ"  # letters of contractions, one without case, a mark, one of title case
ALPHABET = "a'l 1\né!"
GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
BYTES = {**GPT2, "use_regex": False}
DIGITS = {"type": "Digits", "individual_digits": True}
DECODER = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}


def split(expression: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}


def sequence(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(parts)}


SPLITTERS = [GPT2, sequence(DIGITS, GPT2), *(sequence(split(e), BYTES) for e in sorted(SETTLING))]


def codec_of(spec: dict[str, Any], folder: Path) -> TokenCodec:
    (folder / "tokenizer.json").write_text(json.dumps(spec))
    size = len(spec["model"]["vocab"]) + len(spec["added_tokens"])
    return TokenCodec(folder, size, (), None, adds_bos=False)


def byte_level(seed: int, pre_tokenizer: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Makes a tokenizer.json with random merges, some of them across the borders of pieces."""
    rng = random.Random(seed)
    letters = sorted({byte for letter in ALPHABET for byte in as_bytes(letter)})
    pieces, merges = list(letters), []
    while len(merges) < 10:
        pair = rng.choice(pieces), rng.choice(pieces)
        if "".join(pair) not in pieces:
            pieces.append("".join(pair))
            merges.append(list(pair))
    return spec_of(pieces, merges, {"pre_tokenizer": pre_tokenizer, "decoder": DECODER}, **options)


def as_bytes(text: str) -> str:
    """Writes text in the alphabet of byte-level tokens."""
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)[0][0]


def sentencepiece(seed: int) -> dict[str, Any]:
    """Makes one that merges characters of a whole text, and falls back to bytes."""
    rng = random.Random(seed)
    pieces, merges = ["▁", "a", "l", "1", "'"], []
    while len(merges) < 8:
        pair = rng.choice(pieces), rng.choice(pieces)
        if "".join(pair) not in pieces:
            pieces.append("".join(pair))
            merges.append(list(pair))
    pieces += [f"<0x{byte:02X}>" for byte in (*"é".encode(), 10, 33)]
    decoders = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}]
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    parts = {
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace]},
        "decoder": {"type": "Sequence", "decoders": [*decoders, {"type": "Fuse"}]},
    }
    return spec_of(pieces, merges, parts, byte_fallback=True)


def spec_of(pieces: Sequence[str], merges: list[list[str]], parts: dict[str, Any], **options: Any) -> Any:
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None}
    model |= {"end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
    model |= {"vocab": {piece: index for index, piece in enumerate(pieces)}, "merges": merges} | options
    spec = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None}
    return spec | {"pre_tokenizer": None, "post_processor": None, "model": model} | parts


def with_added(spec: dict[str, Any], *contents: str) -> dict[str, Any]:
    """Adds tokens that are read before the text is split."""
    size = len(spec["model"]["vocab"])
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    added = [{"id": size + n, "content": content, **flags} for n, content in enumerate(contents)]
    return {**copy.deepcopy(spec), "added_tokens": added}


def with_whole_piece(spec: dict[str, Any], pieces: Sequence[str]) -> dict[str, Any]:
    """Adds tokens that no merges make, to be looked up as whole pieces."""
    spec = copy.deepcopy(spec)
    for piece in pieces:
        spec["model"]["vocab"].setdefault(as_bytes(piece), len(spec["model"]["vocab"]))
    spec["model"]["ignore_merges"] = True
    return spec


def small_specs() -> Iterator[Any]:
    for seed, splitter in enumerate(SPLITTERS):
        yield pytest.param(byte_level(seed, splitter), id=f"split-{seed}")
    for seed in range(2):
        yield pytest.param(byte_level(seed, BYTES), id=f"no-split-{seed}")
        yield pytest.param(sentencepiece(seed), id=f"sentencepiece-{seed}")
        yield pytest.param(with_added(byte_level(seed, GPT2), "'a", "'a!", "l1"), id=f"added-{seed}")
        whole = with_whole_piece(byte_level(seed, SPLITTERS[2]), ["lal", "al", " a", "!!", "éa"])
        yield pytest.param(whole, id=f"whole-pieces-{seed}")
        marks = byte_level(seed, GPT2)
        yield pytest.param({**with_marks(marks), "normalizer": {"type": "NFC"}}, id=f"nfc-{seed}")


def with_marks(spec: dict[str, Any]) -> dict[str, Any]:
    spec = copy.deepcopy(spec)
    for letter in as_bytes("e\u0301\u0327"):
        spec["model"]["vocab"].setdefault(letter, len(spec["model"]["vocab"]))
    return spec


class Judge:
    """A codec's rule beside the tokenizer itself."""

    def __init__(self, codec: TokenCodec):
        self.codec, self.rule = codec, codec.canonical_rule
        self.table = codec.vocabulary.token_bytes

    def of_tokenizer(self, tokens: Sequence[int]) -> bool:
        """Whether the tokenizer gives the tokens for their text."""
        try:
            text = b"".join(self.table[token] for token in tokens).decode()
        except UnicodeDecodeError:
            return False
        return self.codec._continuations.encode(text, add_special_tokens=False).ids == list(tokens)

    def of_rule(self, tokens: Sequence[int]) -> bool:
        state = self.rule.initial()
        for token in tokens:
            further = self.rule.advance(state, token)
            if further is None:
                return False
            state = further
        return self.rule.accepts(state)

    def compare(self, tokens: Sequence[int]) -> bool:
        expected = self.of_tokenizer(tokens)
        assert self.of_rule(tokens) == expected, (tokens, [self.table[token] for token in tokens])
        return expected


@pytest.mark.parametrize("spec", list(small_specs()))
def test_a_sequence_passes_exactly_when_the_tokenizer_gives_it(spec: dict[str, Any], tmp_path: Path):
    judge = Judge(codec_of(spec, tmp_path))
    ids = [index for index, data in enumerate(judge.table) if data]
    accepted = 0
    for length in range(3):
        accepted += sum(judge.compare(tokens) for tokens in itertools.product(ids, repeat=length))
    assert accepted > 50
    rng = random.Random(1)
    for _ in range(150):  # texts are canonical in any length, and their neighbours mostly are not
        text = "".join(rng.choices(ALPHABET, k=rng.randint(1, 16)))
        tokens = judge.codec._continuations.encode(text, add_special_tokens=False).ids
        judge.compare(tokens)
        at = rng.randrange(len(tokens))
        judge.compare([*tokens[:at], rng.choice(ids), *tokens[at + 1 :]])
        judge.compare(list(resplit(judge, tokens, rng)))


def test_pieces_that_are_called_settled_too_early_are_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    merges = [["Ġ", "Ġ"], ["Ġ", "a"]]
    spec = spec_of(["a", "b", "Ġ", "ĠĠ", "Ġa"], merges, {"pre_tokenizer": GPT2, "decoder": DECODER})
    judge = Judge(codec_of(spec, tmp_path))
    assert judge.compare((1, 2, 4))
    assert judge.compare((1, 3))
    assert not judge.compare((1, 3, 0))  # two spaces are one token until a word follows them
    hasty = Judge(codec_of(spec, tmp_path))
    monkeypatch.setattr(
        hasty.rule, "_settled", lambda text: iter([(piece, False) for piece in hasty.rule._pieces(text)])
    )
    with pytest.raises(AssertionError):
        hasty.compare((1, 3, 0))


def resplit(judge: Judge, tokens: Sequence[int], rng: random.Random) -> Iterator[int]:
    """Spells one token by two others, where that can be done."""
    chosen = rng.randrange(len(tokens))
    ids = {data: index for index, data in enumerate(judge.table) if data}
    for at, token in enumerate(tokens):
        data = judge.table[token]
        cuts = [cut for cut in range(1, len(data)) if data[:cut] in ids and data[cut:] in ids]
        if at == chosen and cuts:
            cut = rng.choice(cuts)
            yield from (ids[data[:cut]], ids[data[cut:]])
        else:
            yield token


def test_a_word_that_is_spelled_otherwise_is_refused_at_its_second_token(tmp_path: Path):
    spec = spec_of(["a", "b", "ab", "Ġ"], [["a", "b"]], {"pre_tokenizer": GPT2, "decoder": DECODER})
    rule = codec_of(spec, tmp_path).canonical_rule
    state = rule.advance(rule.initial(), 0)
    assert state is not None
    assert rule.advance(state, 1) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cl100k_base", "o200k_base"])
def test_the_rule_of_a_large_vocabulary_is_that_of_its_tokenizer(name: str, test_data: Path, tmp_path: Path):
    spec = json.loads((test_data / "tokenizers" / f"{name}.tokenizer.json").read_text())
    size = 1 + max(*spec["model"]["vocab"].values(), *(token["id"] for token in spec["added_tokens"]))
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    judge = Judge(TokenCodec(tmp_path, size, (), None, adds_bos=False))
    judge.table = read_token_bytes(spec, size)
    compare_texts(
        judge, Path(__file__).read_text() + "Ça va? 中文字符 naïve\r\n\n  3.14159 don't DON'T 🎉👩‍🔬 é\u0301"
    )


@pytest.mark.parametrize("size", [4096, pytest.param(32000, marks=pytest.mark.slow)])
def test_the_rule_of_a_cut_vocabulary_is_that_of_its_tokenizer(size: int, test_data: Path, tmp_path: Path):
    judge = Judge(codec_of(cut_vocabulary(test_data / "bpe_vocab", size), tmp_path))
    compare_texts(
        judge, Path(__file__).read_text() + "Ça va? 中文字符 naïve\r\n\n  3.14159 don't DON'T 🎉 é\u0301"
    )


def test_the_rule_of_the_model_that_comes_with_the_package_is_that_of_its_tokenizer():
    folder = Path(splitting.__file__).parent / "embedded" / "weights"
    spec = json.loads((folder / "tokenizer.json").read_text())
    size = 1 + max(*spec["model"]["vocab"].values(), *(token["id"] for token in spec["added_tokens"]))
    judge = Judge(TokenCodec(folder, size, (), None, adds_bos=False))
    judge.table = read_token_bytes(spec, size)
    compare_texts(judge, Path(__file__).read_text() + "Ça va? naïve\r\n\n  3.14159 \t don't DON'T é\u0301")


def cut_vocabulary(folder: Path, size: int) -> dict[str, Any]:
    """Makes a tokenizer.json of ranks: each token is the merge of the two that earlier merges leave of it."""
    with gzip.open(folder / f"o200k_first{size}.txt.gz", "rt") as file:
        tokens = [base64.b64decode(line) for line in file]
    ranks = {data: rank for rank, data in enumerate(tokens)}
    merges = [parts for data in tokens if len(data) > 1 for parts in [merged_parts(data, ranks)]]
    expression = json.loads((folder / "pretokenizer.json").read_text())["pat_str"]
    parts = {"pre_tokenizer": sequence(split(expression), BYTES), "decoder": DECODER}
    letters = {byte: letter for letter, byte in pre_tokenizer_alphabet().items()}
    spelled = ["".join(letters[byte] for byte in data) for data in tokens]
    pairs = [["".join(letters[byte] for byte in part) for part in pair] for pair in merges]
    return spec_of(spelled, pairs, parts)


def merged_parts(data: bytes, ranks: dict[bytes, int]) -> list[bytes]:
    parts = [data[at : at + 1] for at in range(len(data))]
    while len(parts) > 2:
        found = [ranks.get(parts[at] + parts[at + 1], len(ranks)) for at in range(len(parts) - 1)]
        at = found.index(min(found))
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


def pre_tokenizer_alphabet() -> dict[str, int]:
    """Gives the byte of each character of byte-level tokens."""
    return {letter: _byte_level(letter)[0] for letter in pre_tokenizers.ByteLevel.alphabet()}


def compare_texts(judge: Judge, text: str) -> None:
    rng = random.Random(2)
    ids = [index for index, data in enumerate(judge.table) if data]
    accepted = 0
    for _ in range(150):
        start = rng.randrange(len(text))
        tokens = judge.codec._continuations.encode(text[start : start + 60], add_special_tokens=False).ids
        accepted += judge.compare(tokens)
        at = rng.randrange(len(tokens))
        accepted += judge.compare(tokens[:at])
        judge.compare([*tokens[:at], rng.choice(ids), *tokens[at:]])
        judge.compare(list(resplit(judge, tokens, rng)))
        judge.compare(rng.choices(ids, k=2))
    assert accepted > 200


@pytest.mark.slow
@pytest.mark.parametrize("splitter", SPLITTERS, ids=lambda s: str(SPLITTERS.index(s)))
def test_settled_borders_stay_and_only_whitespace_is_split_later(splitter: dict[str, Any]):
    """What `splitting` says of its expressions, on all texts of 3 of 15 characters and 6,000 longer ones."""
    pre_tokenizer = Tokenizer.from_str(json.dumps(byte_level(0, splitter))).pre_tokenizer
    assert pre_tokenizer is not None
    rng = random.Random(0)
    letters = ONE_OF_A_CLASS + RARE
    texts = ["".join(text) for n in range(1, 4) for text in itertools.product(letters, repeat=n)]
    texts += ["".join(rng.choices(letters, k=rng.randint(5, 9))) for _ in range(6_000)]
    known: dict[str, list[int]] = {}

    def borders(text: str) -> list[int]:
        if text not in known:
            known[text] = [0, *(end for _, (_, end) in pre_tokenizer.pre_tokenize_str(text))]
        return known[text]

    for text in texts:
        now = set(borders(text))
        for cut in range(1, len(text)):
            before = borders(text[:cut])
            assert now.issuperset(before[:-2]), (text, cut)
            for start, end in itertools.pairwise(before):
                inside = now & set(range(start + 1, end))
                assert not inside or text[start:end].isspace(), (text, cut)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pre_tokenizer": {"type": "Whitespace"}}, "Whitespace"),
        ({"pre_tokenizer": sequence(split("a|b"), BYTES)}, "Split"),
        ({"normalizer": {"type": "Lowercase"}}, "Lowercase"),
    ],
)
def test_a_kind_that_cannot_be_followed_is_refused(change: dict[str, Any], reason: str, tmp_path: Path):
    with pytest.raises(InvalidInputError, match=reason):
        codec_of(byte_level(0, GPT2) | change, tmp_path).canonical_rule  # noqa: B018
    unigram = {"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 0}
    (tmp_path / "tokenizer.json").write_text(json.dumps(sentencepiece(0) | {"model": unigram}))
    with pytest.raises(InvalidInputError, match="Unigram"):
        TokenCodec(tmp_path, 1, (), None, adds_bos=False).canonical_rule  # noqa: B018
