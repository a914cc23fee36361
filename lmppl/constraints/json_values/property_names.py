"""Reading the name of a property: which names may still come of what has been read."""

from __future__ import annotations

import json
import sys
from collections.abc import Container, Iterator
from typing import Any, NamedTuple

from lmppl.constraints.json_values.nodes import Names, Object
from lmppl.constraints.json_values.spelling import BACKSLASH, NEEDED_ESCAPES, QUOTE, escape_text
from lmppl.constraints.protocol import EVERY_BYTE, OUTSIDE
from lmppl.constraints.regular.free_characters import leads_back
from lmppl.constraints.regular.transition_tables import DEAD

Taken = tuple[frozenset[bytes], ...]
"""The names that an object has already, in sets whose sizes fall: adding one copies few on average."""


def taken_and(taken: Taken, name: bytes) -> Taken:
    """Gives the names with one more."""
    new = frozenset((name,))
    while taken and len(taken[-1]) <= len(new):
        new |= taken[-1]
        taken = taken[:-1]
    return (*taken, new)


def is_taken(taken: Taken, name: bytes) -> bool:
    """Says whether an object has a name already."""
    return any(name in names for names in taken)


class Entry(NamedTuple):
    """One way to read an object: a node that it would belong to, and how far one of its shapes is.

    Attributes:
        missing: Required names that are not there yet.
        num_names: The number of names, up to where it matters.
        child: The node of the value that is being read, -1 between values.
        due: The shape's dues that no property has served for yet, as bits.
    """

    node: int
    shape: Object
    missing: frozenset[bytes]
    num_names: int
    child: int
    due: int

    @staticmethod
    def at_start(node: int, shape: Object) -> Entry:
        """Gives the entry of an object without properties."""
        return Entry(node, shape, shape.required, 0, -1, (1 << len(shape.dues)) - 1)

    def after_name(self, name: bytes, child: int, served: int) -> Entry:
        """Gives the entry after one more name, whose value is to serve for some dues."""
        shape = self.shape
        enough = shape.low if shape.high is None else shape.high
        number = min(self.num_names + 1, enough)
        return Entry(self.node, shape, self.missing - {name}, number, child, self.due & ~served)

    @property
    def may_close(self) -> bool:
        """Whether the object may end."""
        return not self.missing and not self.due and self.num_names >= self.shape.low

    def may_be_served(self, taken: Taken) -> bool:
        """Whether each property that is due can still come."""
        return all(
            self._may_serve(1 << number, due.is_open, taken)
            for number, due in enumerate(self.shape.dues)
            if self.due >> number & 1
        )

    def _may_serve(self, bit: int, is_open: bool, taken: Taken) -> bool:
        serving = self.shape.serving
        if any((name, bit) in serving for name in self.missing):
            return True
        if self.only_missing:
            return False
        return is_open or any(
            (isinstance(kind, int) or not is_taken(taken, kind)) for kind, bits in serving if bits == bit
        )

    @property
    def names_left(self) -> tuple:
        """Equal for entries that the same names may follow."""
        room = None if self.shape.high is None else self.shape.high - self.num_names
        return self.shape.rules, self.missing if room is not None else None, room

    @property
    def only_missing(self) -> bool:
        """Whether there is room for the required names only."""
        high = self.shape.high
        return high is not None and self.num_names + len(self.missing) >= high


Way = tuple[tuple[Entry, ...], tuple[int, ...]]


class Reading(NamedTuple):
    """A name that is being read.

    Attributes:
        content: The bytes that it stands for so far.
        escape: What has been read of an escape, from its backslash on.
        ways: The entries for which a name may come of it, those together that allow the same names, with the
            states of their classes.
    """

    content: bytes
    escape: bytes
    ways: tuple[Way, ...]


def begun(entries: tuple[Entry, ...], taken: Taken) -> Reading | None:
    """Gives the reading of an empty beginning, or None if no name can follow."""
    alike: dict[tuple, list[Entry]] = {}
    for entry in entries:
        alike.setdefault(entry.names_left, []).append(entry)
    ways = tuple((tuple(g), tuple(each.machine.start for each in g[0].shape.classes)) for g in alike.values())
    ways = tuple(way for way in ways if _may_come(way, b"", taken))
    return Reading(b"", b"", ways) if ways else None


def advanced(reading: Reading, data: bytes, taken: Taken, is_unique: bool) -> Reading | None:
    """Gives the reading after a byte, not the closing quote, or letters; None if no name may come of it.

    Letters are bytes that stand for themselves, outside an escape.
    """
    content, escape, ways = reading
    if escape:
        return _escaped(Reading(content, escape + data, ways), taken, is_unique)
    if data[0] == BACKSLASH:
        return _escaped(Reading(content, b"\\", ways), taken, is_unique)
    if data[0] < 0x20:
        return None
    return extended(reading, data, taken, is_unique)


def next_bytes(reading: Reading) -> Container[int]:
    """Gives the bytes that may come next, or more."""
    content, escape, ways = reading
    shapes = [entries[0].shape for entries, _ in ways]
    if escape or any(shape.classes for shape in shapes):
        return EVERY_BYTE
    longer = {name[len(content)] for shape in shapes for name in shape.beginning(content) if name != content}
    return longer | {QUOTE, BACKSLASH}


def num_free(reading: Reading) -> int:
    """Gives how many characters may follow, whichever they are, or fewer."""
    is_free = not reading.escape and any(
        entries[0].shape.high is None
        and any(
            state != DEAD and names.counts[state] is None and leads_back(names.machine, state)
            for names, state in zip(entries[0].shape.classes, states, strict=True)
        )
        for entries, states in reading.ways
    )
    return sys.maxsize if is_free else 0


