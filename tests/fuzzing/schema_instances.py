"""Random values that mostly satisfy a JSON Schema, and small changes that mostly break them.

A value is made from what the schema says of types, properties and items; what that misses, such as a
negation or a count, may leave it invalid: whoever asks has a validator tell. `repaired` takes out what it
complains of.
"""

from __future__ import annotations

import copy
import random
from typing import Any

from jsonschema.protocols import Validator

from lmppl.constraints.json_values.ecma_patterns import containing
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.transition_tables import DEAD

MAX_DEPTH = 7
MAX_REPAIRS = 25
_WORDS = ("a", "main", "x-y", "1.2", "", "b c", "2024-01-02", "/p", "\u00e9", "$ref")
_LEAVES: tuple[Any, ...] = (None, True, False, 0, 1, -3, 2.5, "", "a", [], {}, [1], {"a": 1})
_OBJECT = (
    "properties",
    "required",
    "additionalProperties",
    "patternProperties",
    "minProperties",
    "propertyNames",
)
_ARRAY = ("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains")


class Instances:
    """Draws values of a schema.

    Args:
        schema: A whole document; a reference to another one is taken for anything.
        seed: Of the draws.
    """

    def __init__(self, schema: Any, seed: int):
        self.random = random.Random(seed)
        self._root = schema
        self._named: dict[str, Any] = {}
        _index(schema, self._named)

    def value(self, schema: Any = None, depth: int = 0) -> Any:
        """Gives a value that the schema, by default the whole one, may take."""
        schema = self._flat(self._root if schema is None else schema, 8)
        draw = self.random
        if "const" in schema:
            return copy.deepcopy(schema["const"])
        if schema.get("enum"):
            return copy.deepcopy(draw.choice(schema["enum"]))
        kind = schema.get("type") or self._kinds(schema)
        kind = draw.choice(kind) if isinstance(kind, list) else kind
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind == "string":
            return self._text(schema)
        if kind in ("integer", "number"):
            return self._number(schema, kind)
        if kind == "boolean":
            return draw.random() < 0.5
        return None if kind == "null" else copy.deepcopy(draw.choice(_LEAVES))

    def changed(self, value: Any) -> Any:
        """Gives a copy with one place changed."""
        whole = [copy.deepcopy(value)]
        places = list(_places(whole))
        holder, key = self.random.choice(places)
        holder[key] = self._other(holder[key], places)
        return whole[0]

    def _other(self, value: Any, places: list[tuple[Any, Any]]) -> Any:
        draw = self.random
        if draw.random() < 0.3:
            return copy.deepcopy(draw.choice(_LEAVES))
        if draw.random() < 0.2:
            holder, key = draw.choice(places)
            return copy.deepcopy(holder[key])
        if isinstance(value, dict):
            names = list(value)
            if names and draw.random() < 0.5:
                removed = draw.choice(names)
                return {name: part for name, part in value.items() if name != removed}
            return {**value, draw.choice([*_WORDS, *(name + "s" for name in names)]): draw.choice(_LEAVES)}
        if isinstance(value, list):
            if value and draw.random() < 0.4:
                return value[:-1]
            return [*value, copy.deepcopy(draw.choice([*value, *_LEAVES]))]
        if isinstance(value, str):
            at = draw.randint(0, len(value))
            return (
                value[:at]
                + draw.choice(["x", "-", " ", "", "\u00e9", '"'])
                + value[at + draw.randint(0, 1) :]
            )
        return str(value) if draw.random() < 0.5 else (value or 0) + draw.choice([-1, 1, 0.5])

    def _kinds(self, schema: dict) -> list[str]:
        if any(keyword in schema for keyword in _OBJECT):
            return ["object"]
        if any(keyword in schema for keyword in _ARRAY):
            return ["array"]
        if any(keyword in schema for keyword in ("pattern", "minLength", "maxLength")):
            return ["string"]
        return ["number"] if "minimum" in schema or "maximum" in schema else ["any"]

    def _flat(self, schema: Any, left: int) -> dict:
        """Gives the schema with its references followed and one alternative chosen, as far as that goes."""
        if not isinstance(schema, dict) or not left:
            return {}
        found = {key: part for key, part in schema.items() if key not in _COMBINED}
        parts = list(schema.get("allOf", ()))
        alternatives = [schema[keyword] for keyword in ("anyOf", "oneOf") if schema.get(keyword)]
        parts += map(self.random.choice, alternatives)
        references = [schema.get(keyword) for keyword in ("$ref", "$dynamicRef", "$recursiveRef")]
        parts += [self._target(reference) for reference in references if isinstance(reference, str)]
        if "if" in schema:
            chosen = ("if", "then") if self.random.random() < 0.5 else ("else",)
            parts += [schema.get(keyword, True) for keyword in chosen]
        for part in parts:
            found = _both(found, self._flat(part, left - 1))
        return found

    def _target(self, reference: str) -> Any:
        if reference in self._named:
            return self._named[reference]
        base, _, fragment = reference.partition("#")
        found = self._named.get(base, {}) if base else self._root
        if fragment and not fragment.startswith("/"):
            return self._named.get("#" + fragment, {})
        for step in fragment.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~").replace("%24", "$")
            found = found[int(name)] if isinstance(found, list) else found.get(name, {})
        return found

    def _object(self, schema: dict, depth: int) -> dict:
        draw, properties = self.random, schema.get("properties") or {}
        names = [name for name in schema.get("required") or () if isinstance(name, str)]
        share = 0.6 if depth < 2 else 0.25 if depth < MAX_DEPTH - 2 else 0.0
        names += [name for name in properties if draw.random() < min(share, 4 / (1 + len(properties)))]
        if share and draw.random() < 0.5:
            names += [self._match(pattern) for pattern in schema.get("patternProperties", ())]
            if schema.get("additionalProperties", True) is not False:
                names.append(draw.choice(_WORDS))
        draw.shuffle(names)
        return {
            name: self.value(self._under(schema, name), depth + 1) if depth < MAX_DEPTH else None
            for name in dict.fromkeys(names)
        }

    def _under(self, schema: dict, name: str) -> Any:
        properties = schema.get("properties") or {}
        if name in properties:
            return properties[name]
        for part in (*(schema.get("patternProperties") or {}).values(), schema.get("additionalProperties")):
            if isinstance(part, dict):
                return part
        return True

    def _array(self, schema: dict, depth: int) -> list:
        low = schema.get("minItems", 0)
        size = low + self.random.choice([0, 1, 1, 2]) * (depth < MAX_DEPTH)
        items = schema.get("items", True)
        first = schema.get("prefixItems", items if isinstance(items, list) else [])
        rest = schema.get("additionalItems", True) if isinstance(items, list) else items
        return [
            self.value(first[index] if index < len(first) else rest, depth + 1)
            for index in range(min(size, schema.get("maxItems", size), 12))
        ]

    def _text(self, schema: dict) -> str:
        text = self._match(schema["pattern"]) if "pattern" in schema else self.random.choice(_WORDS)
        low, high = schema.get("minLength", 0), schema.get("maxLength", 10**6)
        return (text + "x" * max(0, low - len(text)))[:high]

    def _match(self, pattern: str) -> str:
        """Gives a text of the pattern: at first any way, then the shortest that is left."""
        machine = containing(pattern)
        far = _distances(machine)
        state, text = machine.start, b""
        for number in range(200):
            if machine.accepts(state) and (number > 6 or self.random.random() < 0.3):
                break
            options = [
                (byte, target)
                for byte, target in enumerate(machine.transitions[state].tolist())
                if target != DEAD and 0x20 <= byte < 0x7F
            ]
            if not options:
                break
            if number > 6:
                options = [min(options, key=lambda pair: far[pair[1]])]
            byte, state = self.random.choice(options)
            text += bytes((byte,))
        return text.decode()

    def _number(self, schema: dict, kind: str) -> float:
        low, high = schema.get("minimum", -2), schema.get("maximum", 40)
        value = self.random.choice([low, high, (low + high) / 2, 1, 0, 7])
        return int(value) if kind == "integer" or value == int(value) else value


