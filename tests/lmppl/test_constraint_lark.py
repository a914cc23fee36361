"""`lp.lark` against Lark itself, and against brute force on random small grammars."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterable
from pathlib import Path

import lark as lark_package
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from viable_prefixes import accepted

from lmppl.constraints.grammars import earley, earley_sets, predictions, rule_tails
from lmppl.constraints.grammars.grammar import lark
from lmppl.constraints.protocol import Constraint, State
from lmppl.constraints.regular.alternatives import choices
from lmppl.errors import ConstraintError

MAX_LENGTH = 7


def viable(constraint: Constraint, text: str) -> bool:
    return constraint.advance(constraint.initial(), text.encode()) is not None


def parses(parser: lark_package.Lark, text: str) -> bool:
    try:
        parser.parse(text)
    except lark_package.exceptions.UnexpectedInput:
        return False
    return True


def completion(constraint: Constraint, state: State, alphabet: Iterable[bytes]) -> bytes | None:
    """Gives a shortest string that completes a state, found breadth first over distinct states.

    It gives up after 20,000 states, so it serves where the completion is known to be short.
    """
    seen = {state}
    todo = [(state, b"")]
    for state, data in todo:  # grows while it is walked
        if constraint.accepts(state):
            return data
        for byte in alphabet:
            after = constraint.advance(state, byte)
            if after is not None and after not in seen and len(seen) < 20_000:
                seen.add(after)
                todo.append((after, data + byte))
    return None


Grammar = dict[str, list[tuple[str, ...]]]
SYMBOLS: tuple[str, ...] = ("start", "x", "y", '"a"', '"b"', '"ab"')


@st.composite
def grammars(draw: st.DrawFn) -> Grammar:
    """Draws grammars with left and right recursion, empty alternatives, ambiguity and useless rules."""
    side = st.lists(st.sampled_from(SYMBOLS), max_size=3).map(tuple)
    sides = st.lists(side, min_size=1, max_size=4, unique=True)
    return {name: draw(sides) for name in ("start", "x", "y")}


def beginnings(grammar: Grammar, length: int) -> set[str]:
    """Gives the strings of the language that are shorter, and the first `length` letters of the others.

    This is FIRST_k, by iterating the rules until nothing is added. It is exact: a string of at most
    `length` letters is viable if and only if one of these starts with it, however long its completions.
    """
    strings: dict[str, set[str]] = {name: set() for name in grammar}
    while True:
        before = sum(map(len, strings.values()))
        for name, sides in grammar.items():
            for side in sides:
                found = {""}
                for symbol in side:
                    ends = strings.get(symbol, {symbol.strip('"')})
                    cut = [{end[:size] for end in ends} for size in range(length + 1)]
                    found = {begun + end for begun in found for end in cut[length - len(begun)]}
                strings[name] |= found
        if sum(map(len, strings.values())) == before:
            return strings["start"]


def written(grammar: Grammar) -> str:
    return "\n".join(f"{name}: " + " | ".join(map(" ".join, sides)) for name, sides in grammar.items())


# Nothing that starts with "aaa" is complete before 21 letters: only x ends, and with "babab" at best.
FAR_COMPLETION: Grammar = {
    "start": [("x",), ()],
    "x": [('"b"', '"ab"', "y"), ("x",), ("y", "x")],
    "y": [('"a"', "start", '"b"')],
}


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(grammars())
@example(FAR_COMPLETION)
def test_random_grammar_accepts_its_language_and_is_viable_exactly_on_prefixes(grammar: Grammar) -> None:
    strings = beginnings(grammar, MAX_LENGTH + 1)
    try:
        constraint = lark(written(grammar))
    except ConstraintError:  # the only reason that there is for these
        assert not strings
        return
    prefixes = {string[:i] for string in strings for i in range(len(string) + 1)}
    for size in range(MAX_LENGTH + 1):
        for letters in itertools.product("ab", repeat=size):
            text = "".join(letters)
            state = constraint.advance(constraint.initial(), text.encode())
            assert (state is not None and constraint.accepts(state)) == (text in strings), text
            assert (state is not None) == (text in prefixes), text


def test_prefix_whose_shortest_completion_is_long_is_viable() -> None:
    constraint = lark(written(FAR_COMPLETION))
    assert viable(constraint, "aaa")
    assert accepted(constraint, "aaab" + "babab" + "b" + "babab" + "b" + "babab")
    assert not viable(constraint, "aaabbb")


SMALL = {
    "left recursion": 'start: start "a" | "b"',
    "right recursion": 'start: "a" start | "b"',
    "middle recursion": 'start: "a" start "b" | ',
    "ambiguous": 'start: start start | "a" | "b" |',
    "unit cycle": 'start: x | "a"\nx: start | "b"',
    "hidden left recursion": 'start: x start "b" | "a"\nx: "a" |',
    "nullable tail": 'start: "a" start x | "b"\nx: "a"? "b"?',
    "useless rules": 'start: "a" | x\nx: "b" x',
    "optionals": 'start: "a"? "b"? "a"? "b"? "a"?',
    "overlapping terminals": "start: A B | B A\nA: /a+/\nB: /a*b/",
    "repetition": 'start: ("a" "b"?)~2..3',
    "ignored": 'start: "a" "a"\n%ignore "b"',
}


@pytest.mark.parametrize("grammar", SMALL.values(), ids=SMALL)
def test_small_grammar_agrees_with_lark_on_every_string(grammar: str) -> None:
    constraint = lark(grammar, lexer="dynamic_complete")
    parser = lark_package.Lark(grammar, parser="earley", lexer="dynamic_complete", ambiguity="forest")
    strings = ["".join(s) for n in range(7) for s in itertools.product("ab", repeat=n)]
    ours = {text for text in strings if accepted(constraint, text)}
    assert ours == {text for text in strings if parses(parser, text)}
    for text in strings[:31]:
        state = constraint.advance(constraint.initial(), text.encode())
        if state is not None:
            assert completion(constraint, state, (b"a", b"b")) is not None


@pytest.mark.parametrize(
    "grammar", [SMALL[name] for name in ("right recursion", "left recursion", "optionals")]
)
def test_regular_grammar_has_finitely_many_states(grammar: str) -> None:
    constraint = lark(grammar)
    states = set()
    for text in ("".join(s) for n in range(11) for s in itertools.product("ab", repeat=n)):
        states.add(constraint.advance(constraint.initial(), text.encode()))
    assert len(states) <= 18


@pytest.mark.parametrize(
    ("name", "documents"),
    [
        ("study_arith", ["1 + 2*(x-foo(3,4^2))", "-a", "f()", "((1))", " 1.5e3 /\n_b "]),
        ("study_json", ['{"a": [1, -2.5e+3, true], "é\\u00e9": {}}', "[ ]", '"\\n"', "null", "[[],[1]]"]),
        (
            "study_sql",
            ["SELECT a.b, count(*) FROM t;", "select * from (select 1 from x) as y where a = 'it''s'"],
        ),
    ],
)
def test_real_grammar_agrees_with_lark_on_mutated_documents(
    name: str, documents: list[str], test_data: Path
) -> None:
    grammar = (test_data / "lark_grammars" / f"{name}.lark").read_text()
    constraint = lark(grammar)
    parser = lark_package.Lark(grammar, ambiguity="forest")
    rng = random.Random(0)
    num_accepted = 0
    for document in documents:
        assert accepted(constraint, document), document
        for _ in range(25):
            text = mutated(rng, document)
            expected = parses(parser, text)
            num_accepted += expected
            assert accepted(constraint, text) == expected, text
            assert viable(constraint, text) or not expected
    assert num_accepted > 5


def mutated(rng: random.Random, text: str) -> str:
    """Deletes, doubles, moves or inserts one or two characters."""
    for _ in range(rng.choice((1, 1, 2))):
        i, j = rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)
        new = rng.choice(("", text[i : i + 1] * 2, text[j : j + 1], rng.choice('()[]{}",:1a+ -*.;'), " "))
        text = text[:i] + new + text[i + rng.choice((0, 1)) :]
    return text or " "


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("study_json", '{"é": [tru'),
        ("study_json", '["\\u00e9🔔", -1.5e'),
        ("study_sql", "select count(*), a.b fr"),
        ("study_sql", "SELECT 'it''s' AS x FROM t WHERE (a <"),
        ("study_arith", "1 + f(x, -(2 ^ y"),
    ],
)
def test_every_prefix_of_a_document_can_be_completed(name: str, text: str, test_data: Path) -> None:
    constraint = lark((test_data / "lark_grammars" / f"{name}.lark").read_text())
    alphabet = [bytes((byte,)) for byte in b"]}\"'),:1a =eurlFROM\x80\x90"]
    state = constraint.initial()
    for i, byte in enumerate(text.encode()):
        following = constraint.advance(state, bytes((byte,)))
        assert following is not None
        state = following
        if i > len(text) - 4 or (name != "study_sql" and i % 3 == 0):
            assert completion(constraint, state, alphabet) is not None, i


def test_goal_grammar_of_the_demo_agrees_with_lalr(test_data: Path) -> None:
    grammar = (test_data / "blocksworld" / "goal_inference.lark").read_text()
    constraint = lark(grammar)
    parser = lark_package.Lark(grammar, parser="lalr")
    facts = ["(clear b1", "(on b1 b2", "(arm-empty", "(holding b3", "(on-table b0"]
    for first, second, last in itertools.product(facts, repeat=3):
        assert accepted(constraint, f" {first}) {second}) {last}")
    rng = random.Random(1)
    for _ in range(300):
        text = mutated(rng, " " + rng.choice(facts) + ") " + rng.choice(facts))
        assert accepted(constraint, text) == parses(parser, text), text


def test_grammars_in_the_notation_of_llama_cpp_are_refused_where_lark_refuses_them(test_data: Path) -> None:
    paths = sorted((test_data / "gad_grammars").glob("*.ebnf"))
    assert len(paths) == 7
    for path in paths:
        with pytest.raises(lark_package.exceptions.LarkError) as theirs:
            lark_package.Lark(path.read_text())
        place = re.search(r"at line \d+ column \d+", str(theirs.value))
        assert place is not None
        for grammar in (path, path.read_text()):
            with pytest.raises(ConstraintError, match=f"Lark cannot read the grammar: .*{place.group()}"):
                lark(grammar)


@pytest.mark.parametrize("name", ["binary_len_5_0", "binary_len_5_1"])
def test_list_of_binary_strings_allows_these_and_their_prefixes(name: str, test_data: Path) -> None:
    """Grammars whose one rule lists 17 strings, as a list and as a rule of Lark's."""
    side = (test_data / "gad_grammars" / f"{name}.ebnf").read_text().split("::=")[-1]
    listed = set(re.findall('"([01]+)"', side))
    assert len(listed) == 17
    prefixes = {text[:size] for text in listed for size in range(6)}
    for constraint in (
        choices(sorted(listed)),
        lark(f"start: {side}"),
        lark(f"start: {side}", parser="lalr"),
    ):
        for text in ("".join(bits) for size in range(7) for bits in itertools.product("01", repeat=size)):
            assert accepted(constraint, text) == (text in listed), text
            assert viable(constraint, text) == (text in prefixes), text


