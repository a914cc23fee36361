"""`lp.smt`: conditions on the values of a text's fields, decided by the solver z3."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

from lmppl.constraints.domains.records import arithmetic
from lmppl.constraints.domains.records.number_ranges import NumberField
from lmppl.constraints.domains.records.record_layouts import Layout
from lmppl.constraints.domains.records.records import Conditions, Known, Records, require_record
from lmppl.constraints.domains.records.smt_terms import Translator, text_term
from lmppl.constraints.functions.remembered_answers import require_askable
from lmppl.constraints.functions.time_limits import TimeLimitReached
from lmppl.constraints.protocol import Constraint
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.automaton_algebra import word_counts, words
from lmppl.constraints.utf8_decoding import decodable_head
from lmppl.errors import ConstraintError, MissingExtraError

MAX_WORDS = 256  # of a field: more are not listed for the solver

Patterns = tuple[tuple[str, str | Constraint], ...]


def smt(
    *conditions: str, over: str, fields: Mapping[str, str | Constraint], timeout: float | None = 5.0
) -> Constraint:
    """Allows the texts whose fields satisfy conditions, decided by z3. Needs `pip install 'lmppl[smt]'`.

    A field that allows numbers only is a number, any other is a text. Conditions are Python expressions:
    `and or not`, comparisons (chains too), `+ - *`, `/ // %` by a positive number, powers, `a if b else c`,
    and `in (...)`. A prefix is viable while the solver says that they can all hold, with what is known of
    the fields: all values that a half-written number can still become, or the texts that begin so. That is
    exact, except where fields are multiplied with each other, or a field allows more than 256 texts.

    Linear inequalities alone are quicker in `lp.linear`.

    Args:
        conditions: Python expressions over the fields.
        over: The text, each field in braces; write `{{` and `}}` for braces. If a text can be read in
            several ways, one that satisfies the conditions is enough.
        fields: For each field a pattern, or a constraint with an automaton. Numbers need bounds on their
            digits, as in `[0-9]{1,9}`.
        timeout: Seconds for one question to the solver. A prefix for which it takes longer is lost mass
            (`check timed out`), as with `lp.check`.

    Raises:
        ConstraintError: A condition cannot be read, or the conditions cannot all hold: the message names
            those in conflict, an unsatisfiable core.
        MissingExtraError: z3 is not installed.
    """
    require_askable("smt", {}, timeout)
    require_record("smt", conditions, over, fields)
    return _smt(conditions, over, tuple(sorted(fields.items())), timeout)


@lru_cache(256)
def _smt(conditions: tuple[str, ...], over: str, fields: Patterns, timeout: float | None) -> Constraint:
    layout = Layout.of(over, dict(fields))
    judged = SmtConditions([arithmetic.parse(text, layout.fields) for text in conditions], layout, timeout)
    try:
        judged.require_possible()
    except TimeLimitReached:
        raise ConstraintError(
            f"z3 did not find out within {timeout:g} s whether smt({', '.join(map(repr, conditions))}) can "
            "hold. Write simpler conditions, or give more time by `timeout=`."
        ) from None
    return Records.of(_smt, (conditions, over, fields, timeout), layout, judged, timeout)


class SmtConditions(Conditions):
    """Conditions over the fields of a record, and a solver that holds them. One thread asks at a time."""

    def __init__(self, conditions: Sequence[arithmetic.Condition], layout: Layout, timeout: float | None):
        self._z3 = _z3()
        self._texts = [condition.text for condition in conditions]
        self._fields = [_field(self._z3, name, machine) for name, machine in layout.fields.items()]
        translator = Translator(self._z3, {each.name: each.term for each in self._fields})
        self._formulas = [translator.formula(condition) for condition in conditions]
        self._are_exact = translator.is_linear and all(each.is_exact for each in self._fields)
        self._lock = threading.Lock()
        self._solver = self._z3.Solver()
        if timeout is not None:
            self._solver.set("timeout", max(1, int(1000 * timeout)))
        self._solver.add(*self._formulas)

    @property
    def are_exact(self) -> bool:
        """True unless fields are multiplied with each other, or one allows too many texts to list them."""
        return self._are_exact

    def can_hold(self, known: Known) -> bool:
        """Says whether the solver finds values that satisfy all conditions; yes if it cannot decide.

        Raises:
            TimeLimitReached: It took too long.
        """
        facts = [each.is_value(text) for each, text in zip(self._fields, known.complete, strict=False)]
        if known.begun is not None:
            facts.append(self._fields[len(facts)].begins_with(*known.begun))
        facts += [each.is_any() for each in self._fields[len(facts) :]]
        return self._is_satisfiable(facts)

    def require_possible(self) -> None:
        """Raises `ConstraintError` with the conditions in conflict, or `TimeLimitReached`."""
        written = [each.is_any() for each in self._fields]
        if self._is_satisfiable(written):
            return
        core = list(range(len(self._formulas)))
        for left_out in range(len(self._formulas)):
            fewer = [i for i in core if i != left_out]
            solver = self._z3.Solver()
            solver.set("timeout", 1000)  # for each: a core that is not the smallest is one too
            solver.add(*written, *(self._formulas[i] for i in fewer))
            if solver.check() == self._z3.unsat:
                core = fewer
        raise ConstraintError(
            f"No values satisfy {' and '.join(repr(self._texts[i]) for i in core)} as the fields are "
            "written. Change one of them, or the pattern of a field."
        )

    def _is_satisfiable(self, facts: list[Any]) -> bool:
        with self._lock:
            self._solver.pop(self._solver.num_scopes())  # an alarm may have left one
            self._solver.push()
            self._solver.add(*facts)
            answer = self._solver.check()
            why = self._solver.reason_unknown() if answer == self._z3.unknown else ""
            self._solver.pop()
        if why in ("timeout", "canceled", "interrupted from keyboard"):
            raise TimeLimitReached
        return answer != self._z3.unsat


def _field(z3: ModuleType, name: str, machine: ByteAutomaton) -> _NumberTerm | _TextTerm:
    kind = _NumberTerm if NumberField.holds_numbers(machine) else _TextTerm
    return kind(z3, name, machine)


class _NumberTerm:
    """A number as a term of the solver: a whole number of units."""

    is_exact = True

    def __init__(self, z3: ModuleType, name: str, machine: ByteAutomaton):
        self.name = name
        self._z3 = z3
        self._field = NumberField(name, machine)
        self._units = z3.Int(name)
        self.term = self._units
        if self._field.decimals:
            self.term = z3.ToReal(self._units) / z3.RealVal(10**self._field.decimals)

    def is_value(self, text: bytes) -> Any:
        """Says that it is a number."""
        return self._units == self._field.value(text)

    def begins_with(self, state: int, text: bytes) -> Any:
        """Says that it is one of those that a text can become."""
        return self._among(self._field.values(state, text))

    def is_any(self) -> Any:
        """Says that it is one of the field's numbers."""
        return self._among(self._field.all_values)

    def _among(self, ranges: Sequence[tuple[int, int]]) -> Any:
        return self._z3.Or(*(self._z3.And(low <= self._units, self._units <= high) for low, high in ranges))


class _TextTerm:
    """A text as a term of the solver, with all texts that the field allows, if they are few."""

    def __init__(self, z3: ModuleType, name: str, machine: ByteAutomaton):
        self.name = name
        self.term = z3.String(name)
        self._z3 = z3
        count = word_counts(machine)[machine.start]
        self.is_exact = count is not None and count <= MAX_WORDS
        self._words = sorted(words(machine)) if self.is_exact else None

    def is_value(self, text: bytes) -> Any:
        """Says that it is a text."""
        return self.term == text_term(self._z3, text.decode())

    def begins_with(self, state: int, text: bytes) -> Any:
        """Says that it is one of those that begin so."""
        if self._words is not None:
            return self._z3.Or(*(self.is_value(word) for word in self._words if word.startswith(text)))
        return self._z3.PrefixOf(text_term(self._z3, decodable_head(text) or ""), self.term)

    def is_any(self) -> Any:
        """Says that it is one of the field's texts."""
        return self.begins_with(0, b"")


def _z3() -> ModuleType:
    try:
        import z3
    except ImportError as error:
        raise MissingExtraError("smt() needs z3: pip install 'lmppl[smt]'") from error
    return z3
