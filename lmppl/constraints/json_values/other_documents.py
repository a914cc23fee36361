"""The documents besides its own that a schema may refer to: those given, and the drafts' own schemas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urldefrag

from lmppl.constraints.json_values.drafts import named_draft
from lmppl.errors import InvalidTypeError

_SITE = "json-schema.org"
_OF_DRAFTS = ("http://json-schema.org/draft-", "https://json-schema.org/draft/")


def check_documents(documents: Any) -> None:
    """Raises InvalidTypeError for what is no mapping from URIs to schemas."""
    if not isinstance(documents, Mapping):
        raise InvalidTypeError(
            f"`documents=` of json() maps URIs to schemas, but is {documents!r:.60}. Write {{uri: schema}}."
        )
    for uri, schema in documents.items():
        if not isinstance(uri, str) or not isinstance(schema, dict | bool):
            raise InvalidTypeError(
                f"`documents=` of json() maps URIs to schemas, but has {uri!r}: {schema!r:.60}. Write a str "
                "and a dict or bool."
            )


class OtherDocuments:
    """Schemas by URI. Nothing is ever fetched.

    Args:
        given: By the URI that they are referred to by; they are also found by the `$id` of their own.
    """

    def __init__(self, given: Mapping[str, Any]):
        self._given = {urldefrag(uri)[0]: schema for uri, schema in given.items()}
        for schema in given.values():
            for keyword in ("$id", "id"):
                own = schema.get(keyword) if isinstance(schema, dict) else None
                if isinstance(own, str) and "://" in own:
                    self._given.setdefault(urldefrag(own)[0], schema)

    def get(self, uri: str) -> Any:
        """Gives the schema that a URI names, None if there is none here."""
        found = self._given.get(uri)
        return _of_a_draft(uri) if found is None and uri.startswith(_OF_DRAFTS) else found

    def why_missing(self, uri: str) -> str:
        """Says how a schema can be given that is not here."""
        if uri.startswith(_OF_DRAFTS) and (named_draft(uri) or "/meta/" in uri):
            return "Install the drafts' own schemas: pip install 'lmppl[json]'."
        return f"Give that schema: json(..., documents={{{uri!r}: ...}}), or put it under '$defs'."


def drafts_version(texts: Iterable[str]) -> str | None:
    """Gives the version of the drafts' own schemas, where one of some JSON texts may refer to them."""
    if not any(_SITE in text for text in texts):
        return None
    try:
        return version("jsonschema-specifications")
    except PackageNotFoundError:
        return None


@cache
def _of_a_draft(uri: str) -> Any:
    try:
        from jsonschema_specifications import REGISTRY
    except ImportError:
        return None
    return REGISTRY.contents(uri) if uri in REGISTRY else None
