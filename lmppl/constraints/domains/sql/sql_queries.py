"""`lp.sql`: queries that SQLite can run on a given database."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

from lmppl.constraints.domains.sql.sql_names import Read, nothing_read, read_on
from lmppl.constraints.domains.sql.sql_schema import Database, Schema, read_database
from lmppl.constraints.domains.sql.sql_syntax import can_go_on
from lmppl.constraints.domains.sql.sql_words import lexemes
from lmppl.constraints.functions.remembered_answers import MAX_REMEMBERED, Answers, require_askable
from lmppl.constraints.functions.time_limits import TimeLimitReached
from lmppl.constraints.protocol import Constraint, State, require_bytes
from lmppl.constraints.utf8_decoding import decodable_head

_STEPS_BETWEEN_LOOKS = 1_000  # of SQLite's virtual machine: well below a millisecond


def sql(schema: Schema, *, execute: bool = False, timeout: float | None = 5.0) -> Constraint:
    """Allows one query in SQLite's dialect, all of whose names exist in a database.

    A complete text is judged by SQLite itself: it must compile, as one statement that only reads (SELECT,
    WITH or VALUES; a semicolon may end it), without parameters. So tables, columns, functions and
    the numbers of their arguments are right.

    A prefix is judged by SQLite's parser: it is refused as soon as no token that can stand at its end begins
    so. It is also judged by its names: a table must exist, or begin the name of one, as soon as it is written
    after FROM or JOIN; a column once it is known what its SELECT selects from, so one in the list before FROM
    when the clause after it begins. Viability is over-approximate, and no prefix of a query that is allowed
    is refused. SQLite's parser reads a text anew for each token, in some ten microseconds for 100 characters.

    Args:
        schema: Columns by table; or the path of a SQLite file, or an open connection. A file or connection is
            read now, with its rows; what is changed later is not seen.
        execute: Whether the query must also run to its end without an error.
        timeout: Seconds for one answer, of which all but some microseconds are `execute`. A query that takes
            longer is lost mass (`check timed out`), as for `lp.check`.

    Raises:
        InvalidInputError: There are no tables, or the file is no SQLite database.
        InvalidTypeError: The schema is nothing of these.
    """
    database = read_database(schema)
    tables = ", ".join(sorted(database.names.tables))
    shown = f"sql({tables}{', execute=True' if execute else ''})"
    functions = {"complete": Query(database, execute, timeout)}
    require_askable(shown, functions, timeout)
    return SqlQueries(database, Answers(shown, functions, timeout))


@dataclass(frozen=True, slots=True)
class Progress:
    """A state: all bytes, and what was read of them."""

    whole: bytes
    read: Read = field(compare=False)


@dataclass(frozen=True, repr=False)
class SqlQueries(Constraint):
    """Queries of a database. Made by `sql`.

    Attributes:
        database: What they are about.
        answers: Of SQLite, about complete queries.
    """

    database: Database
    answers: Answers

    @property
    def viable_is_exact(self) -> bool:
        """False: whether all names of a table can come together in a query is not known."""
        return False

    def initial(self) -> State:
        """Gives the state of the empty string."""
        return Progress(b"", _nothing_read(self.database))

    def advance(self, state: State, data: bytes) -> State | None:
        """Gives the state after `data`, or None if no query begins so."""
        before = cast(Progress, state)
        try:
            whole = before.whole + data
        except TypeError:
            require_bytes(data)
            raise
        text = decodable_head(whole)
        read = None if text is None else _read_on(self.database, before.read, text)
        return None if read is None else Progress(whole, read)

    def accepts(self, state: State) -> bool:
        """Says whether SQLite takes the text.

        Raises:
            CheckTimedOut: It did not say so in time.
        """
        try:
            text = cast(Progress, state).whole.decode()
        except UnicodeDecodeError:
            return False
        return self.answers.ask("complete", text)

    def describe(self) -> str:
        """Gives the call, with the tables for a schema."""
        return self.answers.name


@lru_cache(64)
def _nothing_read(database: Database) -> Read:
    return nothing_read(database.names)


@lru_cache(MAX_REMEMBERED)
def _read_on(database: Database, before: Read, text: str) -> Read | None:
    """Gives what was read of a text; None if a name in it cannot exist, or SQLite's parser cannot go on."""
    reading = read_on(before, text)
    if reading is None:
        return None
    after, found = reading
    if found and found[-1].is_sign(";"):  # only spaces and comments can follow
        can_be = Query(database, execute=False, timeout=None)(text[: found[-1].end])
    else:
        can_be = can_go_on(text, found)
    return after if can_be else None


@dataclass(frozen=True)
class Query:
    """Whether SQLite compiles a query, and runs it if that is asked for."""

    database: Database
    execute: bool
    timeout: float | None

    def __call__(self, text: str) -> bool:
        if not lexemes(text):
            return False  # SQLite runs nothing without an error
        connection, lock = _connection(self.database)
        with lock:
            return self._runs(connection, text)

    def _runs(self, connection: sqlite3.Connection, text: str) -> bool:
        watch = _Watch(self.timeout)
        connection.set_progress_handler(watch.look, _STEPS_BETWEEN_LOOKS)
        try:
            for _ in connection.execute(text if self.execute else f"EXPLAIN {text}"):
                pass
        except (sqlite3.Error, sqlite3.Warning, ValueError):  # ValueError: a NUL or half a surrogate pair
            watch.raise_what_stopped_it()
            return False
        return True


class _Watch:
    """Stops a query that is late, or during which a signal raised an exception: SQLite would swallow that."""

    def __init__(self, timeout: float | None):
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._stopped_by: BaseException | None = None
        looks = self._looks()
        next(looks)
        self.look = looks.__next__

    def _looks(self) -> Iterator[bool]:
        """Says at each look whether to stop. A generator goes on inside its `try`, as no function does."""
        while True:
            try:
                yield self._stopped_by is not None
                if self._deadline is not None and time.monotonic() > self._deadline:
                    raise TimeLimitReached
            except GeneratorExit:
                raise
            except BaseException as error:
                self._stopped_by = error

    def raise_what_stopped_it(self) -> None:
        """Raises what a look was stopped by, if it was."""
        if self._stopped_by is not None:
            raise self._stopped_by from None


@lru_cache(16)
def _connection(database: Database) -> tuple[sqlite3.Connection, threading.Lock]:
    return database.connect(), threading.Lock()
