"""`lp.lark` with every parser and lexer, against Lark with the same options."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from pathlib import Path

import lark as lark_package
import pytest
from grammar_documents import DOCUMENTS, NO_TEXTS, mutated
from lark_target import MODES, compared, loaded, parses
from viable_prefixes import accepted

from lmppl.constraints.grammars import (
    completion_search,
    earley_sets,
    lexed_grammars,
    place_shapes,
    predictions,
    rule_tails,
    scanner,
)
from lmppl.constraints.grammars.earley import Recogniser
from lmppl.constraints.grammars.grammar import Grammar, _lark, lark
from lmppl.constraints.grammars.grammar_terminals import Terminal
from lmppl.constraints.protocol import Constraint, State
from lmppl.errors import ConstraintError, InvalidInputError, InvalidTypeError
from lmppl.testing import check_constraint

TERMINALS = ('"a"', '"b"', '"ab"', '"ba"', '"a"i', "A", "B", "C")
PATTERNS = [
    "/a+/",
    "/a|ab/",
    "/[ab]/",
    "/b+?a/",
    "/a*b/",
    "/ab?/",
    "/(?i:a)b/",
    "/b(?!a)/",
    "/a(?=b)/",
    "/[ab]+/",
    "/aab/",
    "/a*?b/",
    "/b{1,2}/",
    "/ab(?!b)/",
    "/a(?!bb)/",
    "/a(?!.*bb)/",
    "/a(?<!b)b/",
]


def random_grammar(rng: random.Random) -> str:
    """Gives a grammar whose terminals overlap, with priorities, flags, look-around and ignored ones."""
    lines = []
    for name in ("start", "x", "y"):
        sides = {
            " ".join(rng.choices((*TERMINALS, "x", "y"), k=rng.choice((0, 1, 1, 2, 2, 3, 3))))
            for _ in range(rng.randint(1, 3))
        }
        lines.append(f"{name}: " + " | ".join(sorted(sides)))
    for name in "ABC":
        priority = f".{rng.randint(-1, 2)}" if rng.random() < 0.2 else ""
        lines.append(f"{name}{priority}: {rng.choice(PATTERNS)}")
    if rng.random() < 0.4:
        lines.append("%ignore " + rng.choice(("A", '" "', "/ +/", "/ab+/", "/a.*?b/")))
    return "\n".join(lines)


def compare(mode: tuple[str, str], seed: int, num: int, length: int) -> Counter[str]:
    """Compares random grammars with Lark on every string up to a length, and counts what it finds."""
    rng = random.Random(f"{mode} {seed}")
    found: Counter[str] = Counter()
    while found["grammars"] < num:
        grammar = random_grammar(rng)
        try:
            parser = loaded(grammar, *mode)
            constraint = lark(grammar, parser=mode[0], lexer=mode[1])
        except (lark_package.exceptions.LarkError, ConstraintError):
            continue
        found["grammars"] += 1
        strings = ["".join(p) for n in range(length + 1) for p in itertools.product("ab ", repeat=n)]
        expected = {text: parses(parser, text) for text in strings}
        try:
            constraint.initial()
        except ConstraintError:  # no string is in the language, or so we say
            found["wrong"] += any(expected.values())
            continue
        found.update(compared(constraint, expected, b"ab A", 2_000))
    return found


@pytest.mark.parametrize("mode", MODES, ids="-".join)
def test_random_grammar_agrees_with_lark_on_every_string(mode: tuple[str, str]) -> None:
    found = compare(mode, seed=0, num=12, length=4)
    assert found["accepted"] > 5
    assert not found["wrong"]
    assert not found["dead too early"]
    assert not found["not exact"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES, ids="-".join)
def test_many_random_grammars_agree_with_lark_on_every_string(mode: tuple[str, str]) -> None:
    found = compare(mode, seed=1, num=300, length=5)
    assert not found["wrong"] + found["dead too early"] + found["not exact"]


@pytest.mark.parametrize("mutant", ["no order", "no names", "no context"])
def test_broken_lexer_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if mutant == "no order":
        monkeypatch.setattr(lexed_grammars, "_rank", lambda terminal: terminal.name)
    elif mutant == "no names":
        monkeypatch.setattr(Terminal, "takes", lambda self, word: False)
    else:
        original = lexed_grammars._Scanners.of
        monkeypatch.setattr(
            lexed_grammars._Scanners,
            "of",
            lambda self, tokens, *context: original(self, self.tokens.values(), *context),
        )
    monkeypatch.setattr("lmppl.constraints.grammars.grammar._lark", _lark.__wrapped__)
    found = compare(("lalr", "contextual"), seed=0, num=25, length=4)
    assert found["wrong"]


def test_bet_that_is_forgotten_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "lmppl.constraints.grammars.matchers.Matchers.kept", lambda self, bets, byte: frozenset()
    )
    monkeypatch.setattr("lmppl.constraints.grammars.grammar._lark", _lark.__wrapped__)
    assert compare(("earley", "dynamic"), seed=0, num=25, length=4)["wrong"]


@pytest.mark.parametrize(
    "mutant", ["one prediction", "one waits", "one rule goes on", "no order", "any beginning"]
)
def test_broken_memory_of_earley_sets_and_places_is_caught(
    mutant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is remembered of one place is used at others: whatever tells them apart has to be in its key."""
    ordered, predicted = place_shapes.Shapes.ordered, predictions.Predictions.of
    plan = place_shapes.Shapes.plan
    if mutant == "one prediction":
        monkeypatch.setattr(
            predictions.Predictions, "of", lambda self, called: predicted(self, called & -called)
        )
    elif mutant == "one waits":
        behind = earley_sets.EarleySets._behind
        monkeypatch.setattr(
            earley_sets.EarleySets,
            "_behind",
            lambda self, frame, owner: frozenset([*behind(self, frame, owner)][:1]),
        )
    elif mutant == "one rule goes on":
        merged = rule_tails.Tails.merged
        monkeypatch.setattr(rule_tails.Tails, "merged", lambda self, tails: merged(self, sorted(tails)[:1]))
    elif mutant == "no order":
        monkeypatch.setattr(
            place_shapes.Shapes,
            "ordered",
            lambda self, plan, order: ordered(
                self, plan, tuple(i % len(set(order)) for i in range(len(order)))
            ),
        )
    else:
        monkeypatch.setattr(
            place_shapes.Shapes,
            "plan",
            lambda self, moved, begun: next(iter(moved.plans.values()), None) or plan(self, moved, begun),
        )
    monkeypatch.setattr("lmppl.constraints.grammars.grammar._lark", _lark.__wrapped__)
    if mutant == "one prediction":
        texts = {"abc", "abd", "aef"}
        constraint = lark('start: "a" x | "a" y | "a" z\nx: "b" "c"\ny: "b" "d"\nz: "e" "f"')
        assert {text for text in texts if accepted(constraint, text)} != texts
    elif mutant == "one waits":
        constraint = lark('start: "s" x "e"\nx: x "m" | "b" y\ny: "c"')
        assert not (accepted(constraint, "sbce") and accepted(constraint, "sbcme"))
    else:
        assert compare(("earley", "dynamic_complete"), seed=0, num=40, length=4)["wrong"]


