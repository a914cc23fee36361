"""JSON Schema's keywords about objects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from lmppl.constraints.json_values import string_sets
from lmppl.constraints.json_values.array_keywords import inner_schema
from lmppl.constraints.json_values.conditions import ANYTHING, NOTHING, TooManyShapes, Wanted, joined, negated
from lmppl.constraints.json_values.documents import Place, refusal
from lmppl.constraints.json_values.ecma_patterns import containing
from lmppl.constraints.json_values.object_shapes import ObjectShape, Some, any_object, contains
from lmppl.constraints.json_values.refusals import refusing
from lmppl.constraints.json_values.scalar_keywords import Keyword, SchemaReader, count, is_beside_others
from lmppl.constraints.json_values.shapes import Values, every_value
from lmppl.constraints.regular import automaton_algebra
from lmppl.constraints.regular.alternatives import choices
from lmppl.constraints.regular.automaton import ByteAutomaton

MAX_CLASSES = 64
"""In how many ways names may match some patterns and not the others."""


def objects_if(shape: ObjectShape, outside: list[ObjectShape], positive: bool) -> Values:
    """Gives the values that are allowed where only these objects are, or the other objects."""
    found = [shape.normal()] if positive else [each.normal() for each in outside]
    objects = tuple(each for each in found if each is not None)
    return replace(every_value(), objects=objects) if positive else Values(objects=objects)


def _min_properties(reader: SchemaReader, place: Place, positive: bool) -> Values:
    low = count(place, "minProperties")
    outside = [replace(any_object(), high=low - 1)] if low else []
    return objects_if(replace(any_object(), low=low), outside, positive)


def _max_properties(reader: SchemaReader, place: Place, positive: bool) -> Values:
    high = count(place, "maxProperties")
    return objects_if(replace(any_object(), high=high), [replace(any_object(), low=high + 1)], positive)


def _required(reader: SchemaReader, place: Place, positive: bool) -> Values:
    names = _names(place, "required", place.schema["required"])
    return objects_if(any_object().requiring(names), [_without(name) for name in names], positive)


def _names(place: Place, keyword: str, names: Any) -> list[str]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise refusal(place, keyword, f"{names!r} is no list of names. Write a list of strings.")
    return names


def _without(name: str) -> ObjectShape:
    return ObjectShape(((name, NOTHING),), any_object().classes)


def _property_names(reader: SchemaReader, place: Place, positive: bool) -> Values:
    texts = reader.values(inner_schema(reader, place, "propertyNames")).strings
    shape = ObjectShape(classes=((string_sets.content(texts), ANYTHING),))
    if positive or texts == string_sets.EVERY_TEXT:
        return objects_if(shape, [], positive)
    others = string_sets.content(string_sets.complement(texts))
    return objects_if(shape, [_with_some(others, ANYTHING)], positive)


def _with_some(names: ByteAutomaton, wanted: Wanted) -> ObjectShape:
    return replace(any_object(), somes=(Some(names, wanted),))


def _properties(reader: SchemaReader, place: Place, positive: bool) -> Values:
    inside = reader.document.inside
    properties = _map(place, "properties")
    patterns = [
        (_names_with(place, pattern), reader.wanted(inside(place, "patternProperties", pattern)))
        for pattern in _map(place, "patternProperties")
    ]
    after = "additionalProperties"
    if (
        after not in place.schema
        and "unevaluatedProperties" in place.schema
        and not is_beside_others(place.schema)
    ):
        after = "unevaluatedProperties"
    additional = inner_schema(reader, place, after)
    named: dict[str, Wanted] = {}
    for name in properties:
        named[name] = reader.wanted(inside(place, "properties", name))
        for machine, wanted in patterns:
            if contains(machine, name):
                named[name] = joined(named[name], wanted)
    classes = tuple(_classes(patterns, additional))
    shape = ObjectShape(tuple(sorted(named.items())), classes)
    outside = [
        ObjectShape(((name, other),), any_object().classes, frozenset({name}))
        for name, wanted in shape.named
        for other in negated(wanted)
    ]
    if not positive:
        outside += [
            _with_some(_apart_from(names, list(named)), other)
            for names, wanted in classes
            for other in negated(wanted)
        ]
    return objects_if(shape, outside, positive)


def _names_with(place: Place, pattern: str) -> ByteAutomaton:
    with refusing(place, "patternProperties"):
        return containing(pattern)


def _apart_from(names: ByteAutomaton, known: list[str]) -> ByteAutomaton:
    """Gives a set of names without some."""
    return automaton_algebra.difference(names, _choices(known)) if known else names


def _choices(names: list[str]) -> ByteAutomaton:
    machine = choices(names).automaton()
    assert machine is not None
    return machine


def _map(place: Place, keyword: str) -> dict[str, Any]:
    schemas = place.schema.get(keyword, {})
    if not isinstance(schemas, dict):
        raise refusal(place, keyword, f"{schemas!r} is no object. Write names with their schemas.")
    return schemas


def _classes(
    patterns: list[tuple[ByteAutomaton, Wanted]], additional: Wanted
) -> Iterable[tuple[ByteAutomaton, Wanted]]:
    """Gives the names by the patterns that they match, and what is wanted under them.

    Raises:
        TooManyShapes: The names match in more than 64 ways.
    """
    found: list[tuple[string_sets.Texts, Wanted, bool]] = [(string_sets.EVERY_TEXT, ANYTHING, False)]
    for machine, wanted in patterns:
        names = string_sets.named(machine)
        others = string_sets.complement(names)
        outside = [(string_sets.both(texts, others), before, is_met) for texts, before, is_met in found]
        inside = [
            (string_sets.both(texts, names), joined(before, wanted), True) for texts, before, _ in found
        ]
        found = [each for each in (*outside, *inside) if each[0] != string_sets.NO_TEXT]
        if len(found) > MAX_CLASSES:
            raise TooManyShapes
    for texts, wanted, is_met in found:
        yield string_sets.content(texts), wanted if is_met else additional


def _dependent(keyword: str) -> Keyword:
    def dependent(reader: SchemaReader, place: Place, positive: bool) -> Values:
        found = []
        for name, then in _map(place, keyword).items():
            present = Values(objects=(any_object().requiring([name]),))
            if keyword == "dependentRequired" or (isinstance(then, list) and keyword != "dependentSchemas"):
                names = _names(place, keyword, then)
                values = objects_if(any_object().requiring(names), [_without(n) for n in names], positive)
            else:
                wanted = reader.wanted(reader.document.inside(place, keyword, name), positive)
                values = reader.values(wanted)
            found.append(reader.alternatives.meet([present, values]))
            if positive:
                found[-1] = reader.alternatives.union([found[-1], objects_if(_without(name), [], True)])
        return reader.alternatives.meet(found) if positive else reader.alternatives.union(found)

    return dependent


OBJECTS: dict[str, Keyword] = {
    "minProperties": _min_properties,
    "maxProperties": _max_properties,
    "required": _required,
    "propertyNames": _property_names,
    "properties": _properties,
    "dependentRequired": _dependent("dependentRequired"),
    "dependentSchemas": _dependent("dependentSchemas"),
    "dependencies": _dependent("dependencies"),
}
"""What each keyword, or the group that is named after it, means."""
