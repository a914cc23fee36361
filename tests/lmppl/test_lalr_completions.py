"""Completions of LALR stacks against a search through the stacks themselves."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from lmppl.constraints.grammars import lalr_completions
from lmppl.constraints.grammars.lalr_completions import Completions
from lmppl.constraints.grammars.lalr_stacks import LalrParser, Stack
from lmppl.constraints.grammars.lalr_tables import END, GrammarRule, NotLalr, lalr_table

TOKENS = (1, 2, 3)
NONTERMINALS = (4, 5, 6)


def random_rules(rng: random.Random) -> list[GrammarRule]:
    """Gives rules with conflicts, empty sides, and nonterminals that derive nothing."""
    rules = {}
    for origin in NONTERMINALS:
        for _ in range(rng.randint(1, 3)):
            side = tuple(rng.choices((*TOKENS, *NONTERMINALS), k=rng.choice((0, 1, 1, 2, 2, 3, 3, 4))))
            rules[origin, side] = GrammarRule(origin, side, rng.randint(0, 5))
    return [*rules.values()]


def searched(parser: LalrParser, stack: Stack, written: list[set[int]], most: int) -> bool | None:
    """Looks for a completion among the stacks that tokens lead to; None if there are too many."""
    seen = {stack}
    todo = [stack]
    for each in todo:  # grows while it is walked
        if parser.ends(each):
            return True
        for token in written[each.state]:
            after = parser.after(each, token)
            if after is not None and after not in seen:
                seen.add(after)
                todo.append(after)
        if len(todo) > most:
            return None
    return False


def compare(seed: int, num: int) -> Counter[str]:
    rng = random.Random(seed)
    found: Counter[str] = Counter()
    while found["grammars"] < num:
        try:
            table = lalr_table(random_rules(rng), NONTERMINALS[0], NONTERMINALS[0])
        except NotLalr:
            continue
        found["grammars"] += 1
        parser = LalrParser(table)
        wanted = [sorted({*s, *r} - {END}) for s, r in zip(table.shifts, table.reductions, strict=True)]
        written = [{token for token in tokens if rng.random() < 0.9} for tokens in wanted]
        bits = [sum(1 << token for token in tokens) for tokens in written]
        completions = Completions(parser, lambda state, bits=bits: bits[state] | 1 << END)
        stacks = [parser.initial]
        for stack in stacks:  # grows while it is walked
            if len(stacks) < 60:
                stacks += filter(None, (parser.after(stack, token) for token in TOKENS))
        for stack in dict.fromkeys(stacks[:40]):
            expected = searched(parser, stack, written, 300)
            found[f"{expected}"] += 1
            found["wrong"] += expected is not None and completions.exist(stack) != expected
            found["wrong"] += completions.exist(stack) != completions.exist(stack)
    return found


def test_completions_exist_exactly_where_a_search_finds_one() -> None:
    found = compare(seed=0, num=150)
    assert not found["wrong"]
    assert found["True"] > 500
    assert found["False"] > 100


@pytest.mark.parametrize("mutant", ["no token is given up", "the end is not read", "no rule is empty"])
def test_broken_summary_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if mutant == "the end is not read":
        monkeypatch.setattr(lalr_completions, "END", 1)
    elif mutant == "no rule is empty":
        original = Completions._actions_of
        monkeypatch.setattr(
            Completions, "_actions_of", lambda self, state: original(self, state)._replace(empty=[])
        )
    else:
        original_act = Completions._act
        monkeypatch.setattr(
            Completions, "_act", lambda self, state, tokens, out: original_act(self, state, -1, out)
        )
    assert compare(seed=0, num=60)["wrong"]