def test_places_that_differ_in_depth_only_are_planned_once() -> None:
    """The work is counted, so a slow machine does not matter."""
    constraint = lark('start: "[" [start ("," start)*] "]" | NAME\nNAME: /[a-z]+/\n%ignore " "')
    assert isinstance(constraint, Grammar)
    assert isinstance(constraint.texts, Recogniser)

    def text(depth: int) -> str:
        return "[abc, " * depth + "x" + " ]" * depth

    assert accepted(constraint, text(3))
    known = constraint.texts.num_planned
    assert accepted(constraint, text(300))
    assert constraint.texts.num_planned == known > 10


@pytest.mark.parametrize("mode", MODES[:4], ids="-".join)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_shared_grammar_agrees_with_lark_on_mutated_documents(
    name: str, mode: tuple[str, str], test_data: Path
) -> None:
    file, _, start = name.partition(" ")
    path = test_data / "lark_grammars" / f"{file}.lark"
    start = start or ("file_input" if name == "lark_python" else "start")
    parser = loaded(path.read_text(), *mode, start=start, source_path=str(path))
    rng = random.Random(0)
    if (name, mode) in NO_TEXTS:
        with pytest.raises(ConstraintError, match="No string is in the language"):
            lark(path, start, parser=mode[0], lexer=mode[1]).initial()
        assert not any(parses(parser, mutated(rng, text)) for text in DOCUMENTS[name] * 40)
        return
    constraint = lark(path, start, parser=mode[0], lexer=mode[1])
    num_accepted = 0
    for document in DOCUMENTS[name]:
        for text in [document, *(mutated(rng, document) for _ in range(12))]:
            try:
                expected = parses(parser, text)
            except KeyError:  # Lark's own, on a declared terminal without a pattern
                continue
            state: State | None = constraint.initial()
            for i, byte in enumerate(text.encode()):
                state = state and constraint.advance(state, bytes((byte,)))
                assert state is not None or not expected, text.encode()[: i + 1]
            assert expected is None or (state is not None and constraint.accepts(state)) == expected, text
            num_accepted += bool(expected)
    assert num_accepted


