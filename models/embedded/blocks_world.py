"""The evidence of a blocks-world evaluation: the state that an agent with a given goal leaves behind."""

from __future__ import annotations

import random

from lmppl.models.embedded.goals import Conjunct, canonical

TABLE, ARM = "table", "arm"


def final_state(rng: random.Random, objects: list[str], goal: tuple[Conjunct, ...]) -> frozenset[Conjunct]:
    """Draws a state of all blocks and gives the facts that hold once an agent has reached its goal from it.

    The agent uncovers the blocks that the goal names, then builds from the bottom up. It does no more.
    """
    support = _draw_state(rng, objects)
    for block in sorted({block for _, *blocks in goal for block in blocks}):
        _uncover(support, block)
    for predicate, *blocks in reversed(canonical(goal)):
        if predicate == "on-table":
            support[blocks[0]] = TABLE
    for predicate, *blocks in reversed(canonical(goal)):
        if predicate == "on":
            support[blocks[0]] = blocks[1]
        elif predicate == "holding":
            support[blocks[0]] = ARM
    return _facts(support)


def _draw_state(rng: random.Random, objects: list[str]) -> dict[str, str]:
    """Draws towers: each block, in random order, goes on the table or on a tower that stands already."""
    support: dict[str, str] = {}
    tops = [TABLE]
    for block in rng.sample(objects, len(objects)):
        support[block] = rng.choice(tops)
        tops = [top for top in tops if top == TABLE or top != support[block]]
        tops.append(block)
    return support


def _uncover(support: dict[str, str], block: str) -> None:
    """Puts everything above a block on the table."""
    for above in [b for b, below in support.items() if below == block]:
        _uncover(support, above)
        support[above] = TABLE


def _facts(support: dict[str, str]) -> frozenset[Conjunct]:
    facts: set[Conjunct] = set()
    for block, below in support.items():
        facts.add({TABLE: ("on-table", block), ARM: ("holding", block)}.get(below, ("on", block, below)))
        if below != ARM and block not in support.values():
            facts.add(("clear", block))
    return frozenset(facts)