def repaired(validator: Validator, value: Any) -> Any:
    """Gives the value without parts that the validator complains of, as far as a few goes lead."""
    for _ in range(MAX_REPAIRS):
        error = next(iter(validator.iter_errors(value)), None)
        if error is None:
            return value
        while error.context:
            error = max(error.context, key=lambda each: len(each.absolute_path))
        path = list(error.absolute_path)
        if not path:
            return value
        holder = value
        for step in path[:-1]:
            holder = holder[step]
        del holder[path[-1]]
    return value


_COMBINED = ("allOf", "anyOf", "oneOf", "$ref", "$dynamicRef", "$recursiveRef", "if", "then", "else")


def _both(one: dict, other: dict) -> dict:
    """Gives roughly what both say: properties and what is required are added up."""
    found = {**one, **other}
    for keyword in ("properties", "patternProperties"):
        if keyword in one and keyword in other:
            found[keyword] = {**one[keyword], **other[keyword]}
    if "required" in one and "required" in other and isinstance(one["required"], list):
        found["required"] = [*one["required"], *other["required"]]
    return found


def _index(schema: Any, named: dict[str, Any]) -> None:
    todo = [schema]
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            for keyword in ("$id", "id"):
                if isinstance(part.get(keyword), str):
                    named.setdefault(part[keyword].rstrip("#"), part)
                    if part[keyword].startswith("#"):
                        named.setdefault(part[keyword], part)
            for keyword in ("$anchor", "$dynamicAnchor"):
                if isinstance(part.get(keyword), str):
                    named.setdefault("#" + part[keyword], part)
            todo.extend(part.values())
        elif isinstance(part, list):
            todo.extend(part)


def _places(value: Any) -> Any:
    for key in range(len(value)) if isinstance(value, list) else list(value):
        yield value, key
        if isinstance(value[key], list | dict):
            yield from _places(value[key])


def _distances(machine: ByteAutomaton) -> list[int]:
    """Gives how many bytes, at least, each state is from an accepted one."""
    sources: list[set[int]] = [set() for _ in machine.accepting]
    for state, row in enumerate(machine.transitions[:, 0x20:0x7F].tolist()):
        for target in set(row) - {DEAD}:
            sources[target].add(state)
    far = [0 if accepts else len(sources) for accepts in machine.accepting.tolist()]
    todo = [state for state, distance in enumerate(far) if not distance]
    for state in todo:
        for source in sources[state]:
            if far[source] > far[state] + 1:
                far[source] = far[state] + 1
                todo.append(source)
    return far
