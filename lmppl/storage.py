"""Posteriors on disk: one JSON file of plain values. Reading one runs no code."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lmppl.errors import InvalidInputError, InvalidTypeError
from lmppl.posterior import NoAnswer, Posterior
from lmppl.traces import TextRecord, Trace

_FORMAT = "lmppl posterior 1"
_SIMPLE = (str, int, float, bool, type(None))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Says what a file that cannot be written was to be."""
    try:
        yield
    except OSError as error:
        raise InvalidInputError(
            f"{str(path)!r} cannot be written: {error.strerror or error}. Name a file in a folder that "
            "exists, may be written to, and has room."
        ) from error


def write_posterior(posterior: Posterior, path: Path) -> None:
    """Writes a posterior; the file is complete or not there.

    Raises:
        InvalidTypeError: An answer or a site holds a value that is no plain data.
        InvalidInputError: The file cannot be written.
    """
    document = {
        "format": _FORMAT,
        "values": [_encode(value, "an answer") for value in posterior.values],
        "traces": [_encode_trace(trace) for trace in posterior.traces],
        "log_weights": _encode(np.asarray(posterior.log_weights), "log_weights"),
        "log_evidence": posterior.log_evidence,
        "log_evidence_error": posterior.log_evidence_error,
        "losses": posterior.losses,
        "method": posterior.method,
        "diagnostics": repr(posterior.diagnostics),
        "partial": posterior.partial,
        "exact": posterior.exact,
    }
    data = gzip.compress(json.dumps(document).encode(), mtime=0)
    unfinished = path.with_name(path.name + ".unfinished")
    with writing(path):
        unfinished.write_bytes(data)
        unfinished.replace(path)


def read_posterior(path: Path) -> Posterior:
    """Reads what `write_posterior` wrote. Its diagnostics come back as text.

    Raises:
        InvalidInputError: The file is missing, damaged, or no posterior.
    """
    try:
        document = json.loads(gzip.decompress(path.read_bytes()))
    except FileNotFoundError:
        raise InvalidInputError(f"There is no file {str(path)!r} to load a posterior from.") from None
    except (OSError, EOFError, ValueError) as error:
        raise InvalidInputError(f"{str(path)!r} is damaged or no saved posterior: {error}") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != _FORMAT:
        raise InvalidInputError(
            f"{str(path)!r} is no saved posterior: its format is {found!r}, expected {_FORMAT!r}."
        )
    return Posterior(
        values=[_decode(value) for value in document["values"]],
        traces=[_decode_trace(trace) for trace in document["traces"]],
        log_weights=_decode(document["log_weights"]),
        log_evidence=document["log_evidence"],
        log_evidence_error=document["log_evidence_error"],
        losses=document["losses"],
        diagnostics=document["diagnostics"],
        method=document["method"],
        partial=document["partial"],
        exact=document["exact"],
    )


def _encode_trace(trace: Trace) -> dict[str, Any]:
    return {
        "values": {name: _encode(value, f"site {name!r}") for name, value in trace.items()},
        "observed": {name: _encode(value, f"site {name!r}") for name, value in trace.observed.items()},
        "texts": {
            name: [list(text.tokens), list(text.token_log_probs), list(text.log_normalisers)]
            for name, text in trace.texts.items()
        },
    }


def _decode_trace(document: Mapping[str, Any]) -> Trace:
    values = {name: _decode(value) for name, value in document["values"].items()}
    observed = {name: _decode(value) for name, value in document["observed"].items()}
    texts = {name: TextRecord(*(tuple(part) for part in parts)) for name, parts in document["texts"].items()}
    return Trace(values, observed, texts)


def _encode(value: Any, where: str) -> Any:
    """Plain scalars stand for themselves; everything else is a pair of a tag and its parts."""
    if isinstance(value, _SIMPLE):
        return value
    if isinstance(value, NoAnswer):
        return ["no answer", value.reason]
    if isinstance(value, bytes):
        return ["bytes", base64.b64encode(value).decode()]
    for kind in (list, tuple, frozenset, set):
        if type(value) is kind:
            return [kind.__name__, [_encode(item, where) for item in _ordered(value)]]
    if type(value) is dict:
        return ["dict", [[_encode(k, where), _encode(v, where)] for k, v in value.items()]]
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        array = np.asarray(value)
        if array.dtype.kind in "biufc":
            scalar = isinstance(value, np.generic)
            data = base64.b64encode(array.tobytes()).decode()
            return ["scalar" if scalar else "array", [array.dtype.str, list(array.shape), data]]
    raise InvalidTypeError(
        f"A posterior can be saved if its values are plain data, but {where} holds {type(value).__name__} "
        f"({str(value)[:60]!r}). Let the program return strings, numbers, arrays, tuples, lists, sets "
        "or dicts."
    )


def _ordered(value: Any) -> Any:
    return sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value


def _decode(document: Any) -> Any:
    if isinstance(document, _SIMPLE):
        return document
    tag, parts = document
    if tag == "no answer":
        return NoAnswer(parts)
    if tag == "bytes":
        return base64.b64decode(parts)
    if tag == "dict":
        return {_decode(key): _decode(value) for key, value in parts}
    if tag in ("array", "scalar"):
        dtype, shape, data = parts
        array = np.frombuffer(base64.b64decode(data), np.dtype(dtype)).reshape(shape).copy()
        return array[()] if tag == "scalar" else array
    return {"list": list, "tuple": tuple, "frozenset": frozenset, "set": set}[tag](
        _decode(item) for item in parts
    )
