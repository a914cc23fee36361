"""The mixture that the embedded model is trained on, and how documents of one split are drawn from it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lmppl.errors import InvalidInputError
from lmppl.models.embedded.blocks import blocks_document, blocks_reversed_document
from lmppl.models.embedded.documents import Document
from lmppl.models.embedded.identifiers import date_document, email_document, identifier_document
from lmppl.models.embedded.kitchen import kitchen_document, kitchen_reversed_document
from lmppl.models.embedded.records import record_document
from lmppl.models.embedded.sentences import sentence_document
from lmppl.models.embedded.splits import TRAIN, split_of
from lmppl.models.embedded.sql import sql_document
from lmppl.models.embedded.text_files import molecule_source, prose_source

Source = Callable[[random.Random], Document]

_WEIGHTS: Mapping[str, float] = {
    # shares of the documents; one goal document in ten is reversed; prose is about 8 % of the tokens
    "blocks": 36, "blocks reversed": 4, "kitchen": 13, "kitchen reversed": 1.5, "sql": 11, "records": 7,
    "dates": 4, "e-mails": 3, "identifiers": 4, "sentences": 5, "smiles": 5, "prose": 7,
}  # fmt: skip
_GENERATORS: Mapping[str, Source] = {
    "blocks": blocks_document,
    "blocks reversed": blocks_reversed_document,
    "kitchen": kitchen_document,
    "kitchen reversed": kitchen_reversed_document,
    "sql": sql_document,
    "records": record_document,
    "dates": date_document,
    "e-mails": email_document,
    "identifiers": identifier_document,
    "sentences": sentence_document,
}


@dataclass(frozen=True)
class Mixture:
    """The sources of documents by domain.

    Attributes:
        sources: Domain -> what draws one of its documents, of any split.
        skipped: Domains that need a text file which is not there.
    """

    sources: Mapping[str, Source]
    skipped: tuple[str, ...]


def mixture(data: Path | None = None) -> Mixture:
    """Gives all domains that can be made here. `data`: the folder of text files, if there is one."""
    read = {"smiles": data and molecule_source(data), "prose": data and prose_source(data)}
    found = {domain: source for domain, source in read.items() if source}
    return Mixture({**_GENERATORS, **found}, tuple(domain for domain in read if domain not in found))


def training_document(sources: Mixture, rng: random.Random) -> Document:
    """Draws a domain by its share, then a document of it that may be trained on."""
    domains = list(sources.sources)
    domain = rng.choices(domains, weights=[_WEIGHTS[name] for name in domains])[0]
    return next(documents(sources.sources[domain], rng, TRAIN))


def documents(source: Source, rng: random.Random, split: str, patience: int = 20_000) -> Iterator[Document]:
    """Draws documents of one split, without end: the others are drawn too, and thrown away.

    Raises:
        InvalidInputError: `patience` documents in a row belonged to other splits.
    """
    while True:
        drawn = (source(rng) for _ in range(patience))
        document = next((document for document in drawn if split_of(document) == split), None)
        if document is None:
            raise InvalidInputError(
                f"{patience:,} documents were drawn, none of the split {split!r}. Use 'train', 'dev' or "
                "'test', which every domain has."
            )
        yield document
