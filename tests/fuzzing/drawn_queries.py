"""Random queries over a small schema, drawn out of bytes. Most of them SQLite compiles."""

from __future__ import annotations

from dataclasses import dataclass, field

from drawn_bytes import Draws

SCHEMA = {"t": ["a", "b", "c d"], "u": ["a", "e"], "over": ["window", "filter"], "Ünï": ["é"]}

Source = tuple[str, tuple[str, ...]]
"""A table's name or alias, and its columns."""

_TABLES: tuple[Source, ...] = tuple((name, tuple(columns)) for name, columns in SCHEMA.items())
_LITERALS = ("1", "'x'", "NULL", "1.5e-3", "''", "x'0aFF'", "'it''s'", ".5", "0x1F", "TRUE", "current_date")
_OPERATORS = ("=", "+", "AND", "OR", "||", "<=", "<>", "<", "<<", "->", "->>", "-", "/", "*", "%", "&", "|")
_SPACES = (" ", " ", " ", " ", "\n", "  ", "\t", " /* a ' */ ", ' -- b "\n', "/**/")
_NAMES = ("n{}", "x{}", '"q {}"', "[b{}]", "`k{}`", "first{}", "é{}", "n{}$")
_FRAMES = (
    *("", "ROWS UNBOUNDED PRECEDING", "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE TIES"),
    "GROUPS BETWEEN 1 PRECEDING AND 2 FOLLOWING EXCLUDE NO OTHERS",
)
_JOINS = (",", "JOIN", "LEFT JOIN", "CROSS JOIN", "INNER JOIN", "NATURAL LEFT OUTER JOIN")

# A stands for a column or literal, E for an expression, P for one without aggregates, Q for a query of one
# column, O for an operator, V for a window.
_SHAPES = (
    *("A", "A", "A", "A", "A", "A", "E O E", "E O E", "E = E", "abs ( E )", "replace ( E , E , E )", "- E"),
    *("NOT E", "~ E", "- - E", "( E ) ISNULL", "( E ) NOT NULL", "( E ) COLLATE nocase", "E IS NOT TRUE"),
    *("E IS NOT DISTINCT FROM E", "E IS E", "E LIKE E ESCAPE '!'", "E NOT GLOB E", "E BETWEEN E AND E"),
    *("EXISTS ( Q )", "CAST ( E AS INTEGER )", "CAST ( E AS DOUBLE PRECISION )", "CASE WHEN E THEN E END"),
    *("CASE E WHEN E THEN E WHEN E THEN E ELSE E END", "E IN ( E , E )", "E NOT IN ( Q )", "( Q )"),
    *("( E , E ) = ( E , E )", "E IN Ünï", "( E )", "E == E"),
)
_AGGREGATES = ("count ( * )", "count ( DISTINCT P )", "sum ( P ) FILTER ( WHERE P )", "max ( P )")
_WINDOWS = ("sum ( P ) OVER V", "count ( * ) FILTER ( WHERE P ) OVER V", "row_number ( ) OVER V")
_MAX_DEPTH = 3


def drawn_query(draws: Draws) -> list[str]:
    """Draws the tokens of a query."""
    return _Writer(draws).query(0, 1 + draws.below(2), [])


def spaced(tokens: list[str], draws: Draws) -> str:
    """Puts spaces and comments between tokens, or nothing where they stay apart, and changes case."""
    text = ""
    for token in tokens:
        touches = not text or text[-1] in "(,)." or token in ("(", ",", ")", ".")
        if text and not (touches and draws.below(3) == 0):
            text += draws.one_of(_SPACES)
        text += token.lower() if token.isupper() and token.isalpha() and draws.below(4) == 3 else token
    return text


@dataclass
class _Scope:
    """What names can stand for in one SELECT."""

    sources: list[Source] = field(default_factory=list)
    windows: list[str] = field(default_factory=list)


