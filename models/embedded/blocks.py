"""Block-stacking goals: an English instruction over named blocks, and what it asks for in PDDL."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lmppl.models.embedded.documents import Document, sections
from lmppl.models.embedded.goals import Conjunct, render

FIVE_BLOCK_TOWERS = "five-block towers"
"""Towers of five blocks are never trained on: a split of their own."""

COLOURS = (
    "red", "blue", "green", "yellow", "orange", "purple", "white", "black",
    "pink", "brown", "grey", "cyan", "gold", "silver", "violet", "teal",
)  # fmt: skip
LETTERS = tuple("abcdefgh")
NUMBERED = tuple(f"b{digit}" for digit in range(1, 10))

_ON = (
    "stack {0} on {1}", "put {0} on {1}", "place {0} on top of {1}", "{0} on {1}", "move {0} onto {1}",
    "{0} goes on {1}", "set {0} on top of {1}", "i want {0} on {1}", "put {0} on top of {1}",
    "{1} should be right below {0}", "{0} must sit on {1}", "get {0} on {1}", "{1} with {0} on it",
)  # fmt: skip
_TABLE = (
    "put {0} on the table", "{0} goes on the table", "move {0} to the table", "place {0} on the table",
    "{0} should be on the table", "set {0} down on the table", "i want {0} on the table",
    "leave {0} on the table",
)  # fmt: skip
_CLEAR = (
    "clear {0}", "nothing on {0}", "make sure nothing is on {0}", "free {0}", "{0} should be clear",
    "uncover {0}", "get {0} clear", "leave {0} clear", "keep the top of {0} free",
)  # fmt: skip
_HOLDING = (
    "pick up {0}", "hold {0}", "grab {0}", "take {0} in your hand", "lift {0}", "{0} should be in your hand",
)  # fmt: skip
_PHRASES = {"on": _ON, "on-table": _TABLE, "clear": _CLEAR, "holding": _HOLDING}

_TOWER_DOWN = (
    "build a tower of {0} from top to bottom", "from the top down: {0}", "stack {0}, top first",
    "make a tower, from the top: {0}", "a tower of {0} with the first on top",
    "a stack reading {0} downwards",
)  # fmt: skip
_TOWER_UP = (
    "build a tower of {0} from bottom to top", "from the bottom up: {0}", "stack {0}, bottom first",
    "make a tower, from the bottom: {0}", "pile up {0} in this order", "first {0} on top of each other",
)  # fmt: skip
_ON_THE_TABLE = (", all on the table", ", standing on the table", " on the table")
_JOINTS = (" and ", ", and ", ", then ", "; ", ", ")

Goal = tuple[Conjunct, ...]
Meanings = list[Goal]


def blocks_document(rng: random.Random) -> Document:
    """Draws an instruction and its goal.

    Three instructions in ten are underspecified. Their label is drawn uniformly from the goals that are
    consistent with the instruction, so that the model's uncertainty is calibrated and evidence resolves it.
    """
    objects = _draw_objects(rng)
    underspecified = rng.random() < 0.3
    words, goal, templates = (_underspecified if underspecified else _literal)(rng, objects)
    return _document("blocks", rng, objects, words, goal, templates)


def blocks_reversed_document(rng: random.Random) -> Document:
    """Draws the same pair the other way round: the goal is given, the instruction is the target.

    Programs that observe an utterance given a goal (a noisy channel) score it with these.
    """
    objects = _draw_objects(rng)
    underspecified = rng.random() < 0.3
    words, goal, templates = (_underspecified if underspecified else _literal)(rng, objects)
    return _document("blocks reversed", rng, objects, words, goal, templates)


@dataclass(frozen=True)
class Ambiguity:
    """A kind of underspecified instruction.

    Attributes:
        paraphrases: How it is said; `{0}` is the first block that it names.
        meanings: From the listed blocks and the named ones to every goal that is consistent.
        num_named: How many blocks it names.
        num_objects: With how many listed blocks it is used.
    """

    paraphrases: tuple[str, ...]
    meanings: Callable[[list[str], list[str]], Meanings]
    num_named: int
    num_objects: range


def _document(
    domain: str, rng: random.Random, objects: list[str], words: str, goal: Goal, templates: tuple[str, ...]
) -> Document:
    listed = {"objects": f"{' '.join(objects)} - block"}
    pddl = render(goal)
    words = _finish(rng, words)
    unseen = FIVE_BLOCK_TOWERS if _tallest_tower(goal) >= 5 else ""
    if domain == "blocks":
        return Document(domain, sections({**listed, "goal": words}, "pddl"), pddl, pddl, templates, unseen)
    return Document(domain, sections({**listed, "pddl": pddl}, "goal"), words, pddl, templates, unseen)


def _draw_objects(rng: random.Random) -> list[str]:
    names = rng.choices((COLOURS, LETTERS, NUMBERED), weights=(70, 15, 15))[0]
    return rng.sample(names, rng.choices((3, 4, 5, 6, 7), weights=(3, 4, 4, 3, 2))[0])


def _finish(rng: random.Random, words: str) -> str:
    """Adds what people add around an instruction."""
    before = rng.choices(("", "please ", "now ", "could you "), weights=(80, 8, 6, 6))[0]
    return before + words + rng.choices(("", "."), weights=(85, 15))[0]


def _named(rng: random.Random, block: str, style: str) -> str:
    if style == "plain":
        return block
    if block in COLOURS:
        return rng.choice((f"the {block} block", f"the {block} one", f"the {block} block"))
    return f"block {block}"


def _style(rng: random.Random) -> str:
    return rng.choices(("plain", "full"), weights=(60, 40))[0]


def _literal(rng: random.Random, objects: list[str]) -> tuple[str, Goal, tuple[str, ...]]:
    """Draws an instruction that says its goal, all of it and nothing else."""
    if rng.random() < 0.3:
        return _tower(rng, objects)
    goal = _draw_facts(rng, objects)
    style = _style(rng)
    clauses, templates = [], []
    for predicate, *arguments in rng.sample(goal, len(goal)):
        templates.append(rng.choice(_PHRASES[predicate]))
        clauses.append(templates[-1].format(*(_named(rng, block, style) for block in arguments)))
    return rng.choice(_JOINTS).join(clauses), goal, tuple(templates)


def _draw_facts(rng: random.Random, objects: list[str]) -> Goal:
    """Draws one to three facts that can hold together."""
    number = rng.choices((1, 2, 3), weights=(50, 35, 15))[0]
    free = rng.sample(objects, len(objects))
    supports: set[str] = set()
    facts: list[Conjunct] = []
    while len(facts) < number and free:
        predicate = rng.choices(("on", "on-table", "clear", "holding"), weights=(60, 18, 16, 6))[0]
        block = free.pop()
        others = [other for other in free if other not in supports]
        if predicate == "on" and others:
            below = rng.choice(others)
            supports.add(below)
            facts.append(("on", block, below))
        elif predicate == "clear" and block not in supports:
            facts.append(("clear", block))
        elif predicate == "holding" and block not in supports and all(f[0] != "holding" for f in facts):
            facts.append(("holding", block))
        else:
            facts.append(("on-table", block))
    return tuple(facts)


def _tower(rng: random.Random, objects: list[str]) -> tuple[str, Goal, tuple[str, ...]]:
    height = min(rng.choices((3, 4, 5), weights=(65, 28, 7))[0], len(objects))
    blocks = rng.sample(objects, height)
    downwards = rng.random() < 0.5
    template = rng.choice(_TOWER_DOWN if downwards else _TOWER_UP)
    style = _style(rng)
    words = template.format(
        _series([_named(rng, b, style) for b in (blocks if downwards else blocks[::-1])], rng)
    )
    goal = tower(blocks)
    if rng.random() < 0.25:
        words, goal = words + rng.choice(_ON_THE_TABLE), (*goal, ("on-table", blocks[-1]))
    return words, goal, (template,)


def _series(words: list[str], rng: random.Random) -> str:
    joint = rng.choice((" and ", " then ", ", "))
    return ", ".join(words[:-1]) + joint + words[-1]


def tower(blocks: Sequence[str]) -> Goal:
    """Gives the goal of a tower whose blocks are named from top to bottom."""
    return tuple(("on", above, below) for above, below in itertools.pairwise(blocks))


def _tallest_tower(goal: Goal) -> int:
    below = {c[1]: c[2] for c in goal if c[0] == "on"}

    def height(block: str) -> int:
        return 1 + (height(below[block]) if block in below else 0)

    return max((height(block) for block in below), default=1)


def _underspecified(rng: random.Random, objects: list[str]) -> tuple[str, Goal, tuple[str, ...]]:
    """Draws an instruction that leaves something open, and one of the goals that it may mean."""
    ambiguity = AMBIGUITIES[rng.choice([k for k, a in AMBIGUITIES.items() if len(objects) in a.num_objects])]
    named = rng.sample(objects, ambiguity.num_named)
    template = rng.choice(ambiguity.paraphrases)
    style = _style(rng)
    words = template.format(*(_named(rng, block, style) for block in named))
    return words, rng.choice(ambiguity.meanings(objects, named)), (template,)


def _others(objects: list[str], *named: str) -> list[str]:
    return [block for block in objects if block not in named]


def _towers(objects: list[str], heights: Sequence[int]) -> Meanings:
    return [tower(blocks) for height in heights for blocks in itertools.permutations(objects, height)]


AMBIGUITIES = {
    "onto another": Ambiguity(
        ("stack {0}", "put {0} on another block", "stack {0} on something", "put {0} on top of some block",
         "{0} goes on one of the others", "{0} should stand on a block"),
        lambda objects, named: [(("on", named[0], x),) for x in _others(objects, named[0])], 1, range(3, 8)),
    "something onto": Ambiguity(
        ("put something on {0}", "stack a block on {0}", "cover {0}", "something should be on {0}",
         "put one of the others on {0}", "put a block on top of {0}"),
        lambda objects, named: [(("on", x, named[0]),) for x in _others(objects, named[0])], 1, range(3, 8)),
    "tower with a top": Ambiguity(
        ("make a tower with {0} on top", "build a tower that has {0} at the top", "{0} on top of a tower",
         "a tower with {0} as its top", "{0} should be the top of a stack", "build a stack, {0} on top"),
        lambda objects, named: [g for g in _towers(objects, (2, 3)) if g[0][1] == named[0]], 1, range(3, 6)),
    "tower with a bottom": Ambiguity(
        ("make a tower with {0} at the bottom", "build a tower on {0}", "a tower that starts with {0}",
         "a stack with {0} as its base", "{0} is the bottom of a tower", "use {0} as the base of a tower"),
        lambda objects, named: [g for g in _towers(objects, (2, 3)) if g[-1][2] == named[0]], 1, range(3, 6)),
    "some tower": Ambiguity(
        ("stack the blocks", "build a tower", "make a tower", "make a stack", "stack some blocks",
         "i want a tower", "pile up blocks"),
        lambda objects, named: _towers(objects, (2, 3)), 0, range(3, 5)),
    "tower of all": Ambiguity(
        ("stack all the blocks", "build one tower of all the blocks", "put everything in one tower",
         "all blocks in a single stack", "make one tower and use every block"),
        lambda objects, named: _towers(objects, (len(objects),)), 0, range(3, 5)),
    "two, some order": Ambiguity(
        ("stack {0} and {1}", "{0} and {1} should be stacked", "make a tower of {0} and {1}",
         "put {0} and {1} together", "one of {0} and {1} goes on the other", "pile up {0} and {1}"),
        lambda objects, named: [tower(named), tower(named[::-1])], 2, range(3, 8)),
    "three, some order": Ambiguity(
        ("stack {0}, {1} and {2}", "make a tower of {0}, {1} and {2}", "put {0}, {1} and {2} in one tower",
         "a tower out of {0}, {1} and {2}", "{0}, {1} and {2} should form a stack"),
        lambda objects, named: _towers(named, (3,)), 3, range(3, 8)),
    "move": Ambiguity(
        ("move {0}", "put {0} somewhere", "put {0} somewhere else", "put {0} away", "{0} has to go"),
        lambda objects, named: [(("on-table", named[0]),)]
        + [(("on", named[0], x),) for x in _others(objects, named[0])], 1, range(3, 7)),
    "either on": Ambiguity(
        ("put {0} or {1} on {2}", "stack {0} or {1} on {2}", "either {0} or {1} goes on {2}",
         "{0} or {1} should be on {2}"),
        lambda objects, named: [(("on", either, named[2]),) for either in named[:2]], 3, range(3, 8)),
    "on either": Ambiguity(
        ("put {0} on {1} or {2}", "stack {0} on {1} or {2}", "{0} goes on either {1} or {2}",
         "{0} should be on {1} or on {2}"),
        lambda objects, named: [(("on", named[0], either),) for either in named[1:]], 3, range(3, 8)),
    "above": Ambiguity(
        ("put {0} above {1}", "{0} should be above {1}", "{0} somewhere above {1}", "get {0} higher than {1}",
         "{1} somewhere under {0}"),
        lambda objects, named: [tower(named)]
        + [tower((named[0], x, named[1])) for x in _others(objects, *named)], 2, range(3, 7)),
    "on the table or clear": Ambiguity(
        ("get {0} ready", "make {0} available", "sort out {0}"),
        lambda objects, named: [((predicate, named[0]),) for predicate in ("clear", "on-table", "holding")],
        1, range(3, 8)),
    "one on the table": Ambiguity(
        ("put a block on the table", "one block goes on the table", "something should be on the table"),
        lambda objects, named: [(("on-table", x),) for x in objects], 0, range(3, 6)),
    "one clear": Ambiguity(
        ("clear one of the blocks", "uncover a block", "free one block"),
        lambda objects, named: [(("clear", x),) for x in objects], 0, range(3, 6)),
    "two towers": Ambiguity(
        ("make two towers", "build two stacks", "two towers of two blocks each", "stack the blocks in pairs"),
        lambda objects, named: sorted({tuple(sorted((tower(p[:2])[0], tower(p[2:])[0])))
                                       for p in itertools.permutations(objects, 4)}), 0, range(4, 5)),
}  # fmt: skip
