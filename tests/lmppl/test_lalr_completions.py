"""Completions of LALR stacks against a search through the stacks themselves."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmppl.cache_places import COMPILE_CACHE
from lmppl.constraints import stored_compilations
from lmppl.constraints.grammars import lalr_completions
from lmppl.constraints.grammars.lalr_completions import Completions, KeptAnswers, Outcomes, Question
from lmppl.constraints.grammars.lalr_endings import ShortEndings
from lmppl.constraints.grammars.lalr_stacks import LalrParser, Stack
from lmppl.constraints.grammars.lalr_tables import END, GrammarRule, NotLalr, lalr_table
from lmppl.constraints.grammars.short_sentences import nearest_endings
from lmppl.constraints.stored_compilations import StoredParts

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


def random_stacks(
    rng: random.Random, num: int
) -> Iterator[tuple[list[GrammarRule], LalrParser, list[set[int]], dict[Stack, None]]]:
    """Draws so many rules that have a table; gives their parser, what each state wants, and stacks."""
    while num:
        rules = random_rules(rng)
        try:
            table = lalr_table(rules, NONTERMINALS[0], NONTERMINALS[0])
        except NotLalr:
            continue
        num -= 1
        parser = LalrParser(table)
        stacks = [parser.initial]
        for stack in stacks:  # grows while it is walked
            if len(stacks) < 60:
                stacks += filter(None, (parser.after(stack, token) for token in TOKENS))
        wanted = [{*s, *r} - {END} for s, r in zip(table.shifts, table.reductions, strict=True)]
        yield rules, parser, wanted, dict.fromkeys(stacks[:40])


def bits_of(tokens: set[int]) -> int:
    return sum(1 << token for token in tokens)


def compare(seed: int, num: int) -> Counter[str]:
    rng = random.Random(seed)
    found: Counter[str] = Counter()
    for _, parser, wanted, stacks in random_stacks(rng, num):
        written = [{token for token in sorted(tokens) if rng.random() < 0.9} for tokens in wanted]
        completions = Completions(parser, lambda state, written=written: bits_of({*written[state], END}))
        for stack in stacks:
            expected = searched(parser, stack, written, 300)
            found[f"{expected}"] += 1
            found["wrong"] += expected is not None and completions.exist(stack) != expected
            found["wrong"] += completions.exist(stack) != completions.exist(stack)
    return found


def compare_endings(seed: int, num: int) -> Counter[str]:
    """Counts stacks by whether they can be completed and whether a short ending is found."""
    rng = random.Random(seed)
    found: Counter[str] = Counter()
    for rules, parser, wanted, stacks in random_stacks(rng, num):
        after = {token: {other for other in TOKENS if rng.random() < 0.7} for token in TOKENS}
        before = {state: t for moves in parser.table.shifts for t, state in moves.items()}
        written = [tokens & after.get(before.get(state, -1), tokens) for state, tokens in enumerate(wanted)]
        endings = ShortEndings(
            parser,
            nearest_endings(rules, parser.table.rests),
            lambda state, token, wanted=wanted: token in {*wanted[state], END},
            lambda _, token, after=after: bits_of({*after[token], END}),
        )
        for stack in stacks:
            expected = searched(parser, stack, written, 300)
            exists = endings.exists(stack, bits_of({*written[stack.state], END}))
            found[f"{expected}, {exists}"] += 1
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


def compare_kept(seed: int, num: int, folder: Path) -> Counter[str]:
    """Counts answers of completions that go on from what others have kept, after the first few stacks."""
    rng = random.Random(seed)
    found: Counter[str] = Counter()
    for number, (_, parser, wanted, stacks) in enumerate(random_stacks(rng, num)):
        written = [bits_of({*(t for t in sorted(tokens) if rng.random() < 0.9), END}) for tokens in wanted]
        expected = [Completions(parser, written.__getitem__).exist(stack) for stack in stacks]
        for few in (3, None, None):
            kept = KeptAnswers(StoredParts((seed, number)), "completions")
            completions = Completions(parser, written.__getitem__, kept)
            answers = [completions.exist(stack) for stack in list(stacks)[:few]]
            found["wrong"] += answers != expected[:few]
            found["False"] += answers.count(False)
    found["files"] = len(list(folder.iterdir()))
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that keeps all."""
    monkeypatch.setenv(COMPILE_CACHE, str(tmp_path))
    monkeypatch.setattr(stored_compilations, "LEAST_SECONDS", 0.0)
    return tmp_path / "constraints"


def test_answers_that_are_kept_are_those_that_would_be_found(folder: Path) -> None:
    found = compare_kept(seed=1, num=60, folder=folder)
    assert not found["wrong"]
    assert found["False"] > 100
    assert found["files"] == 60


@pytest.mark.parametrize("mutant", ["rules are not told apart", "what is not known yet is kept too"])
def test_broken_keeping_is_caught(mutant: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if mutant == "rules are not told apart":
        monkeypatch.setattr(lalr_completions, "_key", lambda question: (question.state,))
    else:
        original = Completions._evaluated

        def evaluated(self: Completions, question: Question) -> Outcomes:
            if self._kept is not None:
                self._kept.keep(0.0, self._questions)
                monkeypatch.setattr(KeptAnswers, "keep", lambda *_: None)
            return original(self, question)

        monkeypatch.setattr(Completions, "_evaluated", evaluated)
    assert compare_kept(seed=1, num=60, folder=folder)["wrong"]


def test_a_search_that_was_interrupted_goes_on_where_it_was_left() -> None:
    rng = random.Random(2)
    num_interrupted = 0
    for _, parser, wanted, stacks in random_stacks(rng, 60):
        written = [bits_of({*tokens, END}) for tokens in wanted]
        for after in range(1, 4):
            left = [after]

            def interrupted(state: int, left: list[int] = left, written: list[int] = written) -> int:
                left[0] -= 1
                if left[0] == 0:
                    raise KeyboardInterrupt
                return written[state]

            completions = Completions(parser, interrupted)
            for stack in stacks:
                try:
                    found = completions.exist(stack)
                except KeyboardInterrupt:
                    num_interrupted += 1
                    found = completions.exist(stack)
                assert found == Completions(parser, written.__getitem__).exist(stack)
    assert num_interrupted > 100


def test_short_endings_are_completions_and_mostly_found() -> None:
    found = compare_endings(seed=0, num=150)
    assert not found["False, True"]
    assert found["False, False"] > 100
    assert found["True, True"] > 4 * found["True, False"] > 0


@pytest.mark.parametrize("mutant", ["what follows is forgotten", "the first token may be any"])
def test_broken_short_ending_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = ShortEndings.__init__
    if mutant == "what follows is forgotten":
        monkeypatch.setattr(
            ShortEndings,
            "__init__",
            lambda self, parser, endings, is_found, _: original(
                self, parser, endings, is_found, lambda s, t: -1
            ),
        )
    else:
        exists = ShortEndings.exists
        monkeypatch.setattr(ShortEndings, "exists", lambda self, stack, tokens: exists(self, stack, -1))
    assert compare_endings(seed=0, num=150)["False, True"]
