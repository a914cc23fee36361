"""`lp.lark` with an `Indenter`, against Lark with the same one."""

from __future__ import annotations

import bisect
import fnmatch
import inspect
import itertools
import random
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import lark as lark_package
import pytest
from lark.indenter import Indenter, PythonIndenter
from lark_target import compared
from viable_prefixes import accepted, stepped

from lmppl.constraints.grammars import indentation
from lmppl.constraints.grammars.grammar import lark
from lmppl.errors import ConstraintError, InvalidInputError, InvalidTypeError
from lmppl.testing import check_constraint


def indenter(newline: str = "_NL", tab_length: int = 2, **methods: object) -> Any:
    """Gives an instance of a class as Lark's documentation writes them."""
    names = {"NL_type": newline, "INDENT_type": "_INDENT", "DEDENT_type": "_DEDENT", "tab_len": tab_length}
    return type(
        "Own", (Indenter,), names | {"OPEN_PAREN_types": ["LPAR"], "CLOSE_PAREN_types": ["RPAR"]} | methods
    )()


MODES = (("lalr", "contextual"), ("lalr", "basic"), ("earley", "basic"))
SYMBOLS = ('"a"', "x", "_NL", "_INDENT", "_DEDENT", '"("', '")"')
WEIGHTS = (3, 2, 3, 1, 1, 1, 1)
NEWLINES = (r"/\n */", r"/(\n *)+/", r"/(\n[ \t]*|#)+/", r"/\n( a)?/", r"/#?\n? */", r"/\n *(?! )/")
BLOCKS = "x: a | b\na: /a+/ _NL?\nb: a _INDENT x+ _DEDENT"
TREE = """
start: _NL? node+
node: NAME _NL [_INDENT node+ _DEDENT]
NAME: /[a-z]+/
_NL: /(\\n *)+/
%declare _INDENT _DEDENT
"""
PYTHON = """
start: (_NEWLINE | statement)*
?statement: simple | block
simple: expression _NEWLINE
block: "if" expression ":" _NEWLINE _INDENT statement+ _DEDENT
expression: NAME | "(" expression ("," expression)* ")"
NAME: /[a-z]+/
_NEWLINE: (/\\r?\\n[\\t ]*/ | COMMENT)+
COMMENT: /#[^\\n]*/
%ignore /[\\t ]+/
%ignore COMMENT
%declare _INDENT _DEDENT
"""
SAMPLE = "if a:\n  if (b,\nc):\n\n\ta # x\n  b\na\n"


def random_grammar(rng: random.Random) -> str:
    lines = [f"start: {rng.choice(('x', 'x+', '_NL? x+', 'x _NL'))}"]
    if rng.random() < 0.5:
        lines.append(BLOCKS)
    else:
        sides = {
            " ".join(rng.choices(SYMBOLS, WEIGHTS, k=rng.randint(1, 4))) for _ in range(rng.randint(2, 4))
        }
        lines.append("x: " + " | ".join(sorted(sides)))
    lines.append(f"_NL: {rng.choice(NEWLINES)}")
    lines.append("%declare _INDENT _DEDENT")
    if rng.random() < 0.5:
        lines.append('%ignore " "')
    return "\n".join(lines)


def parses(parser: lark_package.Lark, text: str) -> bool:
    """Says whether Lark takes a text. Of some its Indenter can make nothing."""
    try:
        parser.parse(text)
    except (lark_package.exceptions.LarkError, AssertionError, IndexError):
        return False
    return True


def damaged(text: str, rng: random.Random) -> str:
    """Puts something between two characters, or in place of one."""
    at = rng.randrange(len(text) + 1)
    put = rng.choice(("", " ", "\n", "\t", "(", ")", ":", "a", "#"))
    return text[:at] + put + text[at + rng.randint(0, 1) :]


def compare(
    mode: tuple[str, str], seed: int, num: int, length: int, alphabet: str = "a \n()#"
) -> Counter[str]:
    """Compares random grammars with Lark on every string up to a length, and counts what it finds."""
    rng = random.Random(f"{mode} {seed}")
    found: Counter[str] = Counter()
    strings = ["".join(p) for n in range(length + 1) for p in itertools.product(alphabet, repeat=n)]
    while found["grammars"] < num:
        grammar = random_grammar(rng)
        try:
            parser = lark_package.Lark(grammar, parser=mode[0], lexer=mode[1], postlex=indenter())  # type: ignore[arg-type]
        except lark_package.exceptions.LarkError:
            continue
        expected: dict[str, bool | None] = {text: parses(parser, text) for text in strings}
        try:
            constraint = lark(grammar, parser=mode[0], lexer=mode[1], postlex=indenter())
            constraint.initial()
        except ConstraintError:
            found["refused"] += any(expected.values())
            continue
        found["grammars"] += 1
        found["with blocks"] += sum(bool(yes) and "\n " in text for text, yes in expected.items())
        found.update(compared(constraint, expected, b"", 0))
    return found


@pytest.mark.parametrize("mode", MODES, ids="-".join)
def test_random_grammar_agrees_with_lark_on_every_string(mode: tuple[str, str]) -> None:
    found = compare(mode, seed=0, num=12, length=4)
    assert found["accepted"] > 100
    assert found["with blocks"] > 10
    assert not found["wrong"] + found["dead too early"] + found["refused"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES, ids="-".join)
def test_many_random_grammars_agree_with_lark_on_every_string(mode: tuple[str, str]) -> None:
    found = compare(mode, seed=1, num=100, length=5)
    assert not found["wrong"] + found["dead too early"] + found["refused"]


