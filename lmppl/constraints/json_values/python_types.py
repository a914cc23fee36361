"""Python types as JSON Schemas: what pydantic says of them, and what it checks beyond that."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from lmppl.constraints.json_values.drafts import MAPS
from lmppl.constraints.json_values.string_formats import DATE
from lmppl.constraints.mistaken_values import hint
from lmppl.errors import InvalidTypeError, MissingExtraError

# Spellings of RFC 3339 and ISO 8601, and of these only what pydantic reads. Durations also as it
# writes them: with a sign, years of 365 days, and parts of a second.
_DATE = f"(?!0000){DATE}"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?"
_ZONE = "(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?"
_SECONDS = r"[0-9]{1,6}(?:\.[0-9]{1,6})?S"
_SPAN = f"T(?:[0-9]{{1,6}}H(?:[0-9]{{1,6}}M)?(?:{_SECONDS})?|[0-9]{{1,6}}M(?:{_SECONDS})?|{_SECONDS})"
_DAYS = f"(?:[0-9]{{1,6}}Y(?:[0-9]{{1,6}}D)?|[0-9]{{1,6}}D)(?:{_SPAN})?"
_HEX = "[0-9a-fA-F]"
_PATTERNS = {
    "date": f"^{_DATE}$",
    "date-time": f"^{_DATE}T{_CLOCK}{_ZONE}$",
    "duration": f"^-?P(?:{_DAYS}|{_SPAN})$",
    "time": f"^{_CLOCK}{_ZONE}$",
    "uuid": f"^{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}$",
}
_DECIMAL = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?$"
_INTEGER_NAME = r"^-?(?:0|[1-9][0-9]{0,18})$"

_OF_TYPES = ("__origin__", "__args__", "__value__", "__supertype__")
"""What a type has that is no class: a generic one, a union, an alias, a `NewType`."""

_NO_RULES = frozenset(("type", "ref", "metadata", "serialization"))
_KEPT = {
    "any": (),
    "bool": (),
    "dataclass": ("cls", "config", "fields", "frozen", "post_init", "schema", "slots", "generic_origin"),
    "dataclass-args": ("collect_init_only", "computed_fields", "dataclass_name", "extra_behavior", "fields"),
    "dataclass-field": ("init", "init_only", "kw_only", "name", "schema", "frozen", "validation_alias"),
    "date": (),
    "datetime": ("microseconds_precision",),
    "default": ("default", "default_factory", "schema", "copy_default"),
    "definition-ref": ("schema_ref",),
    "definitions": ("schema", "definitions"),
    "dict": ("keys_schema", "values_schema", "min_length", "max_length"),
    "enum": ("cls", "members", "sub_type"),
    "float": ("ge", "le"),  # with the others, what is a little less may be rounded to the bound
    "frozenset": ("items_schema", "max_length"),
    "int": ("ge", "gt", "le", "lt", "multiple_of"),
    "list": ("items_schema", "min_length", "max_length"),
    "literal": ("expected",),
    "model": ("cls", "config", "custom_init", "root_model", "schema", "generic_origin", "frozen"),
    "model-field": ("schema", "frozen", "validation_alias", "validation_exclude"),
    "model-fields": ("computed_fields", "extra_behavior", "fields", "model_name"),
    "none": (),
    "nullable": ("schema",),
    "set": ("items_schema", "max_length"),  # as decimals two items may differ, and be one as floats
    "str": ("min_length", "max_length", "pattern"),
    "tagged-union": ("choices", "discriminator", "from_attributes"),
    "time": ("microseconds_precision",),
    "timedelta": ("microseconds_precision",),
    "tuple": ("items_schema", "variadic_item_index", "min_length", "max_length"),
    "typed-dict": ("cls", "cls_name", "computed_fields", "config", "extra_behavior", "fields"),
    "typed-dict-field": ("required", "schema", "validation_alias"),
    "union": ("choices", "mode"),
    "uuid": (),
}
"""Kinds of pydantic's core schemas, each with the rules that its JSON Schema tells to the full."""

