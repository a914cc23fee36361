"""Which shapes of arrays and objects lie in others: an alternative inside another one says nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from lmppl.constraints.json_values.array_shapes import ArrayShape
from lmppl.constraints.json_values.conditions import NOTHING, Wanted
from lmppl.constraints.json_values.object_shapes import ObjectShape
from lmppl.constraints.json_values.spelling import any_content

MAX_COMPARED = 400
"""More shapes than these are not compared, each with each."""

Shape = TypeVar("Shape", ArrayShape, ObjectShape)


def widest(shapes: tuple[Shape, ...], is_within: Callable[[Shape, Shape], bool]) -> tuple[Shape, ...]:
    """Leaves out shapes that lie in another one."""
    if not 1 < len(shapes) <= MAX_COMPARED:
        return shapes
    found: list[Shape] = []
    for shape in shapes:
        if any(is_within(shape, other) for other in found):
            continue
        found = [other for other in found if not is_within(other, shape)]
        found.append(shape)
    return tuple(found)


def object_is_within(one: ObjectShape, other: ObjectShape) -> bool:
    """Says whether each object of one shape has certainly the other one too."""
    if not one.required >= other.required or not _lie_within(one.low, one.high, other.low, other.high):
        return False
    if not other.refused.isdisjoint(one.required):
        return False
    if other.somes and not set(one.somes) >= set(other.somes):
        return False
    for name in other.required:  # first, as it is there that alternatives differ most often
        if not _is_as_strict(one.under(name), other.under(name)):
            return False
    names = (name for name, _ in (*other.named, *one.named))
    return all(_is_as_strict(one.under(name), other.under(name)) for name in names) and all(
        any(
            (machine == theirs or theirs is any_content()) and _is_as_strict(wanted, also)
            for theirs, also in other.classes
        )
        for machine, wanted in one.classes
    )


def array_is_within(one: ArrayShape, other: ArrayShape) -> bool:
    """Says whether each array of one shape has certainly the other one too."""
    if not _lie_within(one.low, one.high, other.low, other.high) or (other.is_unique and not one.is_unique):
        return False
    if other.repeats and not one.repeats:
        return False
    places = max(len(one.prefix), len(other.prefix)) + 1
    if one.high is not None:
        places = min(places, one.high)
    return set(one.tallies) >= set(other.tallies) and all(
        _is_as_strict(one.item(i), other.item(i)) for i in range(places)
    )


def _is_as_strict(one: Wanted, other: Wanted) -> bool:
    return one == NOTHING or (one >= other and other != NOTHING)


def _lie_within(low: int, high: int | None, least: int, most: int | None) -> bool:
    return low >= least and (most is None or (high is not None and high <= most))
