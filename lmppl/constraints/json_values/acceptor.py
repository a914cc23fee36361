"""The incremental acceptor of JSON values: states are values, and nesting is a chain of frames.

At each place of a text it is known which nodes the value there is read as. An array or object is read
once, in one frame, as all shapes of all those nodes side by side; when it ends, the frame says which
nodes it belongs to, and the frame around it keeps the entries that waited for one of these. So the
number of entries does not grow with the depth. Every entry can be completed on its own (see
`reachable_nodes`), and so a beginning is viable exactly while there is an entry left.
"""

from __future__ import annotations

from typing import NamedTuple

from lmppl.constraints.json_values import property_names
from lmppl.constraints.json_values.property_names import Entry, Reading, Taken
from lmppl.constraints.json_values.reachable_nodes import Array, Node
from lmppl.constraints.json_values.spelling import QUOTE, character_text
from lmppl.constraints.json_values.string_sets import Lengths
from lmppl.constraints.transition_tables import DEAD

VALUE, ITEM_OR_END, NAME_OR_END, NAME_START, COLON, AFTER, END = range(
    7
)  # between tokens: the detail is a gap
WORD, NUMBER, STRING, NAME = range(7, 11)  # inside one

_FRESH = -1  # a gap in which nothing has been written yet
_SPACES = b" \n\t\r"
_INDENT = 4  # the most spaces a level behind a newline
_IN_NUMBER = frozenset(b"+-.eE0123456789")
_WORDS = {ord("n"): b"null", ord("t"): b"true", ord("f"): b"false"}
_CLOSED = -2  # the state of a string read by length, behind its quote


class Item(NamedTuple):
    """One way to read an array: a node that it would belong to, and how far one of its shapes is."""

    node: int
    shape: Array
    num_items: int

    @property
    def may_close(self) -> bool:
        """Whether the array may end."""
        return self.num_items >= self.shape.low

    @property
    def child(self) -> int | None:
        """The node of the next item; None if the array is full."""
        return self.shape.item(self.num_items)

    def after_item(self) -> Item:
        """Gives the entry with one more item."""
        return Item(self.node, self.shape, min(self.num_items + 1, self.shape.counted))


class Frame:
    """An array or object that has begun, in its place. Equal frames are in equal frames.

    Attributes:
        parent: None for the frame around the whole text.
        entries: The ways to read it.
        taken: The names that are used up.
        wanted: The nodes that the next value is read as.
    """

    __slots__ = ("_hash", "depth", "entries", "is_object", "parent", "taken", "wanted")

    def __init__(
        self,
        parent: Frame | None,
        entries: tuple[Item | Entry, ...],
        is_object: bool,
        taken: Taken = (),
    ):
        self.parent = parent
        self.entries = entries
        self.is_object = is_object
        self.taken = taken
        self.depth: int = 0 if parent is None else parent.depth + 1
        children = {entry.child for entry in entries}
        self.wanted: tuple[int, ...] = tuple(sorted(c for c in children if c is not None)) if parent else (0,)
        self._hash = hash((parent, entries, is_object, taken))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        """Compares level by level: nesting may be deeper than Python recurses."""
        one: Frame | None = self
        while one is not other:
            if not isinstance(one, Frame) or not isinstance(other, Frame) or one._hash != other._hash:
                return False
            if (one.is_object, one.entries, one.taken) != (other.is_object, other.entries, other.taken):
                return False
            one, other = one.parent, other.parent
        return True

    def __repr__(self) -> str:
        return f"<Frame at depth {self.depth}>"


class State(NamedTuple):
    """Where a text stands: the innermost frame, what is being read there, and how far it is."""

    frame: Frame
    phase: int
    detail: int | tuple | Reading


