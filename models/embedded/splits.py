"""Which documents are held out: a rule on content, applied before anything is trained on."""

from __future__ import annotations

import hashlib

from lmppl.models.embedded.documents import Document

TRAIN, TEST, DEV, PARAPHRASES = "train", "test", "dev", "paraphrases"
_BUCKETS = 40
_TEMPLATE_SALT = "template 530: "  # the first that keeps the plainest wordings ("put {0} on {1}") in training


def split_of(document: Document) -> str:
    """Gives the only split that a document may be used in.

    The sha1 of the document's key, modulo 40, sends 0 to the test split and 1 to the dev split. Before
    that, documents of a kind that is never trained on (`Document.unseen`), and documents that use one of
    the held-out paraphrases, form splits of their own.
    """
    if document.unseen:
        return document.unseen
    if any(template_is_held_out(template) for template in document.templates):
        return PARAPHRASES
    return {0: TEST, 1: DEV}.get(bucket(document.key), TRAIN)


def bucket(key: str) -> int:
    """Gives the hash bucket of a key, in 0..39: the same on every machine and in every run."""
    return int(hashlib.sha1(key.encode()).hexdigest(), 16) % _BUCKETS


def template_is_held_out(template: str) -> bool:
    """Tells whether a paraphrase template is one of the 15 % that are never trained on."""
    return bucket(_TEMPLATE_SALT + template) < 0.15 * _BUCKETS