_ANNOTATIONS = frozenset(("title", "description", "default", "examples", "deprecated", "discriminator"))
_WITH_PARTS = ("schema", "fields", "items_schema", "keys_schema", "values_schema", "choices", "definitions")
_IDLE = (("strict", False), ("default_factory_takes_data", False))
_KEPT_CONFIG = frozenset(("title", "extra_fields_behavior", "frozen"))


def schema_of(type_: Any) -> Any:
    """Gives the JSON Schema of a type that pydantic knows.

    Dates, times, durations, UUIDs and names that are integers are given patterns: `format` would say more
    than pydantic does, that a time has an offset, or nothing.

    Raises:
        InvalidTypeError: It is no type, cannot be hashed, or pydantic makes no JSON Schema of it.
        MissingExtraError: pydantic is not installed.
    """
    if not (isinstance(type_, type) or any(hasattr(type_, each) for each in _OF_TYPES)):
        raise InvalidTypeError(
            f"json() takes a JSON Schema (dict, bool or text), a pydantic model or dataclass, not {type_!r}."
            f"{hint(type_)}"
        )
    try:
        hash(type_)
    except TypeError as error:
        raise InvalidTypeError(
            f"json() remembers types, but {type_!r} cannot be hashed: {error}. Put it into a model's field."
        ) from error
    try:
        from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
    except ImportError as error:
        raise MissingExtraError("json() of a type needs pydantic: pip install 'lmppl[json]'") from error
    from pydantic_core import SchemaError  # comes with it

    try:
        return _adapter(type_).json_schema(schema_generator=_generator())
    except (PydanticUserError, PydanticUndefinedAnnotation, NameError) as error:
        raise InvalidTypeError(f"pydantic makes no JSON Schema of {type_!r}: {error}") from error
    except SchemaError as error:
        raise InvalidTypeError(
            f"pydantic cannot read {type_!r}: {error}. Its patterns have no look-around: ask for that by "
            "lp.json_check, or give json() a JSON Schema."
        ) from error


def value_of(type_: Any, data: bytes) -> Any:
    """Gives an instance of a type, from JSON. Raises ValueError if the type refuses it."""
    return _adapter(type_).validate_json(data)


def schema_says_all(type_: Any) -> bool:
    """Says whether pydantic is known to take each text that the type's JSON Schema allows.

    It does not where Python functions have a say (`field_validator`, `__post_init__`), where a setting
    changes what is read (`strict`), for kinds that JSON Schema has no words for, as a path that must exist,
    and where the JSON Schema has been changed (`WithJsonSchema`, `json_schema_extra`). That it reads no
    integers of more than 4,300 digits is left aside.
    """
    core = _adapter(type_).core_schema
    return all(map(_is_told, _parts(core))) and _rules(schema_of(type_)) == _rules(_unchanged(core))


@dataclasses.dataclass(frozen=True)
class Validates:
    """Whether a type takes a text, as a function for `check`."""

    type_: Any

    def __call__(self, text: str) -> bool:
        """Gives False where the type refuses the text."""
        try:
            value_of(self.type_, text.encode())
        except ValueError:
            return False
        return True


