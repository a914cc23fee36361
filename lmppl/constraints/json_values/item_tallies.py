"""Conditions on how many items of an array satisfy something, as counts that each reading keeps.

Whether an item counts is guessed before it is read: a reading that guesses that it does reads the item as
one that satisfies the condition too, and dies if it does not. So an array has the shape if one reading ends
with the right counts, and nothing must be known about items that were not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product
from math import prod
from typing import NamedTuple

from lmppl.constraints.json_values.conditions import Wanted
from lmppl.constraints.regular.character_automaton import TooLarge

MAX_STANDINGS = 50_000

Counts = tuple[int, ...]
"""For each tally, how many items were counted, up to its bound."""


class Tally(NamedTuple):
    """A condition on how many items satisfy something.

    Attributes:
        wanted: What is asked of the items.
        is_least: Whether at least `bound` items satisfy it. If not, at most `bound` items do not.
        bound: How many.
        start: Items before this place do not matter.
    """

    wanted: Wanted
    is_least: bool
    bound: int
    start: int = 0


def ways(tallies: tuple[Tally, ...], index: int, counts: Counts) -> list[tuple[int, Counts]]:
    """Gives the ways to count the item at a place.

    Returns:
        The tallies whose condition it must satisfy, as bits, and the counts then.
    """
    found: list[tuple[int, Counts]] = [(0, ())]
    for number, (tally, count) in enumerate(zip(tallies, counts, strict=True)):
        options = [(not tally.is_least, count)]
        if index < tally.start:
            options = [(False, count)]
        elif count < tally.bound:
            options.append((tally.is_least, count + 1))
        found = [(bits | must << number, (*seen, after)) for bits, seen in found for must, after in options]
    return found


def is_met(tallies: tuple[Tally, ...], counts: Counts) -> bool:
    """Says whether an array may end with such counts."""
    return all(
        not tally.is_least or count >= tally.bound for tally, count in zip(tallies, counts, strict=True)
    )


def best(tallies: tuple[Tally, ...], seen: Iterable[Counts]) -> list[Counts]:
    """Gives the counts that no others are at least as good as, whatever comes after."""
    signs = [1 if tally.is_least else -1 for tally in tallies]
    found: list[Counts] = []
    for counts in sorted(set(seen), key=lambda each: -sum(s * c for s, c in zip(signs, each, strict=True))):
        if not any(
            all(s * a >= s * b for s, a, b in zip(signs, other, counts, strict=True)) for other in found
        ):
            found.append(counts)
    return found


def finishable(
    tallies: tuple[Tally, ...],
    low: int,
    high: int | None,
    places: int,
    is_alive: Callable[[int, int], bool],
) -> frozenset[tuple[int, Counts]]:
    """Gives the numbers of items, with the counts, from which an array can still be ended.

    Args:
        tallies: The conditions.
        low, high: Bounds of the number of items.
        places: From this number of items on all are alike.
        is_alive: Whether there is an item for a place that satisfies the tallies of some bits.

    Raises:
        TooLarge: There are more than 50,000 of them.
    """
    if (places + 1) * prod(tally.bound + 1 for tally in tallies) > MAX_STANDINGS:
        raise TooLarge
    found: set[tuple[int, Counts]] = set()
    for index in range(places, -1, -1):
        may_go_on = high is None or index < high
        for counts in product(*(range(tally.bound, -1, -1) for tally in tallies)):  # what follows comes first
            if (index >= low and is_met(tallies, counts)) or (
                may_go_on
                and any(
                    (min(index + 1, places), after) in found and is_alive(index, bits)
                    for bits, after in ways(tallies, index, counts)
                )
            ):
                found.add((index, counts))
    return frozenset(found)
