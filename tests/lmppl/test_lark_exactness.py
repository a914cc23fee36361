"""Prefixes that `lp.lark` lets through with a lexer, against all short completions that Lark takes."""

from __future__ import annotations

import itertools
import random
import time
from functools import lru_cache
from pathlib import Path

import pytest
from lark_target import MODES, loaded, parses

from lmppl.constraints.grammars import completion_search, token_texts
from lmppl.constraints.grammars.grammar import _lark, lark
from lmppl.constraints.grammars.grammar_terminals import Terminal
from lmppl.constraints.grammars.numbered_rules import Rules
from lmppl.constraints.grammars.scanner import Scanner
from lmppl.constraints.grammars.token_neighbours import avoidable
from lmppl.constraints.protocol import Constraint

LEXED = MODES[:3]
LENGTH = 6
"""Of completed strings: every viable prefix of three letters of the grammars below has one."""

DEAD_ENDS = {
    "the next one is swallowed": 'start: W W | "b"\nW: /a+/',
    "a comment never ends": 'start: "a" "b"\n%ignore /#.*/',
    "a preferred match takes what must follow": 'start: "a" B | "b"\nB: "b"\nC.1: /ab+/\n%ignore C',
    "what follows forbids the match": 'start: Q B | "b"\nQ: /a(?!b)/\nB: /b#/\n%ignore /#/',
    "a conflict and a swallowed one": 'start: "b" x "a" | "a"\nx: "a" x | "a"\n%ignore /#a/',
}
EXACT = {
    "a lexeme is ended after going on": 'start: E "a"\nE: /#[^b]*b|b/',
    "a filler divides": 'start: W W\nW: /a+/\n%ignore "#"',
    "the filler is taken by a token": 'start: W J W\nW: /a+/\nJ.1: /#?b/\n%ignore "#"',
    "what need not be written cannot": 'start: S p\nS: /a+/\np: T | B\nT: /ab/\nB: "b"',
    "the shortest text is another token": 'start: W T\nW.1: /a/\nT: /a|ab/\n%ignore "#"',
}


@lru_cache
def completed(grammar: str, mode: tuple[str, str]) -> frozenset[str]:
    """Gives all prefixes of the strings that Lark parses."""
    parser = loaded(grammar, *mode)
    strings = ("".join(s) for n in range(LENGTH + 1) for s in itertools.product("ab#", repeat=n))
    return frozenset(s[:size] for s in strings if parses(parser, s) for size in range(len(s) + 1))


def wrong(constraint: Constraint, grammar: str, mode: tuple[str, str]) -> list[str]:
    """Gives the short prefixes that are let through without a completion, or refused with one."""
    found = []
    for text in ("".join(s) for n in range(1, 4) for s in itertools.product("ab#", repeat=n)):
        is_viable = constraint.advance(constraint.initial(), text.encode()) is not None
        if is_viable != (text in completed(grammar, mode)):
            found.append(text)
    return found


@pytest.mark.parametrize("mode", LEXED, ids="-".join)
@pytest.mark.parametrize("grammar", [*DEAD_ENDS.values(), *EXACT.values()], ids=[*DEAD_ENDS, *EXACT])
def test_prefix_is_let_through_exactly_if_it_has_a_completion(grammar: str, mode: tuple[str, str]) -> None:
    if not completed(grammar, mode):
        pytest.skip("no string is in the language with this lexer")
    constraint = lark(grammar, parser=mode[0], lexer=mode[1])
    assert constraint.viable_is_exact or mode[0] == "earley"
    if constraint.viable_is_exact:
        assert not wrong(constraint, grammar, mode)
        assert constraint.viable_is_exact


def test_texts_with_a_common_beginning_are_tried_as_each_on_its_own() -> None:
    rng = random.Random(0)
    cut = uncut = 0
    for _ in range(60):
        texts = {token: bytes(rng.choices(b"abc", k=rng.randint(0, 5))) for token in range(1, 12)}
        patterns = rng.sample(["a+", "ab", "b*c", "ca|a", "[ab]+c", "c+b?", "abc?", "b"], 4)
        terminals = [Terminal(f"T{i}", i, p, None, frozenset(), 0) for i, p in enumerate(patterns, 1)]
        scanner = Scanner(terminals, frozenset())
        tree = token_texts.TextTree(texts)
        for token, terminal in enumerate(terminals, 1):
            place = token_texts.matched(scanner, terminal.automaton.shortest, token)
            among = sum(1 << each for each in texts if rng.random() < 0.8)
            found = token_texts.sure_behind(scanner, place, among, tree)
            for each, text in texts.items():
                expected = False
                if place is not None and among >> each & 1:
                    expected = place[0].settled or token_texts.is_cut(scanner, place, text)
                assert bool(found >> each & 1) == expected
                cut, uncut = cut + expected, uncut + (not expected)
    assert cut > 200
    assert uncut > 200