def test_goal_grammar_with_named_objects_is_viable_only_on_names_that_exist() -> None:
    grammar = 'start: " " (pred " ")* pred\npred: "(on " BLOCK " " BLOCK ")"\nBLOCK: "red" | "blue" | "green"'
    constraint = lark(grammar)
    assert viable(constraint, " (on re")
    assert viable(constraint, " (on red gre")
    assert not viable(constraint, " (on rex")
    assert not viable(constraint, " (on red yellow")
    assert accepted(constraint, " (on red blue) (on blue green)")


def test_prefix_may_end_inside_a_character() -> None:
    constraint = lark('start: "é" /[à-ü]+/')
    data = "éàü".encode()
    for cut in range(len(data) + 1):
        head = constraint.advance(constraint.initial(), data[:cut])
        assert head is not None
        assert constraint.advance(head, data[cut:]) == constraint.advance(constraint.initial(), data)
    assert constraint.advance(constraint.initial(), b"\xc3\xc3") is None


def test_terminal_flags_are_those_of_lark() -> None:
    constraint = lark('start: "select"i / x y /x NUM\nNUM: /\\d/')
    assert accepted(constraint, "SeLeCtxy٣")
    assert not accepted(constraint, "select x y1")


def test_scannerless_language_is_larger_where_terminals_overlap() -> None:
    grammar = 'start: "if" NAME\nNAME: /[a-z]+/\n%ignore " "'
    assert accepted(lark(grammar), "iffy")
    assert not parses(lark_package.Lark(grammar, parser="lalr", lexer="basic"), "iffy")


