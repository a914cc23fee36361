"""Values as bytes and back: numbers, strings, collections, arrays, and objects of a few named classes.

The bytes hold data only, so that reading them runs no code but that which makes these classes. They begin
with a digest of all that follows: what is damaged, or was written for something else, is told apart.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

_FORMAT = b"lmppl plain values 1\n"
_LARGE = 1 << 1_000  # from here on ints are written by 16, for by 10 Python only takes some thousand digits
_DTYPES = {"bool": np.bool_, "uint8": np.uint8, "int32": np.int32, "int64": np.int64}


class Kind(NamedTuple):
    """How objects of one class are written.

    Attributes:
        name: Of the class in the bytes, at least two letters.
        parts: Gives plain values that an object consists of.
        made: Makes the object of these. It raises a ValueError for what cannot be such parts.
    """

    name: str
    parts: Callable[[Any], tuple]
    made: Callable[..., Any]


Kinds = Mapping[type, Kind]
"""The classes that values may be of, beside those of Python and of NumPy."""


class NotPlain(Exception):
    """A value, or a part of it, is of none of the classes."""


class Damaged(Exception):
    """The bytes are not what was written."""


def written(value: Any, kinds: Kinds, purpose: bytes = b"") -> bytes:
    """Gives the bytes of a value.

    Args:
        value: None, bools, ints, strings and bytes; tuples, lists, dicts and frozensets of plain values;
            arrays; and objects of the kinds. An object that occurs in several places is one when it is read.
        kinds: The other classes.
        purpose: What they are for.

    Raises:
        NotPlain: It is something else, or nested too deeply.
    """
    writer = _Writer(kinds)
    try:
        tree = writer.plain(value)
    except RecursionError as error:
        raise NotPlain("nested too deeply") from error
    forms = [(str(array.dtype), array.shape) for array in writer.arrays]
    head = json.dumps([tree, forms], separators=(",", ":")).encode()
    parts = [len(head).to_bytes(8, "little"), head, *(array.tobytes() for array in writer.arrays)]
    body = zlib.compress(b"".join(parts), 1)
    return _FORMAT + _digest(purpose, body) + body


def read(data: bytes, kinds: Kinds, purpose: bytes = b"") -> Any:
    """Gives the value that bytes stand for. Arrays are read-only.

    Args:
        data: What `written` gave.
        kinds: Those that it was given, and the purpose likewise.

    Raises:
        Damaged: They are something else.
    """
    start = len(_FORMAT) + hashlib.sha256().digest_size
    body = data[start:]
    if data[:start] != _FORMAT + _digest(purpose, body):
        raise Damaged
    try:
        return _read(zlib.decompress(body), kinds)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, zlib.error) as error:
        raise Damaged from error


def _digest(purpose: bytes, body: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(purpose).digest() + body).digest()


class _Writer:
    """Values as what JSON can write: scalars as they are, and lists that begin with what they stand for."""

    def __init__(self, kinds: Kinds):
        self.kinds = kinds
        self.arrays: list[np.ndarray] = []
        self._numbers: dict[int, int] = {}
        self._written: list[Any] = []  # which keeps them, so that no other object gets the same id

    def plain(self, value: Any) -> Any:
        if value is None or type(value) in (bool, str) or (type(value) is int and abs(value) < _LARGE):
            return value
        if type(value) is int:
            return ["i", f"{value:x}"]
        number = self._numbers.get(id(value))
        if number is not None:
            return ["=", number]
        found = self._collection(value)
        self._numbers[id(value)] = len(self._written)  # in the order in which they are complete
        self._written.append(value)
        return found

    def _collection(self, value: Any) -> list[Any]:
        kind = self.kinds.get(type(value))
        if kind is not None:
            return [kind.name, *map(self.plain, kind.parts(value))]
        if type(value) is bytes:
            return ["b", value.decode("latin-1")]
        if type(value) is np.ndarray and str(value.dtype) in _DTYPES:
            self.arrays.append(np.ascontiguousarray(value))
            return ["a", len(self.arrays) - 1]
        if type(value) is dict:
            return ["d", *(self.plain(each) for pair in value.items() for each in pair)]
        for name, collection in _COLLECTIONS.items():
            if type(value) is collection:
                return [name, *map(self.plain, value)]
        raise NotPlain(type(value).__name__)


_COLLECTIONS: dict[str, type] = {"t": tuple, "l": list, "f": frozenset}


def _read(body: bytes, kinds: Kinds) -> Any:
    end = 8 + int.from_bytes(body[:8], "little")
    tree, forms = json.loads(body[8:end])
    arrays = []
    for dtype, shape in forms:
        count = int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(body, _DTYPES[dtype], count, end)
        arrays.append(array.reshape(shape))
        end += array.nbytes
    if end != len(body):
        raise ValueError
    return _Reader(kinds, arrays).value(tree)


class _Reader:
    def __init__(self, kinds: Kinds, arrays: list[np.ndarray]):
        self._made = {kind.name: kind.made for kind in kinds.values()}
        self._arrays = arrays
        self._read: list[Any] = []

    def value(self, tree: Any) -> Any:
        if type(tree) is not list:
            return tree
        name = tree[0]
        if name == "=":
            return self._read[tree[1]]
        if name == "i":
            return int(tree[1], 16)
        found = self._collection(name, tree)
        self._read.append(found)
        return found

    def _collection(self, name: str, tree: list[Any]) -> Any:
        if name == "b":
            return tree[1].encode("latin-1")
        if name == "a":
            return self._arrays[tree[1]]
        value = self.value
        parts = [value(each) if type(each) is list else each for each in tree[1:]]
        if name == "t":
            return tuple(parts)
        if name == "d":
            return dict(zip(parts[::2], parts[1::2], strict=True))
        if name in _COLLECTIONS:
            return _COLLECTIONS[name](parts)
        return self._made[name](*parts)


def fields(name: str, made: type) -> Kind:
    """Gives the kind of a dataclass or named tuple that is made of its fields, in order."""
    names = tuple(getattr(made, "__dataclass_fields__", None) or made._fields)  # type: ignore[attr-defined]
    return Kind(name, lambda value: tuple(getattr(value, each) for each in names), made)
