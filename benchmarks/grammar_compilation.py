"""How long the grammars of the shared test data take to compile."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lark.indenter import PythonIndenter
from peer_adapter import forget_constraints

import lmppl as lp
from lmppl.cache_places import COMPILE_CACHE

PARSERS = ("earley", "lalr")
STARTS = {"lark_python": ("file_input", "eval_input"), "pddl_grammar": ("domain", "problem", "plan")}
NEWLINES = {"lark_python": "_NEWLINE", "syncode_python_grammar": "_NL"}  # of grammars with indented blocks
REPEATS = 3


def compile_grammars(data: Path, repeats: int = REPEATS) -> Iterator[dict[str, Any]]:
    """Times the compilation of every Lark grammar, from each of its rules for whole texts, with each parser.

    Args:
        data: The test data.
        repeats: The median is given.

    Yields:
        `compile_s` to the first state, nothing kept from before; `bytes_s` of asking then which bytes may
        come first, for which what is left to the first question is made; `cpu_s`, the processor time of both;
        `refused`, why there is none.
    """
    os.environ[COMPILE_CACHE] = "off"
    for path in sorted(data.rglob("*.lark")):
        for start in STARTS.get(path.stem, ("start",)):
            for parser in PARSERS:
                times = [_compiled(path, start, parser) for _ in range(repeats)]
                compile_s, bytes_s, cpu_s, refused = sorted(times)[len(times) // 2]
                name = path.stem if start == "start" else f"{path.stem}, {start}"
                row: dict[str, Any] = {"grammar": name, "parser": parser, "compile_s": compile_s}
                yield {**row, "bytes_s": bytes_s, "cpu_s": cpu_s, "refused": refused}


def _compiled(path: Path, start: str, parser: str) -> tuple[float, float, float, str]:
    forget_constraints()
    options: dict[str, Any] = {"start": start, "parser": parser}
    if path.stem in NEWLINES:
        options["postlex"] = type("Named", (PythonIndenter,), {"NL_type": NEWLINES[path.stem]})()
        options["lexer"] = "contextual" if parser == "lalr" else "basic"
    began, cpu = time.perf_counter(), time.process_time()
    try:
        constraint = lp.lark(path, **options)
        state = constraint.initial()
    except lp.LmpplError as refused:
        return time.perf_counter() - began, 0.0, time.process_time() - cpu, str(refused).splitlines()[0][:100]
    compiled = time.perf_counter()
    for byte in range(256):
        constraint.advance(state, bytes((byte,)))
    return compiled - began, time.perf_counter() - compiled, time.process_time() - cpu, ""