@pytest.mark.parametrize("mutant", ["spaces before the break count", "no parentheses", "no tabs"])
def test_broken_indentation_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    numbered = indentation.NumberedIndentation
    original = indentation.Indentation.numbered
    if mutant == "spaces before the break count":
        column = numbered.column
        monkeypatch.setattr(numbered, "column", lambda self, before, byte: column(self, before or 0, byte))
    elif mutant == "no parentheses":
        nothing = frozenset()
        monkeypatch.setattr(
            indentation.Indentation,
            "numbered",
            lambda self, tokens: original(self, tokens)._replace(openers=nothing, closers=nothing),
        )
    else:
        monkeypatch.setattr(
            indentation.Indentation,
            "numbered",
            lambda self, tokens: original(self, tokens)._replace(tab_length=0),
        )
    lark_module = lark.__globals__["_lark"]
    lark_module.cache_clear()
    try:
        alphabet = "a \n\t" if mutant == "no tabs" else "a \n()#"
        found = Counter()
        for mode in MODES:
            found.update(compare(mode, seed=0, num=12, length=4, alphabet=alphabet))
    finally:
        lark_module.cache_clear()
    assert found["wrong"]


def test_tabs_count_as_the_indenter_says() -> None:
    found = compare(MODES[0], seed=2, num=12, length=5, alphabet="a \n\t")
    assert found["with blocks"] > 10
    assert not found["wrong"] + found["dead too early"] + found["refused"]


@pytest.mark.parametrize("parser", ["lalr", "earley"])
def test_texts_like_python_are_judged_as_by_lark(parser: str) -> None:
    ours = lark(PYTHON, parser=parser, postlex=PythonIndenter())
    theirs = lark_package.Lark(PYTHON, parser="lalr", postlex=PythonIndenter())
    rng = random.Random(0)
    found: Counter[bool] = Counter()
    for _ in range(400):
        text = SAMPLE
        for _ in range(rng.randint(0, 3)):
            at = rng.randrange(len(text) + 1)
            text = (
                text[:at]
                + rng.choice(("", " ", "\n", "\t", "(", ")", ":", "a", "#"))
                + text[at + rng.randint(0, 1) :]
            )
        expected = parses(theirs, text)
        states = stepped(ours, text.encode())
        whole = len(states) > len(text)
        assert (whole and ours.accepts(states[-1])) == expected, text
        assert whole or not expected
        found[expected] += 1
    assert min(found[True], found[False]) > 50


@pytest.mark.parametrize(
    ("name", "start", "newline"),
    [("lark_python", "file_input", "_NEWLINE"), ("syncode_python_grammar", "start", "_NL")],
)
def test_grammars_of_python_agree_with_lark_on_its_library(
    name: str, start: str, newline: str, test_data: Path
) -> None:
    """Functions of some modules, whole and damaged."""
    postlex = type("Named", (PythonIndenter,), {"NL_type": newline})()
    path = test_data / "lark_grammars" / f"{name}.lark"
    ours = lark(path, start, parser="lalr", postlex=postlex)
    theirs = lark_package.Lark(path.read_text(), start=start, parser="lalr", postlex=postlex)
    functions = [value for module in (textwrap, fnmatch, bisect) for value in vars(module).values()]
    sources = [inspect.getsource(value) for value in functions if inspect.isfunction(value)]
    rng = random.Random(0)
    found: Counter[bool] = Counter()
    for number in range(100):
        text = rng.choice(sources)[:1_000]
        text = text[: text.rindex("\n") + 1]
        for _ in range(number % 3):
            text = damaged(text, rng)
        expected = parses(theirs, text)
        assert accepted(ours, text) == expected, text
        found[expected] += 1
    assert min(found[True], found[False]) > 20


def test_an_indented_line_belongs_to_the_one_above() -> None:
    tree = lark(TREE, parser="lalr", postlex=indenter())
    assert accepted(tree, "a\n  b\n  c\n    d\n e\n") is False  # it fits no block
    assert accepted(tree, "a\n  b\n  c\n    d\ne\n")
    assert accepted(tree, "a\n  b\n")  # all blocks end with the text
    assert not accepted(tree, "a\n  b")
    assert tree.viable_is_exact is False
    check_constraint(tree, samples=["a\n  b\n", "a\n  b\n    c\nd\n"])


def test_states_of_a_block_do_not_depend_on_how_it_was_written() -> None:
    tree = lark(TREE, parser="lalr", postlex=indenter())
    one, other = (tree.advance(tree.initial(), text) for text in (b"a\n  b\nc", b"a\n\n \n  b\n   \nc"))
    assert one is other


def test_deep_blocks_take_no_longer_for_a_byte() -> None:
    tree = lark(TREE, parser="lalr", postlex=indenter())
    text = "".join(" " * depth + "a\n" for depth in range(200))
    assert accepted(tree, text + "a\n")


@pytest.mark.parametrize(
    ("postlex", "message"),
    [
        (Indenter, r"an instance of a subclass of lark.indenter.Indenter"),
        ("python", r"was given 'python'"),
        (indenter(process=lambda self, stream: stream), "is a Own with a process of its own"),
    ],
)
def test_another_postlex_is_refused(postlex: object, message: str) -> None:
    with pytest.raises(InvalidTypeError, match=message):
        lark(TREE, parser="lalr", postlex=postlex)


def test_a_dynamic_lexer_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="and `postlex` is one of 'auto', 'basic'"):
        lark(TREE, lexer="dynamic", postlex=indenter())


def test_grammars_with_other_indenters_are_others() -> None:
    one, other = (lark(TREE, parser="lalr", postlex=indenter(tab_length=length)) for length in (2, 8))
    assert one is lark(TREE, parser="lalr", postlex=indenter())
    assert one != other
    assert one != lark(TREE.replace("%declare _INDENT _DEDENT", '_INDENT: "{"\n_DEDENT: "}"'), parser="lalr")
