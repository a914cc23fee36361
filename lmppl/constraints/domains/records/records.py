"""Records: texts with fields on whose values there are conditions."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from lmppl.constraints.domains.records.record_layouts import Layout, Reading
from lmppl.constraints.functions.remembered_answers import Answers
from lmppl.constraints.protocol import Constraint, State, require_bytes
from lmppl.errors import InvalidInputError, InvalidTypeError


class Known(NamedTuple):
    """What is known of a record's fields.

    Attributes:
        complete: The texts of the fields that are complete, in the order of the text.
        begun: The state and the text of the field under way; None between two fields.
    """

    complete: tuple[bytes, ...]
    begun: tuple[int, bytes] | None


class Conditions(abc.ABC):
    """Conditions on the fields of a record."""

    @property
    @abc.abstractmethod
    def are_exact(self) -> bool:
        """True if `can_hold` is False wherever no value of the fields to come satisfies them."""

    @abc.abstractmethod
    def can_hold(self, known: Known) -> bool:
        """Says whether they can all hold, given what is known; exact where all fields are complete."""


@dataclass(frozen=True, repr=False)
class Records(Constraint):
    """Texts with fields whose values satisfy conditions. Made by `linear` and `smt`.

    A state is the set of ways to read the text so far (`Reading`) under which the conditions can hold.

    Attributes:
        maker: The function that made it.
        arguments: What it was given; equal ones make equal constraints.
        layout: Where the fields stand.
        conditions: On their values.
        answers: Of the conditions: remembered, and timed as those of a check are.
    """

    maker: Callable[..., Constraint]
    arguments: tuple
    layout: Layout = field(compare=False)
    conditions: Conditions = field(compare=False)
    answers: Answers = field(compare=False)

    @staticmethod
    def of(
        maker: Callable[..., Constraint],
        arguments: tuple,
        layout: Layout,
        conditions: Conditions,
        timeout: float | None,
    ) -> Records:
        """Makes a constraint that `maker(*arguments)` makes again where it is unpickled."""
        functions = {"conditions": conditions.can_hold}
        answers = Answers(_text(maker, arguments), functions, timeout)
        return Records(maker, arguments, layout, conditions, answers)

    @property
    def viable_is_exact(self) -> bool:
        """True where it is known of every field what it can still become."""
        return self.conditions.are_exact

    def initial(self) -> State:
        """Gives the state of the empty string."""
        return self._possible(self.layout.initial())

    def advance(self, state: State, data: bytes) -> State | None:
        """Gives the state after `data`, or None if no value of the fields to come can satisfy the conditions.

        Raises:
            CheckTimedOut: That could not be found out in time.
        """
        require_bytes(data)
        readings = cast(frozenset[Reading], state)
        for i in range(len(data)):
            byte = data[i : i + 1]
            readings = self._possible(new for old in readings for new in self.layout.step(old, byte))
            if not readings:
                return None
        return readings

    def accepts(self, state: State) -> bool:
        """Says whether all fields are complete and the conditions hold."""
        return any(map(self.layout.accepts, cast(frozenset[Reading], state)))

    def describe(self) -> str:
        """Gives the conditions and the template."""
        return self.answers.name

    def _possible(self, readings: Iterable[Reading]) -> frozenset[Reading]:
        return frozenset(each for each in readings if self.answers.ask("conditions", self._known(each)))

    def _known(self, reading: Reading) -> Known:
        if self.layout.is_open(reading):
            return Known(reading.texts[:-1], (reading.state, reading.texts[-1]))
        return Known(reading.texts, None)

    def __reduce__(self):
        return self.maker, self.arguments


def require_record(name: str, conditions: tuple[object, ...], over: object, fields: object) -> None:
    """Raises where there is no condition, or something is of another type."""
    if not conditions:
        raise InvalidInputError(
            f"{name}() was given no condition. Give at least one, such as 'price <= 100'."
        )
    for condition in conditions:
        if not isinstance(condition, str):
            advice = f" Write {name}(*[...], over=...)." if isinstance(condition, list | tuple) else ""
            raise InvalidTypeError(f"A condition is a str such as 'price <= 100', not {condition!r}.{advice}")
    if not isinstance(over, str):
        raise InvalidTypeError(f"`over=` is a str such as 'price: {{price}}', not {over!r}.")
    if not isinstance(fields, Mapping):
        raise InvalidTypeError(f"`fields=` of {name}() is a dict of patterns by field, not {fields!r}.")


def _text(maker: Callable[..., Constraint], arguments: tuple) -> str:
    conditions, template, *_ = arguments
    return f"{maker.__name__.strip('_')}({', '.join(map(repr, conditions))}, over={template!r})"
