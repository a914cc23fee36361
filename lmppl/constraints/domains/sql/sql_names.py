"""Whether the names in the beginning of a query can exist: columns as soon as their tables are known."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

from lmppl.constraints.domains.sql.sql_cores import Core, Names, begins_one, is_among
from lmppl.constraints.domains.sql.sql_words import KEYWORDS, RESERVED, Lexeme, lexemes

_DATABASES = frozenset({"main", "temp"})
_SCHEMA_TABLES = frozenset({"sqlite_master", "sqlite_schema", "sqlite_temp_master", "sqlite_temp_schema"})
_AFTER_FROM = ("where", "group", "having", "order", "limit", "window", "union", "intersect", "except")
_BEFORE_TABLE = {"from": ("select",), "join": ("joined", "on")}
_LOOK_AHEAD = 2  # pieces, to `WINDOW x AS`
_LOOK_BACK = 3  # to what stands in front of `table.column`
_ENDS_EXPRESSION = ("end", "null", "isnull", "notnull", "true", "false", "current_date", "current_time")

_NAMES_OF_COLUMNS = ("cross", "full", "inner", "left", "natural", "outer", "right", "indexed")  # no joins yet


class _Hopeless(Exception):
    """No query that begins so has only names that exist."""


@dataclass(frozen=True, eq=False)
class Read:
    """What was read of a query that goes on: the pieces that stay as they are, whatever follows.

    Attributes:
        reader: That has read them. It is not changed any more.
        last: Those of them that the next ones look back at.
        end: Where the text goes on.
    """

    reader: _Reader
    last: Sequence[Lexeme]
    end: int


def nothing_read(names: Names) -> Read:
    """Gives what is read of the empty query."""
    return Read(_Reader(names), (), 0)


def read_on(before: Read, text: str) -> tuple[Read, Sequence[Lexeme]] | None:
    """Gives what was read of a longer text, and its last pieces; None if its names cannot all exist.

    Nothing that SQLite compiles is refused. SELECT, FROM and parentheses are followed and no more of the
    grammar: what cannot be placed is let pass. The last piece may change with what follows, and so what is
    said of those that look ahead at it. These are read anew by a copy each time, and all others once.

    Args:
        before: What was read of a beginning of the text.
        text: From its first character on.
    """
    new = lexemes(text, before.end)
    if new is None:
        return None
    found, first = [*before.last, *new], len(before.last)
    if before.end == 0 and new and not _begins_query(new[0]):
        return None
    settled = max(first, len(found) - _LOOK_AHEAD - 1)
    after = before
    try:
        if settled > first:
            reader = before.reader.copied(found)
            reader.read(first, settled)
            last = found[max(0, settled - _LOOK_BACK) : settled]
            after = Read(reader, last, found[settled - 1].end)
        after.reader.copied(found).read(settled, len(found))
    except _Hopeless:
        return None
    return after, found


class _Reader:
    """Reads the pieces of a query once, with a stack of the SELECTs that stand inside each other."""

    def __init__(self, names: Names):
        self.names = names
        self.found: Sequence[Lexeme] = ()
        self.depth = 0
        self.cores: list[Core] = []
        self.common: dict[str, None] = {}
        self.naming_common: list[int] = []  # depths where WITH has not come to its SELECT
        self.types: list[int] = []  # depths of CAST, whose AS names a type
        self.naming_types: list[int] = []  # those of them where AS has come

    def copied(self, found: Sequence[Lexeme]) -> _Reader:
        """Gives a reader that goes on by itself, among other pieces."""
        twin = copy(self)
        twin.found = found
        twin.cores = [core.copied() for core in self.cores]
        twin.common = self.common.copy()
        twin.naming_common = self.naming_common.copy()
        twin.types = self.types.copy()
        twin.naming_types = self.naming_types.copy()
        return twin

    def read(self, start: int, end: int) -> None:
        for at in range(start, end):
            lexeme = self.found[at]
            self._read_one(at, lexeme)
            if self.types[-1:] == [self.depth] and lexeme.is_word("as"):
                self.naming_types.append(self.depth)

    def _read_one(self, at: int, lexeme: Lexeme) -> None:
        if lexeme.kind == "sign":
            self._read_sign(at, lexeme.text)
        elif lexeme.is_word("with") and (self._before(at).text == "" or self._before(at).is_sign("(")):
            self.naming_common.append(self.depth)  # elsewhere it is a name
        elif self._names_common_table(at, lexeme):
            self.common[lexeme.text] = None
        elif lexeme.is_word("select", "values"):
            self._begin_core()
        elif self._core is None or self._core.depth <= max(self.naming_common, default=-1):
            return  # the columns of a common table, say
        elif self._is_table_expected:
            self._read_table(at, lexeme)
        elif not self._read_clause(at, lexeme):
            self._read_in_expression(at, lexeme)

    @property
    def _core(self) -> Core | None:
        return self.cores[-1] if self.cores else None

    @property
    def _is_table_expected(self) -> bool:
        core = self._core
        return core is not None and core.clause == "from" and core.depth == self.depth

    def _before(self, at: int, back: int = 1) -> Lexeme:
        return self.found[at - back] if at >= back else Lexeme("sign", "", True)

    def _after(self, at: int) -> Lexeme | None:
        return self.found[at + 1] if at + 1 < len(self.found) else None

    def _read_sign(self, at: int, sign: str) -> None:
        core = self._core
        if sign == "(":
            if self._is_table_expected and core is not None:
                core.is_open, core.clause = True, "joined"
            if self._before(at).is_word("cast"):
                self.types.append(self.depth + 1)
            self.depth += 1
        elif sign == ")":
            self._end_cores()
            self.types = [depth for depth in self.types if depth < self.depth]
            self.naming_types = [depth for depth in self.naming_types if depth < self.depth]
            self.naming_common = [depth for depth in self.naming_common if depth < self.depth]
            self.depth -= 1
            if self.depth < 0:
                raise _Hopeless
        elif (
            sign == "," and core is not None and core.depth == self.depth and core.clause in ("joined", "on")
        ):
            core.clause = "from"
        elif sign == ";" and (self.depth > 0 or self._after(at) is not None):
            raise _Hopeless

    def _names_common_table(self, at: int, lexeme: Lexeme) -> bool:
        if self.naming_common[-1:] != [self.depth] or lexeme.kind not in ("word", "double", "quoted"):
            return False
        return self._before(at).is_word("with", "recursive") or self._before(at).is_sign(",")

    def _begin_core(self) -> None:
        if self.naming_common[-1:] == [self.depth]:
            self.naming_common.pop()
        outer = [core for core in self.cores if core.depth != self.depth]
        self.cores = [*outer, Core(self.depth, is_compound=len(outer) < len(self.cores))]

    def _end_cores(self) -> None:
        while self.cores and self.cores[-1].depth == self.depth:
            core = self.cores[-1]
            core.clause = "after"
            self._resolve(core)
            self.cores.pop()
            if self.cores and not core.is_open:  # a name of an outer SELECT, which may not be known yet
                self.cores[-1].waiting.extend(core.waiting)

    def _read_table(self, at: int, lexeme: Lexeme) -> None:
        core = self._core
        assert core is not None
        if lexeme.kind not in ("word", "double", "quoted", "string"):
            raise _Hopeless
        after = self._after(at)
        is_qualified = after is not None and (after.is_sign("(") or after.is_sign("."))
        if lexeme.kind != "string" and not self._is_table(
            lexeme, is_alone=after is not None and not is_qualified
        ):
            raise _Hopeless
        if lexeme.kind == "string" or is_qualified:
            if lexeme.text in _DATABASES and after is not None and after.is_sign("."):
                return  # the table comes behind the dot
            core.is_open, core.clause = True, "joined"
            return
        if after is None:
            return
        columns = None if lexeme.text in self.common else self.names.tables.get(lexeme.text)
        core.sources[lexeme.text] = columns
        core.is_open |= columns is None
        core.clause, core.last_table = "joined", lexeme.text

    def _is_table(self, lexeme: Lexeme, *, is_alone: bool) -> bool:
        """Says whether there is a table of a name, or, where a dot may follow, a database."""
        if self.naming_common or lexeme.text.startswith("pragma_"):
            return True
        may_be = {*self.names.tables, *self.common, *self.names.table_functions, *_SCHEMA_TABLES}
        if not is_alone:
            may_be |= _DATABASES
        if not lexeme.closed:
            may_be.add("pragma_")
        return is_among(lexeme.text, may_be, begun=not lexeme.closed)

    def _read_clause(self, at: int, lexeme: Lexeme) -> bool:
        """Follows the words that say which clause comes; False for all else."""
        core = self._core
        assert core is not None
        if core.depth != self.depth or lexeme.kind != "word" or not lexeme.closed:
            return False
        word = lexeme.text
        is_comparison = self._before(at).is_word("distinct")  # IS DISTINCT FROM
        if word in ("from", "join") and core.clause in _BEFORE_TABLE[word] and not is_comparison:
            core.clause = "from"
        elif word in ("on", "using") and core.clause == "joined":
            core.clause = "on"
        elif word in _AFTER_FROM and (word != "window" or self._names_window(at)):
            core.clause = "after"
            core.is_open |= word == "window"
            self._resolve(core)
            core.is_open |= word == "order" and core.is_compound  # it may name what any of them gives
        else:
            return False
        return True

    def _names_window(self, at: int) -> bool:
        """Says whether WINDOW is a keyword here, as SQLite does: where a name and AS follow."""
        return at + 2 < len(self.found) and self.found[at + 2].is_word("as")

    def _read_in_expression(self, at: int, lexeme: Lexeme) -> None:
        core, before, after = self._core, self._before(at), self._after(at)
        assert core is not None
        if self._read_alias(at, lexeme, core) or lexeme.kind not in ("word", "double", "quoted"):
            return
        if before.is_sign("."):
            self._read_column_of(at, lexeme, core)
        elif after is not None and after.is_sign("("):
            if lexeme.is_name and lexeme.text not in self.names.functions:
                raise _Hopeless
        elif self._names_no_column(at) or (after is not None and after.is_sign(".")):
            return
        elif lexeme.kind != "double" and (lexeme.is_name or not lexeme.closed):  # "x" may be a string
            self._require(core, None, lexeme, is_last=after is None)

    def _read_column_of(self, at: int, lexeme: Lexeme, core: Core) -> None:
        table, after = self._before(at, 2), self._after(at)
        is_last = after is None or not after.is_sign(".")
        is_second = table.kind in ("word", "quoted", "double") and not self._before(at, 3).is_sign(".")
        if is_last and is_second and table.text not in _DATABASES:
            self._require(core, table.text, lexeme, is_last=after is None)

    def _names_no_column(self, at: int) -> bool:
        """Says whether a name here is that of a collation, window, table or index."""
        before = self._before(at)
        return before.is_word("collate", "over", "in", "window") or (
            before.is_word("by") and self._before(at, 2).is_word("indexed")
        )

    def _read_alias(self, at: int, lexeme: Lexeme, core: Core) -> bool:
        """Takes up a new name, given by `AS` or without it; True also for the type in a CAST."""
        before = self._before(at)
        if self.types and self.types[-1] in self.naming_types:
            return True
        if lexeme.is_word("as"):
            return True
        is_given = before.is_word("as")
        is_bare = lexeme.kind in ("word", "double", "quoted") and lexeme.text not in RESERVED
        if not is_given and not (is_bare and self._ends_operand(at, core)):
            return False
        if core.clause == "joined":
            core.sources[lexeme.text] = core.sources.get(core.last_table)
        else:
            core.aliases.add(lexeme.text)
        return True

    def _ends_operand(self, at: int, core: Core) -> bool:
        """Says whether a name here would be an alias: an operand or a table stands before it."""
        before = self._before(at)
        if core.clause not in ("select", "joined") or core.depth != self.depth:
            return False
        if before.kind in ("string", "number", "double", "quoted") or before.is_name:
            return True
        return (
            before.is_sign(")")
            or before.is_sign("*")
            or before.is_word(*_ENDS_EXPRESSION)
            or (before.kind == "word" and before.text not in RESERVED)
            or (core.clause == "select" and before.is_word(*_NAMES_OF_COLUMNS))
            or (before.kind == "word" and self._before(at, 2).is_sign("."))
        )

    def _require(self, core: Core, table: str | None, lexeme: Lexeme, *, is_last: bool) -> None:
        """Refuses a column that cannot be; one of which that is not known yet has to wait."""
        if lexeme.closed and not (is_last and table is None):
            core.waiting.append((table, lexeme.text))
            if core.clause == "after":
                self._resolve(core)
            return
        if lexeme.kind not in ("word", "quoted") or not all(each.is_known for each in self.cores):
            return
        begun = not lexeme.closed
        if any(each.has(table, lexeme.text, begun=begun) for each in self.cores):
            return
        tables = {name for each in self.cores for name in each.sources}  # `(` or `.` may follow
        others = () if table is not None else {*self.names.functions, *tables, *_DATABASES}
        if begun and table is None and lexeme.kind == "word":
            others = {*others, *KEYWORDS, "x"}  # x'00' is a blob
        if not is_among(lexeme.text, others, begun):
            raise _Hopeless

    def _resolve(self, core: Core) -> None:
        """Drops the names that exist, and refuses those that no SELECT around them can have."""
        inside = [each for each in self.cores if each.depth <= core.depth]
        waiting = [pair for pair in core.waiting if not any(each.has(*pair) for each in inside)]
        if waiting and all(each.is_known for each in inside):
            raise _Hopeless
        core.waiting = waiting


def _begins_query(lexeme: Lexeme) -> bool:
    if lexeme.kind != "word":
        return False
    firsts = ("select", "with", "values")
    return lexeme.text in firsts if lexeme.closed else begins_one(lexeme.text, firsts)
