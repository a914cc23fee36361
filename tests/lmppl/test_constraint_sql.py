"""`lp.sql` against SQLite: no prefix of a query that it compiles is refused, and how early others are."""

from __future__ import annotations

import _thread
import json
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from sql_target import can_exist
from viable_prefixes import accepted

import lmppl as lp
from lmppl.constraints.domains.sql import sql_names, sql_queries, sql_schema
from lmppl.constraints.domains.sql.sql_cores import Core, Names
from lmppl.constraints.domains.sql.sql_names import Read, nothing_read
from lmppl.constraints.domains.sql.sql_schema import read_database
from lmppl.constraints.domains.sql.sql_words import lexemes
from lmppl.constraints.functions.remembered_answers import CheckTimedOut
from lmppl.constraints.protocol import Constraint
from lmppl.errors import InvalidInputError, InvalidTypeError
from lmppl.testing import check_constraint

SCHEMA = {
    "singer": ["Singer_ID", "Name", "Country", "Age", "Is_male"],
    "concert": ["concert_ID", "concert_Name", "Theme", "Stadium_ID", "Year"],
    "stadium": ["Stadium_ID", "Location", "Name", "Capacity"],
    "singer_in_concert": ["concert_ID", "Singer_ID"],
    "odd table": ["a column", "key"],
    "guest": ["Singer_ID"],
}
VALID = """
SELECT count(*) FROM singer
select Name, Age from singer order by age desc limit 3;
SELECT DISTINCT Country FROM singer WHERE Age > 20 AND Name LIKE '%Hey%'
SELECT T1.Name, count(*) AS n FROM stadium AS T1 JOIN concert T2 ON T1.Name = Theme GROUP BY 1 HAVING n > 1
SELECT s.Name FROM singer s, guest x, concert c WHERE s.Singer_ID = x.Singer_ID AND c.Year = s.Age
SELECT Name FROM stadium WHERE Stadium_ID NOT IN (SELECT Stadium_ID FROM concert WHERE Year = 2014)
SELECT Name FROM stadium EXCEPT SELECT T2.Name FROM concert T1 JOIN stadium T2 USING (Stadium_ID)
SELECT Name FROM singer UNION SELECT Location FROM stadium ORDER BY Name
SELECT avg(Capacity) m, max(Capacity) "the most" FROM stadium WHERE m IS NULL OR 1
SELECT x FROM (SELECT Name AS x FROM singer) WHERE x > 'a'
SELECT t.x FROM (SELECT max(Age) x, Country FROM singer GROUP BY Country) t WHERE t.x BETWEEN 1 AND 3
WITH old AS (SELECT * FROM singer WHERE Age > 40) SELECT Name FROM old WHERE Country = "France"
WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n WHERE i < 5) SELECT i, i * i AS q FROM n ORDER BY q
WITH a AS (SELECT * FROM b), b AS (SELECT 1 AS one) SELECT one FROM a
SELECT Name FROM singer WHERE EXISTS (SELECT 1 FROM singer_in_concert y WHERE y.Singer_ID = singer.Singer_ID)
SELECT (SELECT Name FROM stadium WHERE stadium.Stadium_ID = concert.Stadium_ID) FROM concert
SELECT (SELECT Theme) FROM concert WHERE Year > 2000
SELECT CASE WHEN Age > 30 THEN 'old' ELSE 'young' END AS kind, count(*) FROM singer GROUP BY kind
SELECT CAST(Age AS INTEGER) + 1, CAST(Age AS DOUBLE PRECISION) d FROM singer ORDER BY d
SELECT Name FROM singer ORDER BY Name COLLATE NOCASE, 2 - Age
SELECT row_number() OVER (PARTITION BY Country ORDER BY Age) AS r FROM singer
SELECT sum(Age) OVER w FROM singer WINDOW w AS (ORDER BY Name)
SELECT sum(Age) OVER w FROM singer WINDOW w AS (ORDER BY Name) UNION SELECT 1 ORDER BY 1
SELECT count(*) FILTER (WHERE Age > 3) FROM singer
SELECT a.Name FROM singer a LEFT OUTER JOIN stadium b ON a.Name = b.Name WHERE b.Name IS NOT NULL
SELECT * FROM singer NATURAL JOIN singer_in_concert
SELECT [a column], `key` FROM "odd table" WHERE "a column" = "no such name"
SELECT main.singer.Name, singer.* FROM main.singer WHERE main.singer.Age IS NOT DISTINCT FROM 3
SELECT rowid, oid FROM singer WHERE _rowid_ = 1
SELECT name FROM sqlite_master
SELECT value FROM json_each('[1, 2]') WHERE value > 1
SELECT key FROM json_each
SELECT 1 -- of what?
SELECT /* all */ 'it''s', x'0aff', 1.5e-3, .5, 0x1F, NULL, current_date, true
VALUES (1, 'a'), (2, 'b')
SELECT Name FROM singer WHERE Age IN (1, 2, 3) AND (Country, Name) IN (VALUES ('a', 'b'))
SELECT Name FROM (singer JOIN singer_in_concert ON singer.Singer_ID = singer_in_concert.Singer_ID)
SELECT s.Age first, s.Name FROM singer s WHERE first > 1
SELECT first.Age FROM singer first WHERE first.Age > 1
SELECT iif(Age > 1, upper(Name), coalesce(Country, '?')) FROM singer WHERE Name GLOB 'a*' OR Name || 'x' = 'y'
SELECT Name FROM singer WHERE Singer_ID IN (WITH c(a) AS (SELECT 1) SELECT a FROM c)
SELECT group_concat(Name, ', ') FROM singer GROUP BY Country HAVING min(Age) <> 2 LIMIT 1 OFFSET 2
SELECT Name FROM stadium WHERE Capacity > (SELECT avg(Age) FROM singer) INTERSECT SELECT Theme FROM concert
SELECT a.Name FROM singer AS a WHERE a.Age = (SELECT max(b.Age) FROM singer AS b WHERE b.Country = a.Country)
SELECT Name, Age FROM singer WHERE Singer_ID IN guest OR 1
SELECT Name FROM singer INDEXED BY no_such_index
""".strip().splitlines()[:-1]
WRONG = [  # a query, and the part of it after which it must have been refused
    ("SELECT Name FROM singers WHERE Age > 3", "SELECT Name FROM singers"),
    ("SELECT Name FROM dancer", "SELECT Name FROM da"),
    ("SELECT Name FROM singer JOIN albums ON 1", "SELECT Name FROM singer JOIN a"),
    ("SELECT Name FROM singer WHERE Salary > 3", "SELECT Name FROM singer WHERE Sal"),
    ("SELECT Salary FROM singer WHERE Age > 3", "SELECT Salary FROM singer WHERE "),
    ("SELECT Name FROM singer WHERE singer.Salary > 3", "SELECT Name FROM singer WHERE singer.Sa"),
    ("SELECT T1.Theme FROM singer AS T1 ORDER BY Age", "SELECT T1.Theme FROM singer AS T1 ORDER "),
    ("SELECT Name FROM singer ORDER BY T2.Name", "SELECT Name FROM singer ORDER BY T2.N"),
    ("SELECT median(Age) FROM singer", "SELECT median("),
    ("SELECT Name FROM singer WHERE Age = (SELECT Foo FROM concert)", None),
    ("SELECT 1)", "SELECT 1)"),
    ("DELETE FROM singer", "D"),
    ("SELECT 'a' FROM singer; SELECT 2", "SELECT 'a' FROM singer; S"),
    (
        "SELECT Name FROM stadium UNION SELECT Foo FROM singer WHERE 1",
        "SELECT Name FROM stadium UNION SELECT Foo FROM singer WHERE ",
    ),
]


