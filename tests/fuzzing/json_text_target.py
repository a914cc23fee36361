"""`lp.json` against Python's `json`, held to RFC 8259: the same texts, and exactly their prefixes."""

from __future__ import annotations

import itertools
import json as python_json
import re
from typing import Any

from viable_prefixes import stepped

from lmppl.constraints.json_values.json_texts import json

MAX_BYTES = 40

PIECES = (
    *(b'{"a":', b'"', b"true", b"false", b"null", b"\\u", b"\\ud83d", b"\\udd14", b"\\udc00", b"\\ud800"),
    *(b"\\\\", b'\\"', b"\\/", b"\xc3", b"\xa9", b"\xe2\x82\xac", b"\xf0\x9f\x94\x94", b"\xf4\x8f\xbf\xbf"),
    *(b"\xf4\x90", b"\xed\xa0\x80", b"\xed\x9f", b"\xe0", b"\xa0", b"\xc0", b"\xff", b"\x80", b"\xbf"),
    *(b"\xef\xbb\xbf", b"\x85", b"\xc2\xa0", b"[[", b"]]", b"}}", b":{", b"-0", b"0.5", b"1e5", b"E+0"),
    *(b"-1", b"1.", b"01"),
    *(b"NaN", b"Infinity", b"\r\n", b"\t", b"\x0c", b"\x00", b"//", b"\xd9\xa3", b", "),
)

SEEDS = (
    *(b'{"a":[1,-2.5e+3,true],"b c":{}}', b'[null, "\\u00e9\\n", false]', b' {"a": 0 , "": [ ]} '),
    *(b'["\\ud83d\\udd14"]', b"-0.0E-10", b"[[[[{}]]]]", b'"\x8b\x8c\x8d\x8e"'),
)

# A prefix can be completed at all if one of these, and what closes its brackets, completes it.
_CHARACTERS = ("", "80", "8080", "808080", "a080", "a08080", "908080")
_ESCAPES = (
    *("n", "udc00", "dc00", "c00", "00", "0", "0000", "000", "u0000"),
    *("\\udc00", "0\\udc00", "00\\udc00", "000\\udc00"),
)
_IN_STRINGS = (*map(bytes.fromhex, _CHARACTERS), *map(str.encode, _ESCAPES))
_OUTSIDE = (b"", b":0", b'"":0', b"0", b"rue", b"ue", b"e", b"alse", b"lse", b"se", b"ull", b"ll", b"l")
TAILS = (*_OUTSIDE, *(a + b'"' + c for a, c in itertools.product(_IN_STRINGS, (b"", b":0"))))
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?$)', re.DOTALL)


def drawn(data: bytes) -> tuple[bytes]:
    """Gives a text: ASCII as it is, and a piece for each byte beyond."""
    return (b"".join(bytes((b,)) if b < 128 else PIECES[(b - 128) % len(PIECES)] for b in data[:MAX_BYTES]),)


def judged(text: bytes) -> str:
    """Compares two constraints with the reader, prefix by prefix."""
    for whitespace in ("any", "compact"):
        constraint = json(whitespace=whitespace)
        states = stepped(constraint, text)
        for size, state in enumerate(states):
            prefix = text[:size]
            accepts = constraint.accepts(state)
            assert accepts == is_allowed(prefix, whitespace), f"{prefix!r}, whitespace {whitespace!r}"
            assert accepts or has_completion(prefix, whitespace), (
                f"{prefix!r} has no completion ({whitespace})"
            )
        refused = text[: len(states)]
        assert len(states) > len(text) or not has_completion(refused, whitespace), (
            f"{refused!r} has a completion ({whitespace})"
        )
    return "text" if is_allowed(text, "any") else "no text"


def has_completion(prefix: bytes, whitespace: str) -> bool:
    """Says whether one of the tails completes a prefix."""
    closing = bytearray()
    for bracket in re.findall(rb"[][{}]", _STRING.sub(b"", prefix)):
        if bracket in b"[{":
            closing.append(b"]}"[b"[{".index(bracket)])
        elif closing:
            closing.pop()
    return any(is_allowed(prefix + tail + closing[::-1], whitespace) for tail in TAILS)


def is_allowed(text: bytes, whitespace: str) -> bool:
    """Says whether a text is one of RFC 8259, without a lone surrogate, and without whitespace if compact."""
    if whitespace == "compact" and re.search(rb"[ \t\r\n]", _STRING.sub(b"", text)):
        return False
    try:
        value = python_json.loads(text.decode(), parse_constant=_no_number, object_pairs_hook=list)
        return _is_text(value)
    except (ValueError, _NoNumber):
        return False


class _NoNumber(Exception):
    """Python reads NaN and Infinity, which the RFC does not know."""


def _no_number(name: str) -> None:
    raise _NoNumber(name)


def _is_text(value: Any) -> bool:
    """Says whether all strings of a value can be encoded; the encoder refuses lone surrogates."""
    todo = [value]
    while todo:
        value = todo.pop()
        if isinstance(value, list | tuple):
            todo.extend(value)
        elif isinstance(value, str):
            value.encode()
    return True
