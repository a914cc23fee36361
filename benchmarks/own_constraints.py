"""lmppl's constraints of the tasks, and how they are asked: as the engine asks them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from constraint_tasks import GOODS, Task
from lark.indenter import PythonIndenter
from peer_adapter import forget_constraints, forget_masks
from tokenizers import Tokenizer

import lmppl as lp
from lmppl.acceptance import Acceptor, Cursor
from lmppl.cache_places import COMPILE_CACHE
from lmppl.constraints.functions.time_limits import one_alarm
from lmppl.constraints.protocol import Constraint
from lmppl.constraints.vocabularies.canonical_tokens import Canonical
from lmppl.constraints.vocabularies.vocabulary_mask import index_of
from lmppl.language_model import Vocabulary
from lmppl.models.canonical_merges import MergesRule
from lmppl.token_answers import StepAnswers, TokenAnswers

OURS = "lmppl"

BLOCKS = """
(define (problem five) (:domain blocksworld) (:objects b1 b2 b3 b4 b5)
  (:init (arm-empty) (on-table b1) (clear b1) (on-table b2) (clear b2) (on-table b3) (clear b3)
    (on-table b5) (on b4 b5) (clear b4))
  (:goal (and (on b1 b2) (on b2 b3))))
"""
CONCERTS = {
    "stadium": ["stadium_id", "location", "name", "capacity", "highest", "lowest", "average"],
    "singer": ["singer_id", "name", "country", "song_name", "song_release_year", "age", "is_male"],
    "concert": ["concert_id", "concert_name", "theme", "stadium_id", "year"],
    "singer_in_concert": ["concert_id", "singer_id"],
}
ITEMS = {
    "type": "object",
    "properties": {"items": {"type": "array", "items": {"$ref": "#/$defs/item"}}},
    "$defs": {"item": {"type": "object", "properties": {"price": {"type": "number"}}}},
}


class Place:
    """Where a text stands: what the engine has of it at one step."""

    def __init__(self, acceptor: Acceptor, cursor: Cursor):
        self.acceptor = acceptor
        self.cursor = cursor

    @cached_property
    def answers(self) -> TokenAnswers[Cursor]:
        """What is known of the next tokens here."""
        return self.acceptor.answers(self.cursor)


class Ours:
    """lmppl's constraints over one vocabulary.

    Args:
        tokens: As bytes, the end behind them.
        tokenizer: The `tokenizer.json` that they are the first of; `lp.canonical` needs it.
    """

    name: str = OURS

    def __init__(self, tokens: list[bytes], tokenizer: Path | None = None):
        self._vocabulary = Vocabulary((*tokens[:-1], b""), frozenset({len(tokens) - 1}))
        self._tokenizer_file = tokenizer
        index_of(self._vocabulary)  # made once a model

    @property
    def kinds(self) -> tuple[str, ...]:
        """What can be compiled."""
        return ("canonical", *MAKERS)

    def compile(self, task: Task) -> Acceptor:
        forget_constraints(self._vocabulary)
        os.environ[COMPILE_CACHE] = "off"  # nothing is read that was compiled before
        made = self._canonical() if task.kind == "canonical" else MAKERS[task.kind](task)
        acceptor = Acceptor(self._vocabulary, made, None)
        acceptor.prepare()  # which the engine does later, and the others now
        return acceptor

    def ids(self, task: Task) -> list[int] | None:
        """Gives the ids of a sample, where they must not be the longest that fit."""
        if task.kind != "canonical":
            return None
        return self._tokenizer[1].encode(task.sample).ids

    def initial(self, compiled: Acceptor) -> Place:
        return Place(compiled, compiled.initial)

    def advanced(self, state: Place, token: int) -> Place:
        cursor = state.acceptor.step(state.cursor, token)
        assert cursor is not None, token
        return Place(state.acceptor, cursor)

    def check(self, state: Place, candidates: Sequence[int]) -> list[bool]:
        """Asks as a step of the engine does: all together if the constraint gains from that."""
        answers, acceptor = state.answers, state.acceptor
        if not isinstance(answers, StepAnswers):
            return [answers.allows(token) for token in candidates]
        with one_alarm():  # for calls of functions
            if acceptor.gains_from_lists:
                missing = [token for token in dict.fromkeys(candidates) if not answers.knows(token)]
                found = acceptor.steps([state.cursor] * len(missing), missing)
                for token, after in zip(missing, found, strict=True):
                    answers.learn(token, after)
            return [answers.allows(token) for token in candidates]

    def mask(self, state: Place) -> int:
        forget_masks(self._vocabulary)
        acceptor = Acceptor(self._vocabulary, state.acceptor.constraint, None)
        with one_alarm():
            return int(acceptor.mask(state.cursor).sum())

    def fork(self, state: Place) -> Cursor:
        """Gives the same value, which nothing changes."""
        return state.cursor

    def _canonical(self) -> Constraint:
        spec, tokenizer = self._tokenizer
        return Canonical(MergesRule(spec, tokenizer, self._vocabulary), "o200k_base")

    @cached_property
    def _tokenizer(self) -> tuple[dict[str, Any], Tokenizer]:
        """The tokenizer with the first tokens alone, and what it was read from."""
        assert self._tokenizer_file is not None, "lp.canonical needs a tokenizer"
        spec = json.loads(self._tokenizer_file.read_text())
        model = spec["model"]
        words = {
            word: number for word, number in model["vocab"].items() if number < len(self._vocabulary) - 1
        }
        merges = [pair for pair in model["merges"] if {*pair, "".join(pair)} <= words.keys()]
        spec = {**spec, "added_tokens": [], "model": {**model, "vocab": words, "merges": merges}}
        return spec, Tokenizer.from_str(json.dumps(spec))


def _lark(task: Task) -> Constraint:
    options: dict[str, Any] = dict(task.options)
    if "postlex" in options:
        options["postlex"] = PythonIndenter()
    return lp.lark(task.source, **options)


def _checked(task: Task) -> Constraint:
    if task.name.endswith("lists"):
        return lp.check("short words", prefix=_have_short_words, batch=True)
    return lp.check("short words", prefix=_has_short_words)


def _has_short_words(text: str) -> bool:
    return all(len(word) <= 8 for word in text.split())


def _have_short_words(texts: list[str]) -> list[bool]:
    return [_has_short_words(text) for text in texts]


def _word_list() -> Constraint:
    item = lp.regex("[a-z]+") + (" " + lp.regex("[a-z]+")).repeat()
    return "(" + item + (", " + item).repeat() + ")"


MAKERS: dict[str, Callable[[Task], Constraint]] = {
    "regex": lambda task: lp.regex(task.source),
    "choices": lambda task: lp.choices(json.loads(task.source)),
    "pattern": lambda task: lp.pattern(task.source),
    "length": lambda task: lp.length(10, 100),
    "lark": _lark,
    "json": lambda task: lp.json(json.loads(task.source)),
    "json_check": lambda task: (
        lp.json(ITEMS) & lp.json_check("cheap", "/items/*/price", lambda price: price < 10)
    ),
    "linear": lambda task: lp.linear(
        "2*price + tax <= 100",
        "price >= tax",
        over='{{"price": {price}, "tax": {tax}}}',
        fields={"price": "[0-9]{1,3}", "tax": r"[0-9]{1,2}(\.[0-9]{2})?"},
    ),
    "smt": lambda task: lp.smt(
        "meal != 'steak' or price >= 20",
        "drink == 'wine' or price % 5 == 0",
        over="{meal} with {drink} for {price}",
        fields={"meal": "soup|steak", "drink": lp.choices(["water", "wine"]), "price": "[1-9][0-9]?"},
    ),
    "pddl_goal": lambda task: lp.pddl_goal(task.source, BLOCKS),
    "pddl_plan": lambda task: lp.pddl_plan(task.source, BLOCKS),
    "sql": lambda task: lp.sql(CONCERTS),
    "python_code": lambda task: lp.python_code(),
    "smiles": lambda task: lp.smiles(),
    "check": _checked,
    "words": lambda task: lp.words(lambda words: words[-1] not in words[:-1], name="no word twice"),
    "&": lambda task: lp.json(json.loads(task.source)) & lp.length(2, 200),
    "|": lambda task: lp.json(json.loads(task.source)) | lp.choices(GOODS),
    "+": lambda task: "Answer: " + lp.json(json.loads(task.source)) + "\n",
    "repeat": lambda task: (
        (lp.json(json.loads(task.source)) + "\n").repeat(1, 3) if task.source else _word_list()
    ),
    "~": lambda task: ~lp.regex(r"[\s\S]*(dog|horse|sleep)[\s\S]*"),
}
