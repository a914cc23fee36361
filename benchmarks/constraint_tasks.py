"""The constraints that are timed, each with a text that obeys it. Imports no engine."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Task:
    """One constraint and a text that obeys it.

    Attributes:
        name: Its row in the table.
        kind: The function or operator of lmppl that makes it, as the tables of docs/constraints.md name it.
        source: What is compiled, where that is one text: a pattern, a schema, a grammar.
        sample: The text along which states are visited.
        options: Of `lp.lark`.
        pattern: A regular expression of the same strings, for engines that have nothing nearer.
        file: In the test data: what to read `source` from.
        sample_file: In the test data: what to read `sample` from.
    """

    name: str
    kind: str
    source: str = ""
    sample: str = ""
    options: tuple[tuple[str, str], ...] = ()
    pattern: str = ""
    file: str = ""
    sample_file: str = ""

    def read(self, data: Path) -> Task:
        """Gives the task with what it takes from the test data."""
        source = (data / self.file).read_text() if self.file else self.source
        sample = (data / self.sample_file).read_text().rstrip("\n") if self.sample_file else self.sample
        return replace(self, source=source, sample=sample)

    def form_for(self, kinds: Sequence[str]) -> tuple[str, str] | None:
        """Gives how an engine of these kinds is told the constraint, as kind and text; None if it cannot be.

        A grammar is told under Lark's defaults alone.
        """
        if self.kind in kinds and not self.options:
            return self.kind, self.source
        return ("regex", self.pattern) if self.pattern and "regex" in kinds else None


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "email": {"type": "string"},
        "active": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
PERSON_TEXT = (
    '{"name": "Ann Lee", "age": 42, "email": "ann.lee@mail.com", "active": true, "tags": ["x", "long tag"]}'
)
# Without whitespace, so that all engines read it alike.
JSON_GRAMMAR = r"""
start: value
value: object | array | STRING | NUMBER | "true" | "false" | "null"
object: "{" (pair ("," pair)*)? "}"
pair: STRING ":" value
array: "[" (value ("," value)*)? "]"
STRING: /"[^"\\\n]*"/
NUMBER: /-?(0|[1-9][0-9]*)(\.[0-9]+)?/
"""
COMPACT_TEXT = PERSON_TEXT.replace(": ", ":").replace(", ", ",")
_MATERIALS = ("oak", "pine", "steel", "brass", "glass", "linen", "wool", "silk", "clay", "stone")
_COLOURS = ("red", "blue", "green", "black", "white", "amber", "ivory", "olive", "coral", "plum")
_THINGS = ("chair", "table", "lamp", "shelf", "desk", "stool", "bench", "vase", "rug", "frame")
GOODS = tuple(f"{colour} {made} {thing}" for colour in _COLOURS for made in _MATERIALS for thing in _THINGS)
SENTENCE = "The cat sat on a mat near the old door, and nobody thought of waking it before noon."
PYTHON_TEXT = '''\
def mean(values, default=None):
    """Gives the mean."""
    if not values:
        return default
    total = 0.0
    for value in values:
        total += value  # one after the other
    return total / len(values)


class Table:
    def __init__(self, rows):
        self.rows = [list(row) for row in rows]
'''
# A query of the shared sample of Spider.
SPIDER_QUERY = (
    "SELECT T2.name, count(*) FROM singer_in_concert AS T1 JOIN singer AS T2 "
    "ON T1.singer_id = T2.singer_id GROUP BY T2.singer_id"
)
SQL_GRAMMAR, SQL_TEXT = "lark_grammars/study_sql.lark", "lark_grammars/study_q.sql"

TASKS = (
    Task("date", "regex", r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "2024-05-17"),
    Task("email", "regex", r"[a-z0-9._]+@[a-z]+\.[a-z]{2,3}", "ann.lee42@mail.com"),
    Task("six words", "regex", r"(?:[a-z]+ ){5}[a-z]+\.", "the cat sat on the mat."),
    Task("200 letters", "regex", r"\w{1,200}", "supercalifragilistic_expialidocious"),  # too large a DFA
    Task(
        "1,000 names",
        "choices",
        json.dumps(GOODS),
        "ivory linen shelf",
        pattern="|".join(map(re.escape, GOODS)).replace("\\ ", " "),
    ),
    Task("tag", "pattern", r"<(\w+)>[^<]*</\1>", "<title>The cat sat on the mat</title>"),
    Task("length", "length", "", SENTENCE, pattern=r"[\s\S]{10,100}"),
    Task("person", "json", json.dumps(PERSON), PERSON_TEXT),
    Task(
        "order",
        "json",
        file="lark_grammars/study_schema.json",
        sample_file="lark_grammars/study_inst.json",
    ),
    Task("any JSON", "json", "{}", PERSON_TEXT),
    Task("cheap items", "json_check", "", '{"items": [{"price": 9.5}, {"price": 0.25}, {"price": 7}]}'),
    Task("grammar", "lark", JSON_GRAMMAR, COMPACT_TEXT),
    *(
        Task(
            f"SQL, {', '.join(options)}",
            "lark",
            file=SQL_GRAMMAR,
            sample_file=SQL_TEXT,
            options=tuple(zip(("parser", "lexer"), options, strict=True)),
        )
        for options in (
            ("lalr", "contextual"),
            ("lalr", "basic"),
            ("earley", "dynamic"),
            ("earley", "dynamic_complete"),
            ("earley", "basic"),
        )
    ),
    Task(
        "Python, postlex",
        "lark",
        file="lark_grammars/lark_python.lark",
        sample=PYTHON_TEXT,
        options=(("parser", "lalr"), ("start", "file_input"), ("postlex", "PythonIndenter")),
    ),
    Task("bill", "linear", "", '{"price": 40, "tax": 19.99}'),
    Task("meal", "smt", "", "steak with wine for 21"),
    Task(
        "goal",
        "pddl_goal",
        file="blocksworld/blocksworld.pddl",
        sample="(and (on b1 b2) (on b2 b3) (on-table b3) (clear b1) (arm-empty))",
    ),
    Task(
        "plan",
        "pddl_plan",
        file="blocksworld/blocksworld.pddl",
        sample="(unstack b4 b5)\n(putdown b4)\n(pickup b2)\n(stack b2 b3)\n(pickup b1)\n(stack b1 b2)",
    ),
    Task("canonical", "canonical", "", SENTENCE),
    Task("concerts", "sql", "", SPIDER_QUERY),
    Task("module", "python_code", "", PYTHON_TEXT),
    Task("caffeine", "smiles", "", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C"),
    Task("short words", "check", "", SENTENCE),
    Task("short words, lists", "check", "", SENTENCE),
    Task("no word twice", "words", "", "the cat sat on a mat near one old door"),
    Task("short person", "&", json.dumps(PERSON), PERSON_TEXT),
    Task("person or phrase", "|", json.dumps(PERSON), PERSON_TEXT),
    Task("answer", "+", json.dumps(PERSON), f"Answer: {PERSON_TEXT}\n"),
    Task("lines", "repeat", json.dumps(PERSON), f"{PERSON_TEXT}\n" * 2),
    Task(
        "word list",  # all of one automaton
        "repeat",
        "",
        "(red, green, deep blue)",
        pattern=r"\([a-z]+( [a-z]+)*(, [a-z]+( [a-z]+)*)*\)",
    ),
    Task("no such word", "~", "", SENTENCE),
)
