"""The places of JSON Schema documents: pointers, `$id`, anchors, and what `$ref` leads to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote, urldefrag, urljoin

from lmppl.constraints.json_values.drafts import LISTS, MAPS, ONE, at_least, draft_of, named_draft
from lmppl.constraints.json_values.other_documents import OtherDocuments
from lmppl.errors import UnsupportedSchema

_DYNAMIC = ("$dynamicRef", "$recursiveRef")
_RECURSIVE = "#"  # what draft 2019-09 calls the only dynamic anchor of a resource


class Place(NamedTuple):
    """A schema where it stands.

    Attributes:
        pointer: A JSON pointer from the root of the document, behind the URI of another document and `#`.
        base: The URI that references in it are relative to.
        scope: The bases on the way from the root to here, through references too, each where it was first
            met; empty where no dynamic reference asks for it.
    """

    schema: Any
    pointer: str
    base: str
    scope: tuple[str, ...] = ()


def refusal(place: Place, keyword: str, reason: str) -> UnsupportedSchema:
    """Makes the error that names a keyword's place."""
    return UnsupportedSchema(f"The schema at {place.pointer or '/'!r}, keyword {keyword!r}: {reason}")


class Document:
    """A schema document, and those that it refers to, with all their places that have names.

    Args:
        schema: The root.
        draft: One of `DRAFTS`, for all of it; None to go by what it says.
        others: What else may be referred to.
    """

    def __init__(self, schema: Any, draft: str | None, others: OtherDocuments):
        self.draft = draft or draft_of(schema)
        self._identifier = "$id" if self.is_at_least("6") else "id"
        self._refs_stand_alone = not self.is_at_least("2019-09")
        self._is_told = draft is not None
        self._has_scopes = _mentions(schema, _DYNAMIC)
        self.root = self._based(Place(schema, "", ""))
        self._resources: dict[str, Place] = {"": self.root} if self.root.base == "" else {}
        self._anchors: dict[tuple[str, str], Place] = {}
        self._dynamic: dict[tuple[str, str], Place] = {}
        self._others = others
        self._roots = {""}  # their pointers
        self._mixed: set[str] = set()
        self._twice: set[str] = set()
        todo = [self.root]
        while todo:
            place = todo.pop()
            self._register(place)
            todo.extend(self._inner(place))
            todo.extend(self._referred(place))
        self.root = self._based(Place(schema, "", ""))  # again, as other documents may need scopes

    def is_at_least(self, draft: str) -> bool:
        """Says whether the document is written in a draft or a later one."""
        return at_least(self.draft, draft)

    def stands_alone(self, schema: Any) -> bool:
        """Whether a schema is a reference beside which all else is ignored, as before draft 2019-09."""
        return self._refs_stand_alone and "$ref" in schema

    def inside(self, place: Place, *steps: str | int) -> Place:
        """Gives the schema that is some steps inside another one."""
        schema, pointer = place.schema, place.pointer
        for step in steps:
            schema = schema[step]
            pointer += "/" + str(step).replace("~", "~0").replace("/", "~1")
        return self._based(Place(schema, pointer, place.base, place.scope))

    def target(self, place: Place, keyword: str = "$ref") -> Place:
        """Gives what the reference of a place leads to.

        Args:
            place: Where the reference stands.
            keyword: `$ref`, or `$dynamicRef` or `$recursiveRef`: those lead to the outermost schema on the
                way here that has the same dynamic anchor, if what they name has one.

        Raises:
            UnsupportedSchema: It leads out of the document or nowhere.
        """
        reference = place.schema[keyword]
        if not isinstance(reference, str):
            raise refusal(
                place, keyword, f"{reference!r} is no string. Write a reference such as '#/$defs/name'."
            )
        found = self._named(place, keyword, reference)
        if keyword != "$ref":
            name = _RECURSIVE if keyword == "$recursiveRef" else unquote(urldefrag(reference)[1])
            anchor = self._dynamic.get((found.base, name))
            if anchor is not None and anchor.pointer == found.pointer:
                outermost = (self._dynamic.get((base, name)) for base in place.scope)
                found = next(each for each in (*outermost, found) if each is not None)
        return self._entered(found._replace(scope=place.scope))

    def _named(self, place: Place, keyword: str, reference: str) -> Place:
        uri, fragment = urldefrag(reference)
        uri = urldefrag(urljoin(place.base, uri))[0] if uri else place.base
        resource = self._resources.get(uri)
        fragment = unquote(fragment)
        if resource is None:
            reason = f"the document {uri!r}, which {reference!r} refers to, was not given, and nothing is "
            reason += f"fetched. {self._others.why_missing(uri)}"
            if uri in self._mixed:
                reason = f"{uri!r} is in another draft than the schema. Say in which to read both: draft=."
            raise refusal(place, keyword, reason)
        if uri in self._twice:
            raise refusal(
                place, keyword, f"two schemas have the {self._identifier} {uri!r}. Give each its own."
            )
        if fragment and not fragment.startswith("/"):
            if (uri, fragment) not in self._anchors:
                raise refusal(place, keyword, f"there is no anchor {fragment!r}. Correct the reference.")
            if f"{uri}#{fragment}" in self._twice:
                raise refusal(place, keyword, f"two schemas have the anchor {fragment!r}. Give each its own.")
            return self._anchors[uri, fragment]
        try:
            return self._followed(resource, fragment)
        except (KeyError, IndexError, ValueError, TypeError):
            raise refusal(place, keyword, f"{reference!r} leads nowhere. Correct the reference.") from None

    def _followed(self, place: Place, fragment: str) -> Place:
        for part in fragment.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            place = self.inside(place, int(name) if isinstance(place.schema, list) else name)
        if not isinstance(place.schema, dict | bool):
            raise TypeError
        return place

    def _based(self, place: Place) -> Place:
        """Gives the place with the base that its own `$id` makes."""
        schema = place.schema
        if not isinstance(schema, dict) or not isinstance(schema.get(self._identifier), str):
            return place
        if self.stands_alone(schema):
            return place
        uri = urldefrag(schema[self._identifier])[0]
        return self._entered(place._replace(base=urljoin(place.base, uri)) if uri else place)

    def _referred(self, place: Place) -> Iterator[Place]:
        """Gives the root of another document that the reference of a place is the first to lead to."""
        for keyword in ("$ref", "$dynamicRef"):
            reference = place.schema.get(keyword) if isinstance(place.schema, dict) else None
            if not isinstance(reference, str):
                continue
            uri = urldefrag(urljoin(place.base, reference))[0]
            schema = None if uri in self._resources or not uri else self._others.get(uri)
            if schema is None:
                continue
            named = schema.get("$schema") if isinstance(schema, dict) else None
            if named is not None and not self._is_told and named_draft(named) != self.draft:
                self._mixed.add(uri)
                continue
            self._has_scopes = self._has_scopes or _mentions(schema, _DYNAMIC)
            self._roots.add(f"{uri}#")
            root = self._resources[uri] = self._based(Place(schema, f"{uri}#", uri))
            yield root

    def _entered(self, place: Place) -> Place:
        """Gives the place with its own base in its scope."""
        if not self._has_scopes or place.base in place.scope:
            return place
        return place._replace(scope=(*place.scope, place.base))

    def _register(self, place: Place) -> None:
        schema = place.schema
        if not isinstance(schema, dict) or self.stands_alone(schema):
            return
        identifier = schema.get(self._identifier)
        if isinstance(identifier, str):
            uri, fragment = urldefrag(identifier)
            is_resource = uri or place.pointer in self._roots
            if is_resource and self._resources.setdefault(place.base, place).pointer != place.pointer:
                self._twice.add(place.base)
            if fragment and not fragment.startswith("/"):  # generators write pointers, which name nothing
                self._anchor(place, fragment)
        if self.is_at_least("2019-09"):
            for keyword in ("$anchor", "$dynamicAnchor"):
                if isinstance(schema.get(keyword), str):
                    self._anchor(place, schema[keyword])
            if isinstance(schema.get("$dynamicAnchor"), str):
                self._dynamic[place.base, schema["$dynamicAnchor"]] = place
            if schema.get("$recursiveAnchor") is True:
                self._dynamic[place.base, _RECURSIVE] = place
        if "$schema" in schema and not self._is_told and named_draft(schema["$schema"]) != self.draft:
            raise refusal(place, "$schema", "the document mixes drafts. Write all of it in one draft.")

    def _anchor(self, place: Place, name: str) -> None:
        known = self._anchors.setdefault((place.base, name), place)
        if known.pointer != place.pointer:
            self._twice.add(f"{place.base}#{name}")

    def _inner(self, place: Place) -> Iterator[Place]:
        if not isinstance(place.schema, dict):
            return
        for keyword, value in place.schema.items():
            if keyword in ONE and isinstance(value, dict):
                yield self.inside(place, keyword)
            elif keyword in LISTS and isinstance(value, list):
                yield from (self.inside(place, keyword, i) for i in range(len(value)))
            elif keyword in MAPS and isinstance(value, dict):
                yield from (self.inside(place, keyword, name) for name in value)


def _mentions(value: Any, keywords: tuple[str, ...]) -> bool:
    """Says whether an object somewhere in a JSON value has one of some names."""
    todo = [value]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            if any(keyword in value for keyword in keywords):
                return True
            todo.extend(value.values())
        elif isinstance(value, list):
            todo.extend(value)
    return False
