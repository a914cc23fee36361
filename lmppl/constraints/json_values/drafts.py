"""The drafts of JSON Schema: which one a document is written in, and which keywords each defines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lmppl.errors import InvalidInputError, UnsupportedSchema

DRAFTS = ("4", "6", "7", "2019-09", "2020-12")
"""Those that can be read, oldest first."""

_SINCE = {
    "6": ("const", "contains", "propertyNames"),
    "7": ("if", "then", "else"),
    "2019-09": (
        "$anchor",
        "dependentRequired",
        "dependentSchemas",
        "maxContains",
        "minContains",
        "unevaluatedItems",
        "unevaluatedProperties",
    ),
    "2020-12": ("$dynamicRef", "$dynamicAnchor", "prefixItems"),
}
_UNTIL = {
    "dependencies": ("7", "'dependentRequired' or 'dependentSchemas'"),
    "additionalItems": ("2019-09", "'prefixItems' and 'items'"),
    "$recursiveRef": ("2019-09", "'$dynamicRef'"),
    "$recursiveAnchor": ("2019-09", "'$dynamicAnchor'"),
}
FIRST_DRAFT = {keyword: draft for draft, keywords in _SINCE.items() for keyword in keywords}
FIRST_DRAFT |= dict.fromkeys(("$recursiveRef", "$recursiveAnchor"), "2019-09")

_URIS = {
    "json-schema.org/draft-04/schema": "4",
    "json-schema.org/draft-04/hyper-schema": "4",
    "json-schema.org/draft-05/schema": "4",  # draft 5 changed hyper-schema only
    "json-schema.org/draft-06/schema": "6",
    "json-schema.org/draft-06/hyper-schema": "6",
    "json-schema.org/draft-07/schema": "7",
    "json-schema.org/draft-07/hyper-schema": "7",
    "json-schema.org/draft/2019-09/schema": "2019-09",
    "json-schema.org/draft/2020-12/schema": "2020-12",
    "json-schema.org/schema": "2020-12",  # "the latest"
    "iglucentral.com/schemas/com.snowplowanalytics.self-desc/schema/jsonschema/1-0-0": "4",
}

ONE = frozenset(
    [
        "additionalItems",
        "additionalProperties",
        "contains",
        "contentSchema",
        "else",
        "if",
        "items",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    ]
)
"""Keywords whose value is a schema."""

LISTS = frozenset(("allOf", "anyOf", "oneOf", "prefixItems", "items"))
"""Keywords whose value is a list of schemas."""

MAPS = frozenset(
    ("$defs", "definitions", "properties", "patternProperties", "dependentSchemas", "dependencies")
)
"""Keywords whose value is an object of schemas."""


def at_least(draft: str, other: str) -> bool:
    """Says whether a draft is another one or a later one."""
    return DRAFTS.index(draft) >= DRAFTS.index(other)


def named_draft(uri: Any) -> str | None:
    """Gives the draft that a `$schema` names; None for what is none."""
    plain = uri.partition("://")[2].rstrip("#") if isinstance(uri, str) else ""
    return _URIS.get(plain)


def draft_of(schema: Any) -> str:
    """Gives the draft that a document says it is written in, or, if it says none, can only be written in.

    Raises:
        UnsupportedSchema: It names something else.
    """
    named = schema.get("$schema") if isinstance(schema, dict) else None
    if named is None:
        return _written_in(schema)
    draft = named_draft(named)
    if draft is None:
        raise UnsupportedSchema(
            f"The schema at '/', keyword '$schema': {named!r} is none of the drafts {', '.join(DRAFTS)}. If "
            "the schema means the same in one of them, say which: draft='7', for example."
        )
    return draft


def _written_in(schema: Any) -> str:
    """Goes by what is no schema in 2020-12: a boolean bound, a list of `items`."""
    keywords: set[str] = set()
    has_lists = False
    for inner in _schemas(schema):
        if any(isinstance(inner.get(bound), bool) for bound in ("exclusiveMinimum", "exclusiveMaximum")):
            return "4"
        has_lists = has_lists or isinstance(inner.get("items"), list)
        keywords.update(inner)
    if not has_lists or "prefixItems" in keywords:
        return "2020-12"
    return "2019-09" if any(FIRST_DRAFT.get(keyword) == "2019-09" for keyword in keywords) else "7"


def _schemas(root: Any) -> Iterator[dict]:
    todo = [root]
    while todo:
        schema = todo.pop()
        if not isinstance(schema, dict):
            continue
        yield schema
        for keyword, value in schema.items():
            if keyword in ONE and isinstance(value, dict):
                todo.append(value)
            elif keyword in LISTS and isinstance(value, list):
                todo.extend(value)
            elif keyword in MAPS and isinstance(value, dict):
                todo.extend(value.values())


def why_undefined(keyword: str, draft: str) -> str | None:
    """Gives the reason why a draft does not define a keyword of another one; None if it does."""
    if not at_least(draft, FIRST_DRAFT.get(keyword, DRAFTS[0])):
        return f"draft {draft} does not define it. Say draft={FIRST_DRAFT[keyword]!r}, or leave it out."
    last, instead = _UNTIL.get(keyword, (DRAFTS[-1], ""))
    if not at_least(last, draft):
        return f"it is of draft {last}. Write {instead}, or say draft={last!r}."
    return None


def check_draft(draft: Any) -> None:
    """Raises InvalidInputError for what is no draft that we know."""
    if draft is not None and draft not in DRAFTS:
        raise InvalidInputError(
            f"`draft=` of json() is one of {', '.join(map(repr, DRAFTS))} or None, but was given {draft!r}."
        )