@pytest.mark.parametrize(
    ("mode", "text", "expected"),
    [
        (("lalr", "basic"), "iffy", False),  # one name
        (("lalr", "basic"), "if fy", True),
        (("lalr", "basic"), "if if", False),  # the keyword wins
        (("lalr", "contextual"), "if if", True),  # no keyword may stand there
        (("lalr", "contextual"), "iffy", True),  # no name may stand here
        (("earley", "dynamic"), "iffy", True),
        (("earley", "dynamic"), "if if", True),
    ],
)
def test_keywords_and_names_are_told_apart_as_lark_does(
    mode: tuple[str, str], text: str, expected: bool
) -> None:
    grammar = 'start: "if" NAME\nNAME: /[a-z]+/\n%ignore " "'
    assert parses(loaded(grammar, *mode), text) is expected
    assert accepted(lark(grammar, parser=mode[0], lexer=mode[1]), text) is expected


@pytest.mark.parametrize("mode", MODES, ids="-".join)
def test_grammar_keeps_the_laws(mode: tuple[str, str]) -> None:
    grammar = 'start: "(" start* ")" | NUMBER | WORD\nNUMBER: /\\d+(\\.\\d+)?/\nWORD: /[a-zé]+/\n%ignore " "'
    check_constraint(lark(grammar, parser=mode[0], lexer=mode[1]), ["(1 2.5 aé)", "1.", "(()", " ( ) "])


def test_default_is_that_of_lark() -> None:
    grammar = "start: A A\nA: /a+/"
    assert not accepted(lark(grammar), "aa")
    assert parses(lark_package.Lark(grammar), "aa") is False
    assert accepted(lark(grammar, lexer="dynamic_complete"), "aa")


@pytest.mark.parametrize("mode", MODES[:4], ids="-".join)
def test_common_grammars_are_exact(mode: tuple[str, str], test_data: Path) -> None:
    names = ("study_json", "study_arith", "study_sql", "syncode_json_grammar", "syncode_calc_grammar")
    for name in (*names, "syncode_java_grammar"):
        path = test_data / "lark_grammars" / f"{name}.lark"
        assert lark(path, parser=mode[0], lexer=mode[1]).viable_is_exact, name


def test_files_import_from_beside_them_and_from_folders(tmp_path: Path) -> None:
    (tmp_path / "names.lark").write_text("NAME: /[a-z]+/\n")
    (tmp_path / "main.lark").write_text('start: _list{NAME}\n_list{x}: x ("," x)*\n%import .names.NAME\n')
    for grammar in (tmp_path / "main.lark", str(tmp_path / "main.lark")):
        assert accepted(lark(grammar, parser="lalr"), "a,bc")
    text = "start: NAME\n%import names.NAME"
    assert accepted(lark(text, import_paths=[tmp_path]), "abc")
    with pytest.raises(ConstraintError, match="import"):
        lark(text)
    with pytest.raises(ConstraintError, match=r"cannot be read"):
        lark(tmp_path / "missing.lark")