def is_viable(constraint: Constraint, text: str) -> bool:
    return constraint.advance(constraint.initial(), text.encode()) is not None


@pytest.mark.parametrize("query", VALID)
def test_every_prefix_of_a_query_that_compiles_is_viable(query: str):
    constraint = lp.sql(SCHEMA)
    assert accepted(constraint, query)
    assert [query[:cut] for cut in range(len(query)) if not is_viable(constraint, query[:cut])] == []


@pytest.mark.parametrize(("query", "refused"), WRONG)
def test_a_wrong_name_is_refused_and_how_early(query: str, refused: str | None):
    constraint = lp.sql(SCHEMA)
    assert not accepted(constraint, query)
    if refused is not None:
        assert query.startswith(refused)
        assert not is_viable(constraint, refused)
        assert is_viable(constraint, refused[:-4])


def test_the_laws_hold():
    check_constraint(
        lp.sql(SCHEMA), ["SELECT Name FROM singer", "SELECT 'é' FROM x", "SELECT * FROM singer s"]
    )


PARTS = (
    "Name",
    "s.Name",
    "Age",
    "Theme",
    "x",
    "t.Year",
    "count(*)",
    "max(Age)",
    "'a'",
    "1",
    '"Name"',
    "rowid",
)
TABLES = (
    "singer",
    "singer s",
    "concert AS t",
    "stadium",
    "(SELECT Name x FROM singer)",
    "(SELECT Theme FROM concert) t",
)
ENDS = (
    "",
    " WHERE {0} > {1}",
    " GROUP BY {0}",
    " ORDER BY {0}, {1}",
    " WHERE {0} IN (SELECT {1} FROM concert)",
)


