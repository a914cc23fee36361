"""Arrays and objects that have begun: a chain of frames, each with all ways to read one of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from lmppl.constraints.json_values.item_tallies import Counts, best
from lmppl.constraints.json_values.nodes import Array, Node
from lmppl.constraints.json_values.property_names import Entry, Taken, is_taken


class Item(NamedTuple):
    """One way to read an array: a node that it would belong to, and how far one of its shapes is.

    Attributes:
        num_items: The number of items, up to where it matters.
        counts: For the tallies of the shape; the item that is being read is in them.
        child: The node of the item that is being read, -1 between items.
        lacks_repeat: Whether an item must still equal an earlier one.
    """

    node: int
    shape: Array
    num_items: int
    counts: Counts
    child: int
    lacks_repeat: bool

    @staticmethod
    def at_start(node: int, shape: Array) -> Item:
        """Gives the entry of an array without items."""
        return Item(node, shape, 0, (0,) * len(shape.tallies), -1, shape.repeats)

    @property
    def may_close(self) -> bool:
        """Whether the array may end."""
        return not self.lacks_repeat and self.shape.may_end(self.num_items, self.counts)

    def begun(self) -> list[Item]:
        """Gives the entries in which the next item is being read; none if the array is full."""
        return [
            Item(self.node, self.shape, self.num_items, counts, child, self.lacks_repeat)
            for child, counts in self.shape.items(self.num_items, self.counts)
        ]

    def ended(self, is_repeated: bool) -> Item:
        """Gives the entry behind the item that was being read, which may equal an earlier one."""
        number = min(self.num_items + 1, self.shape.places)
        return Item(self.node, self.shape, number, self.counts, -1, self.lacks_repeat and not is_repeated)

    @property
    def is_full(self) -> bool:
        """Whether an item must still equal an earlier one, and there is no room for it."""
        return self.lacks_repeat and self.num_items == self.shape.high


class Frame:
    """An array or object that has begun, in its place. Equal frames are in equal frames.

    Attributes:
        parent: None for the frame around the whole text.
        entries: The ways to read it.
        taken: The names that are used up; in an array whose items must differ, their keys.
        digest: Of its parts so far, where its key will be needed.
        name: Of the property that is being read, likewise.
        wanted: The nodes that the next value is read as.
        is_compared: Whether it is an array whose items must differ, or repeat, to some entry.
        is_keyed: Whether the keys of the values in it are needed.
    """

    __slots__ = (
        "_hash",
        "depth",
        "digest",
        "entries",
        "is_compared",
        "is_keyed",
        "is_object",
        "name",
        "parent",
        "taken",
        "wanted",
    )

    def __init__(
        self,
        parent: Frame | None,
        entries: tuple[Item | Entry, ...],
        is_object: bool,
        taken: Taken = (),
        digest: int = 0,
        name: bytes = b"",
    ):
        self.parent = parent
        self.entries = entries
        self.is_object = is_object
        self.taken = taken
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.digest = digest
        self.name = name
        children = {entry.child for entry in entries}
        self.wanted: tuple[int, ...] = tuple(sorted(c for c in children if c >= 0)) if parent else (0,)
        self.is_compared: bool = not is_object and any(e.shape.is_unique or e.lacks_repeat for e in entries)  # type: ignore[union-attr]
        self.is_keyed: bool = self.is_compared or (parent is not None and parent.is_keyed)
        self._hash = hash((parent, entries, is_object, taken, digest, name))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        """Compares level by level: nesting may be deeper than Python recurses."""
        one: Frame | None = self
        while one is not other:
            if not isinstance(one, Frame) or not isinstance(other, Frame) or one._hash != other._hash:
                return False
            if one._parts() != other._parts():
                return False
            one, other = one.parent, other.parent
        return True

    def _parts(self) -> tuple:
        return self.is_object, self.entries, self.taken, self.digest, self.name

    def with_entries(self, entries: tuple[Item | Entry, ...]) -> Frame:
        """Gives the frame with other entries."""
        return Frame(self.parent, entries, self.is_object, self.taken, self.digest, self.name)

    def __repr__(self) -> str:
        return f"<Frame at depth {self.depth}>"


class Cut(NamedTuple):
    """What a frame says of the next value and of the gaps around it, where no keys are needed.

    Attributes:
        wanted, depth, is_object: As in the frame, where they matter.
    """

    wanted: tuple[int, ...]
    depth: int
    is_object: bool

    is_keyed = is_compared = False


def begun(frame: Frame, nodes: Sequence[Node]) -> Frame | None:
    """Gives an array's frame with its next item being read, or None if there can be none."""
    items = [item for entry in frame.entries for item in entry.begun()]  # type: ignore[union-attr]
    if frame.is_compared:
        items = [
            item for item in items if not item.shape.is_unique or left(nodes[item.child], frame.taken) != 0
        ]
    return frame.with_entries(tuple(dict.fromkeys(items))) if items else None


def ended(
    frame: Frame, able: Collection[int], is_repeated: bool, taken: Taken, nodes: Sequence[Node]
) -> tuple[Item, ...]:
    """Gives the entries of an array behind an item.

    Args:
        frame: With the item being read.
        able: The nodes that the item belongs to.
        is_repeated: Whether it equals an earlier one.
        taken: The keys of the items, with this one.
        nodes: All nodes.
    """
    items: list[Item] = [entry.ended(is_repeated) for entry in frame.entries if entry.child in able]  # type: ignore[union-attr]
    if frame.is_compared:
        items = [
            item
            for item in items
            if not item.is_full and not (item.shape.is_unique and (is_repeated or _lacks(item, taken, nodes)))
        ]
    items = list(dict.fromkeys(items))
    return tuple(_undominated(items) if any(item.counts for item in items) else items)


def _undominated(items: list[Item]) -> list[Item]:
    """Leaves out entries whose counts are worse than those of another one of the same shape."""
    seen: dict[Item, list[Counts]] = {}
    for item in items:
        seen.setdefault(item._replace(counts=()), []).append(item.counts)
    return [
        item._replace(counts=counts)
        for item, several in seen.items()
        for counts in best(item.shape.tallies, several)
    ]


def left(node: Node, taken: Taken) -> int | None:
    """Gives how many values of a node are not taken; None for too many to count."""
    if node.domain is None:
        return None
    return sum(not is_taken(taken, key) for key in node.domain)


def _lacks(item: Item, taken: Taken, nodes: Sequence[Node]) -> bool:
    """Whether there are too few different values for the items that must still come."""
    shape = item.shape
    missing = shape.low - max(item.num_items, len(shape.prefix))
    if missing <= 0 or shape.rest < 0:
        return False
    number = left(nodes[shape.rest], taken)
    return number is not None and number < missing