@pytest.mark.parametrize("mutant", ["every match counts", "no search", "any filler divides"])
def test_broken_proof_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmppl.constraints.grammars.grammar._lark", _lark.__wrapped__)
    if mutant == "every match counts":
        monkeypatch.setattr(token_texts.TokenTexts, "after", lambda self, scanner, point, slot: self.all)
    elif mutant == "no search":
        monkeypatch.setattr(completion_search.CompletionSearch, "_search", lambda self, reading: True)
    else:
        monkeypatch.setattr(token_texts.TokenTexts, "_divided_by", lambda self, filler: self.all)
        monkeypatch.setattr(token_texts, "sure_behind", lambda scanner, place, tokens, tree: tokens)
    mode = ("lalr", "contextual")
    assert any(wrong(lark(g, parser="lalr"), g, mode) for g in DEAD_ENDS.values() if completed(g, mode))


@pytest.mark.parametrize("mode", LEXED, ids="-".join)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("syncode_sql_grammar", "SELECT a, b FROM t LEFT JOIN u ON t.a = u.b -- x\nORDER BY a"),
        ("syncode_go_grammar", 'package main\nimport "fmt"\nfunc main() {\nx := 1 + 2.5 // a\n}\n'),
        ("syncode_c_grammar", "int main() { int x = 1; while (x < 10) { x = x + 1; } /* a */ }"),
        ("syncode_python_grammar", "x = [1, 0.5, 'a' \"\"] # c\nf(a, *b)\n"),
        ("lark_python", "x = [1, 0.5j, 'a' \"\"] # c\nif x: pass\n"),
        ("lark_lark", 'start: "a"i? /b+/x -> c\n%ignore " "\n'),
    ],
)
def test_shared_grammar_is_exact_with_a_lexer(
    name: str, text: str, mode: tuple[str, str], test_data: Path
) -> None:
    start = "file_input" if name == "lark_python" else "start"
    constraint = lark(test_data / "lark_grammars" / f"{name}.lark", start, parser=mode[0], lexer=mode[1])
    is_known = (name, mode[0]) != ("lark_lark", "earley")
    assert constraint.viable_is_exact is is_known
    assert constraint.advance(constraint.initial(), text.encode()) is not None
    assert constraint.viable_is_exact is is_known


def test_comment_after_which_nothing_can_be_written_is_refused(test_data: Path) -> None:
    constraint = lark(test_data / "lark_grammars" / "lark_python.lark", "file_input", parser="lalr")
    assert constraint.advance(constraint.initial(), b"x /") is not None
    assert constraint.advance(constraint.initial(), b"x /#") is None  # the line may not end after `/`


@pytest.mark.parametrize(("limit", "most"), [("MAX_UNSURE", 0), ("MAX_MORE", 0)])
def test_search_that_is_given_up_lets_the_prefix_through_and_says_so(
    limit: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lmppl.constraints.grammars.grammar._lark", _lark.__wrapped__)
    monkeypatch.setattr(completion_search, limit, most)
    constraint = lark(DEAD_ENDS["the next one is swallowed"], parser="lalr")
    assert constraint.advance(constraint.initial(), b"b") is not None
    assert constraint.viable_is_exact
    assert constraint.advance(constraint.initial(), b"a") is not None
    assert not constraint.viable_is_exact


def test_terminals_that_only_begin_alternatives_can_be_avoided() -> None:
    first = Rules(3, {3: ((4, 4),), 4: ((0,), (1,))}, frozenset(), 3)
    assert avoidable({0}, first)
    assert not avoidable({0, 1}, first)
    assert not avoidable({2}, Rules(3, {3: ((0, 2), (1,))}, frozenset(), 3))


@pytest.mark.parametrize(
    "terminals",
    ["W: /aa(?=a*c)|a/", "W.1: /aa(?!.*bb)/\nV: /a(?!.*cc)/", "W: /a(?=a*b)|aa(?=a*c)/"],
)
def test_many_endings_that_are_open_together_take_bounded_time(terminals: str) -> None:
    grammar = f"start: (W{' | V' if 'V' in terminals else ''})+\n{terminals}"
    constraint = lark(grammar, parser="lalr")
    state = constraint.initial()
    start = time.process_time()
    for _ in range(400):  # each leaves two endings open, so that there are 2^400 ways through them
        state = constraint.advance(state, b"a")
        assert state is not None
    assert time.process_time() - start < 20


def test_searches_are_bounded_in_total(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmppl.constraints.grammars.grammar._lark", _lark.__wrapped__)
    text, grammar = b"(#" + b"#" * 30, 'start: "(" start ")" | "a"\n%ignore /#+[^)]*$/'
    enough = lark(grammar, parser="lalr")
    assert enough.advance(enough.initial(), text) is None
    assert enough.viable_is_exact
    monkeypatch.setattr(completion_search, "MAX_MOVES", 0)
    few = lark(grammar, parser="lalr")
    assert few.advance(few.initial(), text) is not None
    assert not few.viable_is_exact


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("syncode_sql_grammar", "SELECT a FROM t WHERE " + "(" * 10_000),
        ("lark_lark", "start: " + "(" * 10_000),
        ("lark_python", "x = " + "(" * 10_000),
    ],
)
def test_deep_nesting_is_answered_with_a_lexer(name: str, text: str, test_data: Path) -> None:
    start = "file_input" if name == "lark_python" else "start"
    constraint = lark(test_data / "lark_grammars" / f"{name}.lark", start, parser="lalr")
    begun = time.process_time()
    assert constraint.advance(constraint.initial(), text.encode()) is not None
    assert constraint.viable_is_exact
    assert time.process_time() - begun < 20
