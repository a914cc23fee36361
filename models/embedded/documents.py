"""What a training document is: a prompt that ends in a header, and a target of one line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

END = "<|end|>"
"""The only control token: it ends a document, and a string under the model."""


@dataclass(frozen=True)
class Document:
    """One prompt with its target.

    Attributes:
        domain: What the document is about; losses are reported by it.
        prompt: Sections, each `### header` and its lines. It ends at the newline of the last header. Empty
            for plain prose.
        target: What follows the prompt, without the newline that ends it.
        key: The canonical content whose hash decides the split. Two documents with one key are always on
            the same side, so a goal and its reversal are.
        templates: The paraphrases that were used, so that some of them can be held out.
        unseen: The name of a further held-out split that the document belongs to by its content, or "".
    """

    domain: str
    prompt: str
    target: str
    key: str
    templates: tuple[str, ...] = ()
    unseen: str = ""


def sections(content: Mapping[str, str], last: str) -> str:
    """Writes a prompt: every section of `content`, then the header that the target follows."""
    body = "".join(f"### {header}\n{text}\n" for header, text in content.items())
    return f"{body}### {last}\n"
