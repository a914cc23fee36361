"""`unevaluatedProperties` and `unevaluatedItems` beside schemas that may evaluate some of them.

What is evaluated depends on which alternatives a value satisfies. Any choice of alternatives that it does
satisfy may be taken for all of them: the fewer are chosen, the more is left to the keyword. So a value is
allowed if it satisfies the keyword under some choice, and no negation is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from lmppl.constraints.json_values import string_sets
from lmppl.constraints.json_values.array_keywords import arrays_if, inner_schema
from lmppl.constraints.json_values.array_shapes import ArrayShape
from lmppl.constraints.json_values.conditions import ANYTHING, TooManyShapes
from lmppl.constraints.json_values.documents import Place, refusal
from lmppl.constraints.json_values.ecma_patterns import containing
from lmppl.constraints.json_values.object_keywords import objects_if
from lmppl.constraints.json_values.object_shapes import ObjectShape, any_object
from lmppl.constraints.json_values.scalar_keywords import SchemaReader
from lmppl.constraints.json_values.shapes import Values, every_value, union_of

MAX_CHOICES = 64


class Evaluated(NamedTuple):
    """What schemas have looked at.

    Attributes:
        names: Of properties.
        patterns: Of names of properties.
        all_properties, all_items: Whether nothing is left.
        num_items: How many items, from the first one on.
    """

    names: frozenset[str] = frozenset()
    patterns: frozenset[str] = frozenset()
    all_properties: bool = False
    num_items: int = 0
    all_items: bool = False

    def joined(self, other: Evaluated) -> Evaluated:
        """Gives what at least one of two has looked at."""
        return Evaluated(
            self.names | other.names,
            self.patterns | other.patterns,
            self.all_properties or other.all_properties,
            max(self.num_items, other.num_items),
            self.all_items or other.all_items,
        )


Choice = tuple[Values, Evaluated]
"""Values that satisfy what was chosen, and what that evaluates."""


def unevaluated(keyword: str, reader: SchemaReader, place: Place, positive: bool) -> Values:
    """Gives what `unevaluatedProperties` or `unevaluatedItems` allows beside other schemas."""
    if place.schema[keyword] is True:
        return every_value() if positive else Values()
    if not positive:
        raise refusal(
            place,
            keyword,
            "its negation (in 'not', 'oneOf', 'if' or 'dependentSchemas') is not supported beside other "
            "schemas. List all there is in one schema, and use 'additionalProperties' or 'items'.",
        )
    bare = {name: value for name, value in place.schema.items() if name != keyword}
    allowed = _rest_of_properties if keyword == "unevaluatedProperties" else _rest_of_items
    return union_of(
        [
            values.intersection(allowed(reader, place, evaluated))
            for values, evaluated in _choices(reader, place._replace(schema=bare), keyword)
        ]
    )


def _rest_of_properties(reader: SchemaReader, place: Place, evaluated: Evaluated) -> Values:
    if evaluated.all_properties:
        return every_value()
    wanted = inner_schema(reader, place, "unevaluatedProperties")
    known = string_sets.NO_TEXT
    for pattern in sorted(evaluated.patterns):
        known = string_sets.either(known, string_sets.named(containing(pattern)))
    classes = [(string_sets.content(string_sets.complement(known)), wanted)]
    if known != string_sets.NO_TEXT:
        classes.append((string_sets.content(known), ANYTHING))
    named = tuple((name, ANYTHING) for name in sorted(evaluated.names))
    return objects_if(ObjectShape(named, tuple(pair for pair in classes if not pair[0].is_empty)), [], True)


def _rest_of_items(reader: SchemaReader, place: Place, evaluated: Evaluated) -> Values:
    if evaluated.all_items:
        return every_value()
    wanted = inner_schema(reader, place, "unevaluatedItems")
    return arrays_if(ArrayShape((ANYTHING,) * evaluated.num_items, wanted), [], True)


def _choices(reader: SchemaReader, place: Place, keyword: str) -> list[Choice]:
    """Gives the choices of alternatives in a schema that holds."""
    schema = place.schema
    if not isinstance(schema, dict):
        return [(every_value(), Evaluated())]
    if "contains" in schema and keyword == "unevaluatedItems" and reader.document.is_at_least("2020-12"):
        raise refusal(place, "contains", "which items it evaluates for 'unevaluatedItems' is not looked at.")
    found: list[Choice] = [(every_value(), _own(reader, schema))]
    for options in _parts(reader, place, keyword):
        found = [
            (values.intersection(more), evaluated.joined(also))
            for (values, evaluated), (more, also) in product(found, options)
        ]
        found = [choice for choice in dict.fromkeys(found) if not choice[0].is_empty]
        if len(found) > MAX_CHOICES:
            raise TooManyShapes
    return found


def _own(reader: SchemaReader, schema: dict) -> Evaluated:
    """Gives what the keywords of a schema itself evaluate."""
    items, prefix = schema.get("items"), schema.get("prefixItems", [])
    if isinstance(items, list):  # before draft 2020-12
        prefix, items = items, schema.get("additionalItems")
    return Evaluated(
        frozenset(schema.get("properties", {})),
        frozenset(schema.get("patternProperties", {})),
        "additionalProperties" in schema or "unevaluatedProperties" in schema,
        len(prefix),
        items is not None or "unevaluatedItems" in schema,
    )


def _parts(reader: SchemaReader, place: Place, keyword: str) -> Iterator[list[Choice]]:
    """Gives, for each schema inside that is about the same value, the choices that it leaves."""
    schema, inside = place.schema, reader.document.inside
    for reference in ("$ref", "$dynamicRef", "$recursiveRef"):
        if reference in schema:
            yield _choices(reader, reader.document.target(place, reference), keyword)
    for i in range(len(schema.get("allOf", ()))):
        yield _choices(reader, inside(place, "allOf", i), keyword)
    for several in ("anyOf", "oneOf"):
        for i in range(len(schema.get(several, ()))):
            yield _useful(_where_it_holds(reader, inside(place, several, i), keyword))
    for name in schema.get("dependentSchemas", {}):
        present = Values(objects=(any_object().requiring([name]),))
        chosen = _where_it_holds(reader, inside(place, "dependentSchemas", name), keyword)
        yield _useful([(values.intersection(present), evaluated) for values, evaluated in chosen])
    if "if" in schema:
        condition = inside(place, "if")
        yes = _where_it_holds(reader, condition, keyword)
        if "then" in schema:
            then = _where_it_holds(reader, inside(place, "then"), keyword)
            yes = [(a.intersection(b), x.joined(y)) for (a, x), (b, y) in product(yes, then)]
        no: list[Choice] = []
        if "else" in schema:
            outside = reader.values(reader.wanted(condition, False))
            chosen = _where_it_holds(reader, inside(place, "else"), keyword)
            no = [(values.intersection(outside), evaluated) for values, evaluated in chosen]
        yield _useful(yes + no)


def _where_it_holds(reader: SchemaReader, place: Place, keyword: str) -> list[Choice]:
    values = reader.values(reader.wanted(place))
    return [(more.intersection(values), evaluated) for more, evaluated in _choices(reader, place, keyword)]


def _useful(choices: list[Choice]) -> list[Choice]:
    """Gives nothing chosen, and the choices that evaluate something."""
    return [(every_value(), Evaluated()), *(choice for choice in choices if choice[1] != Evaluated())]
