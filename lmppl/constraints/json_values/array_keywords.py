"""JSON Schema's keywords about arrays."""

from __future__ import annotations

from dataclasses import replace

from lmppl.constraints.json_values.array_shapes import ArrayShape
from lmppl.constraints.json_values.conditions import ANYTHING, NOTHING, Wanted, negated
from lmppl.constraints.json_values.documents import Place, refusal
from lmppl.constraints.json_values.item_tallies import Tally
from lmppl.constraints.json_values.scalar_keywords import Keyword, SchemaReader, count, is_beside_others
from lmppl.constraints.json_values.shapes import Values, every_value


def arrays_if(shape: ArrayShape, outside: list[ArrayShape], positive: bool) -> Values:
    """Gives the values that are allowed where only these arrays are, or the other arrays."""
    found = [shape.normal()] if positive else [each.normal() for each in outside]
    arrays = tuple(each for each in found if each is not None)
    return replace(every_value(), arrays=arrays) if positive else Values(arrays=arrays)


def _min_items(reader: SchemaReader, place: Place, positive: bool) -> Values:
    low = count(place, "minItems")
    return arrays_if(ArrayShape(low=low), [ArrayShape(high=low - 1)] if low else [], positive)


def _max_items(reader: SchemaReader, place: Place, positive: bool) -> Values:
    high = count(place, "maxItems")
    return arrays_if(ArrayShape(high=high), [ArrayShape(low=high + 1)], positive)


def _unique_items(reader: SchemaReader, place: Place, positive: bool) -> Values:
    is_unique = place.schema["uniqueItems"]
    if not isinstance(is_unique, bool):
        raise refusal(place, "uniqueItems", f"{is_unique!r} is no boolean. Write true or false.")
    if not is_unique:
        return every_value() if positive else Values()
    return arrays_if(ArrayShape(is_unique=True), [ArrayShape(repeats=True)], positive)


def _contains(reader: SchemaReader, place: Place, positive: bool) -> Values:
    """Counts items that satisfy the schema, or leaves out of the count those that do not."""
    if "contains" not in place.schema:
        return every_value() if positive else Values()
    least = count(place, "minContains") if "minContains" in place.schema else 1
    most = count(place, "maxContains") if "maxContains" in place.schema else None
    inside = reader.document.inside(place, "contains")
    yes, no = reader.wanted(inside), reader.wanted(inside, False)
    tallies = [Tally(yes, True, least)] if least else []
    outside = [ArrayShape(tallies=(Tally(no, False, least - 1),))] if least else []
    if most is not None:
        tallies.append(Tally(no, False, most))
        outside.append(ArrayShape(tallies=(Tally(yes, True, most + 1),)))
    return arrays_if(ArrayShape(tallies=tuple(tallies)), outside, positive)


def _items(reader: SchemaReader, place: Place, positive: bool) -> Values:
    prefix, rest = _prefix_and_rest(reader, place)
    outside = [
        ArrayShape((*(ANYTHING,) * i, other), low=i + 1)
        for i, wanted in enumerate(prefix)
        for other in negated(wanted)
    ]
    if rest == NOTHING:
        outside.append(ArrayShape(low=len(prefix) + 1))
    else:
        outside += [ArrayShape(tallies=(Tally(other, True, 1, len(prefix)),)) for other in negated(rest)]
    return arrays_if(ArrayShape(prefix, rest), outside, positive)


def _prefix_and_rest(reader: SchemaReader, place: Place) -> tuple[tuple[Wanted, ...], Wanted]:
    schema = place.schema
    listed, after = "prefixItems", "items"
    if not reader.document.is_at_least("2020-12"):
        listed, after = "items", "additionalItems" if isinstance(schema.get("items"), list) else "items"
    prefix = schema.get(listed, []) if after != listed else []
    if not isinstance(prefix, list):
        raise refusal(place, listed, f"{prefix!r} is no list. Write a list of schemas.")
    if isinstance(schema.get("items"), list) and listed != "items":
        raise refusal(place, "items", "a list is of draft 2019-09. Write 'prefixItems', or say draft='7'.")
    wanted = tuple(reader.wanted(reader.document.inside(place, listed, i)) for i in range(len(prefix)))
    if after not in schema and "unevaluatedItems" in schema and not is_beside_others(schema):
        after = "unevaluatedItems"
    return wanted, inner_schema(reader, place, after)


def inner_schema(reader: SchemaReader, place: Place, keyword: str) -> Wanted:
    """Gives what the schema under a keyword wants; anything if there is none."""
    if keyword not in place.schema:
        return ANYTHING
    return reader.wanted(reader.document.inside(place, keyword))


ARRAYS: dict[str, Keyword] = {
    "minItems": _min_items,
    "maxItems": _max_items,
    "uniqueItems": _unique_items,
    "contains": _contains,
    "items": _items,
}
"""What each keyword, or the group that is named after it, means."""
