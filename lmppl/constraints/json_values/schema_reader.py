"""From the places of a JSON Schema document to sets of values: references and how schemas combine."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import combinations

from lmppl.constraints.json_values.alternatives_left import Alternatives
from lmppl.constraints.json_values.array_keywords import ARRAYS
from lmppl.constraints.json_values.conditions import ANYTHING, NOTHING, Literal, Wanted
from lmppl.constraints.json_values.documents import Document, Place, refusal
from lmppl.constraints.json_values.drafts import FIRST_DRAFT, why_undefined
from lmppl.constraints.json_values.object_keywords import OBJECTS
from lmppl.constraints.json_values.refusals import refusing
from lmppl.constraints.json_values.scalar_keywords import SIMPLE, Keyword, SchemaReader, is_beside_others
from lmppl.constraints.json_values.shapes import Values, every_value
from lmppl.constraints.json_values.unevaluated_parts import unevaluated

MAX_SCHEMAS = 20_000

_CIRCLE = (
    "to know what it allows one must know what it allows. Let it refer to itself only below 'properties' or "
    "'items'."
)

_GROUPS = {
    **dict.fromkeys(("items", "prefixItems", "additionalItems", "unevaluatedItems"), "items"),
    "patternProperties": "properties",
    "additionalProperties": "properties",
    "unevaluatedProperties": "properties",
    "then": "if",
    "else": "if",
    "minContains": "contains",
    "maxContains": "contains",
}


class Reader(SchemaReader):
    """The schemas of a document by number, and the values of each, read when first asked for.

    Args:
        document: The schemas.
        formats: Whether `format` is enforced.
        whole_integers: Whether integers are written without a point.
    """

    def __init__(self, document: Document, formats: bool, whole_integers: bool = False):
        self.document = document
        self.formats = formats
        self.whole_integers = whole_integers
        self._numbers: dict[str, int] = {}
        self._places: list[Place] = []
        self.alternatives = Alternatives(self.values, self._under_way_with)
        self._known: dict[Literal, Values] = {}
        self._known_roughly: dict[Literal, Values] = {}
        self._under_way: set[Literal] = set()

    def wanted(self, place: Place, positive: bool = True) -> Wanted:
        """Gives what the schema at a place, or its negation, wants of a value."""
        schema = place.schema
        if not isinstance(schema, dict | bool):
            raise refusal(
                place, place.pointer.rpartition("/")[2], f"{schema!r} is no schema. Write an object."
            )
        if schema is True or (schema is not False and not set(schema) & _MEANINGFUL):
            return ANYTHING if positive else NOTHING
        if schema is False:
            return NOTHING if positive else ANYTHING
        number = self._numbers.setdefault(_identity(place), len(self._places))
        if number == len(self._places):
            if number >= MAX_SCHEMAS:
                raise refusal(place, "$ref", f"more than {MAX_SCHEMAS:,} schemas. Use a smaller document.")
            self._places.append(place)
        return frozenset({Literal(number, positive)})

    def values(self, wanted: Wanted) -> Values:
        """Gives the values that are wanted."""
        if wanted == NOTHING:
            return Values()
        literals = sorted(wanted)
        if len(literals) == 1:
            return self._literal(literals[0])
        with refusing(self._places[literals[0].schema] if literals else self.document.root, "allOf"):
            return self.alternatives.meet([self._literal(each) for each in literals])

    def _literal(self, literal: Literal) -> Values:
        if literal in self._known:
            return self._known[literal]
        known = self._found
        if literal not in known:
            place = self._places[literal.schema]
            if literal in self._under_way:
                raise refusal(place, "$ref", _CIRCLE)
            self._under_way.add(literal)
            try:
                known[literal] = self._read(place, literal.positive)
            finally:
                self._under_way.discard(literal)
        return known[literal]

    def referred(self, place: Place, keyword: str, positive: bool) -> Values:
        """Gives the values that a reference, or its negation, wants."""
        wanted = self.wanted(self.document.target(place, keyword), positive)
        if any(each in self._under_way and each not in self._found for each in wanted):
            raise refusal(place, keyword, _CIRCLE)
        return self.values(wanted)

    @property
    def _found(self) -> dict[Literal, Values]:
        return self._known_roughly if self.alternatives.looks_no_further else self._known

    def _under_way_with(self, wanted: Wanted) -> bool:
        return not self._under_way.isdisjoint(wanted)

    def _read(self, place: Place, positive: bool) -> Values:
        found = []
        for keywords, meaning in self._meanings(place):
            with refusing(place, keywords):
                found.append(meaning(self, place, positive))
        with refusing(place, " with ".join(sorted(set(place.schema) & _MEANINGFUL))):
            return self.alternatives.meet(found) if positive else self.alternatives.union(found)

    def _meanings(self, place: Place) -> Iterator[tuple[str, Keyword]]:
        """Gives what the keywords of a schema mean; those that only mean something together are one."""
        schema = place.schema
        if self.document.stands_alone(schema):
            yield "$ref", _KEYWORDS["$ref"]
            return
        groups: dict[str, list[str]] = {}
        for keyword in schema:
            self._check(place, keyword)
            group = str(_GROUPS.get(keyword, keyword))
            if keyword.startswith("unevaluated") and is_beside_others(schema):
                group = keyword
            groups.setdefault(group, []).append(keyword)
        for group, keywords in groups.items():
            if group in _KEYWORDS:
                yield " with ".join(keywords), _KEYWORDS[group]

    def _check(self, place: Place, keyword: str) -> None:
        """Raises where a keyword cannot be enforced in its schema."""
        schema = place.schema
        undefined = why_undefined(keyword, self.document.draft)
        if undefined:
            raise refusal(place, keyword, undefined)
        if keyword == "nullable" and schema[keyword]:
            raise refusal(place, keyword, "it is OpenAPI, not JSON Schema. Add 'null' to the 'type'.")


def _identity(place: Place) -> str:
    """Gives the pointer, or what the schema says where nothing is inside: equal ones have one number."""
    if any(isinstance(value, dict | list) for value in place.schema.values()):
        return f"{place.scope} {place.pointer}"
    return f"{place.scope} {place.base} {sorted(place.schema.items())!r}"


def _reference(keyword: str) -> Keyword:
    def reference(reader: SchemaReader, place: Place, positive: bool) -> Values:
        return reader.referred(place, keyword, positive)

    return reference


def _several(reader: SchemaReader, place: Place, keyword: str, positive: bool) -> list[Values]:
    schemas = place.schema[keyword]
    if not isinstance(schemas, list) or not schemas:
        raise refusal(place, keyword, f"{schemas!r} is no list of schemas. Write one or more.")
    inside = reader.document.inside
    return [reader.values(reader.wanted(inside(place, keyword, i), positive)) for i in range(len(schemas))]


def _all_of(reader: SchemaReader, place: Place, positive: bool) -> Values:
    found = _several(reader, place, "allOf", positive)
    return reader.alternatives.meet(found) if positive else reader.alternatives.union(found)


def _any_of(reader: SchemaReader, place: Place, positive: bool) -> Values:
    found = _several(reader, place, "anyOf", positive)
    return reader.alternatives.union(found) if positive else reader.alternatives.meet(found)


def _one_of(reader: SchemaReader, place: Place, positive: bool) -> Values:
    """Negations are only asked for where two alternatives may have a value in common."""
    options = _several(reader, place, "oneOf", True)
    if positive:  # what the schema rules out anyway need not be told apart
        around = [
            _KEYWORDS[each](reader, place, True) for each in ("type", "required") if each in place.schema
        ]
        options = [reader.alternatives.meet([option, *around]) for option in options]
    common = {
        (i, j): both
        for i, j in combinations(range(len(options)), 2)
        if not reader.alternatives.certainly_empty(both := reader.alternatives.meet([options[i], options[j]]))
    }
    overlapping = {i for pair in common for i in pair}
    outside = {
        i: reader.values(reader.wanted(reader.document.inside(place, "oneOf", i), False))
        for i in range(len(options))
        if i in overlapping or not positive
    }
    if not positive:
        return reader.alternatives.union([reader.alternatives.meet(outside.values()), *common.values()])
    alone = [
        reader.alternatives.meet(
            [option, *(outside[j] for j in overlapping if (min(i, j), max(i, j)) in common)]
        )
        for i, option in enumerate(options)
    ]
    return reader.alternatives.union(alone)


def _not(reader: SchemaReader, place: Place, positive: bool) -> Values:
    return reader.values(reader.wanted(reader.document.inside(place, "not"), not positive))


def _if(reader: SchemaReader, place: Place, positive: bool) -> Values:
    everything = every_value() if positive else Values()
    branches = [
        (keyword == "then", reader.document.inside(place, keyword))
        for keyword in ("then", "else")
        if keyword in place.schema
    ]
    if "if" not in place.schema or not branches:
        return everything
    condition = reader.document.inside(place, "if")
    found = []
    for holds in (True, False):
        inner = [reader.values(reader.wanted(branch, positive)) for when, branch in branches if when == holds]
        inner = inner or [everything]
        found.append(reader.alternatives.meet([reader.values(reader.wanted(condition, holds)), inner[0]]))
    return reader.alternatives.union(found)


_KEYWORDS: dict[str, Keyword] = {
    **SIMPLE,
    **ARRAYS,
    **OBJECTS,
    "$ref": _reference("$ref"),
    "$dynamicRef": _reference("$dynamicRef"),
    "$recursiveRef": _reference("$recursiveRef"),
    "allOf": _all_of,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "not": _not,
    "if": _if,
    "unevaluatedItems": partial(unevaluated, "unevaluatedItems"),
    "unevaluatedProperties": partial(unevaluated, "unevaluatedProperties"),
}
_MEANINGFUL = frozenset({*_KEYWORDS, *_GROUPS, *FIRST_DRAFT, "nullable"}) - {
    "$anchor",
    "$dynamicAnchor",
    "$recursiveAnchor",
    "minContains",
    "maxContains",
}
