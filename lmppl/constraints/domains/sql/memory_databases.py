"""Databases of SQLite that lie in memory."""

from __future__ import annotations

import sqlite3


class MemoryDatabase(sqlite3.Connection):
    """An empty database. Any thread may use it, one at a time; it is closed when nothing holds it any more.

    Left to itself a connection is closed then too, but Python 3.13 warns of that.
    """

    def __init__(self) -> None:
        super().__init__(":memory:", check_same_thread=False)

    def __del__(self) -> None:
        self.close()
