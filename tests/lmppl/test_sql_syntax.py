"""`lp.sql` refuses a prefix where SQLite's parser cannot go on, and no prefix behind which it can."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from drawn_bytes import Draws
from drawn_queries import SCHEMA, drawn_query, spaced
from sql_target import can_exist, complaint, mutated, takes

import lmppl as lp
from lmppl.constraints.domains.sql import sql_syntax
from lmppl.constraints.domains.sql.memory_databases import MemoryDatabase
from lmppl.constraints.domains.sql.sql_schema import read_database
from lmppl.constraints.domains.sql.sql_syntax import can_go_on
from lmppl.constraints.domains.sql.sql_words import lexemes

pytestmark = pytest.mark.once

OF_PARSER = re.compile(
    "syntax error|incomplete input|unrecognized token|a JOIN clause is required before|join type"
)
WINDOW_WORDS = ("over", "filter", "window")
REFUSED = [  # a beginning that nothing completes, by its last character
    "SELECT ,",
    "SELECT a FROM W",
    "SELECT a FROM t 1",
    "SELECT a FROM t x wg",
    "SELECT a FROM t x WHEE",
    "SELECT a b c",
    "SELECT a 'b' \"",
    "SELECT a FROM t WHERE a = =",
    "SELECT a FROM t WHERE a ! ",
    "SELECT a FROM t WHERE a IN 3",
    "SELECT a FROM t LIMIT 1 GR",
    "SELECT a FROM t ORDER BY a W",
    "SELECT a FROM t GROUP BY a D",
    "SELECT CASE WHEN THEN ",
    "SELECT CASE WHEN a THEN 1 W ",
    "SELECT a FROM t LEFT I",
    "SELECT a FROM t LEFT x",
    "SELECT a FROM t NATURAL OUTER J",
    "SELECT a FROM t INNER CROSS O",
    "SELECT a FROM t LEFT OUTER '",
    "SELECT a FROM t ON ",
    "SELECT a FROM t x on",
    "SELECT a FROM t AS x US",
    "SELECT a FROM (t) ON ",
    "SELECT a FROM (t x ON",
    "SELECT a FROM u JOIN (t x ON",
    "SELECT a FROM t x UP",
    "SELECT count(*) FILTER (H",
    "SELECT a FROM t ORDER BY sum(a) OVER )",
    "SELECT a FROM t ORDER BY sum(a) OVER (a,",
    "SELECT a FROM t WINDOW w,",
    "SELECT a OVER (",
    "SELECT sum(a) OVER (ROWS BETWEEN UNBOUNDED F",
    "WITH w AS (SELECT 1) D",
    "WITH w AS (SELECT 1) U",
    "WITH w AS (SELECT 1) I",
    "WITH w AS (SELECT 1) REPLACE I",
    "SELECT x'0g",
    "SELECT 1a",
    "SELECT 1e+ ",
    "SELECT 0x ",
    "SELECT 'a\x00",
    "SELECT 1;;",
    "SELECT no_such;",
]
ALIVE = [
    "SELECT a FROM t WHE",
    "SELECT a FROM t x WHE",
    "SELECT a FROM t ON",
    "SELECT a FROM t, u x ON",
    "SELECT a FROM t, (u x JOIN t) USI",
    "SELECT a FROM t OUTER ",
    "SELECT a FROM t NATURAL OUTER ",
    "SELECT a FROM t LEFT NATURAL OUTER JO",
    "SELECT a FROM t INNER CROSS INNER JOIN ",
    "SELECT a FROM t AS left LEFT ",
    "SELECT left.x FROM t AS left",
    "SELECT a FROM t ORDER BY sum(a) OVER",
    "SELECT a FROM t ORDER BY sum(a) OVER /* c */ ",
    "SELECT a FROM t WINDOW w ",
    "SELECT a FROM t WINDOW",
    "SELECT sum(a) FILTER",
    "SELECT a -",
    "SELECT a FROM t x -",
    "SELECT a FROM t x /",
    "SELECT 1;-",
    "SELECT a FROM t /* (",
    "SELECT a FROM t LIMIT x",
    "SELECT a FROM main ",
    "SELECT a FROM t WHERE upper ",
    "SELECT no_such FROM t x, ",
    "WITH w(replace) AS (SELECT 1) SELECT replace FROM w ",
]


@pytest.mark.parametrize("text", REFUSED)
def test_what_nothing_completes_is_refused_at_its_last_character(text: str):
    constraint = lp.sql(SCHEMA)
    assert constraint.advance(constraint.initial(), text.encode()) is None
    assert constraint.advance(constraint.initial(), text[:-1].encode()) is not None


@pytest.mark.parametrize("text", ALIVE)
def test_what_may_still_become_a_query_is_not_refused(text: str):
    constraint = lp.sql(SCHEMA)
    assert constraint.advance(constraint.initial(), text.encode()) is not None


JOINED = ("LEFT", "inner", "NATURAL", "CROSS", "JOIN", "u", "t", "no_such", "ON", "USING(a)", ",", "(", ")")
JOINED += ("AS", "'s'", '"left"', "[left]", "WHERE", "/* c */", "-", "a = 1", "SELECT")


def refused_in_steps_alone(num: int) -> tuple[int, list[str]]:
    """Counts viable beginnings with joins; gives those of which it plays a part in which steps they come."""
    constraint = lp.sql(SCHEMA)
    rng = random.Random(0)
    found, num_viable = [], 0
    for _ in range(num):
        tokens = ["SELECT a FROM", rng.choice(["t", "(t", "t x", "t, u", "(t x", "t AS left"])]
        text = " ".join((*tokens, *rng.choices(JOINED, k=rng.randrange(1, 7))))
        text = text[: len(text) - rng.randrange(3)]
        is_viable = constraint.advance(constraint.initial(), text.encode()) is not None
        num_viable += is_viable
        if is_viable != (first_refused(constraint, text) is None):
            found.append(text)
    return num_viable, found


def test_joins_are_refused_at_once_and_in_steps_alike():
    num_viable, found = refused_in_steps_alone(2_000)
    assert found == []
    assert num_viable > 200


@pytest.mark.slow
def test_many_joins_are_refused_at_once_and_in_steps_alike():
    num_viable, found = refused_in_steps_alone(100_000)
    assert found == []
    assert num_viable > 10_000


def random_queries(num: int, seed: int) -> Iterator[tuple[list[str], Draws]]:
    rng = random.Random(seed)
    for _ in range(num):
        draws = Draws(rng.randbytes(rng.choice((10, 30, 60, 120))))
        yield drawn_query(draws), draws


def first_refused(constraint: lp.Constraint, text: str) -> str | None:
    """Gives the shortest prefix, byte by byte, that is refused."""
    data, state = text.encode(), constraint.initial()
    for size in range(1, len(data) + 1):
        state = constraint.advance(state, data[size - 1 : size])
        if state is None:
            return data[:size].decode(errors="replace")
    return None


def refused_of_random_queries(num: int) -> tuple[int, list[str]]:
    """Gives how many of the queries SQLite takes, and the prefixes of these that are refused."""
    constraint = lp.sql(SCHEMA)
    texts = [spaced(tokens, draws) for tokens, draws in random_queries(num, 0)]
    valid = [text for text in texts if takes(text)]
    refused = (first_refused(constraint, text) for text in valid)
    return len(valid), [text for text in refused if text is not None]


def test_no_prefix_of_a_random_query_is_refused():
    num_valid, refused = refused_of_random_queries(200)
    assert num_valid > 120
    assert refused == []


@pytest.mark.slow
def test_no_prefix_of_many_random_queries_is_refused():
    num_valid, refused = refused_of_random_queries(3_000)
    assert num_valid > 2_000
    assert refused == []


def test_no_prefix_of_recorded_queries_is_refused(test_data: Path):
    folder = test_data / "spider_sample"
    constraint = lp.sql(folder / "concert_singer.sqlite")
    for each in json.loads((folder / "dev.json").read_text()):
        assert first_refused(constraint, each["query"]) is None


MUTANTS: dict[str, tuple[str, Any]] = {
    "OVER, FILTER and WINDOW are names at the end": ("_rests", lambda form, after_window: [""]),
    "words do not grow": ("_forms", lambda last, piece: (piece,)),
    "an unfinished word is a name": ("_SORTED", []),
    "ON always lacks a join": ("_lacks_join", lambda text: True),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_refuses_a_prefix(mutant: str, monkeypatch: pytest.MonkeyPatch):
    name, instead = MUTANTS[mutant]
    monkeypatch.setattr(sql_syntax, name, instead)
    names = read_database(SCHEMA).names
    monkeypatch.setattr(lp, "sql", lambda schema: lp.check(mutant, lambda text: judged_anew(text, names)))
    assert refused_of_random_queries(200)[1] != []


def test_a_mutant_that_looks_at_no_more_words_of_a_join_refuses_one(monkeypatch: pytest.MonkeyPatch):
    texts = ["SELECT a FROM t NATURAL OUTER", "SELECT a FROM t NATURAL OUTER "]
    judge = sql_syntax._is_no_join.__wrapped__
    assert [judge(text, "outer") for text in texts] == [False, False]
    monkeypatch.setattr(sql_syntax, "_MORE_JOIN_WORDS", [])
    assert [judge(text, "outer") for text in texts] == [True, True]


def judged_anew(text: str, names) -> bool:
    found = lexemes(text)
    return found is not None and can_exist(text, names) and can_go_on(text, found)


# How early: all sequences of a few tokens, and random queries with one token changed.

BEGINNINGS = {
    "SELECT": ("a", "t", "SELECT", "FROM", ",", "(", ")", "WHERE"),
    "SELECT a FROM t": ("LEFT", "INNER", "outer", "NATURAL", "JOIN", "u", "ON 1", "USING(a)"),
    "SELECT a FROM (t": ("CROSS", "RIGHT", "JOIN", "u", "ON 1", "USING(a)", ")", ","),
    "SELECT a FROM t JOIN": ("t", "JOIN", "USING(a)", "ON", "AS", ",", "x", "NOT INDEXED"),
    "SELECT a FROM t ORDER BY sum(a)": ("OVER", "FILTER", "WINDOW", "w", "AS", "(", ")", "WHERE"),
    "SELECT CASE a": ("WHEN", "THEN", "ELSE", "END", "=", "NOT", "1", "NULL"),
}
MOST_TOKENS = 4
MOST_MORE_TOKENS = 6


@lru_cache(100_000)
def is_alive(text: str) -> bool:
    found = lexemes(text + " ")
    return found is not None and can_go_on(text + " ", found)


def parses(text: str) -> bool:
    return OF_PARSER.search(complaint(text)) is None


def has_completion(text: str, alphabet: tuple[str, ...], most: int) -> bool:
    """Searches behind prefixes that are alive only, first the shortest."""
    texts = [text]
    for _ in range(most + 1):
        if any(map(parses, texts)):
            return True
        texts = [f"{each} {token}" for each in texts for token in alphabet]
        texts = list(filter(is_alive, texts))[:500]
    return False


@pytest.mark.parametrize("begins", BEGINNINGS)
def test_a_sequence_of_tokens_is_alive_if_and_only_if_it_has_a_completion(begins: str):
    """The search for completions ends after six more tokens; no sequence of four needs as many."""
    alphabet = BEGINNINGS[begins]
    sequences = {
        size: [" ".join((begins, *each)) for each in itertools.product(alphabet, repeat=size)]
        for size in range(MOST_TOKENS + 2)
    }
    parsing = [text for texts in sequences.values() for text in texts if parses(text)]
    prefixes = {text.rsplit(" ", cut)[0] for text in parsing for cut in range(MOST_TOKENS + 2)}
    tried = [text for size in range(MOST_TOKENS + 1) for text in sequences[size]]
    alive = set(filter(is_alive, tried))
    assert [text for text in tried if text in prefixes and text not in alive] == []
    assert [text for text in alive - prefixes if not has_completion(text, alphabet, MOST_MORE_TOKENS)] == []
    assert len(alive) > 20


def wrong_token(tokens: list[str]) -> int | None:
    """Gives the position of the token that SQLite names as wrong, if what stands behind plays no part."""
    for position, token in enumerate(tokens):
        if token.lower() in WINDOW_WORDS or (position and tokens[position - 1].lower() in WINDOW_WORDS):
            continue
        if re.search(
            r'near ".+": syntax error', complaint(" ".join(tokens[: position + 1]) + "\n"), re.DOTALL
        ):
            return position
    return None


def late_characters(tokens: list[str], judge: Callable[[str], bool], position: int) -> int:
    """Counts for how many characters behind the wrong token a text lives, at most to its end."""
    start = len(" ".join(tokens[: position + 1]))
    text = " ".join(tokens) + " "
    return next(
        (size for size in range(len(text) - start + 1) if not judge(text[: start + size])), len(text) - start
    )


def test_a_query_with_one_token_changed_dies_where_sqlite_names_the_token():
    names = read_database(SCHEMA).names
    late, before = [], []
    rng = random.Random(0)
    for tokens, _ in random_queries(400, 1):
        changed = mutated(tokens, Draws(rng.randbytes(4)))
        position = wrong_token(changed)
        if position is None or position + 1 == len(changed):
            continue
        late.append(late_characters(changed, lambda text: judged_anew(text, names), position))
        before.append(late_characters(changed, lambda text: only_names(text, names), position))
    assert len(late) > 100
    assert max(late) <= 1  # the space that ends the token
    assert sum(before) > 20 * sum(late)


def only_names(text: str, names) -> bool:
    return can_exist(text, names)


def test_the_parser_runs_nothing():
    """Whatever stands in a text, SQLite stops at the piece behind it that is no token."""
    connection = MemoryDatabase()
    for text in (
        "CREATE TABLE x (y)",
        "SELECT 1",
        "SELECT 1; CREATE TABLE x (y);",
        "PRAGMA user_version = 3",
        "",
    ):
        assert sql_syntax._said_of(connection, text) != ""
    assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    assert connection.execute("PRAGMA user_version").fetchone() == (0,)
