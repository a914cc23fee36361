"""What a target must fulfil whatever it means: the constraints that a program could put on each domain."""

from __future__ import annotations

import json
import re
import sqlite3

from lmppl.errors import InvalidInputError
from lmppl.models.embedded.documents import Document
from lmppl.models.embedded.goals import Conjunct, parse
from lmppl.models.embedded.kitchen import SIGNATURES

_BLOCK_SIGNATURES = {
    "on": ("block", "block"),
    "on-table": ("block",),
    "clear": ("block",),
    "holding": ("block",),
}
_FORMATS = {
    "dates": r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])",
    "e-mails": r"[a-z]+(?:[._][a-z]+)?@[a-z]+\.(?:com|org|example)",
}


def is_valid(document: Document, text: str) -> bool:
    """Tells whether a target is well-formed, judged by what its prompt lists and by nothing else."""
    if document.domain in ("blocks", "kitchen"):
        return has_listed_objects(document.prompt, text)
    if document.domain == "sql":
        return runs(document.prompt, text)
    if document.domain == "records":
        return _is_json(text)
    if document.domain in _FORMATS:
        return re.fullmatch(_FORMATS[document.domain], text) is not None
    return bool(text)


def conjuncts(text: str) -> frozenset[Conjunct]:
    """Gives the conjuncts of a goal, or none if the text is no goal."""
    try:
        return frozenset(parse(text))
    except InvalidInputError:
        return frozenset()


def listed_objects(prompt: str) -> dict[str, str]:
    """Gives the objects that a goal prompt lists, each with its type."""
    lines = prompt.split("### objects\n")[1].split("\n###")[0].split("\n")
    return {name: kind for names, kind in (line.split(" - ") for line in lines) for name in names.split()}


def has_listed_objects(prompt: str, text: str) -> bool:
    """Tells whether a text is a goal whose every argument is listed, of the type that its predicate takes."""
    types = listed_objects(prompt)
    goal = conjuncts(text)
    return bool(goal) and all(_is_typed(conjunct, types) for conjunct in goal)


def _is_typed(conjunct: Conjunct, types: dict[str, str]) -> bool:
    predicate, *arguments = conjunct
    signatures = (_BLOCK_SIGNATURES.get(predicate), SIGNATURES.get(predicate))
    return tuple(types.get(argument) for argument in arguments) in signatures


def runs(prompt: str, query: str) -> bool:
    """Tells whether a query runs on its prompt's schema, its quoted values being words of the question."""
    schema, question = prompt.split("### schema\n")[1].split("\n### question\n")
    if not all(value in question for value in re.findall(r"'([^']*)'", query)):
        return False
    with_tables = sqlite3.connect(":memory:")
    try:
        for line in schema.split("\n"):
            with_tables.execute(f"CREATE TABLE {line}")
        return query.startswith("SELECT ") and with_tables.execute(query) is not None
    except (sqlite3.Error, sqlite3.Warning):
        return False
    finally:
        with_tables.close()


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except json.JSONDecodeError:
        return False
