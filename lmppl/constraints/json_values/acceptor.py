"""The incremental acceptor of JSON values: states are values, and nesting is a chain of frames.

At each place of a text it is known which nodes the value there is read as. An array or object is read
once, in one frame, as all shapes of all those nodes side by side; when it ends, the frame says which
nodes it belongs to, and the frame around it keeps the entries that waited for one of these. So the
number of entries does not grow with the depth. Every entry can be completed on its own (see
`reachable_nodes`), and so a beginning is viable exactly while there is an entry left.
"""

from __future__ import annotations

import re
from collections.abc import Container
from functools import cached_property
from typing import Any, NamedTuple

from lmppl.constraints.json_values import frames, property_names
from lmppl.constraints.json_values.frames import Cut, Frame, Item
from lmppl.constraints.json_values.item_values import (
    Pieces,
    container_key,
    grown,
    item_added,
    property_added,
    scalar_key,
)
from lmppl.constraints.json_values.nodes import Node
from lmppl.constraints.json_values.phases import (
    AFTER,
    COLON,
    END,
    IN_NUMBER,
    ITEM_OR_END,
    NAME,
    NAME_OR_END,
    NAME_START,
    NEXT,
    NUMBER,
    SPACES,
    STRING,
    VALUE,
    WORD,
)
from lmppl.constraints.json_values.property_names import Entry, Reading, is_taken, taken_and
from lmppl.constraints.json_values.repeated_items import is_exact, only_taken
from lmppl.constraints.json_values.spelling import QUOTE
from lmppl.constraints.protocol import OUTSIDE
from lmppl.constraints.regular.transition_tables import DEAD

_FRESH = -1  # a gap in which nothing has been written yet
_INDENT = 4  # the most spaces a level behind a newline
_WORDS = {ord("n"): b"null", ord("t"): b"true", ord("f"): b"false"}
_LETTERS = re.compile(rb"[ !#-\[\]-~]+")  # what stands for itself in a string, one byte each
_MAX_STEPS = 2**15  # that are remembered
_LONGEST_NAME = 1_000  # bytes that a remembered state may hold


Around = Frame | Cut


