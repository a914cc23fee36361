"""LALR(1) tables against Lark's."""

from __future__ import annotations

import random
from pathlib import Path

import lark as lark_package
import pytest

from lmppl.constraints.grammars import lalr_tables
from lmppl.constraints.grammars.lalr_tables import GrammarRule, LalrTable, NotLalr, lalr_table

STARTS = {"lark_python": ("file_input", "eval_input"), "pddl_grammar": ("domain", "problem", "plan")}


def table_of(grammar: str, start: str, path: str | None) -> tuple[LalrTable, dict[int, str]]:
    loaded = lark_package.Lark(grammar, start=start, source_path=path)
    names = {"$END": 0}
    symbols = [symbol for rule in loaded.rules for symbol in (*rule.expansion, rule.origin)]
    for symbol in sorted(symbols, key=lambda symbol: not symbol.is_term):
        names.setdefault(str(symbol.name), len(names))
    first = names[str(next(iter(loaded.rules)).origin.name)]
    first = min(names[str(rule.origin.name)] for rule in loaded.rules)
    rules = [
        GrammarRule(
            names[str(r.origin.name)],
            tuple(names[str(s.name)] for s in r.expansion),
            r.options.priority or 0,
        )
        for r in loaded.rules
    ]
    return lalr_table(rules, first, names[start]), {number: name for name, number in names.items()}


def difference(grammar: str, start: str, path: str | None = None) -> str | None:
    """Walks both tables from their first states on, and gives the first difference."""
    try:
        table, names = table_of(grammar, start, path)
    except NotLalr:
        return None
    theirs = lark_package.Lark(
        grammar, start=start, source_path=path, parser="lalr"
    ).parser.parser._parse_table
    known = {0: theirs.start_states[start]}
    todo = [0]
    for state in todo:  # grows while it is walked
        actions = theirs.states[known[state]]
        moves = table.shifts[state] | table.gotos[state]
        reductions = table.reductions[state]
        if {names[s] for s in (*moves, *reductions)} != set(map(str, actions)):
            return f"actions of {state}"
        for symbol, target in moves.items():
            if known.setdefault(target, actions[names[symbol]][1]) != actions[names[symbol]][1]:
                return f"target of {state} by {names[symbol]}"
            if target not in todo:
                todo.append(target)
        for symbol, (origin, length) in reductions.items():
            rule = actions[names[symbol]][1]
            if isinstance(rule, int) or (str(rule.origin.name), len(rule.expansion)) != (
                names[origin],
                length,
            ):
                return f"rule of {state} by {names[symbol]}"
    return None if known[table.end] == theirs.end_states[start] else "end"


def test_table_of_every_shared_grammar_is_larks(test_data: Path) -> None:
    paths = sorted((test_data / "lark_grammars").glob("*.lark"))
    num_compared = 0
    for path in paths:
        if path.stem in ("lark_common", "lark_unicode"):  # terminals only
            continue
        for start in STARTS.get(path.stem, ("start",)):
            assert difference(path.read_text(), start, str(path)) is None, path.stem
            num_compared += 1
    assert num_compared == 19


def random_grammar(rng: random.Random) -> str:
    lines = []
    for name in ("start", "x", "y", "z"):
        sides = {
            " ".join(rng.choices(['"a"', '"b"', '"c"', "x", "y", "z"], k=rng.choice((0, 1, 1, 2, 2, 3))))
            for _ in range(rng.randint(1, 3))
        }
        priority = f".{rng.randint(0, 3)}" if rng.random() < 0.3 else ""
        lines.append(f"{name}{priority}: " + " | ".join(sorted(sides)))
    return "\n".join(lines)


def differences(seed: int, num: int) -> list[str]:
    rng = random.Random(seed)
    found = []
    for _ in range(num):
        grammar = random_grammar(rng)
        try:
            found.append(difference(grammar, "start"))
        except lark_package.exceptions.LarkError:  # Lark refuses it, with another parser too
            found.append(None)
    return [each for each in found if each]


def test_table_of_a_random_grammar_is_larks() -> None:
    assert differences(0, 300) == []


@pytest.mark.parametrize("mutant", ["nullable", "priority"])
def test_broken_table_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if mutant == "nullable":
        monkeypatch.setattr(lalr_tables._Construction, "_nullable", lambda self: set())
    else:
        original = lalr_tables._Construction._chosen

        def shift_last(self, masks, shifts):  # type: ignore[no-untyped-def]
            chosen, conflicting = original(self, masks, {})
            shifts_left = {t: s for t, s in shifts.items() if t not in chosen}
            shifts.clear()
            shifts.update(shifts_left)
            return chosen, conflicting

        monkeypatch.setattr(lalr_tables._Construction, "_chosen", shift_last)
    assert differences(0, 300)


def test_grammar_with_two_ways_to_reduce_is_not_lalr() -> None:
    with pytest.raises(NotLalr):
        table_of('start: x | y\nx: "a"\ny: "a"', "start", None)