def random_query(rng: random.Random, depth: int = 1) -> str:
    part = lambda: f"({random_query(rng, 0)})" if depth and rng.random() < 0.15 else rng.choice(PARTS)  # noqa: E731
    selected = ", ".join(part() + rng.choice(["", "", " AS x", " y"]) for _ in range(rng.randint(1, 2)))
    tables = rng.choice([", ", " JOIN "]).join(rng.choice(TABLES) for _ in range(rng.randint(1, 2)))
    query = f"SELECT {selected} FROM {tables}" + rng.choice(ENDS).format(part(), part())
    return f"{query} UNION {random_query(rng, 0)}" if depth and rng.random() < 0.2 else query


def test_no_prefix_of_a_random_query_that_compiles_is_refused():
    rng = random.Random(0)
    database = read_database(SCHEMA)
    connection = database.connect()
    compiled = refused = 0
    for _ in range(800):
        query = random_query(rng)
        try:
            connection.execute(f"EXPLAIN {query}")
        except sqlite3.Error:
            refused += not all(can_exist(query[:cut], database.names) for cut in range(0, len(query) + 1, 5))
            continue
        compiled += 1
        assert all(can_exist(query[:cut], database.names) for cut in range(len(query) + 1)), query
    assert compiled > 80
    assert refused > 80  # of those that do not compile, before they are complete


@pytest.mark.parametrize(
    "query",
    [
        "SELECT left q FROM t WHERE a = 1",
        "SELECT t.left q FROM t LIMIT 1",
        "SELECT natural FROM t NATURAL JOIN t",
        "SELECT a FROM t LEFT JOIN (SELECT 1 AS b) ON b = a",
    ],
)
def test_columns_may_be_called_like_words_of_a_join(query: str):
    constraint = lp.sql({"t": ["a", "left", "natural"]})
    assert accepted(constraint, query)
    assert all(is_viable(constraint, query[:cut]) for cut in range(len(query)))


def test_with_is_a_keyword_only_where_a_query_may_begin():
    constraint = lp.sql({"t": ["a"]})
    queries = [
        "WITH w AS (SELECT 1) SELECT * FROM w",
        "SELECT a FROM (WITH w AS (SELECT a FROM t) SELECT a FROM w)",
    ]
    check_constraint(constraint, [*queries, "SELECT * FROM with ", "SELECT a FROM t, with"])
    assert all(accepted(constraint, query) for query in queries)


def test_a_reader_that_forgets_outer_tables_is_found_out(monkeypatch: pytest.MonkeyPatch):
    query = "SELECT Name FROM singer WHERE EXISTS (SELECT 1 FROM concert WHERE Year = Age AND 1)"
    names = read_database(SCHEMA).names
    assert can_exist(query, names)

    def forgetful(reader: sql_names._Reader, core: Core) -> None:
        if not all(core.has(*pair) for pair in core.waiting) and core.is_known:
            raise sql_names._Hopeless

    monkeypatch.setattr(sql_names._Reader, "_resolve", forgetful)
    assert not can_exist(query, names)


def test_a_file_and_a_connection_are_read_with_their_rows(test_data: Path):
    path = test_data / "spider_sample" / "concert_singer.sqlite"
    queries = json.loads((test_data / "spider_sample" / "dev.json").read_text())
    with closing(sqlite3.connect(path)) as connection:
        of_file, of_connection = lp.sql(path, execute=True), lp.sql(connection, execute=True)
    for query in [each["query"] for each in queries]:
        assert accepted(of_file, query)
        assert accepted(of_connection, query)
        assert all(is_viable(of_file, query[:cut]) for cut in range(len(query)))
    assert of_file == of_connection == lp.sql(path, execute=True)
    assert of_file != lp.sql(path)
    assert accepted(lp.sql(path), "SELECT abs(-9223372036854775808)")
    assert not accepted(of_file, "SELECT abs(-9223372036854775808)")  # compiles, and fails when run


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT count(*) FROM n"


@pytest.mark.parametrize("opening", [0.0, 0.05])
def test_a_query_that_runs_for_ever_is_lost_mass(opening: float, monkeypatch: pytest.MonkeyPatch):
    """If opening the database takes a while, it is the alarm of the whole answer that rings first."""
    assert accepted(lp.sql(SCHEMA), ENDLESS)
    connect = sql_schema.Database.connect
    monkeypatch.setattr(sql_schema.Database, "connect", lambda self: time.sleep(opening) or connect(self))
    sql_queries._connection.cache_clear()
    start = time.monotonic()
    with pytest.raises(CheckTimedOut):
        accepted(lp.sql(SCHEMA, execute=True, timeout=0.2), ENDLESS)
    assert time.monotonic() - start < 5.0