@lru_cache(64)
def _adapter(type_: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(type_)


@lru_cache(1)
def _generator() -> Any:
    """Gives the class that writes the schemas; pydantic is no dependency."""
    from pydantic.json_schema import GenerateJsonSchema

    class Patterned(GenerateJsonSchema):
        def date_schema(self, schema: Any) -> Any:
            return _patterned(super().date_schema(schema))

        def datetime_schema(self, schema: Any) -> Any:
            return _patterned(super().datetime_schema(schema))

        def time_schema(self, schema: Any) -> Any:
            return _patterned(super().time_schema(schema))

        def timedelta_schema(self, schema: Any) -> Any:
            return _patterned(super().timedelta_schema(schema))

        def uuid_schema(self, schema: Any) -> Any:
            return _patterned(super().uuid_schema(schema))

        def decimal_schema(self, schema: Any) -> Any:
            made = super().decimal_schema(schema)
            for each in made.get("anyOf", ()):
                if each.get("type") == "string":
                    each["pattern"] = _DECIMAL
            return made

        def dict_schema(self, schema: Any) -> Any:
            made = super().dict_schema(schema)
            if schema.get("keys_schema", {}).get("type") == "int":
                made["propertyNames"] = {"pattern": _INTEGER_NAME}
            return made

    return Patterned


def _patterned(made: dict[str, Any]) -> dict[str, Any]:
    pattern = _PATTERNS.get(made.get("format", ""))
    return made if pattern is None else {**made, "pattern": pattern}


def _unchanged(core: Any) -> Any:
    """Gives the JSON Schema of a core schema without what `WithJsonSchema` and the like make of it."""
    return _generator()().generate(_without("metadata", core))


def _without(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(name, each) for key, each in value.items() if key != name}
    return type(value)(_without(name, each) for each in value) if type(value) in (list, tuple) else value


def _rules(schema: Any) -> Any:
    """Gives a JSON Schema without what is said to readers only."""
    if isinstance(schema, list):
        return [_rules(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: {key: _rules(each) for key, each in value.items()} if name in MAPS else _rules(value)
        for name, value in schema.items()
        if name not in _ANNOTATIONS
    }


def _parts(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Gives a core schema and all core schemas in it, but those of which nothing is known."""
    yield schema
    if schema["type"] not in _KEPT:
        return
    for name in _KEPT[schema["type"]]:
        if name in _WITH_PARTS:
            for each in _within(schema.get(name)):
                yield from _parts(each)


def _within(value: Any) -> Iterator[Mapping[str, Any]]:
    """Gives the core schemas that one, a list or a dict of them holds; a choice may be labelled."""
    if isinstance(value, Mapping):
        yield from (value,) if isinstance(value.get("type"), str) else value.values()
    elif isinstance(value, list):
        for each in value:
            if not isinstance(each, str):  # the names of a dataclass's fields
                yield each[0] if isinstance(each, tuple) else each


def _is_told(schema: Mapping[str, Any]) -> bool:
    kind = schema["type"]
    rules = {rule for rule in schema if rule not in _NO_RULES and (rule, schema[rule]) not in _IDLE}
    if kind not in _KEPT or not rules.issubset(_KEPT[kind]):
        return False
    if not _KEPT_CONFIG.issuperset(schema.get("config") or ()):
        return False
    if not _ANNOTATIONS.issuperset(_extra(schema.get("cls"))):
        return False
    if schema.get("post_init") or schema.get("custom_init") or not schema.get("init", True):
        return False
    if not isinstance(schema.get("validation_alias", ""), str):
        return False
    if kind == "str":
        return _is_narrow(schema.get("pattern", ""))
    if kind == "dict":
        return schema.get("keys_schema", {"type": "any"})["type"] in ("any", "str")
    if kind == "tagged-union":
        choices = schema["choices"].values()
        return isinstance(schema["discriminator"], str) and all(
            _requires(each, schema["discriminator"]) for each in choices
        )
    if kind == "enum":
        return _is_of_json(each.value for each in schema["members"])
    return kind != "literal" or _is_of_json(schema["expected"])


def _requires(schema: Mapping[str, Any], name: str) -> bool:
    """Says whether a model surely has no default for a field: a tag must be in the text in any case."""
    fields = schema.get("schema", {}).get("fields", {}) if schema["type"] == "model" else {}
    return name in fields and fields[name]["schema"]["type"] != "default"


def _extra(cls: Any) -> Iterable[str]:
    """Gives the keywords that the configuration of a class adds to its JSON Schema."""
    config = getattr(cls, "model_config", None) or getattr(cls, "__pydantic_config__", None) or {}
    extra = config.get("json_schema_extra") or ()
    return ("a function",) if callable(extra) else extra


def _is_of_json(values: Any) -> bool:
    return all(type(each) in (str, int, bool, type(None)) for each in values)


def _is_narrow(pattern: Any) -> bool:
    r"""Says whether a pattern surely means no more here than to pydantic, whose `\d` is Unicode's."""
    if not isinstance(pattern, str):
        return False
    if re.search(r"\\[^dw\\.\-+*?()\[\]{}|^$/]", pattern):
        return False
    if re.search(r"\[[^\]]*(\[|&&|--|~~)", pattern):  # sets of sets, to pydantic
        return False
    return not ("[^" in pattern and re.search(r"\\[dw]", pattern))
