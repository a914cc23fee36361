"""Texts with fields: what stands between them, and which values the fields read so far have."""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from lmppl.constraints.protocol import Constraint
from lmppl.constraints.regular.alternatives import automaton_of, encoded
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.regular_expression import regex
from lmppl.errors import ConstraintError, InvalidInputError, InvalidTypeError


class Segment(NamedTuple):
    """A part of a text: a field with a name, or what stands between fields, which has none."""

    name: str | None
    machine: ByteAutomaton


class Reading(NamedTuple):
    """One way to read the text so far.

    Attributes:
        segment: The number of the segment under way.
        state: Of its automaton.
        texts: Of the fields that have begun, in order; the last one is unfinished while its segment is.
    """

    segment: int
    state: int
    texts: tuple[bytes, ...]


class Layout:
    """Fields and what stands between them, in order. It ends with a segment that is no field.

    Attributes:
        segments: In the order of the text.
        fields: The automata of the fields, by name, in the order of the text.
    """

    def __init__(self, segments: Iterable[Segment]):
        self.segments = (*segments, Segment(None, automaton_of([b""])))
        self.fields = {part.name: part.machine for part in self.segments if part.name is not None}

    @staticmethod
    def of(template: str, fields: Mapping[str, str | Constraint]) -> Layout:
        """Reads a template such as `"price: {price}"` and the patterns of its fields.

        Raises:
            ConstraintError: A field has no pattern or no place, or two; or is no regular expression.
            InvalidTypeError: A pattern is neither a str nor a constraint.
        """
        segments = list(_segments(template, fields))
        names = [part.name for part in segments if part.name is not None]
        for name in names:
            if names.count(name) > 1:
                raise ConstraintError(
                    f"The field {{{name}}} stands twice in {template!r}. Give each one a name."
                )
        if not names:
            raise ConstraintError(f"There is no field in {template!r}. Write one as {{name}}.")
        if lost := sorted(set(fields) - set(names)):
            raise ConstraintError(f"There is no place for the field {{{lost[0]}}} in {template!r}.")
        return Layout(segments)

    def initial(self) -> list[Reading]:
        """Gives the ways to read the empty text."""
        first = self.segments[0]
        return self._with_next(Reading(0, first.machine.start, (b"",) if first.name else ()))

    def step(self, reading: Reading, byte: bytes) -> list[Reading]:
        """Gives the ways to go on reading; more than one if a segment may end here."""
        number, state, texts = reading
        segment = self.segments[number]
        after = segment.machine.advance(state, byte)
        if after is None:
            return []
        if segment.name is not None:
            texts = (*texts[:-1], texts[-1] + byte)
        return self._with_next(Reading(number, after, texts))

    def is_open(self, reading: Reading) -> bool:
        """Says whether the last of the texts is unfinished."""
        return self.segments[reading.segment].name is not None

    def accepts(self, reading: Reading) -> bool:
        """Says whether the text may end here."""
        number, state, _ = reading
        return number == len(self.segments) - 1 and self.segments[number].machine.accepts(state)

    def _with_next(self, reading: Reading) -> list[Reading]:
        found = [reading]
        while found[-1].segment + 1 < len(self.segments):
            number, state, texts = found[-1]
            if not self.segments[number].machine.accepts(state):
                break
            following = self.segments[number + 1]
            begun = texts if following.name is None else (*texts, b"")
            found.append(Reading(number + 1, following.machine.start, begun))
        return found


def _segments(template: str, fields: Mapping[str, str | Constraint]) -> Iterator[Segment]:
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ConstraintError(f"`over=` cannot be read: {error}. Write {{{{ and }}}} for braces.") from error
    for literal, name, form, conversion in parts:
        if literal:
            yield Segment(None, automaton_of([encoded(literal)]))
        if name is None:
            continue
        if form or conversion or not name.isidentifier():
            raise ConstraintError(
                f"`over=` has a field {name!r}; a field is a name alone, such as {{price}}."
            )
        if name not in fields:
            raise ConstraintError(
                f"The field {{{name}}} has no pattern. Give one, as in fields={{{name!r}: '[0-9]{{1,3}}'}}."
            )
        yield Segment(name, _machine(name, fields[name]))


def _machine(name: str, pattern: str | Constraint) -> ByteAutomaton:
    if not isinstance(pattern, str | Constraint):
        raise InvalidTypeError(f"The field {name!r} needs a pattern or a constraint, not {pattern!r}.")
    constraint = regex(pattern) if isinstance(pattern, str) else pattern
    machine = constraint.automaton()
    if machine is None:
        raise InvalidInputError(
            f"The field {name!r} needs an automaton, which {constraint.describe()} does not have. Give a "
            "regular expression, lp.choices or lp.length."
        )
    return machine