def test_imported_file_that_changes_is_read_again(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    (second / "inner.lark").write_text("NAME: /[a-z]+/\n")
    (second / "names.lark").write_text("%import .inner.NAME\nname: NAME\n")
    text = "start: name\n%import names.name"

    def grammar() -> Constraint:
        return lark(text, import_paths=[first, second])

    letters = grammar()
    assert accepted(letters, "abc")
    assert not accepted(letters, "12")
    assert grammar() is letters
    (second / "inner.lark").write_text("NAME: /[0-9]+/\n")
    digits = grammar()
    assert accepted(digits, "12")
    assert not accepted(digits, "abc")
    assert digits != letters
    (first / "names.lark").write_text('name: "x"\n')  # found before the other one from now on
    assert accepted(grammar(), "x")
    assert not accepted(grammar(), "12")
    (first / "names.lark").unlink()
    assert grammar() == digits
    assert accepted(grammar(), "12")
    (second / "inner.lark").unlink()
    with pytest.raises(ConstraintError, match="cannot be read"):
        grammar()
    (second / "inner.lark").write_bytes(b"NAME: /\xff/\n")
    with pytest.raises(ConstraintError, match=r"inner.lark' cannot be read"):
        grammar()


CONFLICT = 'start: "c" x "a" | "b"\nx: "a" x | "a"'
"""Lark's LALR parser always goes on with `x` where it meets "a", so it never comes to the last one."""


def test_prefix_is_refused_where_a_resolved_conflict_leaves_no_completion() -> None:
    assert accepted(lark(CONFLICT), "caa")
    assert not parses(loaded(CONFLICT, "lalr", "contextual"), "caa")
    constraint = lark(CONFLICT, parser="lalr")
    assert constraint.viable_is_exact
    assert accepted(constraint, "b")
    assert constraint.advance(constraint.initial(), b"c") is None
    with pytest.raises(ConstraintError, match=r"No string is in the language.*'earley'"):
        lark(CONFLICT.replace('| "b"', ""), parser="lalr").initial()


def test_search_that_is_given_up_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    grammar = 'start: A+ | "z" B\nA: "a"\nB: /a[bc]{0,3}d/\n%ignore " "\n%ignore "b"'
    monkeypatch.setattr("lmppl.constraints.grammars.grammar._lark", _lark.__wrapped__)
    for most, is_exact in ((completion_search.MAX_SEARCHED, True), (0, False)):
        monkeypatch.setattr(completion_search, "MAX_SEARCHED", most)
        constraint = lark(grammar, parser="lalr", lexer="basic")
        assert constraint.viable_is_exact
        assert constraint.advance(constraint.initial(), b"ab") is not None
        assert constraint.viable_is_exact is is_exact


def test_search_for_tokens_goes_on_and_is_refused_as_often_as_it_is_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listed = [("ALL", "[a-d]+"), ("SHORT", "a[a-d]{2}"), ("LONG", "b[a-d]{3}#")]
    terminals = [Terminal(name, i + 1, p, None, frozenset(), 0) for i, (name, p) in enumerate(listed)]

    def found() -> list[bool]:
        each = scanner.Scanner(terminals, frozenset())
        return [each.can_find(token) for token in (2, 1, 3, 2, 1)]

    assert found() == [False, True, False, False, True]
    monkeypatch.setattr(scanner, "MAX_POINTS", 3)
    each = scanner.Scanner(terminals, frozenset())
    for _ in range(2):
        with pytest.raises(ConstraintError, match="more than 3 states together"):
            each.can_find(2)


@pytest.mark.parametrize("parser", ["lalr", "earley"])
def test_deep_nesting_needs_no_recursion(parser: str) -> None:
    constraint = lark('start: "[" start "]" | /x+/', parser=parser)
    depth = 3_000
    assert accepted(constraint, "[" * depth + "xx" + "]" * depth)
    assert not accepted(constraint, "[" * depth + "xx" + "]" * (depth + 1))


def test_chain_of_lexemes_under_way_needs_no_recursion() -> None:
    constraint = lark("start: (A | B)*\nA: /a/\nB: /a*b/", parser="lalr")
    assert accepted(constraint, "a" * 1_500)
    assert accepted(constraint, "a" * 1_500 + "b")
    assert not accepted(constraint, "a" * 1_500 + "c")


def test_optional_lists_do_not_blow_up() -> None:
    grammar = "start: " + " ".join(f'"a{i}"?' for i in range(9)) + ' ("," start)*'
    started = time.perf_counter()
    assert accepted(lark(grammar), "a0a8" + ",a1a2" * 50)
    assert time.perf_counter() - started < 60


MANY = {
    "optional parts": ("start: " + " ".join(f'"a{i}"?' for i in range(30)), "a0a8a29", "a8a0"),
    "lists": ("start: " + " ".join(f'["a{i}" ("," "a{i}")*]' for i in range(25)), "a0,a0a24", "a0,a1"),
    "choices": ("start: " + " ".join(['("a" | "b" "c")'] * 20), "bca" * 10, "bca" * 9),
    "counts": ('start: (("a" | "b")~0..40 | "c")~0..40', "abcc" + "ba" * 30, "abd"),
}


@pytest.mark.parametrize("name", MANY)
@pytest.mark.parametrize("lexer", ["dynamic", "basic"])
def test_parts_that_lark_would_write_out_are_read(name: str, lexer: str) -> None:
    grammar, text, other = MANY[name]
    constraint = lark(grammar, lexer=lexer)
    assert accepted(constraint, text)
    assert not accepted(constraint, other)
    with pytest.raises(ConstraintError, match=r"'start' of the grammar has .* parser='earley'"):
        lark(grammar, parser="lalr")


def test_rules_that_are_split_have_the_same_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmppl.constraints.grammars.rule_alternatives.MAX_ALTERNATIVES", 1)
    monkeypatch.setattr("lmppl.constraints.grammars.grammar._lark", _lark.__wrapped__)
    monkeypatch.setattr("lmppl.constraints.grammars.lark_grammars._LOADED", {})
    for side in (
        '("a" "b"?)? ["b" | "ab"]',
        '("a" ["b"])~1..2 "a"?',
        '(("a" | "b" "b") ("a" | "b")?)+',
        '["a" x] x',
    ):
        grammar = f'start: {side} | "b" "b" -> y\nx: ("b" | "a")~0..1 "b"?'
        parser = loaded(grammar, "earley", "dynamic")
        constraint = lark(grammar)
        for text in ("".join(p) for n in range(6) for p in itertools.product("ab", repeat=n)):
            assert accepted(constraint, text) == parses(parser, text), (side, text)


def test_cost_of_a_byte_does_not_grow_with_the_length(test_data: Path) -> None:
    """The work is counted, so a slow machine does not matter: steps that were not known before."""
    constraint = lark(test_data / "lark_grammars" / "study_sql.lark", parser="lalr")
    assert isinstance(constraint, Grammar)
    calls: Counter[str] = Counter()
    original = scanner.Scanner.after

    def counted(self: scanner.Scanner, point: scanner.Point, byte: int) -> scanner.Point | None:
        calls["after"] += 1
        return original(self, point, byte)

    def cost(num: int) -> float:
        text = "SELECT a FROM t WHERE " + " AND ".join(
            f"f({'(' * (i % 7)}x{')' * (i % 7)}) < {i}.5" for i in range(num)
        )
        calls.clear()
        assert accepted(constraint, text)
        return calls["after"] / len(text)

    cost(5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanner.Scanner, "after", counted)
        short, long = cost(10), cost(400)
    assert long < 2 * short + 5


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"grammar": 3}, InvalidTypeError, "text of a grammar, a path or"),
        ({"grammar": 'start: "a"', "parser": "cyk"}, InvalidInputError, "'earley' or 'lalr'"),
        ({"grammar": 'start: "a"', "parser": "lalr", "lexer": "dynamic"}, InvalidInputError, "'contextual'"),
        ({"grammar": 'start: x | y\nx: "a"\ny: "a"', "parser": "lalr"}, ConstraintError, "Reduce/Reduce"),
        (
            {"grammar": "start: A\nA: /a(?=b)/", "lexer": "dynamic_complete"},
            ConstraintError,
            "lexer='dynamic'",
        ),
    ],
)
def test_bad_option_is_refused_with_its_reason(arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        lark(**arguments)
