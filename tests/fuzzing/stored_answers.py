"""What grammars and schemas answer on texts, at every prefix: as a script, in a process of its own.

    python tests/fuzzing/stored_answers.py FOLDER all|few SECONDS [anew]

prints the answers as JSON. FOLDER holds the shared data; `all` or `few` says how many grammars; what takes
SECONDS to compile is kept, where LMPPL_COMPILE_CACHE says; with `anew`, compiling is an error.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from grammar_documents import DOCUMENTS, NO_TEXTS, mutated
from lark.indenter import PythonIndenter

from lmppl.constraints import stored_compilations
from lmppl.constraints.grammars import grammar, grammar_terminals, lark_grammars, lexed_grammars
from lmppl.constraints.grammars.grammar import lark
from lmppl.constraints.json_values import json_texts
from lmppl.constraints.protocol import Constraint, State
from lmppl.constraints.regular import character_sets, regular_expression

MODES = (("lalr", "contextual"), ("lalr", "basic"), ("earley", "basic"), ("earley", "dynamic"))
FEW = ("study_sql", "syncode_java_grammar", "pddl_grammar domain")
NUM_DAMAGED = 4

EDGES = r"""
start: (NAME | IF | "then"i | NUMBER)+
IF.2: /\bif\b/
NAME: /[^\W\d]\w*/
NUMBER: /(?<!\d)-?\d+/
%ignore /\s+/
"""
"""Terminals that look at what stands before them."""

SCHEMAS: list[Any] = [
    {"enum": [f"word {i * i}" for i in range(40)] + ['é"\\\n', 1, 2.5, None, [1], {"a": "b"}]},
    {"type": "array", "items": {"enum": [1, 2, "a"]}, "uniqueItems": True, "contains": {"const": 2}},
    {
        "type": "object",
        "properties": {"a": {"type": "string", "pattern": "^[a-c]+$", "maxLength": 900}, "b": {"$ref": "#"}},
        "patternProperties": {"^x": {"type": "integer", "minimum": -3, "multipleOf": 3}},
        "additionalProperties": {"type": "string", "maxLength": 3},
        "required": ["a"],
        "minProperties": 2,
        "maxProperties": 3,
    },
    {"not": {"type": "object", "additionalProperties": {"type": "number"}}},
    {"anyOf": [{"type": "number"}, {"type": "string", "not": {"enum": ["a", "ab"]}}, {"items": False}]},
]
VALUES: list[Any] = [
    *("word 9", 'é"\\\n', "a", "ab", 1, 2.5, 6, None, [1], [1, 2], [2, 2], [2, "a", 1], {"a": "b"}, {}),
    *({"a": "abc", "x": 6}, {"a": "c", "b": {"a": "a", "z": "abc"}}, {"a": "d", "xy": 1}, {"q": True}, [[]]),
]
"""What the schemas are asked about."""


def seen(constraint: Constraint, data: bytes) -> str:
    """Gives for each beginning of a text whether it is accepted (a), viable (v), or refused, the last one."""
    state: State | None = constraint.initial()
    found = ""
    for byte in data:
        assert state is not None
        found += "a" if constraint.accepts(state) else "v"
        state = constraint.advance(state, bytes((byte,)))
        if state is None:
            return found
    assert state is not None
    return found + ("a" if constraint.accepts(state) else "v")


def judged(constraint: Constraint, texts: list[str]) -> list[Any]:
    """Gives what a constraint says of itself, and of all beginnings of some texts."""
    before = constraint.viable_is_exact
    return [before, [seen(constraint, text.encode()) for text in texts], constraint.viable_is_exact]


def damaged(texts: list[str]) -> list[str]:
    """Gives texts, and the same with a character changed."""
    rng = random.Random(0)
    return [each for text in texts for each in (text, *(mutated(rng, text) for _ in range(NUM_DAMAGED)))]


def grammars(data: Path, names: tuple[str, ...]) -> Iterator[tuple[str, Callable[[], Constraint], list[str]]]:
    """Gives grammars by name, what compiles each, and texts."""
    for name in names:
        file, _, start = name.partition(" ")
        path = data / "lark_grammars" / f"{file}.lark"
        start = start or ("file_input" if name == "lark_python" else "start")
        for mode in MODES:
            if (name, mode) not in NO_TEXTS:
                yield (
                    f"{name} {mode}",
                    lambda path=path, start=start, mode=mode: lark(
                        path, start, parser=mode[0], lexer=mode[1]
                    ),
                    DOCUMENTS[name],
                )
    path = data / "lark_grammars" / "syncode_python_grammar.lark"
    for mode in MODES:
        yield (
            f"{path.stem} {mode}",
            lambda path=path, mode=mode: lark(path, parser=mode[0], lexer=mode[1]),
            ["x = [1, 0.5, 'a' \"\"] # c\nf(a, *b)\n"],
        )
    path = data / "lark_grammars" / "lark_python.lark"
    yield (
        "lark_python, indented",
        lambda: lark(path, "file_input", parser="lalr", postlex=PythonIndenter()),
        ["if x:\n    y = 1\n\n    while z: f(a,\nb)\nelse:\n  pass\n", "x /#"],
    )
    for mode in MODES:
        yield (
            f"edges {mode}",
            lambda mode=mode: lark(EDGES, parser=mode[0], lexer=mode[1]),
            ["if x THEN y", "iffy -1 x-2 if1", "é1 if if"],
        )


def schemas(data: Path) -> Iterator[tuple[str, Callable[[], Constraint], list[str]]]:
    """Gives schemas by number, what compiles each, and texts."""
    lines = (data / "jsonschemabench" / "permissive_schemas_only.jsonl").read_text().strip().split("\n")
    shared = [json.loads(line)["schema"] for line in lines]
    texts = [json.dumps(value, ensure_ascii=False) for value in VALUES]
    for number, schema in enumerate([*SCHEMAS, *shared]):
        for formats in (False, True):
            options = {"formats": formats, "draft": None if number < len(SCHEMAS) else "7"}
            yield (
                f"schema {number}, {formats}",
                lambda schema=schema, options=options: json_texts.json(schema, **options),
                [*texts, '{"', '{"a'],
            )


def answers(data: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Gives all answers by the name of what answers."""
    found: dict[str, Any] = {}
    for name, compiled, texts in (*grammars(data, names), *schemas(data)):
        found[name] = judged(compiled(), damaged(texts))
    return found


def refuse(*_: Any) -> Any:
    """Stands for all that compiles."""
    raise AssertionError("it is compiled again")


def main() -> None:
    folder, how_many, seconds, *rest = sys.argv[1:]
    stored_compilations.LEAST_SECONDS = float(seconds)
    if rest:
        for module, name in (
            (character_sets, "_found_edges"),
            (character_sets, "_found_cased_characters"),
            (regular_expression, "determinised"),
            (grammar, "can_always_complete"),
            (grammar_terminals, "match_automaton"),
            (json_texts, "plan"),
            (lark_grammars, "_read_by_lark"),
            (lexed_grammars, "_all_found"),
            (lexed_grammars._Scanners, "can_find"),
            (lexed_grammars, "lalr_table"),
            (lexed_grammars, "lexemes_can_be_ended"),
        ):
            assert hasattr(module, name)
            setattr(module, name, refuse)
    sys.stdout.write(json.dumps(answers(Path(folder), tuple(DOCUMENTS) if how_many == "all" else FEW)))


if __name__ == "__main__":
    main()
