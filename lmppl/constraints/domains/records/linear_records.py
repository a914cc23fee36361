"""`lp.linear`: linear inequalities between the numbers of a text."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache

from lmppl.constraints.domains.records import arithmetic
from lmppl.constraints.domains.records.linear_feasibility import (
    Inequality,
    conflicting,
    is_feasible,
    whole,
    with_combinations,
)
from lmppl.constraints.domains.records.number_ranges import NumberField, Ranges
from lmppl.constraints.domains.records.record_layouts import Layout
from lmppl.constraints.domains.records.records import Conditions, Known, Records, require_record
from lmppl.constraints.functions.remembered_answers import require_askable
from lmppl.constraints.functions.time_limits import TimeLimitReached, call_within
from lmppl.constraints.protocol import Constraint
from lmppl.errors import ConstraintError

Patterns = tuple[tuple[str, str | Constraint], ...]


def linear(
    *conditions: str, over: str, fields: Mapping[str, str | Constraint], timeout: float | None = 5.0
) -> Constraint:
    """Allows the texts whose numbers satisfy linear inequalities.

    `lp.linear("2*price + tax <= 100", over="price {price}, tax {tax}", fields={"price": "[0-9]{1,2}", "tax":
    "[0-9]{1,2}"})` allows `price 40, tax 20`, and refuses `price 60` at its 6. Viability is exact, inside
    a number too: a prefix is viable if and only if some numbers that begin so satisfy all conditions.

    Args:
        conditions: Comparisons (`<= < >= > ==`, chains too) of sums of fields times numbers, joined by
            `and`, in Python's syntax. Decimal numbers count as they are written, not as floats.
        over: The text, each field in braces; write `{{` and `}}` for braces. If a text can be read in
            several ways, one that satisfies the conditions is enough.
        fields: For each field a pattern or a constraint with an automaton. It must allow finitely many
            texts, and only numbers: `-?[0-9]+(\\.[0-9]+)?` with bounds.
        timeout: Seconds to find out whether the conditions can hold. A few inequalities take well under a
            millisecond; but there are some that take for ever. A prefix for which it takes longer is lost
            mass (`check timed out`), as with `lp.check`.

    Raises:
        ConstraintError: A condition is not linear or names no field, a field is not what is said above, or
            no numbers satisfy all conditions: the message names those that are in conflict.
    """
    require_askable("linear", {}, timeout)
    require_record("linear", conditions, over, fields)
    return _linear(conditions, over, tuple(sorted(fields.items())), timeout)


@lru_cache(256)
def _linear(conditions: tuple[str, ...], over: str, fields: Patterns, timeout: float | None) -> Constraint:
    layout = Layout.of(over, dict(fields))
    judged = LinearConditions([arithmetic.parse(text, layout.fields) for text in conditions], layout)
    try:
        judged.require_possible(timeout)
    except TimeLimitReached:
        raise ConstraintError(
            f"Whether linear({', '.join(map(repr, conditions))}) can hold was not found out within "
            f"{timeout:g} s. Write fewer or simpler conditions, or use lp.smt."
        ) from None
    return Records.of(_linear, (conditions, over, fields, timeout), layout, judged, timeout)


class LinearConditions(Conditions):
    """Linear inequalities over the numbers of a record, in the units of its fields."""

    def __init__(self, conditions: Sequence[arithmetic.Condition], layout: Layout):
        self._texts = [condition.text for condition in conditions]
        self._fields = [self._field(name, layout) for name in layout.fields]
        self._groups = [[self._whole(row) for row in arithmetic.rows(condition)] for condition in conditions]
        self._inequalities = with_combinations(itertools.chain.from_iterable(self._groups))

    @property
    def are_exact(self) -> bool:
        """True: all that a number can become is known."""
        return True

    def can_hold(self, known: Known) -> bool:
        """Says whether some numbers satisfy all inequalities. Exact."""
        domains: list[Ranges] = []
        for each, text in zip(self._fields, known.complete, strict=False):
            value = each.value(text)
            domains.append(((value, value),))
        if known.begun is not None:
            domains.append(self._fields[len(domains)].values(*known.begun))
        domains += [each.all_values for each in self._fields[len(domains) :]]
        return is_feasible(self._inequalities, domains)

    def require_possible(self, timeout: float | None) -> None:
        """Raises `ConstraintError` with the conditions in conflict, or `TimeLimitReached`."""
        domains = [each.all_values for each in self._fields]

        def conflict(_: None) -> list[int] | None:
            return None if is_feasible(self._inequalities, domains) else conflicting(self._groups, domains)

        found = conflict(None) if timeout is None else call_within(timeout, conflict, None)
        if found is not None:
            raise ConstraintError(
                f"No numbers satisfy {' and '.join(repr(self._texts[i]) for i in found)} as the fields are "
                "written. Change one of them, or the pattern of a field."
            )

    def _whole(self, row: arithmetic.Row) -> Inequality:
        weights = [row.weights.get(each.name, Fraction(0)) / 10**each.decimals for each in self._fields]
        return whole(weights, row.bound, row.is_strict)

    @staticmethod
    def _field(name: str, layout: Layout) -> NumberField:
        machine = layout.fields[name]
        if not NumberField.holds_numbers(machine):
            raise ConstraintError(
                f"The field {name!r} allows texts that are no numbers. Give a pattern of numbers such as "
                r"-?[0-9]{1,3}(\.[0-9]{2})?, or use lp.smt."
            )
        return NumberField(name, machine)