class Machine:
    """The acceptor of a plan.

    Args:
        nodes: What can stand somewhere; the first is the whole.
        whitespace: `compact`, `bounded` or `any`.
        is_unique: Whether an object has each name once at most.
    """

    def __init__(self, nodes: list[Node], whitespace: str, is_unique: bool):
        self.nodes = nodes
        self.whitespace = whitespace
        self.is_unique = is_unique
        self._gap = 0 if whitespace == "compact" else _FRESH
        around = self._gap if whitespace == "any" else 0
        self.initial = State(Frame(None, (), False), VALUE, around)
        self._character = character_text()

    def accepts(self, state: State) -> bool:
        """Says whether the text is complete."""
        frame, phase, detail = state
        if frame.parent is not None:
            return False
        return phase == END or (phase == NUMBER and bool(self._numbers_ended(detail)))

    def advance(self, state: State, byte: int) -> State | None:
        """Gives the state after one byte, or None if no allowed text begins so."""
        frame, phase, detail = state
        if phase == STRING:
            return self._in_string(frame, detail, byte)
        if phase == NAME:
            return self._in_name(frame, detail, byte)
        if phase == NUMBER:
            return self._in_number(frame, detail, byte)
        if phase == WORD:
            return self._in_word(frame, detail, byte)
        if byte in _SPACES:
            gap = self._spaced(frame, detail, byte)
            return None if gap is None else State(frame, phase, gap)
        return self._token(frame, phase, byte)

    def _spaced(self, frame: Frame, gap: int | tuple, byte: int) -> int | None:
        """Gives what may still be written between two tokens: any number of spaces from 0 on, or anything."""
        if gap == _FRESH:
            if self.whitespace == "any":
                return _FRESH
            return {ord(" "): 0, ord("\n"): _INDENT * frame.depth}.get(byte)
        assert isinstance(gap, int)
        return gap - 1 if gap and byte == ord(" ") else None

    def _token(self, frame: Frame, phase: int, byte: int) -> State | None:
        if phase in (VALUE, ITEM_OR_END):
            if phase == ITEM_OR_END and byte == ord("]"):
                return self._close(frame)
            return self._value(frame, byte)
        if phase in (NAME_OR_END, NAME_START):
            if phase == NAME_OR_END and byte == ord("}"):
                return self._close(frame)
            reading = property_names.begun(frame.entries, frame.taken) if byte == QUOTE else None  # type: ignore[arg-type]
            return State(frame, NAME, reading) if reading else None
        if phase == COLON:
            return State(frame, VALUE, self._gap) if byte == ord(":") else None
        if phase == AFTER:
            if byte == ord(","):
                return self._comma(frame)
            if byte == ord("}" if frame.is_object else "]"):
                return self._close(frame)
        return None

    def _value(self, frame: Frame, byte: int) -> State | None:
        if byte == QUOTE:
            strings = tuple(
                (node, (0, 0) if isinstance(texts, Lengths) else texts.advance(texts.start, b'"'))
                for node in frame.wanted
                if (texts := self.nodes[node].strings) is not None
            )
            return State(frame, STRING, strings) if strings else None
        if byte in _WORDS:
            word = _WORDS[byte]
            able = tuple(node for node in frame.wanted if word.decode() in self.nodes[node].words)
            return State(frame, WORD, (able, word[1:])) if able else None
        if byte == ord("["):
            items = tuple(Item(node, shape, 0) for node in frame.wanted for shape in self.nodes[node].arrays)
            return State(Frame(frame, items, False), ITEM_OR_END, self._gap) if items else None
        if byte == ord("{"):
            entries = tuple(
                Entry(node, shape, shape.required, 0, -1)
                for node in frame.wanted
                for shape in self.nodes[node].objects
            )
            return State(Frame(frame, entries, True), NAME_OR_END, self._gap) if entries else None
        starts = tuple((n, m.start) for n in frame.wanted if (m := self.nodes[n].numbers) is not None)
        return self._number_state(frame, starts, byte)

    def _number_state(self, frame: Frame, states: tuple, byte: int) -> State | None:
        after = []
        for node, state in states:
            machine = self.nodes[node].numbers
            assert machine is not None
            target = machine.flat[256 * state + byte]
            if target != DEAD:
                after.append((node, target))
        return State(frame, NUMBER, tuple(after)) if after else None

    def _numbers_ended(self, states) -> list[int]:
        return [node for node, state in states if self.nodes[node].numbers.accepts(state)]  # type: ignore[union-attr]

    def _in_number(self, frame: Frame, states, byte: int) -> State | None:
        if byte in _IN_NUMBER:
            return self._number_state(frame, states, byte)
        ended = self._ended(frame, self._numbers_ended(states))
        return None if ended is None else self.advance(ended, byte)

    def _in_word(self, frame: Frame, detail, byte: int) -> State | None:
        able, rest = detail
        if byte != rest[0]:
            return None
        return State(frame, WORD, (able, rest[1:])) if len(rest) > 1 else self._ended(frame, able)

    def _in_string(self, frame: Frame, states, byte: int) -> State | None:
        after = []
        closed = []
        for node, state in states:
            texts = self.nodes[node].strings
            assert texts is not None
            if isinstance(texts, Lengths):
                target = self._lengthened(texts, state, byte)
                is_closed = target == _CLOSED
            else:
                target = texts.flat[256 * state + byte]
                target = None if target == DEAD else target
                is_closed = target is not None and texts.accepts(target)
            if is_closed:
                closed.append(node)
            elif target is not None:
                after.append((node, target))
        if closed:
            return self._ended(frame, closed)
        return State(frame, STRING, tuple(after)) if after else None

    def _lengthened(
        self, lengths: Lengths, state: tuple[int, int], byte: int
    ) -> tuple[int, int] | int | None:
        """Moves (state inside a character, number of whole characters up to where it matters)."""
        inside, length = state
        if inside == 0:
            if byte == QUOTE:
                return _CLOSED if length in lengths else None
            longest = lengths.longest
            if longest is not None and length >= longest:
                return None
        target = self._character.flat[256 * inside + byte]
        if target == DEAD:
            return None
        if self._character.accepts(target):
            return (0, min(length + 1, lengths.last_edge))
        return (target, length)

    def _in_name(self, frame: Frame, reading, byte: int) -> State | None:
        if byte != QUOTE or reading.escape:
            after = property_names.advanced(reading, byte, frame.taken, self.is_unique)
            return State(frame, NAME, after) if after else None
        name, entries = property_names.finished(reading, frame.taken)
        if not entries:
            return None
        taken = property_names.taken_and(frame.taken, name) if self.is_unique else ()
        return State(Frame(frame.parent, entries, True, taken), COLON, self._gap)

    def _ended(self, frame: Frame, able) -> State | None:
        """Goes on behind a value that belongs to some nodes."""
        if frame.parent is None:
            return State(frame, END, self.initial.detail) if able else None
        if frame.is_object:
            entries = tuple(entry._replace(child=-1) for entry in frame.entries if entry.child in able)  # type: ignore[union-attr]
        else:
            entries = tuple(entry.after_item() for entry in frame.entries if entry.child in able)  # type: ignore[union-attr]
        entries = tuple(dict.fromkeys(entries))
        after = Frame(frame.parent, entries, frame.is_object, frame.taken)
        return State(after, AFTER, self._gap) if entries else None

    def _comma(self, frame: Frame) -> State | None:
        if frame.is_object:
            more = property_names.begun(frame.entries, frame.taken)  # type: ignore[arg-type]
            return State(frame, NAME_START, self._gap) if more else None
        items = tuple(item for item in frame.entries if item.child is not None)
        return State(Frame(frame.parent, items, False), VALUE, self._gap) if items else None

    def _close(self, frame: Frame) -> State | None:
        able = {entry.node for entry in frame.entries if entry.may_close}
        assert frame.parent is not None
        return self._ended(frame.parent, able) if able else None
