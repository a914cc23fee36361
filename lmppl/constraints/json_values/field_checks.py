"""`lp.json_check`: a Python condition on one field of a JSON text, asked as soon as the field closes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from lmppl.constraints.functions.remembered_answers import Answers, require_askable
from lmppl.constraints.json_values.acceptor import Machine
from lmppl.constraints.json_values.acceptor import State as Standing
from lmppl.constraints.json_values.item_values import Pieces, grown
from lmppl.constraints.json_values.json_texts import JsonText
from lmppl.constraints.json_values.json_texts import json as json_texts
from lmppl.constraints.json_values.phases import (
    AFTER,
    END,
    IN_NUMBER,
    ITEM_OR_END,
    NAME,
    NUMBER,
    SPACES,
    VALUE,
)
from lmppl.constraints.protocol import Constraint, State, require_bytes
from lmppl.errors import InvalidInputError, InvalidTypeError

EVERY = "*"


def json_check(name: str, path: str, fn: Callable[[Any], bool], *, timeout: float | None = 5.0) -> Constraint:
    """Allows the JSON texts in which a Python function says yes to the value of a field.

    The function is asked as soon as the field closes: behind the quote or bracket, or behind the byte that
    ends a number. It is given the value as `json.loads` gives it. It must be pure: answers are remembered by
    the field's text, as those of `check` are by the text. A text without the field is allowed. Join it with
    the schema: `lp.json(schema) & lp.json_check(...)`. Viability is over-approximate.

    Args:
        name: Says in results and errors what was checked.
        path: A JSON pointer (RFC 6901) in which `*` stands for every name and every index: `/total`,
            `/items/*/price`. The empty path is the whole value. `~1` is a slash in a name and `~0` a tilde;
            a property that is called `*` cannot be named alone.
        fn: Whether the value is good.
        timeout: Seconds for one call, as of `check`.

    Raises:
        InvalidInputError: The path is no JSON pointer, or the name or timeout cannot be used.
    """
    require_askable(name, {"fn": fn}, timeout)
    if not isinstance(path, str):
        raise InvalidTypeError(f"`path=` of the check {name!r} is a JSON pointer, not {path!r}.")
    if path and not path.startswith("/"):
        raise InvalidInputError(
            f"`path=` of the check {name!r} is {path!r}; a JSON pointer is empty or begins with a slash, as "
            "'/items/*/price' does."
        )
    steps = tuple(part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:])
    return JsonCheck(path, steps, Answers(name, {"fn": OfText(fn)}, timeout))


@dataclass(frozen=True)
class OfText:
    """A function of a value, as one of the value's JSON text."""

    function: Callable[[Any], bool]

    def __call__(self, text: str) -> bool:
        """Gives the function's answer."""
        return self.function(json.loads(text))


class Place(NamedTuple):
    """Where a text stands, and on the way to which fields.

    Attributes:
        standing: Of the acceptor of all JSON texts.
        keys: For each open array or object that the path leads through: the index or name of the value in it.
        name: What has been read of a name that matters.
        field: What has been read of a field that is checked; None outside of one.
    """

    standing: Standing
    keys: tuple[int | str, ...]
    name: Pieces
    field: Pieces | None


@dataclass(frozen=True, repr=False)
class JsonCheck(Constraint):
    """A condition in Python on a field. Made by `json_check`.

    Attributes:
        path: As given.
        steps: The names and indices of the path.
        answers: Of the function.
    """

    path: str
    steps: tuple[str, ...]
    answers: Answers

    @property
    def viable_is_exact(self) -> bool:
        """False: whether a completion exists is not known."""
        return False

    def initial(self) -> State:
        """Gives the state of the empty string."""
        return Place(_anything().initial, (), (), None)

    def advance(self, state: State, data: bytes) -> State | None:
        """Gives the state after `data`, or None if it is no beginning of JSON or a field was refused.

        Raises:
            CheckError: The function raised, or returned no truth value.
            CheckTimedOut: It did not return in time.
        """
        try:
            place: Place | None = cast(Place, state)
            for byte in data:
                place = self._after(place, byte)
                if place is None:
                    return None
            return place
        except TypeError:
            require_bytes(data)
            raise

    def accepts(self, state: State) -> bool:
        """Says whether the text is JSON, and good if it is the field itself. Raises as `advance`."""
        place = cast(Place, state)
        if not _anything().accepts(place.standing):
            return False
        return place.field is None or place.standing.phase != NUMBER or self._is_good(place.field)

    def describe(self) -> str:
        """Gives the name and the path."""
        return f"json_check({self.answers.name!r}, {self.path!r})"

    def _is_good(self, field: Pieces) -> bool:
        return self.answers.ask("fn", b"".join(field).decode())

    def _after(self, place: Place, byte: int) -> Place | None:
        before = place.standing
        after = _anything().advance(before, byte)
        if after is None:
            return None
        if place.field is not None:
            return self._in_field(place, after, byte)
        if len(place.keys) != before.frame.depth:  # inside a value that the path does not lead through
            return place._replace(standing=after)
        if before.phase in (VALUE, ITEM_OR_END) and byte not in SPACES and byte != ord("]"):
            return self._at_value(place, after, byte)
        return self._between(place, after, byte)

    def _in_field(self, place: Place, after: Standing, byte: int) -> Place | None:
        """Goes on inside a field, or behind it once it has ended."""
        assert place.field is not None
        depth = len(self.steps)
        if place.standing.phase == NUMBER and place.standing.frame.depth == depth and byte not in IN_NUMBER:
            if not self._is_good(place.field):
                return None
            return self._between(place._replace(field=None), after, byte)
        field = grown(place.field, bytes((byte,)))
        if after.frame.depth == depth and after.phase in (AFTER, END):
            return place._replace(standing=after, field=None) if self._is_good(field) else None
        return place._replace(standing=after, field=field)

    def _at_value(self, place: Place, after: Standing, byte: int) -> Place:
        """Begins a value: a field, one that the path leads through, or another one."""
        depth = len(place.keys)
        leads = depth == 0 or self._matches(self.steps[depth - 1], place.keys[-1])
        if leads and depth == len(self.steps):
            return place._replace(standing=after, field=(bytes((byte,)),))
        if leads and after.frame.depth > depth:
            return place._replace(standing=after, keys=(*place.keys, "" if after.frame.is_object else 0))
        return place._replace(standing=after)

    @staticmethod
    def _matches(step: str, key: int | str) -> bool:
        return step in (EVERY, str(key))

    def _between(self, place: Place, after: Standing, byte: int) -> Place:
        """Keeps names and indices up to date, and leaves arrays and objects that end."""
        keys, name = place.keys, place.name
        if after.phase == NAME:
            name = grown(name, bytes((byte,)))
        elif place.standing.phase == NAME:
            keys = (*keys[:-1], json.loads(b"".join(grown(name, bytes((byte,))))))
            name = ()
        elif after.frame.depth < len(keys):
            keys = keys[:-1]
        elif byte == ord(",") and keys and isinstance(keys[-1], int):
            keys = (*keys[:-1], keys[-1] + 1)
        return Place(after, keys, name, None)


def _anything() -> Machine:
    return cast(JsonText, json_texts(whitespace="any")).machine