class State(NamedTuple):
    """Where a text stands: the innermost frame, what is being read there, and how far it is.

    Attributes:
        detail: Between two tokens what may still be written there; else how far it is.
        text: Of the scalar that is being read, where its key will be needed.
    """

    frame: Around
    phase: int
    detail: int | tuple | Reading
    text: Pieces = ()

    @property
    def takes_letters(self) -> bool:
        """Whether letters that stand for themselves may come here, many at once."""
        return self.phase == STRING or (self.phase == NAME and not self.detail.escape)  # type: ignore[union-attr]


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
        self._steps: dict[tuple[State, bytes], State | None] = {}

    @cached_property
    def is_exact(self) -> bool:
        """Whether every viable beginning can be completed."""
        return all(is_exact(shape, self.nodes) for node in self.nodes for shape in node.arrays) and all(
            not shape.dues or (shape.high is None and all(due.is_open for due in shape.dues))
            for node in self.nodes
            for shape in node.objects
        )

    def accepts(self, state: State) -> bool:
        """Says whether the text is complete."""
        frame, phase, detail, _ = state
        if isinstance(frame, Cut) or frame.parent is not None:
            return False
        return phase == END or (phase == NUMBER and bool(self._numbers_ended(detail)))

    def local(self, state: State) -> State | None:
        """Gives the state of the scalar or name under way, or of the place between two tokens.

        Its frame is a `Cut`: wherever more of the frame would matter, `advance` gives `OUTSIDE`.
        """
        frame, phase, detail, _ = state
        if isinstance(frame, Cut) or frame.is_keyed or frame.parent is None:
            return None
        if phase == NAME:
            names = property_names.shared(detail)  # type: ignore[arg-type]
            return names and State(Cut((), 0, True), NAME, names)
        if phase in (STRING, NUMBER, WORD):
            return State(Cut((), 0, False), phase, detail)
        wanted = frame.wanted if phase in (VALUE, COLON) else ()
        return State(Cut(wanted, frame.depth, frame.is_object), phase, detail)

    def next_bytes(self, state: State) -> Container[int]:
        """Gives the bytes that may come next, or more."""
        _, phase, detail, _ = state
        if phase == NAME:
            return property_names.next_bytes(detail)  # type: ignore[arg-type]
        return (detail[0][1][0],) if phase == WORD else NEXT[phase]  # type: ignore[index]

    def num_free(self, state: State) -> int:
        """Gives how many characters may follow, whichever they are, or fewer."""
        frame, phase, detail, _ = state
        if phase == STRING and not frame.is_keyed:
            return max(self.nodes[node].strings.num_free(place) for node, place in detail)  # type: ignore[union-attr, misc]
        return property_names.num_free(detail) if phase == NAME else 0  # type: ignore[arg-type]

    def read(self, state: State, data: bytes) -> State | None:
        """Gives the state after some bytes, as `advance` does; letters of a string are taken at once."""
        if len(data) == 1:
            return self._in_string(state, data) if state.phase == STRING else self.advance(state, data[0])
        at = 0
        after: Any = state
        while at < len(data) and after is not None and after is not OUTSIDE:
            run = _LETTERS.match(data, at) if after.takes_letters else None
            end = at + 1 if run is None else run.end()
            after, at = self._after_part(after, data[at:end]), end
        return after

    def _after_part(self, state: State, part: bytes) -> State | None:
        """Gives the state after a byte, or letters, and remembers it: candidates at one place begin alike."""
        if state.phase == STRING:  # most bytes move a string in a way of their own
            return self._in_string(state, part)
        if state.phase == NAME and len(state.detail.content) > _LONGEST_NAME:  # type: ignore[union-attr]
            return self._in_name(state, part)
        steps, key = self._steps, (state, part)
        try:
            return steps[key]
        except KeyError:
            if len(steps) >= _MAX_STEPS:
                steps.clear()
            after = self._in_name(state, part) if state.phase == NAME else self.advance(state, part[0])
            steps[key] = after
            return after

    def advance(self, state: State, byte: int) -> State | None:
        """Gives the state after one byte, or None if no allowed text begins so."""
        frame, phase, detail, text = state
        if phase == NAME:
            return self._in_name(state, bytes((byte,)))
        if phase == STRING:
            return self._in_string(state, bytes((byte,)))
        if phase in (NUMBER, WORD):
            assert isinstance(detail, tuple)
            longer = grown(text, bytes((byte,))) if frame.is_keyed else ()
            if phase == WORD:
                return self._in_word(frame, detail, byte, longer)
            if byte in IN_NUMBER:
                return self._number_state(frame, detail, byte, longer, detail)
            if byte not in NEXT[NUMBER]:
                return None
            ended = self._ended(frame, self._numbers_ended(detail), text)
            return ended if ended is None or ended is OUTSIDE else self.advance(ended, byte)
        if byte in SPACES:
            gap = self._spaced(frame, detail, byte)
            return None if gap is None else State(frame, phase, gap)
        if byte not in NEXT[phase]:
            return None
        if phase == VALUE:
            return self._value(frame, byte)
        if phase == COLON:
            return State(frame, VALUE, self._gap)
        return OUTSIDE if isinstance(frame, Cut) else self._token(frame, phase, byte)

    def _spaced(self, frame: Around, gap: int | tuple, byte: int) -> int | None:
        """Gives what may still be written between two tokens: any number of spaces from 0 on, or anything."""
        if gap == _FRESH:
            if self.whitespace == "any":
                return _FRESH
            return {ord(" "): 0, ord("\n"): _INDENT * frame.depth}.get(byte)
        assert isinstance(gap, int)
        return gap - 1 if gap and byte == ord(" ") else None

    def _token(self, frame: Frame, phase: int, byte: int) -> State | None:
        """Gives the state after a byte that may come between two tokens, other than before a value."""
        if byte == ord("}" if frame.is_object else "]"):
            return self._close(frame)
        if phase == ITEM_OR_END:
            begun = frames.begun(frame, self.nodes)
            return None if begun is None else self._value(begun, byte)
        if phase == AFTER:
            return self._comma(frame) if byte == ord(",") else None
        reading = property_names.begun(frame.entries, frame.taken)  # type: ignore[arg-type]
        return State(frame, NAME, reading) if reading else None

    def _value(self, frame: Around, byte: int) -> State | None:
        text = (bytes((byte,)),) if frame.is_keyed else ()
        if byte == QUOTE:
            strings = tuple(
                (node, texts.start)
                for node in frame.wanted
                if (texts := self.nodes[node].strings) is not None
            )
            return self._standing(frame, STRING, strings, text)
        if byte in _WORDS:
            word = _WORDS[byte]
            able = tuple(node for node in frame.wanted if word.decode() in self.nodes[node].words)
            words = tuple((node, word[1:]) for node in able)
            return self._standing(frame, WORD, words, text)
        if byte in b"[{":
            return OUTSIDE if isinstance(frame, Cut) else self._opened(frame, byte)
        starts = tuple((n, m.start) for n in frame.wanted if (m := self.nodes[n].numbers) is not None)
        return self._number_state(frame, starts, byte, text)

    def _opened(self, frame: Frame, byte: int) -> State | None:
        """Begins an array or object."""
        if byte == ord("["):
            items = tuple(
                Item.at_start(node, shape) for node in frame.wanted for shape in self.nodes[node].arrays
            )
            return State(Frame(frame, items, False), ITEM_OR_END, self._gap) if items else None
        entries = tuple(
            Entry.at_start(node, shape) for node in frame.wanted for shape in self.nodes[node].objects
        )
        return State(Frame(frame, entries, True), NAME_OR_END, self._gap) if entries else None

    def _standing(
        self, frame: Around, phase: int, states: tuple, text: Pieces, before: tuple = ()
    ) -> State | None:
        """Gives the state inside a scalar, without the ways to read it that only repeat an item.

        Args:
            frame, phase: Where it stands.
            states: Of the nodes that it may belong to.
            text: Of it, where its key will be needed.
            before: The states that these came of, none of which could only repeat an item.
        """
        if frame.is_compared:
            assert isinstance(frame, Frame)
            repeated = {
                node for node, state in states if self._only_repeats(frame, phase, node, state, before, text)
            }
            if repeated:
                entries = tuple(e for e in frame.entries if not (e.child in repeated and e.shape.is_unique))  # type: ignore[union-attr]
                frame = frame.with_entries(entries)
                states = tuple(pair for pair in states if pair[0] in frame.wanted)
        return State(frame, phase, states, text) if states else None

    def _only_repeats(self, frame: Frame, phase: int, node: int, state, before: tuple, text: Pieces) -> bool:
        if phase == WORD:
            return is_taken(frame.taken, b"".join(text) + state)
        reader = self.nodes[node].strings if phase == STRING else self.nodes[node].number_reader
        assert reader is not None
        if reader.num_endings(state) is None:
            return False
        return only_taken(reader, state, dict(before).get(node), text, frame.taken)

    def _number_state(
        self, frame: Around, states: tuple, byte: int, text: Pieces, before: tuple = ()
    ) -> State | None:
        after = []
        for node, state in states:
            machine = self.nodes[node].numbers
            assert machine is not None
            target = machine.flat[256 * state + byte]
            if target != DEAD:
                after.append((node, target))
        return self._standing(frame, NUMBER, tuple(after), text, before)

    def _numbers_ended(self, states) -> list[int]:
        return [node for node, state in states if self.nodes[node].numbers.accepts(state)]  # type: ignore[union-attr]

    def _in_word(self, frame: Around, states, byte: int, text: Pieces) -> State | None:
        rest = states[0][1]
        if byte != rest[0]:
            return None
        if len(rest) == 1:
            return self._ended(frame, [node for node, _ in states], text)
        return State(frame, WORD, tuple((node, rest[1:]) for node, _ in states), text)

    def _in_string(self, state: State, data: bytes) -> State | None:
        """Gives the state after one byte of a string, or some letters that stand for themselves."""
        frame, _, places, text = state
        assert isinstance(places, tuple)
        longer = grown(text, data) if frame.is_keyed else ()
        nodes = self.nodes
        if data == b'"':
            closed = [node for node, place in places if nodes[node].strings.closes(place)]  # type: ignore[union-attr]
            if closed:
                return self._ended(frame, closed, longer)
        after = []
        for node, place in places:
            target = nodes[node].strings.advance(place, data)  # type: ignore[union-attr]
            if target is not None:
                after.append((node, target))
        if not frame.is_keyed and tuple(after) == places:
            return state
        return self._standing(frame, STRING, tuple(after), longer, places)

    def _in_name(self, state: State, data: bytes) -> State | None:
        """Gives the state after one byte of a name, or some letters."""
        frame, reading = state.frame, state.detail
        assert isinstance(reading, Reading)
        if isinstance(frame, Cut):
            after = property_names.advanced_shared(reading, data, self.is_unique)
            return State(frame, NAME, after) if isinstance(after, Reading) else after
        if data != b'"' or reading.escape:
            after = property_names.advanced(reading, data, frame.taken, self.is_unique)
            return State(frame, NAME, after) if after else None
        name, entries = property_names.finished(reading, frame.taken)
        if not entries:
            return None
        taken = taken_and(frame.taken, name) if self.is_unique else ()
        kept = name if frame.is_keyed else b""
        return State(Frame(frame.parent, entries, True, taken, frame.digest, kept), COLON, self._gap)

    def _ended(self, frame: Around, able, text: Pieces) -> State | None:
        """Goes on behind a scalar that belongs to some nodes."""
        key = scalar_key(b"".join(text)) if frame.is_keyed and able else b""
        return self._after(frame, able, key)

    def _after(self, frame: Around, able, key: bytes) -> State | None:
        """Goes on behind a value that belongs to some nodes, and whose key is known where it is needed."""
        if isinstance(frame, Cut):
            return OUTSIDE if able else None
        if frame.parent is None:
            return State(frame, END, self.initial.detail) if able else None
        digest, taken = frame.digest, frame.taken
        if frame.is_object:
            entries = tuple(
                dict.fromkeys(entry._replace(child=-1) for entry in frame.entries if entry.child in able)  # type: ignore[union-attr]
            )
            if frame.is_keyed:
                digest = property_added(digest, frame.name, key)
        else:
            is_repeated = frame.is_compared and is_taken(taken, key)
            if frame.is_compared and not is_repeated:
                taken = taken_and(taken, key)
            entries = frames.ended(frame, able, is_repeated, taken, self.nodes)
            if frame.is_keyed:
                digest = item_added(digest, key)
        after = Frame(frame.parent, entries, frame.is_object, taken, digest)
        return State(after, AFTER, self._gap) if entries else None

    def _comma(self, frame: Frame) -> State | None:
        if frame.is_object:
            more = property_names.begun(frame.entries, frame.taken)  # type: ignore[arg-type]
            return State(frame, NAME_START, self._gap) if more else None
        begun = frames.begun(frame, self.nodes)
        return None if begun is None else State(begun, VALUE, self._gap)

    def _close(self, frame: Frame) -> State | None:
        able = {entry.node for entry in frame.entries if entry.may_close}
        assert frame.parent is not None
        key = container_key(frame.is_object, frame.digest) if frame.parent.is_keyed else b""
        return self._after(frame.parent, able, key) if able else None
