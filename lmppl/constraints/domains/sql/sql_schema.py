"""The database that queries are about: read once, kept by value, opened again to judge a query."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lmppl.constraints.domains.sql.memory_databases import MemoryDatabase
from lmppl.constraints.domains.sql.sql_cores import Names
from lmppl.errors import InvalidInputError, InvalidTypeError

Schema = Mapping[str, Iterable[str]] | sqlite3.Connection | str | Path


@dataclass(frozen=True)
class Database:
    """A SQLite database as it was when it was read.

    Attributes:
        content: All of it, as `sqlite3.Connection.serialize` gives it.
    """

    content: bytes

    def connect(self) -> sqlite3.Connection:
        """Opens a copy in memory, where whatever a query does is lost again. It may only be read."""
        connection = MemoryDatabase()
        connection.deserialize(self.content)
        connection.text_factory = bytes  # a result need not be UTF-8
        _declare_json(connection)  # which reads do not allow
        connection.set_authorizer(_authorize)
        return connection

    @cached_property
    def names(self) -> Names:
        """The tables and views with their columns, and the functions of this SQLite."""
        connection = MemoryDatabase()
        connection.deserialize(self.content)
        _declare_json(connection)
        query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
        tables = [name for (name,) in connection.execute(query)]
        columns = "SELECT name FROM pragma_table_xinfo(?)"
        functions = connection.execute("SELECT DISTINCT name FROM pragma_function_list")
        modules = connection.execute("SELECT name FROM pragma_module_list")
        return Names(
            {t.lower(): frozenset(c.lower() for (c,) in connection.execute(columns, (t,))) for t in tables},
            frozenset(name.lower() for (name,) in functions),
            frozenset(name.lower() for (name,) in modules),
        )


def read_database(schema: Schema) -> Database:
    """Reads a schema: columns by table, a SQLite file, or an open connection.

    Raises:
        InvalidInputError: There is no table, or the file is no database.
        InvalidTypeError: It is nothing of these.
    """
    if isinstance(schema, sqlite3.Connection):
        database = _of_connection(schema)
    elif isinstance(schema, str | Path):
        database = _of_file(Path(schema))
    elif isinstance(schema, Mapping):
        database = _of_tables(schema)
    else:
        raise InvalidTypeError(
            f"A schema is a dict of columns by table, the path of a SQLite file or a connection, not "
            f"{schema!r}."
        )
    return database


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def _of_file(path: Path) -> Database:
    if not _is_file(path):
        is_code = str(path).lstrip()[:6].upper() == "CREATE"
        advice = "Run it on a connection, and give that" if is_code else "Give the path of one"
        raise InvalidInputError(f"There is no SQLite file {str(path)!r:.80}. {advice}, or columns by table.")
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            return _of_connection(connection)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise InvalidInputError(
            f"{str(path)!r} cannot be read as a SQLite database: {error}. Give another file, or columns by "
            "table."
        ) from error


def _of_tables(schema: Mapping[str, Iterable[str]]) -> Database:
    connection = MemoryDatabase()
    for table, columns in schema.items():
        if not isinstance(columns, Iterable):
            raise InvalidTypeError(
                f"The schema gives the columns of a table as a list of names, but those of {table!r} are "
                f"{columns!r}."
            )
        names = [columns] if isinstance(columns, str) else list(columns)
        for name in (table, *names):
            if not isinstance(name, str) or not name:
                raise InvalidTypeError(
                    f"Names of tables and columns are strings, but the schema has {name!r}."
                )
        try:
            connection.execute(f"CREATE TABLE {_quoted(table)} ({', '.join(map(_quoted, names))})")
        except sqlite3.Error as error:
            raise InvalidInputError(
                f"SQLite cannot make the table {table!r} with the columns {names!r}: {error}."
            ) from error
    return _of_connection(connection)


def _of_connection(connection: sqlite3.Connection) -> Database:
    if connection.execute("SELECT 1 FROM sqlite_master WHERE type IN ('table', 'view')").fetchone() is None:
        raise InvalidInputError("The schema has no tables, so that no query could name one. Add a table.")
    return Database(connection.serialize())


def _declare_json(connection: sqlite3.Connection) -> None:
    """Makes SQLite know and list the tables that it reads from JSON; some versions do so at the first use."""
    for function in ("json_each", "json_tree", "jsonb_each", "jsonb_tree"):
        with suppress(sqlite3.Error):
            connection.execute(f"SELECT 1 FROM {function}('[]')")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


_ALLOWED = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}


def _authorize(action: int, first: str | None, second: str | None, *others: str | None) -> int:
    is_dangerous = action == sqlite3.SQLITE_FUNCTION and second in ("load_extension", "writefile", "edit")
    return sqlite3.SQLITE_OK if action in _ALLOWED and not is_dangerous else sqlite3.SQLITE_DENY