class _Writer:
    """Writes the parts of one query: `outer` are the SELECTs around one, `depth` says how deep it stands."""

    def __init__(self, draws: Draws):
        self.draws = draws
        self.num_names = 0

    def query(self, depth: int, width: int, outer: list[_Scope]) -> list[str]:
        common: list[Source] = []
        scope = _Scope()
        tokens: list[str] = self.common_tables(depth, common) if self.draws.below(6) == 5 else []
        tokens += self.core(depth, width, outer, scope, common)
        is_compound = self.draws.below(5) == 4
        if is_compound:
            tokens += self.draws.one_of(("UNION", "UNION ALL", "EXCEPT", "INTERSECT")).split()
            tokens += self.core(depth, width, outer, _Scope(), common)
        if self.draws.below(4) == 3:
            term = ["1"] if is_compound else self.expression(depth + 1, [*outer, scope], _WINDOWS)
            tokens += ["ORDER", "BY", *term, *self.draws.one_of(("", "DESC", "ASC NULLS LAST")).split()]
        if self.draws.below(6) == 5:
            tokens += self.draws.one_of(("LIMIT 1", "LIMIT 1 OFFSET 2", "LIMIT 1 , 3")).split()
        return tokens

    def common_tables(self, depth: int, common: list[Source]) -> list[str]:
        tokens: list[str] = [*self.draws.one_of(("WITH", "WITH RECURSIVE")).split()]
        for number in range(1 + self.draws.below(2)):
            name, columns = self.name(), [self.name() for _ in range(1 + self.draws.below(2))]
            tokens += [*([","] if number else []), name, "(", *_separated([[each] for each in columns]), ")"]
            tokens += self.draws.one_of(("AS", "AS MATERIALIZED", "AS NOT MATERIALIZED")).split()
            tokens += ["(", *self.query(depth + 2, len(columns), []), ")"]
            common.append((name, tuple(columns)))
        return tokens

    def core(
        self, depth: int, width: int, outer: list[_Scope], scope: _Scope, common: list[Source]
    ) -> list[str]:
        if self.draws.below(10) == 9:
            rows = [["(", *_separated([["1"]] * width), ")"] for _ in range(1 + self.draws.below(2))]
            return ["VALUES", *_separated(rows)]
        scopes = [*outer, scope]
        clauses = [] if self.draws.below(8) == 7 else ["FROM", *self.tables(depth, scopes, common)]
        if self.draws.below(3) == 2:
            clauses += ["WHERE", *self.expression(depth, scopes)]
        if self.draws.below(5) == 4:
            clauses += ["GROUP", "BY", *self.expression(depth + 1, scopes)]
            if self.draws.below(2):
                clauses += ["HAVING", *self.expression(depth + 1, scopes, _AGGREGATES)]
        if self.draws.below(8) == 7:
            scope.windows.append(self.draws.one_of(("w", "over", "window", '"w 2"')))
            clauses += ["WINDOW", scope.windows[0], "AS", *self.window(depth, scopes)]
        results = [
            self.expression(depth, scopes, _AGGREGATES + _WINDOWS) + self.alias() for _ in range(width)
        ]
        return [*self.draws.one_of(("SELECT", "SELECT DISTINCT")).split(), *_separated(results), *clauses]

    def tables(self, depth: int, scopes: list[_Scope], common: list[Source]) -> list[str]:
        tokens = self.table(depth, scopes[-1], common)
        if self.draws.below(4) == 3:
            join = self.draws.one_of(_JOINS)
            tokens += [*join.split(), *self.table(depth, scopes[-1], common)]
            if "NATURAL" not in join and self.draws.below(2):
                tokens += ["ON", *self.expression(depth + 1, scopes)]
        return tokens

    def table(self, depth: int, scope: _Scope, common: list[Source]) -> list[str]:
        kind = self.draws.below(6)
        alias = self.draws.one_of(([], ["AS", self.name()], [self.name()], ["AS", "'s'"]))
        if kind == 5 and depth < _MAX_DEPTH:
            column = self.name()
            scope.sources.append((alias[-1] if alias else "", (column,)))
            return ["(", "SELECT", "1", "AS", column, ")", *alias]
        if kind == 4:
            scope.sources.append((alias[-1] if alias else "json_each", ("key", "value")))
            return ["json_each", "(", "'[1]'", ")", *alias]
        name, columns = self.draws.one_of([*common, *_TABLES] if kind == 3 else _TABLES)
        scope.sources.append((alias[-1] if alias else name, columns))
        is_given_database = name in SCHEMA and self.draws.below(8) == 7
        return [*(["main", "."] if is_given_database else []), self.quoted(name), *alias]

    def window(self, depth: int, scopes: list[_Scope]) -> list[str]:
        tokens = ["PARTITION", "BY", *self.expression(depth + 2, scopes)] if self.draws.below(2) else []
        if self.draws.below(2):
            tokens += ["ORDER", "BY", *self.expression(depth + 2, scopes)]
        return ["(", *tokens, *self.draws.one_of(_FRAMES).split(), ")"]

    def expression(self, depth: int, scopes: list[_Scope], more: tuple[str, ...] = ()) -> list[str]:
        """Writes an expression; `more` are the shapes of aggregates and windows that may stand there."""
        if depth > _MAX_DEPTH:
            return self.atom(scopes)
        tokens = []
        for part in self.draws.one_of(_SHAPES + more).split():
            if part == "A":
                tokens += self.atom(scopes)
            elif part in ("E", "P"):
                tokens += self.expression(depth + 1, scopes, more if part == "E" else ())
            elif part == "Q":
                tokens += self.query(depth + 2, 1, scopes)
            elif part == "V":
                named = scopes[-1].windows
                tokens += [named[0]] if named and self.draws.below(2) else self.window(depth, scopes)
            else:
                tokens.append(self.draws.one_of(_OPERATORS) if part == "O" else part)
        return tokens

    def atom(self, scopes: list[_Scope]) -> list[str]:
        sources = [source for scope in scopes for source in scope.sources]
        if not sources or self.draws.below(4) == 3:
            return [self.draws.one_of(_LITERALS)]
        name, columns = sources[-1 - self.draws.below(len(sources))]
        column = self.quoted(self.draws.one_of(columns))
        if not name or name[0] == "'" or self.draws.below(2):
            return [column]
        return [self.quoted(name), ".", column]

    def alias(self) -> list[str]:
        return self.draws.one_of(([], [], ["AS", self.name()], [self.name()], ["AS", "'x y'"]))

    def quoted(self, name: str) -> str:
        if name[0] in '"`[' or (name.isalnum() and self.draws.below(4) < 3):
            return name
        return self.draws.one_of((f'"{name}"', f"`{name}`", f"[{name}]"))

    def name(self) -> str:
        self.num_names += 1
        return self.draws.one_of(_NAMES).format(self.num_names)


def _separated(items: list[list[str]]) -> list[str]:
    return [token for item in items for token in (",", *item)][1:]
