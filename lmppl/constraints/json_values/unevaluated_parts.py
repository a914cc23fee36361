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
from lmppl.constraints.json_values.shapes import Values, every_value

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

    def is_within(self, other: Evaluated) -> bool:
        """Says whether another one has looked at all of it."""
        return (
            (other.all_properties or (self.names <= other.names and self.patterns <= other.patterns))
            and self.all_properties <= other.all_properties
            and (other.all_items or self.num_items <= other.num_items)
            and self.all_items <= other.all_items
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
    bare_place = place._replace(schema=bare)
    certain = _certain(reader, bare_place, keyword)
    return reader.alternatives.union(
        reader.alternatives.meet([values, allowed(reader, place, evaluated.joined(certain))])
        for values, evaluated in _choices(reader, bare_place, keyword, certain)
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


def _certain(reader: SchemaReader, place: Place, keyword: str) -> Evaluated:
    """Gives what a schema that holds evaluates under every choice."""
    if not isinstance(place.schema, dict):
        return Evaluated()
    found = _own(place.schema)
    for inner in _always(reader, place):
        found = found.joined(_certain(reader, inner, keyword))
    return found


def _always(reader: SchemaReader, place: Place) -> Iterator[Place]:
    """Gives the schemas that hold whenever the one that they are in does."""
    for reference in ("$ref", "$dynamicRef", "$recursiveRef"):
        if reference in place.schema:
            yield reader.document.target(place, reference)
    for i in range(len(place.schema.get("allOf", ()))):
        yield reader.document.inside(place, "allOf", i)


def _choices(reader: SchemaReader, place: Place, keyword: str, certain: Evaluated) -> list[Choice]:
    """Gives the choices of alternatives in a schema that holds, that evaluate more than what is certain."""
    schema = place.schema
    if not isinstance(schema, dict):
        return [(every_value(), Evaluated())]
    if "contains" in schema and keyword == "unevaluatedItems" and reader.document.is_at_least("2020-12"):
        raise refusal(place, "contains", "which items it evaluates for 'unevaluatedItems' is not looked at.")
    found: list[Choice] = [(every_value(), _own(schema))]
    for options in _parts(reader, place, keyword, certain):
        found = [_both(reader, one, other) for one, other in product(found, options)]
        found = _widest([choice for choice in found if not choice[0].is_empty], certain)
        if len(found) > MAX_CHOICES:
            raise TooManyShapes
    return found


def _both(reader: SchemaReader, one: Choice, other: Choice) -> Choice:
    return reader.alternatives.meet([one[0], other[0]]), one[1].joined(other[1])


def _widest(choices: list[Choice], certain: Evaluated) -> list[Choice]:
    """Leaves out a choice where another one allows as much and evaluates as much."""
    found: list[Choice] = []
    for values, evaluated in choices:
        everything = evaluated.joined(certain)
        if not any(
            everything.is_within(other.joined(certain)) and (values == more or more == every_value())
            for more, other in found
        ):
            found.append((values, evaluated))
    return found


def _own(schema: dict) -> Evaluated:
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


def _parts(reader: SchemaReader, place: Place, keyword: str, certain: Evaluated) -> Iterator[list[Choice]]:
    """Gives, for each schema inside that is about the same value, the choices that it leaves."""
    schema, inside = place.schema, reader.document.inside

    def where_it_holds(*steps: str | int) -> list[Choice]:
        return _where_it_holds(reader, inside(place, *steps), keyword, certain)

    for always in _always(reader, place):
        yield _choices(reader, always, keyword, certain)
    for several in ("anyOf", "oneOf"):
        for i in range(len(schema.get(several, ()))):
            yield _useful(where_it_holds(several, i), certain)
    for name in schema.get("dependentSchemas", {}):
        present = (Values(objects=(any_object().requiring([name]),)), Evaluated())
        chosen = where_it_holds("dependentSchemas", name)
        yield _useful([_both(reader, choice, present) for choice in chosen], certain)
    if "if" in schema:
        yes = where_it_holds("if")
        if "then" in schema:
            yes = [_both(reader, one, other) for one, other in product(yes, where_it_holds("then"))]
        no: list[Choice] = []
        if "else" in schema:
            outside = (reader.values(reader.wanted(inside(place, "if"), False)), Evaluated())
            no = [_both(reader, choice, outside) for choice in where_it_holds("else")]
        yield _useful(yes + no, certain)


def _where_it_holds(reader: SchemaReader, place: Place, keyword: str, certain: Evaluated) -> list[Choice]:
    holds = (reader.values(reader.wanted(place)), Evaluated())
    return [_both(reader, choice, holds) for choice in _choices(reader, place, keyword, certain)]


def _useful(choices: list[Choice], certain: Evaluated) -> list[Choice]:
    """Gives nothing chosen, and the choices that evaluate more than what is certain."""
    return [(every_value(), Evaluated()), *(each for each in choices if not each[1].is_within(certain))]