def shared(reading: Reading) -> Reading | None:
    """Gives what objects with the same shapes share of a reading; None if that is not all that matters.

    Infinitely many names may come by some ways, whatever the name is so far and what the object has.
    """
    ways = (((Entry.at_start(-1, entries[0].shape),), states) for entries, states in reading.ways)
    is_open = tuple(filter(_is_open, dict.fromkeys(ways)))
    return Reading(b"", b"", is_open) if is_open and not reading.escape else None


def advanced_shared(reading: Reading, data: bytes, is_unique: bool) -> Any:
    """Gives what `advanced` does of what `shared` gave, or `OUTSIDE` where it does not tell."""
    if data[0] in (QUOTE, BACKSLASH):
        return OUTSIDE
    after = advanced(reading, data, (), is_unique)
    return OUTSIDE if after is None else shared(after) or OUTSIDE


def _is_open(way: Way) -> bool:
    """Whether infinitely many names may come by a way, and nothing that the object has matters."""
    entries, states = way
    shape = entries[0].shape
    return shape.high is None and any(
        state != DEAD and names.counts[state] is None
        for names, state in zip(shape.classes, states, strict=True)
    )


def finished(reading: Reading, taken: Taken) -> tuple[bytes, tuple[Entry, ...]]:
    """Gives the name, and the entries after it, each with the node of the value to come."""
    name = reading.content
    found = []
    if is_taken(taken, name):
        return name, ()
    for entry, states in ((entry, states) for entries, states in reading.ways for entry in entries):
        if entry.only_missing and name not in entry.missing:
            continue
        kind, child = _kind(entry, name, states)
        if child is not None:
            found.append(entry.after_name(name, child, 0))
        if entry.due:
            found.extend(_serving(entry, name, kind))
    if any(entry.due for entry in found):
        after = taken_and(taken, name)
        found = [entry for entry in found if not entry.due or entry.may_be_served(after)]
    return name, tuple(found)


def _kind(entry: Entry, name: bytes, states: tuple[int, ...]) -> tuple[bytes | int, int | None]:
    """Gives a name, or the number of its class, and the node of what stands under it."""
    if name in entry.shape.named:
        return name, entry.shape.named[name]
    for number, (names, state) in enumerate(zip(entry.shape.classes, states, strict=True)):
        if state != DEAD and names.machine.accepts(state):
            return number, names.node
    return name, None


def _serving(entry: Entry, name: bytes, kind: bytes | int) -> Iterator[Entry]:
    """Gives the entries after a name whose value is to serve for some of the dues."""
    able = 0
    for number, due in enumerate(entry.shape.dues):
        if entry.due >> number & 1:
            state = due.names.advance(due.names.start, name)
            able |= (state is not None and due.names.accepts(state)) << number
    for bits in range(1, able + 1):
        child = entry.shape.serving.get((kind, bits)) if bits & able == bits else None
        if child is not None:
            yield entry.after_name(name, child, bits)


def extended(reading: Reading, data: bytes, taken: Taken, is_unique: bool) -> Reading | None:
    """Gives the reading after more of what a name stands for; None if no name may come of it."""
    content = reading.content + data if is_unique else b""
    ways = []
    for entries, states in reading.ways:
        after = tuple(
            _moved(names, state, data) for names, state in zip(entries[0].shape.classes, states, strict=True)
        )
        if _may_come((entries, after), content, taken):
            ways.append((entries, after))
    return Reading(content, b"", tuple(ways)) if ways else None


def _moved(names: Names, state: int, data: bytes) -> int:
    if state == DEAD:
        return DEAD
    after = names.machine.advance(state, data)
    return DEAD if after is None else after


def _escaped(reading: Reading, taken: Taken, is_unique: bool) -> Reading | None:
    """Gives the reading inside or after an escape, for the ways that one of its endings is open to."""
    content, escape, ways = reading
    machine = escape_text()
    state = machine.advance(machine.start, escape)
    if state is None:
        return None
    if machine.accepts(state):
        data = json.loads(b'"' + escape + b'"').encode()
        allowed = tuple(way for way in ways if way[0][0].shape.free or escape in NEEDED_ESCAPES)
        return extended(Reading(content, b"", allowed), data, taken, is_unique)
    endings = [data for spelling, data in NEEDED_ESCAPES.items() if spelling.startswith(escape)]
    left = tuple(
        way
        for way in ways
        if (way[0][0].shape.free and len(escape) > 1)  # the first byte of one stands between two characters
        or any(extended(Reading(content, b"", (way,)), data, taken, is_unique) for data in endings)
    )
    return Reading(content, escape, left) if left else None


def _may_come(way: Way, content: bytes, taken: Taken) -> bool:
    """Whether entries that are alike may get a name that begins so."""
    entries, states = way
    entry = entries[0]
    shape = entry.shape
    if entry.only_missing:
        return any(name.startswith(content) for name in entry.missing)
    for names, state in zip(shape.classes, states, strict=True):
        if state != DEAD and (names.counts[state] is None or _is_left(shape, names, state, content, taken)):
            return True
    return any(not is_taken(taken, name) for name in shape.beginning(content))


def _is_left(shape: Object, names: Names, state: int, content: bytes, taken: Taken) -> bool:
    """Whether one of finitely many names of a class that begin so is neither taken nor named apart."""
    number = names.counts[state]
    assert number is not None
    apart = {name for group in (*taken, shape.named) for name in group if name.startswith(content)}
    rests = [names.machine.advance(state, name[len(content) :]) for name in apart]
    return number > sum(rest is not None and names.machine.accepts(rest) for rest in rests)