def test_a_query_can_be_interrupted():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # the workers of pytest-xdist ignore it
    interrupt = threading.Timer(0.3, _thread.interrupt_main)
    interrupt.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            accepted(lp.sql(SCHEMA, execute=True, timeout=20.0), ENDLESS)
    finally:
        interrupt.join()
        signal.signal(signal.SIGINT, before)
    assert not accepted(lp.sql(SCHEMA, execute=True), "SELECT nothing FROM nowhere")


@pytest.mark.parametrize(
    "text",
    [
        "SELECT load_extension('x')",
        "PRAGMA user_version",
        "ATTACH 'x' AS y",
        "SELECT ?",
        "",
        "SELECT 1; SELECT 2",
    ],
)
def test_only_one_query_without_parameters_is_allowed(text: str):
    assert not accepted(lp.sql(SCHEMA, execute=True), text)


def test_wrong_input_is_refused(tmp_path: Path):
    with pytest.raises(InvalidInputError, match="no tables"):
        lp.sql({})
    with pytest.raises(InvalidInputError, match="no SQLite file"):
        lp.sql(tmp_path / "missing.sqlite")
    (tmp_path / "text").write_text("SELECT" * 1000)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        lp.sql(tmp_path / "text")
    with pytest.raises(InvalidInputError, match="cannot make the table"):
        lp.sql({"a": []})
    with pytest.raises(InvalidTypeError, match="columns by table"):
        lp.sql(["singer"])
    with pytest.raises(InvalidTypeError, match="strings"):
        lp.sql({"a": [1]})


def read_in_steps(query: str, names: Names, sizes: Sequence[int]) -> list[bool]:
    """Says of beginnings whether their names can exist, each read on from the one before."""
    read: Read | None = nothing_read(names)
    said = []
    for size in sizes:
        found = None if read is None else sql_names.read_on(read, query[:size])
        read = None if found is None else found[0]
        said.append(read is not None)
    return said


def read_anew(query: str, names: Names, sizes: Sequence[int]) -> list[bool]:
    said = [can_exist(query[:size], names) for size in sizes]
    return [all(said[: number + 1]) for number in range(len(said))]


def queries_and_damaged_ones(folder: Path) -> Iterator[tuple[str, Names]]:
    """Gives queries, and each with a few characters changed, with the names that they are about."""
    rng = random.Random(0)
    recorded = [each["query"] for each in json.loads((folder / "dev.json").read_text())]
    not_known = "SELECT 1 FROM singer WINDOW w AS (ORDER BY Name) ORDER BY unknown"  # let pass behind WINDOW
    others = [*VALID, not_known, *(random_query(rng) for _ in range(50))]
    for schema, queries in ((SCHEMA, others), (folder / "concert_singer.sqlite", recorded)):
        names = read_database(schema).names
        for query in queries:
            at, start = rng.randrange(len(query)), rng.randrange(len(query))
            part = query[start : start + rng.randrange(1, 6)]
            yield query, names
            yield query[:at] + part + query[at + rng.randrange(4) :], names


def differences(folder: Path) -> Iterator[str]:
    """Gives the queries for which it plays a part in which steps they are read: each character, or some."""
    rng = random.Random(1)
    for query, names in queries_and_damaged_ones(folder):
        each = range(len(query) + 1)
        some = sorted(rng.sample(each, len(each) // 4))
        for sizes in (each, some):
            if read_in_steps(query, names, sizes) != read_anew(query, names, sizes):
                yield query


def test_what_is_read_in_steps_is_what_is_read_at_once(test_data: Path):
    assert list(differences(test_data / "spider_sample")) == []


@pytest.mark.parametrize(
    ("name", "instead"), [("_LOOK_AHEAD", -1), ("_LOOK_AHEAD", 0), ("_LOOK_BACK", 0), ("_LOOK_BACK", 1)]
)
def test_a_reader_that_looks_too_near_is_found_out(
    name: str, instead: int, test_data: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sql_names, name, instead)
    assert any(differences(test_data / "spider_sample"))


def test_a_reader_that_goes_on_in_a_state_is_found_out(test_data: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Core, "copied", lambda core: core)
    assert any(differences(test_data / "spider_sample"))


def test_each_step_reads_a_few_pieces_however_long_the_query_is(monkeypatch: pytest.MonkeyPatch):
    query = "SELECT Name FROM singer WHERE " + " OR ".join(f"Age = {n}" for n in range(200))
    num_read = []
    monkeypatch.setattr(
        sql_names, "lexemes", lambda text, start: num_read.append(found := lexemes(text, start)) or found
    )
    assert all(read_in_steps(query, read_database(SCHEMA).names, range(len(query))))
    assert max(map(len, num_read)) <= 4
