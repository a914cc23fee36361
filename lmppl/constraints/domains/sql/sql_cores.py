"""What one SELECT of a query selects from, and which names that gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

ROW_IDS = frozenset({"rowid", "oid", "_rowid_"})


@dataclass(frozen=True)
class Names:
    """What names a query may use, in lower case.

    Attributes:
        tables: The columns of each table and view.
        functions: That may be called.
        table_functions: That may be selected from.
    """

    tables: Mapping[str, frozenset[str]]
    functions: frozenset[str]
    table_functions: frozenset[str]


@dataclass
class Core:
    """One SELECT: what it selects from, and the names that wait for that to be known.

    Attributes:
        depth: Of the parentheses that it stands in.
        clause: `select`, `from` (a table is expected), `joined` (one has been named), `on`, or `after`.
        sources: By the name of a table or its alias, the columns; None where they are not known.
        aliases: Of results.
        waiting: Pairs of a table's name, or None, and a column.
        is_open: Whether it selects from something whose columns are not known.
        is_compound: Whether UNION or the like joins it to one before it.
        last_table: The one that an alias would stand for.
    """

    depth: int
    clause: str = "select"
    sources: dict[str, frozenset[str] | None] = field(default_factory=dict)
    aliases: set[str] = field(default_factory=set)
    waiting: list[tuple[str | None, str]] = field(default_factory=list)
    is_open: bool = False
    is_compound: bool = False
    last_table: str = ""

    @property
    def is_known(self) -> bool:
        """Whether all that it selects from has been named, with its columns."""
        return self.clause == "after" and not self.is_open

    def copied(self) -> Core:
        """Gives one that goes on by itself."""
        return replace(
            self, sources=self.sources.copy(), aliases=self.aliases.copy(), waiting=self.waiting.copy()
        )

    def has(self, table: str | None, column: str, *, begun: bool = False) -> bool:
        """Says whether it gives a column; with `begun`, one that begins so."""
        if table is not None:
            if table not in self.sources:
                return False
            columns = self.sources[table]
            return columns is None or is_among(column, columns | ROW_IDS, begun)
        columns = {name for source in self.sources.values() for name in source or ()}
        return is_among(column, columns | self.aliases | ROW_IDS, begun)


def is_among(name: str, names: Iterable[str], begun: bool) -> bool:
    """Says whether a name is one of these; with `begun`, whether it begins one of them."""
    return begins_one(name, names) if begun else name in names


def begins_one(beginning: str, names: Iterable[str]) -> bool:
    """Says whether one of the names begins so."""
    return any(name.startswith(beginning) for name in names)
