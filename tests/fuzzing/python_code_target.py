"""`lp.python_code` against `compile` and `ast.parse`: drawn programs, some spoilt, and all their prefixes."""

from __future__ import annotations

import ast
import warnings

from drawn_bytes import Draws
from viable_prefixes import stepped

from lmppl.constraints.domains.python.python_source import python_code

MAX_BYTES = 60
SIMPLE = (
    *("x = 1", "pass", "x", "import x.y as z", "from . import (x, y,)", "del x", "assert x, y", "x: int = 1"),
    *("raise x from y", "f(x, *y, z=1, **w)", "x = [y for y in z if y]", "{x: y, **z}", "x[1:2, ...]"),
    *(
        "x = (1,\n  2)",
        "x = [\n# c\n]",
        "'a' 'b'",
        '"""a\n b"""',
        "'''\\''''",
        "r'\\'",
        "rb'\\\\'",
        "f'{x!r:>{y}}'",
    ),
    *(
        "f'{x[\"y\"]}'",
        "x = '\\\n'",
        "x \\\n + y",
        "x; y",
        "x;",
        "lambda *x: (yield)",
        "x if y else z",
        "not x",
    ),
    *("x @ y", "x = y = 1", "x += 1", "(x := 1)", "print(x)  # c: '", "é = 1", "0x1f + 1_0.5e-3j", "x.y.z()"),
    *("'\\N{DASH}'", "type X = int", "match = 1", "match(x)", "case[x]", "type(x)", "_ = ...", "*x, y = z"),
    *(
        "global x",
        "x: 1",
        "u'a'",
        'f"""{\nx}"""',
        "{}",
        "()",
        "x = f'{{}}'",
        "b'''\n'''",
        "x<y>z",
        "x->y",
        "1 x",
    ),
)
ONLY_INSIDE = ("return x", "yield", "await x", "return", "nonlocal x", "continue", "break")
HEADERS = (
    *("if x:", "while x:", "for x in y:", "with x as y, z:", "def f(x, /, *, y=1) -> x:", "class C(x):"),
    *("async def f():", "with (x as y,\n  z):", "for x, in y:", "class C:", "def f(\n):", "if (x\n  ):"),
    *("def f[T](x: T):", "match x:", "try:", "@f\ndef g():", "@f\n@g(x)\nclass C:", "if x: # c"),
)
CLAUSES = (
    "elif x:",
    "else:",
    "except:",
    "except E as e:",
    "finally:",
    "except* E:",
    "case [1, *x] if y:",
    "case _:",
)
BREAKS = ("\n", "\n", "\n\n", "\r\n", " # c\n", "\n# c\n", "\n      \n", "\r", "\n\f", " \\\n")
INDENTS = ("    ", "  ", "\t", " ")
SPOILERS = (
    *(
        "(",
        ")",
        "]",
        "}",
        "'",
        '"',
        '"""',
        "\n",
        "\n ",
        ":",
        "\\",
        "\0",
        "#",
        "=",
        ",",
        "$",
        "\t",
        "f'",
        "{",
        " ",
    ),
    *("\ufeff", "else:", "\n    pass", "x", "1", "\r", "\x0c", "é", "?", "!", "@", "async ", "\\\n"),
)
SEEDS = tuple(bytes(step * place % 256 for place in range(MAX_BYTES)) for step in (1, 7, 11, 29, 53, 77))


def drawn(data: bytes) -> tuple[str]:
    """Draws a program, and in half of all cases spoils it in one or two places."""
    draws = Draws(data)
    spoilt = draws.below(6)
    text = "".join(_block(draws, "", 3, 1 + draws.below(3)))
    for _ in range(max(0, spoilt - 3)):
        place = (256 * draws.below(256) + draws.below(256)) % (len(text) + 1)
        text = text[:place] + draws.one_of(SPOILERS) + text[place + draws.below(3) :]
    return (text,)


def _block(draws: Draws, indent: str, depth: int, size: int) -> list[str]:
    """Draws the lines of a block."""
    lines = []
    for _ in range(size):
        kind = draws.below(5)
        if kind < 3 or not depth:
            statement = draws.one_of(ONLY_INSIDE if kind == 1 and indent else SIMPLE)
            lines += [indent, statement, draws.one_of(BREAKS)]
            continue
        header = draws.one_of(HEADERS)
        lines += _clause(
            draws, indent, header.replace("\n@", f"\n{indent}@").replace("\nd", f"\n{indent}d"), depth
        )
        if header == "try:" or draws.below(4) == 1:
            lines += _clause(draws, indent, draws.one_of(CLAUSES), depth)
    return lines


def _clause(draws: Draws, indent: str, header: str, depth: int) -> list[str]:
    """Draws a header with its block, on the same line or below."""
    below = indent + draws.one_of(INDENTS)
    if header == "match x:":
        inner = _clause(draws, below, draws.one_of(("case _:", "case [1, *x] if y:")), depth - 1)
    elif draws.below(4) == 1:
        return [indent, header, " ", draws.one_of(SIMPLE), draws.one_of(BREAKS)]
    else:
        inner = _block(draws, below, depth - 1, 1 + draws.below(2))
    return [indent, header, draws.one_of(BREAKS), *inner]


def judged(text: str) -> str:
    """Compares a text and each of its prefixes with the compiler."""
    constraint = python_code()
    data = text.encode()
    compiling = [end for end in _ends(data) if compiles(data[:end])]
    states = stepped(constraint, data)
    assert len(states) > max(compiling), f"{data[: len(states)]!r} is refused and can be completed"
    for end in _ends(data):
        if end < len(states):
            said = constraint.accepts(states[end])
            assert said == (end in compiling), f"{data[:end]!r} is {'accepted' if said else 'refused'}"
    for cut in (len(data) // 3, 2 * len(data) // 3):
        middle = constraint.advance(constraint.initial(), data[:cut])
        whole = middle is not None and constraint.advance(middle, data[cut:]) is not None
        assert whole == (len(states) > len(data)), f"{data!r}, cut at {cut}, is judged otherwise"
    if compiling[-1] == len(data):
        return "text"
    return "no text" if len(states) <= len(data) else "open"


def _ends(data: bytes) -> list[int]:
    """Gives the places where a character ends."""
    return [size for size in range(len(data) + 1) if size == len(data) or data[size] & 0xC0 != 0x80]


def compiles(data: bytes) -> bool:
    """Says whether Python compiles a text as a module; then it parses it too."""
    text = data.decode()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text, "<text>", "exec", dont_inherit=True)
            ast.parse(text)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        return False
    return True
