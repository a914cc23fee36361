"""Domains whose text is read from a data folder at training time and never kept: molecules and prose.

The recipe runs without the folder; these domains are then left out.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

from lmppl.models.embedded.documents import Document, sections
from lmppl.models.embedded.splits import split_of

_MOLECULES = "smiles/2019PubChemQC_can_nocharge.smi"
_STORIES = "corpora/tinystories_sample.txt"
_BOOKS = "corpora/gutenberg_*.txt"
_COMMON = {
    "about", "after", "again", "along", "always", "because", "been", "before", "being", "could",
    "didn't", "does", "down", "each", "even", "every", "from", "have", "having", "into", "just", "like",
    "made", "make", "many", "more", "much", "must", "never", "only", "other", "over", "said", "same",
    "some", "such", "than", "that", "the", "their", "them", "then", "there", "these", "they", "this",
    "those", "through", "very", "want", "wanted", "was", "were", "what", "when", "where", "which",
    "while", "who", "will", "with", "would", "your",
}  # fmt: skip


def molecule_source(data: Path) -> Callable[[random.Random], Document] | None:
    """Gives a source of lists of 2 to 8 SMILES, one a line, or None if the file is not there.

    All molecules of a list are on the same side of the split, so no held-out molecule is ever trained on.
    """
    path = data / _MOLECULES
    if not path.is_file():
        return None
    sides: dict[str, list[str]] = {}
    for smiles in dict.fromkeys(path.read_text().split()):
        sides.setdefault(split_of(Document("smiles", "", smiles, smiles)), []).append(smiles)
    side_of = {smiles: side for side in sides.values() for smiles in side}
    everything = list(side_of)

    def draw(rng: random.Random) -> Document:
        first = rng.choice(everything)
        others = rng.sample(side_of[first], min(rng.randint(1, 7), len(side_of[first])))
        return Document("smiles", sections({}, "smiles"), "\n".join((first, *others)), first)

    return draw


def prose_source(data: Path) -> Callable[[random.Random], Document] | None:
    """Gives a source of sentences and short passages of prose, or None if no text is there.

    A third are asked for by some of their words, a third follow `### story`, a third have no prompt at all.
    """
    paths = [path for path in (data / _STORIES, *sorted(data.glob(_BOOKS))) if path.is_file()]
    passages = [passage for path in paths for passage in _passages(path.read_text(errors="replace"))]
    if not passages:
        return None

    def draw(rng: random.Random) -> Document:
        passage = rng.choice(passages)
        form = rng.randrange(3)
        if form == 0:
            return Document("prose", "", passage, passage)
        if form == 1:
            return Document("prose", sections({}, "story"), passage, passage)
        sentence = re.split(r"(?<=[.!?]) ", passage)[0]
        content = [w for w in dict.fromkeys(re.findall(r"[a-z']{4,}", sentence)) if w not in _COMMON]
        words = rng.sample(content, min(len(content), rng.randint(2, 4)))
        return Document("prose", sections({"words": ", ".join(words)}, "sentence"), sentence, passage)

    return draw


def _passages(text: str) -> list[str]:
    """Splits a text into passages of one to four whole sentences, at most 320 characters each."""
    text = _without_licence(text).translate(str.maketrans("“”‘’—", "\"\"''-"))
    passages = []
    for paragraph in re.split(r"\n\s*\n|<\|endoftext\|>", text):
        sentences = re.split(r"(?<=[.!?]) ", " ".join(paragraph.split()))
        kept = ""
        for sentence in sentences:
            if kept and len(kept) + len(sentence) > 240:
                passages.append(kept)
                kept = ""
            kept = f"{kept} {sentence}".strip()
        passages.append(kept)
    return [p for p in dict.fromkeys(passages) if 20 <= len(p) <= 320 and p[-1] in ".!?\"'" and p.isascii()]


def _without_licence(text: str) -> str:
    """Cuts the header and the footer that Project Gutenberg puts around a book."""
    text = re.split(r"\*\*\* ?START OF TH\w+ PROJECT.*?\*\*\*", text, maxsplit=1)[-1]
    return re.split(r"End of (?:the )?Project Gutenberg|\*\*\* ?END OF TH\w+ PROJECT", text, maxsplit=1)[0]
