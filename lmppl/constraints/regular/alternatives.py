"""`lp.choices`: one of a list of strings, as the smallest automaton of the list."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Literal, get_args, get_origin

import numpy as np

from lmppl.constraints.mistaken_values import hint
from lmppl.constraints.protocol import Constraint
from lmppl.constraints.regular.automaton import MAX_STATES, ByteAutomaton
from lmppl.constraints.regular.regular_language import RegularLanguage
from lmppl.constraints.regular.transition_tables import DEAD
from lmppl.errors import ConstraintError, InvalidTypeError


def choices(options: Iterable[str] | type[enum.Enum] | type[str]) -> Constraint:
    """Allows exactly the given strings.

    Args:
        options: At least one string; or a class of `enum.Enum` or a `typing.Literal[...]` whose values are
            strings. The order does not matter, and duplicates count once. A member of an enumeration stands
            for its value.

    Raises:
        ConstraintError: There is no option, or the list needs more than 50,000 states.
        InvalidTypeError: `options` is itself a string, or holds something that is none.
    """
    texts = [_text_of(option) for option in _listed(options)]
    if not texts:
        raise ConstraintError(
            "choices() was given no option, so that no string is allowed. Give at least one."
        )
    return RegularLanguage(automaton_of(sorted({encoded(text) for text in texts})), _description(texts))


def _listed(options: object) -> Iterable[object]:
    if get_origin(options) is Literal:
        return get_args(options)
    if isinstance(options, str | bytes):
        advice = f" Write [{options!r}]." if isinstance(options, str) else hint(options)
        raise InvalidTypeError(f"choices() takes a list of strings, but was given {options!r}.{advice}")
    if not isinstance(options, Iterable):
        raise InvalidTypeError(
            "choices() takes a list of strings, a class of enum.Enum or a typing.Literal, but was given "
            f"{options!r}.{hint(options)}"
        )
    return options


def _text_of(option: object) -> str:
    value = option.value if isinstance(option, enum.Enum) else option
    if not isinstance(value, str):
        of_member = f", whose value is {value!r}" if isinstance(option, enum.Enum) else ""
        raise InvalidTypeError(
            f"choices() takes strings, but one of them is {option!r}{of_member}. "
            f"{'Decode it' if isinstance(value, bytes) else 'Use str(...)'}."
        )
    return value


def encoded(text: str) -> bytes:
    """Gives the bytes of a string. A lone surrogate, which has none, raises `ConstraintError`."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ConstraintError(
            f"The string {text!r} holds a lone surrogate, which UTF-8 cannot write. Remove it."
        ) from error


def _description(options: list[str]) -> str:
    shown = ", ".join(map(repr, options[:4]))
    return f"choices([{shown}{', ...' if len(options) > 4 else ''}])"


def automaton_of(words: list[bytes]) -> ByteAutomaton:
    """Builds the automaton of sorted, distinct words, sharing endings as it goes.

    Daciuk, Mihov, Watson & Watson (2000), Computational Linguistics 26(1), algorithm 1: a node can no
    longer change once the next word leaves it, and is then shared with one that has the same future.
    """
    nodes: dict[tuple[bool, tuple[tuple[int, int], ...]], int] = {}
    path: list[tuple[int, dict[int, int]]] = [(0, {})]  # (the byte that led here, finished children)
    previous = b""
    ends = {0} if words[0] == b"" else set()

    def finish(depth: int) -> None:
        while len(path) > depth:
            key = (len(path) - 1 in ends, tuple(path[-1][1].items()))
            ends.discard(len(path) - 1)
            byte, _ = path.pop()
            number = nodes.setdefault(key, len(nodes))
            if len(nodes) > MAX_STATES:
                raise _too_much(max(words, key=len))
            if path:
                path[-1][1][byte] = number

    for word in words:
        if len(word) >= MAX_STATES:  # alone it needs one state more than it has bytes
            raise _too_much(word)
        shared = next(
            (i for i, (a, b) in enumerate(zip(previous, word, strict=False)) if a != b), len(previous)
        )
        finish(shared + 1)
        path.extend((byte, {}) for byte in word[shared:])
        ends.add(len(word))
        previous = word
    finish(0)
    return _of_nodes(list(nodes))


def _too_much(longest: bytes) -> ConstraintError:
    start = longest[:20].decode(errors="ignore")
    return ConstraintError(
        f"choices() was given so much text that its automaton needs more than {MAX_STATES:,} states. Use "
        f"fewer or shorter options: the longest, {start!r}..., has {len(longest):,} bytes."
    )


def _of_nodes(nodes: list[tuple[bool, tuple[tuple[int, int], ...]]]) -> ByteAutomaton:
    table = np.full((len(nodes), 256), DEAD, np.int32)
    for state, (_, children) in enumerate(nodes):
        for byte, child in children:
            table[state, byte] = child
    return ByteAutomaton.of_table(table, len(nodes) - 1, np.array([ends for ends, _ in nodes]))
