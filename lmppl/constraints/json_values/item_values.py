"""When two items of an array are equal: a key for each value, made while it is read.

Keys of strings, numbers and words are their one plain spelling; those of arrays and objects are digests of
their parts' keys, so that they are made in constant time a byte however deep the value is.
"""

from __future__ import annotations

import json
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from hashlib import blake2b

from lmppl.constraints.json_values.number_sets import shortest
from lmppl.constraints.json_values.sized_texts import Lengths, Sized
from lmppl.constraints.json_values.spelling import number_text
from lmppl.constraints.json_values.string_sets import NO_TEXT, Listed, Texts
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.automaton_algebra import intersection, word_counts, words

MAX_DOMAIN = 1_000
"""Values that can be taken one after the other until none is left are listed up to this number."""

Pieces = tuple[bytes, ...]
"""A text that grows, in pieces of the powers of two that add up to its length, the largest first.

Adding to it copies little on average.
"""

_SIZE = 16
_MODULUS = 1 << 8 * _SIZE
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)


def grown(pieces: Pieces, new: bytes) -> Pieces:
    """Gives a text with some more bytes; equal texts are equal, however they grew."""
    while new:
        size = min(len(pieces[-1]), len(new)) if pieces else len(new)
        size = 1 << (size.bit_length() - 1)
        piece, new = new[:size], new[size:]
        while pieces and len(pieces[-1]) == len(piece):
            piece = pieces[-1] + piece
            pieces = pieces[:-1]
        pieces = (*pieces, piece)
    return pieces


def scalar_key(text: bytes) -> bytes:
    """Gives the key of the value that a JSON text of a string, number or word stands for."""
    if text[0] == ord('"'):
        return _text_key(json.loads(text))
    return text if text[0] in b"ntf" else _number_key(text)


def _text_key(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode()


def _content_key(content: bytes) -> bytes:
    return _text_key(content.decode())


def _number_key(text: bytes) -> bytes:
    """Equal for equal values, without rounding: an exponent may have any number of digits."""
    mantissa, _, exponent = text.decode().lower().partition("e")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    short = digits.rstrip("0")
    if not short:
        return b"0"
    shift = _EXACT.add(Decimal(exponent or 0), len(digits) - len(short) - len(fraction))
    return f"{'-' if text[0] == ord('-') else ''}{short}e{shift}".encode()


def item_added(digest: int, key: bytes) -> int:
    """Gives the digest of an array with one more item."""
    return _hashed(digest.to_bytes(_SIZE, "big") + key)


def property_added(digest: int, name: bytes, key: bytes) -> int:
    """Gives the digest of an object with one more property; their order does not matter."""
    return (digest + _hashed(len(name).to_bytes(8, "big") + name + key)) % _MODULUS


def container_key(is_object: bool, digest: int) -> bytes:
    """Gives the key of an array or object."""
    return (b"{" if is_object else b"[") + digest.to_bytes(_SIZE, "big")


def _hashed(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=_SIZE).digest(), "big")


def finite_domain(
    some_words: frozenset[str], numbers: ByteAutomaton | None, strings: Texts
) -> frozenset[bytes] | None:
    """Gives the keys of all values of a set without arrays and objects; None for many, or more than 1,000.

    Args:
        some_words: Some of `null`, `true`, `false`.
        numbers: The texts of numbers.
        strings: What strings may stand for.
    """
    found = {word.encode() for word in some_words}
    if isinstance(strings, Sized):
        return None
    if isinstance(strings, Lengths) and strings != NO_TEXT:
        if strings.longest != 0:
            return None
        found.add(b'""')
    if isinstance(strings, Listed):
        if not strings.inside or len(strings.words) > MAX_DOMAIN:
            return None
        found.update(map(_text_key, strings.words))
    for machine, key in ((numbers, scalar_key), (strings, _content_key)):
        if isinstance(machine, ByteAutomaton):
            if machine is number_text():
                return None
            number = word_counts(machine)[machine.start]
            if number is None or number > 2 * MAX_DOMAIN:  # an integer may be written in two ways
                return None
            found.update(map(key, words(machine)))
    return frozenset(found) if len(found) <= MAX_DOMAIN else None


def ends_in_new_values(numbers: ByteAutomaton | None) -> bool:
    """Whether a text of a number that can go on for ever can always become a number not yet seen."""
    if numbers is None or numbers is number_text():
        return True
    return intersection(numbers, shortest()) == numbers