@pytest.mark.parametrize("text", ["a" * 100, "ab" * 40])
def test_exponentially_ambiguous_grammar_takes_polynomial_time(text: str) -> None:
    """The number of parses is a Catalan number of the length."""
    constraint = lark('start: start start | "a" | "b" |')
    assert accepted(constraint, text)


def test_deep_nesting_needs_no_recursion() -> None:
    constraint = lark('start: "[" start "]" | "x"')
    depth = 5_000
    state = constraint.advance(constraint.initial(), b"[" * depth)
    assert state is not None
    assert accepted(constraint, "[" * depth + "x" + "]" * depth)
    del state


def test_states_survive_that_the_memory_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earley_sets, "MAX_FRAMES", 3)
    monkeypatch.setattr(rule_tails, "MAX_BUNDLES", 2)
    monkeypatch.setattr(predictions, "MAX_PREDICTIONS", 1)
    monkeypatch.setattr(earley, "MAX_STEPS", 5)
    constraint = lark('start: "(" start ")" start | "." // a grammar that no other test remembers')
    assert accepted(constraint, "((.).)" + "(.)" * 9 + ".")
    assert accepted(constraint, "(" * 30 + "." + ")." * 30)
    assert not accepted(constraint, "(" * 30 + "." + ")." * 29)


