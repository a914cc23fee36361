"""When what has been read of an item can only become a value that the array has already."""

from __future__ import annotations

from typing import Any

from lmppl.constraints.automaton import ByteAutomaton
from lmppl.constraints.automaton_algebra import words
from lmppl.constraints.json_values.item_values import Pieces, ends_in_new_values, scalar_key
from lmppl.constraints.json_values.nodes import Array, Node
from lmppl.constraints.json_values.property_names import Taken, is_taken
from lmppl.constraints.json_values.sized_texts import Lengths, Sized


def only_taken_strings(node: Node, state: Any, text: Pieces, taken: Taken) -> bool:
    """Says whether all strings of a node that begin so are taken.

    A string read by length is looked at when nothing but its quote can follow.
    """
    if isinstance(node.strings, Lengths):
        longest = node.strings.longest
        assert isinstance(state, tuple)
        inside, length = state
        return inside == 0 and length == longest and is_taken(taken, scalar_key(b"".join(text) + b'"'))
    if isinstance(node.strings, Sized):
        return False
    assert isinstance(state, int)
    number = node.string_counts[state]
    if number is None or number > _size(taken):
        return False
    assert node.strings is not None
    begun = b"".join(text)
    rests = [
        node.strings.advance(state, k[len(begun) :]) for keys in taken for k in keys if k.startswith(begun)
    ]
    return number == sum(rest is not None and node.strings.accepts(rest) for rest in rests)


def only_taken_numbers(node: Node, state: int, text: Pieces, taken: Taken) -> bool:
    """Says whether all numbers of a node that begin so are taken; those that go on for ever are not."""
    number = node.number_counts[state]
    if number is None or number > 2 * _size(taken):  # an integer may be written in two ways
        return False
    assert node.numbers is not None
    begun = b"".join(text)
    return all(is_taken(taken, scalar_key(begun + rest)) for rest in words(node.numbers, state))


def _size(taken: Taken) -> int:
    return sum(map(len, taken))


def is_exact(shape: Array, nodes: list[Node]) -> bool:
    """Says whether every viable beginning of such an array can be completed."""
    if shape.repeats:
        return shape.high is None and shape.rest >= 0 and not shape.tallies
    if not shape.is_unique or (shape.high is not None and shape.high <= 1):
        return True
    if shape.rest < 0 and len(shape.prefix) <= 1:
        return True
    if shape.prefix or shape.tallies:
        return False
    node = nodes[shape.rest]
    if node.arrays or node.objects or not ends_in_new_values(node.numbers):
        return False
    if isinstance(node.strings, Sized):
        return False
    if isinstance(node.strings, Lengths) and node.strings.longest not in (None, 0):
        return False
    return node.domain is not None or _is_endless(node)


def _is_endless(node: Node) -> bool:
    if isinstance(node.strings, Lengths) and node.strings.longest is None:
        return True
    counts = [
        each[machine.start]
        for machine, each in ((node.strings, node.string_counts), (node.numbers, node.number_counts))
        if isinstance(machine, ByteAutomaton)
    ]
    return None in counts
