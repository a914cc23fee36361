"""`lp.python_code` against this Python: its library is viable throughout, mistakes end with their line."""

from __future__ import annotations

import os
import random
import warnings
from pathlib import Path

import pytest
from viable_prefixes import accepted

import lmppl as lp
from lmppl.constraints.domains.python import python_blocks, python_lines
from lmppl.constraints.domains.python.python_source import python_code
from lmppl.testing import check_constraint

LIBRARY = Path(os.__file__).parent
NAMES = (
    "ast",
    "argparse",
    "dataclasses",
    "enum",
    "functools",
    "inspect",
    "shlex",
    "textwrap",
    "typing",
    "asyncio/tasks",
)
SMALL = '''\
"""A module."""
import a  # why
@decorated(1,
           2)
class A(B):

    x: int = 3
    def f(self, *, a="(", b='\\'') -> "[":
        try:
            return {1: [2,
  3], 4: """5
 '"""}
        except (A, B) as e: pass
        else:
            raise
        finally: y = \\
            2
    async def g(self):
        async with a as b, c: await d
if x: y = 1
elif z:
\twhile 1:
\t\tbreak
\telse: pass
else: z = lambda: 0
match x:
    # a comment
    case [1, *_] if y:
        pass
    case _: match = 1; case = 2
try:
    f"{x!r:>{y}}"
except* E:
    pass
'''


def refused(text: str) -> str | None:
    """Gives the first prefix that is not viable."""
    constraint, state = python_code(), python_code().initial()
    data = text.encode()
    for at in range(len(data)):
        state = constraint.advance(state, data[at : at + 1])
        if state is None:
            return data[: at + 1].decode(errors="replace")
    return None


def allows(text: str) -> bool:
    return accepted(python_code(), text)


def chunks_are_viable(path: Path, rng: random.Random) -> bool:
    """Reads a module in chunks of drawn sizes."""
    constraint = python_code()
    data, state, position = path.read_bytes(), constraint.initial(), 0
    while position < len(data):
        size = rng.choice([1, 3, 5, 20, 80])
        state = constraint.advance(state, data[position : position + size])
        if state is None:
            return False
        position += size
    return constraint.accepts(state)


def test_every_prefix_of_a_program_is_viable():
    assert refused(SMALL) is None
    assert allows(SMALL)
    assert refused(SMALL.replace("\n", "\r\n")) is None
    assert allows(SMALL.replace("\n", "\r\n"))


@pytest.mark.parametrize(
    "text", ["if x:\n\\\n ()\n", "if x:\n    y\n\\\n    z\n", "if x:\n \\\ny\n", "\f\\\n\\\r\nx = 1\n"]
)
def test_a_line_that_is_joined_before_its_first_word_is_indented_as_python_has_it(text: str):
    compile(text, "text", "exec")
    assert refused(text) is None
    assert allows(text)


@pytest.mark.parametrize("text", ["f'{x\n}'\n", 'if x:\n    y = Rf"{x["a"]!r\n:>{y}}"\n'])
def test_strings_that_may_hold_newlines_are_read_as_a_whole_as_byte_by_byte(
    text: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(python_lines, "_NESTING_STRINGS", frozenset({"f", "rf"}))  # of Python 3.12 and later
    assert refused(text) is None
    assert python_code().advance(python_code().initial(), text.encode()) is not None


@pytest.mark.parametrize("name", NAMES)
def test_a_module_of_the_library_is_viable_throughout(name: str):
    assert chunks_are_viable(LIBRARY / f"{name}.py", random.Random(0))


@pytest.mark.slow
def test_modules_of_the_library_are_viable_throughout():
    paths = [
        path
        for folder in (".", "asyncio", "email", "json", "test")
        for path in (LIBRARY / folder).glob("*.py")
    ]
    random.Random(0).shuffle(paths)
    assert [
        path for path in paths[:150] if compiles(path) and not chunks_are_viable(path, random.Random(1))
    ] == []


def compiles(path: Path) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(path.read_bytes().decode(), "text", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


@pytest.mark.parametrize(
    ("text", "until"),
    [
        ("x = = 1\ny", "x = = 1\n"),
        ("def f(:)\n", "def f(:)\n"),
        ("x = (1]", "x = (1]"),
        ("x = 'a\n", "x = 'a\n"),
        ("if x:\ny = 1\n", "if x:\ny = 1\n"),
        ("if x:\n    y\n  z\n", "if x:\n    y\n  z\n"),
        ("  x = 1\n", "  x = 1\n"),
        ("x = 1\nelse:\n", "x = 1\nelse:\n"),
        ("try:\n  x\ny = 1\n", None),
        ("@f\nx = 1\n", "@f\nx = 1\n"),
        ("match x:\n  y = 1\n", "match x:\n  y = 1\n"),
        ("class A:\n  def f(self):\n    return )", "class A:\n  def f(self):\n    return )"),
        ("while x\n", "while x\n"),
        ("a\0", "a\0"),
        ("return 1\n", None),
    ],
)
def test_a_mistake_is_refused_at_the_end_of_its_line(text: str, until: str | None):
    assert not allows(text)
    assert refused(text) == until


def test_the_cost_of_a_line_does_not_grow_with_the_text(monkeypatch: pytest.MonkeyPatch):
    parsed: list[int] = []
    parses = python_blocks.parses

    def counted(source: str) -> bool:
        parsed.append(len(source))
        return parses(source)

    monkeypatch.setattr(python_blocks, "parses", counted)
    assert refused("class A:\n" + "    def f(self):\n        return [1, 2]\n" * 200) is None
    assert len(parsed) == 401
    assert max(parsed) < 100


def test_a_reader_without_the_outer_headers_is_found_out(monkeypatch: pytest.MonkeyPatch):
    text = "match x:\n    case 1:\n        y = 2\n"
    assert refused(text) is None
    placed = python_blocks._placed
    monkeypatch.setattr(python_blocks, "_placed", lambda blocks, line: (placed(blocks, line) or (None,))[-1:])
    assert refused(text) is not None


def test_the_laws_hold():
    check_constraint(lp.python_code(), ["if x:\n  y = 'é'\n", "x = (1,\n2)", "def f(", "x = 'a\n'"])
    assert lp.python_code() == lp.python_code()


@pytest.mark.parametrize("text", ["(" * 5000, "-" * 20_000 + "1\n", "if x:\n" * 200, "[" * 300 + "\n"])
def test_hostile_text_ends_in_an_answer(text: str):
    assert not allows(text) or text.startswith("-")
