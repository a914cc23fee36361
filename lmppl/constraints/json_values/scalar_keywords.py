"""JSON Schema's keywords about single values: types, constants, numbers, strings."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any, Protocol

from lmppl.constraints.json_values import number_sets, string_sets
from lmppl.constraints.json_values.alternatives_left import Alternatives
from lmppl.constraints.json_values.array_shapes import ArrayShape, any_array
from lmppl.constraints.json_values.conditions import ANYTHING, NOTHING, Wanted
from lmppl.constraints.json_values.documents import Document, Place, refusal
from lmppl.constraints.json_values.ecma_patterns import containing
from lmppl.constraints.json_values.object_shapes import ObjectShape, any_object
from lmppl.constraints.json_values.shapes import (
    WORDS,
    Values,
    every_value,
    some_numbers,
    union_of,
)
from lmppl.constraints.json_values.spelling import number_text
from lmppl.constraints.json_values.string_formats import FORMATS, NOT_REGULAR, format_text
from lmppl.constraints.json_values.string_sets import EVERY_TEXT, Texts
from lmppl.constraints.regular.automaton import MAX_STATES, ByteAutomaton
from lmppl.constraints.regular.character_automaton import TooLarge

MAX_OTHERS = 200
"""From how many numbers the others are told apart: each joins an automaton of decimals."""


class SchemaReader(Protocol):
    """What a keyword may ask about other schemas."""

    document: Document
    formats: bool
    whole_integers: bool
    alternatives: Alternatives

    def wanted(self, place: Place, positive: bool = True) -> Wanted:
        """Gives what the schema at a place, or its negation, wants of a value."""
        ...

    def values(self, wanted: Wanted) -> Values:
        """Gives the values that are wanted."""
        ...

    def referred(self, place: Place, keyword: str, positive: bool) -> Values:
        """Gives the values that a reference, or its negation, wants."""
        ...


Keyword = Callable[[SchemaReader, Place, bool], Values]
"""The values that a keyword of a schema allows, or, if not positive, those that it refuses."""


IN_PLACE = frozenset(
    [
        "$dynamicRef",
        "$recursiveRef",
        "$ref",
        "allOf",
        "anyOf",
        "contains",
        "dependentSchemas",
        "if",
        "not",
        "oneOf",
    ]
)
"""Keywords that look at the value itself, or, in the case of `contains`, at any of its items."""


def is_beside_others(schema: dict) -> bool:
    """Whether there are keywords in a schema whose schemas may evaluate parts of the same value."""
    return not IN_PLACE.isdisjoint(schema)


def count(place: Place, keyword: str) -> int:
    """Gives the value of a keyword that is a number of things."""
    value = place.schema[keyword]
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or value != value // 1:
        raise refusal(place, keyword, f"{value!r} is no count. Write an integer from 0 on.")
    return int(value)


def numbers_if(machine: ByteAutomaton, positive: bool) -> Values:
    """Gives the values that are allowed where only these numbers are, or those that are not."""
    if positive:
        return replace(every_value(), numbers=some_numbers(machine))
    return Values(numbers=some_numbers(number_sets.others(machine)))


def strings_if(texts: Texts, positive: bool) -> Values:
    """Gives the values that are allowed where only these strings are, or those that are not."""
    if positive:
        return replace(every_value(), strings=texts)
    return Values(strings=string_sets.complement(texts))


def _type(reader: SchemaReader, place: Place, positive: bool) -> Values:
    named = place.schema["type"]
    names = [named] if isinstance(named, str) else named
    kinds = {"null", "boolean", "integer", "number", "string", "array", "object"}
    if not isinstance(names, list) or not names or not kinds.issuperset(names):
        raise refusal(place, "type", f"{named!r} is no type. Write one of {', '.join(sorted(kinds))}.")
    found = set(names) if positive else kinds - set(names) - ({"integer"} if "number" in names else set())
    numbers = None
    if "number" in found and ("integer" in found or positive or "integer" not in names):
        numbers = number_text()
    elif "number" in found:
        numbers = number_sets.others(_integers(reader))
    elif "integer" in found and positive:
        numbers = number_sets.short(_integers(reader))
    words = ({"null"} & found) | ({"true", "false"} if "boolean" in found else set())
    return Values(
        frozenset(words),
        numbers,
        EVERY_TEXT if "string" in found else string_sets.NO_TEXT,
        (any_array(),) if "array" in found else (),
        (any_object(),) if "object" in found else (),
    )


def _integers(reader: SchemaReader) -> ByteAutomaton:
    """To draft 4, `1.0` is no integer, and pydantic takes none so written that has more than 18 digits."""
    if reader.whole_integers or not reader.document.is_at_least("6"):
        return number_sets.whole()
    return number_sets.integers()


def _const(reader: SchemaReader, place: Place, positive: bool) -> Values:
    return _constants(reader, place, "const", [place.schema["const"]], positive)


def _enum(reader: SchemaReader, place: Place, positive: bool) -> Values:
    options = place.schema["enum"]
    if not isinstance(options, list):
        raise refusal(place, "enum", f"{options!r} is no list. Write the values in a list.")
    return _constants(reader, place, "enum", options, positive)


def _constants(reader: SchemaReader, place: Place, keyword: str, options: list, positive: bool) -> Values:
    """Gives the values that equal one of some, or those that equal none."""
    texts = [option for option in options if isinstance(option, str)]
    numbers = [option for option in options if type(option) in (int, float, Decimal)]
    words = frozenset(_WORD_OF[str(o)] for o in options if o is None or isinstance(o, bool))
    inner = [
        _container(reader, Place(option, f"{_CONSTANT}{place.pointer}/{keyword}/{i}", place.base), positive)
        for i, option in enumerate(options)
        if isinstance(option, list | dict)
    ]
    strings: Texts = string_sets.NO_TEXT
    if max(map(len, texts), default=0) > MAX_STATES:
        raise TooLarge
    if texts:
        strings = string_sets.listed(texts)
    values = list(dict.fromkeys(decimal(place, keyword, number) for number in numbers))
    if positive:
        short = number_sets.exactly(values) if values else None
        return union_of([Values(words, short, strings), *inner])
    if len(values) > MAX_OTHERS:
        raise TooLarge
    machine: ByteAutomaton | None = None
    for value in values:
        equal = number_sets.compared(value, "=")
        machine = equal if machine is None else number_sets.either(machine, equal)
    rest = number_text() if machine is None else number_sets.others(machine)
    outside = Values(WORDS - words, rest, string_sets.complement(strings), (any_array(),), (any_object(),))
    return reader.alternatives.meet([outside, *inner])


_CONSTANT = "value:"  # begins the name of what is no place of the document
_WORD_OF = {"None": "null", "True": "true", "False": "false"}


def _container(reader: SchemaReader, place: Place, positive: bool) -> Values:
    """Gives the values equal to an array or object, or all others."""
    value = place.schema

    def inner(key: str | int, item: Any, equal: bool) -> Wanted:
        return reader.wanted(Place({"const": item}, f"{place.pointer}/{key}", place.base), equal)

    if isinstance(value, list):
        items = tuple(inner(i, item, True) for i, item in enumerate(value))
        same = ArrayShape(items, NOTHING, len(items), len(items))
        if positive:
            return Values(arrays=(same,))
        arrays = [ArrayShape(low=len(items) + 1)]
        if items:
            arrays.append(ArrayShape(high=len(items) - 1))
        for i, item in enumerate(value):
            other = inner(i, item, False)
            arrays.append(ArrayShape((*(ANYTHING,) * i, other), low=i + 1))
        return replace(every_value(), arrays=tuple(arrays))
    named = tuple(sorted((name, inner(name, item, True)) for name, item in value.items()))
    if positive:
        return Values(objects=(ObjectShape(named, required=frozenset(value)),))
    classes = any_object().classes
    objects = [ObjectShape(classes=classes, low=len(named) + 1)]
    for name, item in value.items():
        objects.append(ObjectShape(((name, NOTHING),), classes))
        objects.append(ObjectShape(((name, inner(name, item, False)),), classes, frozenset({name})))
    return replace(every_value(), objects=tuple(objects))


def decimal(place: Place, keyword: str, value: Any) -> Decimal:
    """Gives a number of a schema as the decimal that it is written as."""
    if not isinstance(value, bool) and isinstance(value, int | float | Decimal):
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
        if number.is_finite():
            return number
    raise refusal(place, keyword, f"{value!r} is no finite number. Write a number.")


def _bound(keyword: str, relations: str) -> Keyword:
    def bound(reader: SchemaReader, place: Place, positive: bool) -> Values:
        if not reader.document.is_at_least("6"):
            return _bound_of_draft_4(place, keyword, relations, positive)
        value = decimal(place, keyword, place.schema[keyword])
        return numbers_if(number_sets.compared(value, relations), positive)

    return bound


def _bound_of_draft_4(place: Place, keyword: str, relations: str, positive: bool) -> Values:
    """`exclusiveMinimum` is a boolean there, and says what `minimum` means."""
    everything = every_value() if positive else Values()
    if keyword.startswith("exclusive"):
        if not isinstance(place.schema[keyword], bool):
            raise refusal(place, keyword, "to draft 4 it is a boolean. Write one, or say draft='7'.")
        return everything
    excluded = place.schema.get("exclusive" + keyword[0].upper() + keyword[1:], False)
    value = decimal(place, keyword, place.schema[keyword])
    relations = relations.replace("=", "") if excluded is True else relations
    return numbers_if(number_sets.compared(value, relations), positive)


def _multiple_of(reader: SchemaReader, place: Place, positive: bool) -> Values:
    divisor = decimal(place, "multipleOf", place.schema["multipleOf"])
    if divisor <= 0:
        raise refusal(place, "multipleOf", f"{divisor} is not above 0. Write a positive number.")
    return numbers_if(number_sets.multiples(divisor), positive)


def _min_length(reader: SchemaReader, place: Place, positive: bool) -> Values:
    return strings_if(string_sets.longer_than(count(place, "minLength") - 1), positive)


def _max_length(reader: SchemaReader, place: Place, positive: bool) -> Values:
    return strings_if(string_sets.up_to(count(place, "maxLength")), positive)


def _pattern(reader: SchemaReader, place: Place, positive: bool) -> Values:
    pattern = place.schema["pattern"]
    if not isinstance(pattern, str):
        raise refusal(place, "pattern", f"{pattern!r} is no string. Write a regular expression.")
    if _ONE_TEXT.fullmatch(pattern):  # as schemas write constants: no automaton is needed
        return strings_if(string_sets.listed([pattern[1:-1]]), positive)
    return strings_if(string_sets.named(containing(pattern)), positive)


_ONE_TEXT = re.compile(r"\^[\w@/:,=#%&!~'\"<>; -]*\$", re.ASCII)


def _format(reader: SchemaReader, place: Place, positive: bool) -> Values:
    name = place.schema["format"]
    if not reader.formats:
        return every_value() if positive else Values()
    if name in NOT_REGULAR:
        raise refusal(
            place,
            "format",
            f"{name!r} cannot be enforced: {NOT_REGULAR[name]}. Write a 'pattern', or leave formats=False, "
            "with which a format is an annotation.",
        )
    if name not in FORMATS:  # no draft defines it
        return every_value() if positive else Values()
    return strings_if(format_text(name), positive)


SIMPLE: dict[str, Keyword] = {
    "type": _type,
    "const": _const,
    "enum": _enum,
    "minimum": _bound("minimum", "=>"),
    "exclusiveMinimum": _bound("exclusiveMinimum", ">"),
    "maximum": _bound("maximum", "<="),
    "exclusiveMaximum": _bound("exclusiveMaximum", "<"),
    "multipleOf": _multiple_of,
    "minLength": _min_length,
    "maxLength": _max_length,
    "pattern": _pattern,
    "format": _format,
}
"""What each keyword about a single value means."""