@pytest.mark.parametrize(
    ("grammar", "message"),
    [
        ('start: "a', r"Lark cannot read the grammar.*line 1"),
        ("start: b", r"Lark cannot read the grammar"),
        ('rule: "a"', r"Lark cannot read the grammar"),
        (
            "start: A\nA: /(?<=\\ba)a/",
            r"Terminal A of the grammar: .* an anchor inside look-behind at position 0",
        ),
        ("start: A\nA: /(a+)\\1/", r"Terminal A of the grammar: .* a back-reference at position"),
        ("start: A\nA: /a*/", r"zero-width|empty string"),
        ("start: A\nA: /(/", r"Terminal A is no regular expression: '\('"),
        ('start: "a" start', r"No string is in the language"),
        ("start: A\nA: /[^\\s\\S]/", r"No string is in the language"),
        ("start: A\n%declare A", r"declared but has no pattern"),
    ],
)
def test_bad_grammar_is_refused_with_its_reason(grammar: str, message: str) -> None:
    with pytest.raises(ConstraintError, match=f"(?s){message}"):
        lark(grammar)


def test_grammars_are_values() -> None:
    one = lark('start: "a"')
    assert one == lark('start: "a"')
    assert one != lark('start: "b"')
    assert one != lark('start: "a"\nx: "a"', start="x")
    assert one.viable_is_exact
    assert repr(lark('\nstart: "a"\nb: "c"')) == """lark('start: "a"', ...)"""
