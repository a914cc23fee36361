"""Whether some whole numbers satisfy linear inequalities: narrowing ranges, and trying both halves."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterable, Sequence
from fractions import Fraction

from lmppl.constraints.domains.records.number_ranges import Ranges

Inequality = tuple[tuple[int, ...], int]
"""Whole weights, one for each variable, and the bound: `sum(weight * value) <= bound`."""

MAX_COMBINATIONS = 200  # inequalities that are combined with those before
MAX_KEPT = 60  # inequalities, given or combined: each is asked about every time
MAX_ROUNDS = 20  # of narrowing, before a range is halved


def whole(weights: Sequence[Fraction], bound: Fraction, is_strict: bool) -> Inequality:
    """Gives an inequality of fractions over whole numbers as one of whole numbers, as tight as there is."""
    unit = math.lcm(bound.denominator, *(weight.denominator for weight in weights))
    return _reduced([int(weight * unit) for weight in weights], int(bound * unit) - is_strict)


def with_combinations(inequalities: Iterable[Inequality]) -> tuple[Inequality, ...]:
    """Adds sums of two inequalities in which a variable cancels out.

    Narrowing one variable after the other never ends on `x <= y and y < x`; their sum says `0 < 0`.
    Fourier's elimination, cut short.
    """
    given = list(inequalities)
    tightest: dict[tuple[int, ...], int] = {}
    todo = deque(given)
    for _ in range(MAX_COMBINATIONS):
        if not todo or len(tightest) >= MAX_KEPT:
            break
        weights, bound = todo.popleft()
        if tightest.get(weights, bound + 1) <= bound:
            continue
        for other, other_bound in tightest.items():
            for one, two in zip(weights, other, strict=True):
                if one * two < 0:
                    summed = [abs(two) * a + abs(one) * b for a, b in zip(weights, other, strict=True)]
                    todo.append(_reduced(summed, abs(two) * bound + abs(one) * other_bound))
        tightest[weights] = bound
    return tuple(dict.fromkeys((*given, *tightest.items())))


def is_feasible(inequalities: Sequence[Inequality], domains: Sequence[Ranges]) -> bool:
    """Says whether values out of some ranges satisfy all inequalities. Exact.

    Ranges are narrowed as long as an inequality leaves out their ends; then one of them is halved, and
    both halves are tried. Quick for a few variables; in the worst case exponential, so ask under a time
    limit.
    """
    todo = [tuple(domains)]
    while todo:
        narrowed = _narrowed(inequalities, todo.pop())
        if narrowed is None:
            continue
        if all(_most(weights, narrowed) <= bound for weights, bound in inequalities):
            return True
        todo += _halves(narrowed)
    return False


def _reduced(weights: list[int], bound: int) -> Inequality:
    divisor = math.gcd(*weights) or 1
    return tuple(weight // divisor for weight in weights), bound // divisor


def _narrowed(inequalities: Sequence[Inequality], domains: tuple[Ranges, ...]) -> tuple[Ranges, ...] | None:
    """Gives the domains without what no inequality allows at their ends; None if one is empty."""
    narrowed = list(domains)
    if not all(narrowed):
        return None
    for _ in range(MAX_ROUNDS):
        before = list(narrowed)
        for weights, bound in inequalities:
            rest = bound - sum(
                _least(weight, values) for weight, values in zip(weights, narrowed, strict=True)
            )
            if rest < 0:
                return None
            for i, weight in enumerate(weights):
                if weight:
                    narrowed[i] = _cut(weight, narrowed[i], rest + _least(weight, narrowed[i]))
                    if not narrowed[i]:
                        return None
        if narrowed == before:
            break
    return tuple(narrowed)


def _cut(weight: int, values: Ranges, most: int) -> Ranges:
    """Gives the values with `weight * value <= most`."""
    if weight > 0:
        limit = most // weight
        if values[-1][1] <= limit:
            return values
        return tuple((low, min(high, limit)) for low, high in values if low <= limit)
    limit = -(most // -weight)
    if values[0][0] >= limit:
        return values
    return tuple((max(low, limit), high) for low, high in values if high >= limit)


def _least(weight: int, values: Ranges) -> int:
    return weight * (values[0][0] if weight >= 0 else values[-1][1])


def _most(weights: tuple[int, ...], domains: tuple[Ranges, ...]) -> int:
    return -sum(_least(-weight, values) for weight, values in zip(weights, domains, strict=True))


def _halves(domains: tuple[Ranges, ...]) -> Iterable[tuple[Ranges, ...]]:
    """Splits the widest domain, between two ranges if it has several."""
    widest = max(range(len(domains)), key=lambda i: domains[i][-1][1] - domains[i][0][0])
    values = domains[widest]
    if middle := len(values) // 2:
        halves = (values[middle:], values[:middle])
    else:
        low, high = values[0]
        middle = (low + high) // 2
        halves = (((middle + 1, high),), ((low, middle),))
    return [(*domains[:widest], half, *domains[widest + 1 :]) for half in halves]


def conflicting(groups: Sequence[Sequence[Inequality]], domains: Sequence[Ranges]) -> list[int]:
    """Gives the groups, as few as can be, that cannot hold together."""
    chosen = list(range(len(groups)))
    for left_out in range(len(groups)):
        fewer = [i for i in chosen if i != left_out]
        rows = with_combinations(itertools.chain.from_iterable(groups[i] for i in fewer))
        if not is_feasible(rows, domains):
            chosen = fewer
    return chosen
