"""When two functions are the same by value, so that one may answer for the other."""

from __future__ import annotations

import dataclasses
import enum
import functools
import re
import types
from collections.abc import Hashable
from decimal import Decimal
from fractions import Fraction

_PLAIN = (bool, int, str, bytes, type(None), type(Ellipsis), re.Pattern)
_BY_TEXT = (complex, range, Fraction, Decimal)  # equal ones may be written, and so behave, differently

_PARAMETERS = "__dataclass_params__"  # where the standard library keeps `frozen=`


class _NotByValue(Exception):
    """Something that is, or may be, mutable."""


class _Same:
    """An object as a key: equal to itself only, and kept alive so that its id stays its own."""

    def __init__(self, value: object):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def value_key(value: object) -> Hashable | None:
    """Gives a key that is equal for values that can never differ, or None if there is none.

    Functions are compared by their code, defaults, module globals, and what they close over. A list,
    dict, array, or object of a class that is no frozen dataclass could change between two uses, so
    a function that closes over one has no key. Global variables are taken to be constant.
    """
    try:
        return _key(value, ())
    except (_NotByValue, RecursionError):
        return None


def _key(value: object, outer: tuple[object, ...]) -> Hashable:
    for depth, other in enumerate(outer):
        if other is value:
            return ("the value itself", depth)
    inside = (*outer, value)
    kind = type(value)
    if kind in _PLAIN:
        return (kind, value)
    if isinstance(value, float) and kind is float:
        return (kind, value.hex())  # tells 0.0 from -0.0, and nan is itself
    if kind in _BY_TEXT:
        return (kind, repr(value))
    if isinstance(value, tuple) and not hasattr(value, "__dict__"):  # named tuples too
        return (_Same(kind), tuple(_key(item, inside) for item in value))
    if isinstance(value, frozenset) and kind is frozenset:
        return (kind, frozenset(_key(item, inside) for item in value))
    if isinstance(value, enum.Enum | types.ModuleType | type):
        return _Same(value)
    if isinstance(value, types.BuiltinFunctionType):
        owner = value.__self__
        if owner is None or isinstance(owner, types.ModuleType):
            return _Same(value)
        return (kind, value.__name__, _key(owner, inside))
    if isinstance(value, types.FunctionType):
        return _function_key(value, inside)
    if isinstance(value, types.MethodType):
        return (kind, _key(value.__func__, inside), _key(value.__self__, inside))
    if isinstance(value, functools.partial) and kind is functools.partial:
        return (kind, _key(value.func, inside), _key(value.args, inside), _items(value.keywords, inside))
    if dataclasses.is_dataclass(value) and getattr(kind, _PARAMETERS).frozen:
        fields = tuple(_key(getattr(value, field.name), inside) for field in dataclasses.fields(value))
        return (_Same(kind), fields)
    raise _NotByValue


def _function_key(function: types.FunctionType, inside: tuple[object, ...]) -> Hashable:
    try:
        cells = tuple(_key(cell.cell_contents, inside) for cell in function.__closure__ or ())
    except ValueError as error:  # a cell that is not filled yet
        raise _NotByValue from error
    return (
        types.FunctionType,
        function.__code__,
        _Same(function.__globals__),
        _key(function.__defaults__, inside),
        _items(function.__kwdefaults__ or {}, inside),
        cells,
    )


def _items(mapping: dict[str, object], inside: tuple[object, ...]) -> Hashable:
    return tuple((name, _key(item, inside)) for name, item in sorted(mapping.items()))
