"""The alternatives that are left where schemas meet: not those that are empty, nor those inside others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from lmppl.constraints.json_values.array_shapes import ArrayShape
from lmppl.constraints.json_values.conditions import ANYTHING, NOTHING, TooManyShapes, Wanted
from lmppl.constraints.json_values.object_shapes import ObjectShape
from lmppl.constraints.json_values.shape_order import array_is_within, object_is_within, widest
from lmppl.constraints.json_values.shapes import Values, every_value, union_of
from lmppl.errors import UnsupportedSchema

MAX_PAIRS = 2_000_000
"""How many pairs of shapes are compared where sets meet one by one: a chain of 180 conditions, some 3 s."""

_DEPTH = 3  # how far the search for a contradiction goes
_FEW = 4  # shapes of a set that is compared with others
_MANY = 8  # shapes are worth a search for other words for what they want


class Alternatives:
    """Combines sets of values, and looks into their shapes as far as it helps to leave some out.

    Args:
        values: What is wanted, as a set of values.
        is_under_way: Whether what is wanted is being read, so that it cannot be asked for.
    """

    def __init__(self, values: Callable[[Wanted], Values], is_under_way: Callable[[Wanted], bool]):
        self._values = values
        self._is_under_way = is_under_way
        self._left = _DEPTH  # levels to look into
        self._empty: dict[tuple[Wanted, int], bool] = {}
        self._plain: dict[Wanted, Wanted] = {}
        self._first: dict[Values, Wanted] = {}

    @property
    def looks_no_further(self) -> bool:
        """Whether what is read now is not looked into, so that more alternatives are left than need be."""
        return self._left == 0

    def meet(self, sets: Iterable[Values]) -> Values:
        """Gives the values in all of some sets.

        Raises:
            TooLarge, TooManyShapes: The result is too large, or what is read on the way to it.
        """
        found = every_value()
        num_compared = 0
        for each in sorted(sets, key=lambda values: len(values.objects) + len(values.arrays)):
            found = self.left_of(found.intersection(each))
            num_compared += len(found.objects) ** 2 + len(found.arrays) ** 2
            if num_compared > MAX_PAIRS:
                raise TooManyShapes
        return found

    def union(self, sets: Iterable[Values]) -> Values:
        """Gives the values in at least one of some sets."""
        return self.left_of(union_of(sets))

    def left_of(self, values: Values) -> Values:
        """Gives the same set by fewer alternatives."""
        objects, arrays = values.objects, values.arrays
        if len(objects) > 1:
            objects = tuple(s for s in objects if not self._is_empty_object(s))
            if self._left and len(objects) > _MANY:
                objects = tuple(dict.fromkeys(map(self._plainly, objects)))
            objects = widest(objects, object_is_within)
        if len(arrays) > 1:
            arrays = widest(tuple(s for s in arrays if not self._is_empty_array(s)), array_is_within)
        return replace(values, objects=objects, arrays=arrays)

    def certainly_empty(self, values: Values) -> bool:
        """Says whether there is certainly no such value, as far as three levels show."""
        return (
            not values.has_scalars
            and all(map(self._is_empty_array, values.arrays))
            and all(map(self._is_empty_object, values.objects))
        )

    def _is_empty_array(self, shape: ArrayShape) -> bool:
        return any(self._is_impossible(shape.item(i)) for i in range(min(shape.low, len(shape.prefix) + 1)))

    def _is_empty_object(self, shape: ObjectShape) -> bool:
        return any(self._is_impossible(shape.under(name)) for name in shape.required)

    def _is_impossible(self, wanted: Wanted) -> bool:
        if wanted in (NOTHING, ANYTHING) or not self._left or self._is_under_way(wanted):
            return wanted == NOTHING
        key = (wanted, self._left)
        if key not in self._empty:
            with self._one_level_down():
                self._empty[key] = self._looked_at(wanted)
        return self._empty[key]

    def _looked_at(self, wanted: Wanted) -> bool:
        try:
            return self.certainly_empty(self._values(wanted))
        except UnsupportedSchema:  # what is refused for good will be refused by who needs it
            return False

    @contextmanager
    def _one_level_down(self) -> Iterator[None]:
        self._left -= 1
        try:
            yield
        finally:
            self._left += 1

    def _plainly(self, shape: ObjectShape) -> ObjectShape:
        """Gives the shape with what is wanted under a name said by as few schemas as possible."""
        named = tuple((name, self._shortest(wanted)) for name, wanted in shape.named)
        return shape if named == shape.named else replace(shape, named=named)

    def _shortest(self, wanted: Wanted) -> Wanted:
        """Gives what means the same, by fewer schemas where one is known that does."""
        if len(wanted) < 2 or self._is_under_way(wanted):
            return wanted
        if wanted not in self._plain:
            with self._one_level_down():
                self._plain[wanted] = self._equal(wanted)
        return self._plain[wanted]

    def _equal(self, wanted: Wanted) -> Wanted:
        try:
            for each in wanted:
                single = frozenset({each})
                self._remember(self._values(single), single)
            values = self._values(wanted)
        except UnsupportedSchema:
            return wanted
        if values.is_empty:
            return NOTHING
        return self._remember(values, wanted)

    def _remember(self, values: Values, wanted: Wanted) -> Wanted:
        if len(values.objects) + len(values.arrays) > _FEW:
            return wanted
        return self._first.setdefault(values, wanted)
