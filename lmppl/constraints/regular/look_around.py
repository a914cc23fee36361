"""Look-around in regular expressions: automata that run beside a run, and decide whether it may go on."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable

from lmppl.constraints.regular.character_sets import NUM_CHARACTERS, Partition
from lmppl.constraints.regular.regex_syntax import (
    Assertion,
    Character,
    Look,
    Node,
    Repetition,
    Sequence,
    walk,
)
from lmppl.constraints.regular.transition_tables import DEAD, Accepting, Table
from lmppl.errors import ConstraintError

Pending = frozenset[tuple[int, int]]
"""The look-aheads that a run is still under, and all look-behinds: numbers, and states of their automata."""

NOTHING_PENDING: Pending = frozenset()

_ANY_TEXT = Repetition(Character(((0, NUM_CHARACTERS),)), 0, None, 0)
_LOOK_RIGHT = ("text end", "line end", "last line end")


class LookArounds:
    """The look-aheads and look-behinds of one pattern, over the classes of characters of its automaton.

    `(?=x)` holds where what follows is a text of `x` and then any text, and `(?<=x)` where what stands
    before is any text and then one of `x`. Automata of those decide it: the first from that place on, the
    second from the beginning of the text.

    Args:
        partition: Of the pattern; it tells apart what is in its look-arounds.
        looks: They, without those that stand in others.
        determinised: Makes the automaton of a tree.

    Raises:
        ConstraintError: A look-behind has assertions in it.
    """

    def __init__(
        self,
        partition: Partition,
        looks: Iterable[Look],
        determinised: Callable[[Node], tuple[Partition, Table, Accepting]],
    ):
        self._looks = list(dict.fromkeys(looks))
        self._numbers = {look: number for number, look in enumerate(self._looks)}
        runs = [*zip(partition.classes, partition.starts, strict=True)]
        examples = [start for _, start in sorted(dict(reversed(runs)).items())]
        self._rows: list[list[list[int]]] = []
        self._ends: list[list[bool]] = []
        for look in self._looks:
            if not look.ahead and any(isinstance(node, Assertion | Look) for node in walk(look.item)):
                raise ConstraintError(f"a look-behind, at position {look.position}, has an assertion in it")
            items = (look.item, _ANY_TEXT) if look.ahead else (_ANY_TEXT, look.item)
            own, table, accepting = determinised(Sequence(items))
            columns = [own.classes[bisect_right(own.starts, example) - 1] for example in examples]
            self._rows.append(table[:, columns].tolist())
            self._ends.append(accepting.tolist())

    @property
    def initial(self) -> Pending:
        """What runs along from the beginning."""
        return frozenset(
            (number, 0)
            for number, look in enumerate(self._looks)
            if not look.ahead and any(self._ends[number])
        )

    def begun(self, pending: Pending, look: Look, is_at_start: bool) -> Pending | None:
        """Gives what is pending where a look-around stands, or None if it fails at once.

        Raises:
            ConstraintError: A look-ahead asks what stands in front of it, and that is not known.
        """
        number = self._numbers[look]
        if not look.ahead:
            holds = any(each == number and self._ends[number][state] for each, state in pending)
            return pending if holds != look.negative else None
        if not is_at_start and (kind := _looks_left(look.item)):
            raise ConstraintError(
                f"a look-ahead, at position {look.position}, has an assertion of a {kind} in it; it is "
                "only supported where the text begins"
            )
        return self._decided(pending, number, 0 if any(self._ends[number]) else DEAD)

    def after(self, pending: Pending, symbol: int) -> Pending | None:
        """Gives what is pending after a character of a class, or None if a look-ahead fails."""
        found: Pending | None = NOTHING_PENDING
        for number, state in pending:
            target = self._rows[number][state][symbol]
            if not self._looks[number].ahead:
                found |= {(number, target)}
                continue
            found = self._decided(found, number, target)
            if found is None:
                return None
        return found

    def may_end(self, pending: Pending) -> bool:
        """Says whether all that is pending holds at the end of the text."""
        return all(
            self._ends[number][state] != self._looks[number].negative
            for number, state in pending
            if self._looks[number].ahead
        )

    def _decided(self, pending: Pending, number: int, state: int) -> Pending | None:
        """Adds a look-ahead, unless it is settled whether it holds."""
        negative = self._looks[number].negative
        if state == DEAD:
            return pending if negative else None
        if self._ends[number][state] and set(self._rows[number][state]) == {state}:  # whatever follows
            return None if negative else pending
        return pending | {(number, state)}


def _looks_left(node: Node) -> str | None:
    for each in walk(node):
        if isinstance(each, Assertion) and each.kind not in _LOOK_RIGHT:
            return each.kind
        if isinstance(each, Look) and not each.ahead:
            return "look-behind"
    return None


def undominated(places: Iterable[tuple[int, int, int, Pending]]) -> frozenset[tuple[int, int, int, Pending]]:
    """Leaves out the runs under which stands more than under another one at the same place."""
    least: dict[tuple[int, int, int], list[Pending]] = {}
    for *place, pending in sorted(places, key=lambda each: len(each[3])):
        kept = least.setdefault((place[0], place[1], place[2]), [])
        if not any(other <= pending for other in kept):
            kept.append(pending)
    return frozenset((*place, pending) for place, several in least.items() for pending in several)
