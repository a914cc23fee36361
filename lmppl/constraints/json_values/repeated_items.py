"""When what has been read of an item can only become a value that the array has already."""

from __future__ import annotations

from typing import Any

from lmppl.constraints.json_values.item_values import Pieces, ends_in_new_values, scalar_key
from lmppl.constraints.json_values.nodes import Array, Node, Object
from lmppl.constraints.json_values.property_names import Taken, is_taken
from lmppl.constraints.json_values.string_readers import Reader


def only_taken(reader: Reader, state: Any, before: Any, text: Pieces, taken: Taken) -> bool:
    """Says whether all strings, or numbers, that begin so are taken; many are not.

    Args:
        reader: Of the strings or numbers.
        state: Where it is.
        before: The state that this came of, where not all were taken; None at the start.
        text: What has been read.
        taken: The keys of the items.
    """
    number = reader.num_endings(state)
    if number is None or number > 2 * sum(map(len, taken)):  # an integer may be written in two ways
        return False
    if before is not None and reader.num_endings(before) == number:  # then they are the same ones
        return False
    begun = b"".join(text)
    return all(is_taken(taken, scalar_key(begun + rest)) for rest in reader.endings(state))


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
    if not (all(map(_goes_on, node.arrays)) and all(map(_may_grow, node.objects))):
        return False
    if not ends_in_new_values(node.numbers) or (node.strings and not node.strings.counts_endings):
        return False
    return node.domain is not None or _is_endless(node)


def _goes_on(shape: Array) -> bool:
    """Whether an array with some items can always get another one, so that it differs from all others."""
    return shape.high is None and shape.rest >= 0 and not (shape.is_unique or shape.repeats or shape.tallies)


def _may_grow(shape: Object) -> bool:
    """Whether an object with some properties can always get another one."""
    return (
        shape.high is None
        and not shape.dues
        and any(names.counts[names.machine.start] is None for names in shape.classes)
    )


def _is_endless(node: Node) -> bool:
    readers = (node.strings, node.number_reader)
    return bool(node.arrays or node.objects) or any(each is not None and each.is_endless for each in readers)
