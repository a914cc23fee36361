"""`lp.json`: JSON texts, free or described by a schema, judged byte by byte."""

from __future__ import annotations

import dataclasses
import json as json_format
from collections.abc import Container, Mapping
from functools import lru_cache, partial
from typing import Any, cast

from lmppl.constraints.combined.combinators import Conjunction
from lmppl.constraints.functions.python_check import check
from lmppl.constraints.json_values.acceptor import Machine
from lmppl.constraints.json_values.acceptor import State as Standing
from lmppl.constraints.json_values.documents import Document
from lmppl.constraints.json_values.drafts import check_draft
from lmppl.constraints.json_values.nodes import Node
from lmppl.constraints.json_values.other_documents import OtherDocuments, check_documents, drafts_version
from lmppl.constraints.json_values.python_types import Validates, schema_of, schema_says_all, value_of
from lmppl.constraints.json_values.reachable_nodes import plan
from lmppl.constraints.json_values.schema_reader import Reader
from lmppl.constraints.json_values.stored_nodes import KINDS
from lmppl.constraints.protocol import Constraint, State, require_bytes
from lmppl.constraints.regular.character_automaton import TooLarge
from lmppl.constraints.stored_compilations import stored
from lmppl.errors import (
    ConstraintError,
    InvalidInputError,
    InvalidTypeError,
    UnsupportedSchema,
)
from lmppl.progress import tell_compiling

WHITESPACE = ("compact", "bounded", "any")


def json(
    schema: Any = None,
    *,
    whitespace: str = "bounded",
    formats: bool = False,
    draft: str | None = None,
    documents: Mapping[str, Any] | None = None,
) -> JsonText | Conjunction:
    """Allows JSON texts (RFC 8259), all of them or those of values that satisfy a JSON Schema.

    A schema is enforced exactly or refused: nothing in it is silently left out. A prefix is viable exactly
    when it can be completed, but for `uniqueItems` of bounded scalars and of arrays and objects that cannot
    always take one more part, its negation beside a bound on the number of items, and bounds on the number of
    properties beside a negation that asks for some property; `viable_is_exact` says so. Objects may have
    their properties in any order, each name once (without a schema a name may come again, as RFC 8259
    allows). Each value that satisfies the schema has a text, but not every spelling of it is allowed:

    - A number that the schema says more about than its type is written without exponent; integers and
      constants without needless zeros, but that `.0` may follow an integer if no type was given.
    - In a string that the schema says more about than its lengths, and in names of objects whose schema
      tells names apart, only quotes, backslashes and control characters are escaped, as
      `json.dumps(ensure_ascii=False)` does. Elsewhere every escape is allowed but a lone surrogate.

    Of a type, the texts are allowed that pydantic takes and its schema says. Where a type has more to say
    than its schema, in a validator or by a setting, pydantic is asked when the text ends, and
    `viable_is_exact` is False. (Integers of more than 4,300 digits are allowed, and refused by `parse`.)

    What took more than 50 ms to compile is kept on disk for other processes.

    Args:
        schema: A JSON Schema as a dict, bool or JSON text; a pydantic model, dataclass or other type that
            pydantic knows; or None for all JSON texts.
        whitespace: `compact` has none. `bounded` has, between two tokens, nothing, one space, or a newline
            and up to four spaces for each level of nesting. `any` is RFC 8259's.
        formats: Whether `format` is enforced. Those that are no regular language are then refused:
            `hostname`, `idn-hostname`, `idn-email` and `regex`. Else it is an annotation, as the drafts say,
            like `title`, `description`, `default` and all keywords and formats that no draft defines.
            Dates, times, durations and UUIDs of a type are enforced in any case; with `formats=True` a
            `date-time` or `time` must have its offset.
        draft: `4`, `6`, `7`, `2019-09` or `2020-12`, whatever `$schema` says; by default what it says.
            Where it says nothing it is 2020-12, unless a boolean `exclusiveMinimum` or `exclusiveMaximum`
            (draft 4) or a list of `items` (2019-09 or 7) shows that it cannot be.
        documents: Other schemas that this one refers to, by their URIs; a reference is relative to the `$id`.
            They must be written in the same draft. The schemas of the drafts themselves come with the extra
            `json`. Nothing is ever fetched.

    Raises:
        UnsupportedSchema: The schema cannot be enforced exactly. The message names the place and keyword.
        ConstraintError: No value satisfies the schema.
        MissingExtraError: A type was given, and pydantic is not installed.
    """
    if whitespace not in WHITESPACE:
        raise InvalidInputError(
            f"`whitespace=` of json() is one of {', '.join(map(repr, WHITESPACE))}, "
            f"but was given {whitespace!r}."
        )
    check_draft(draft)
    check_documents({} if documents is None else documents)
    if schema is None:
        return _json("true", None, whitespace, formats, draft, ())
    model = None
    if isinstance(schema, str):
        text = _text(_parsed(schema))
    elif isinstance(schema, dict | bool):
        text = _text(schema)
    else:
        model = schema
        text = _text(schema_of(model))
    others = tuple(sorted((uri, _text(each)) for uri, each in (documents or {}).items()))
    described = _json(text, model, whitespace, formats, draft, others, is_unique=True)
    if model is None or schema_says_all(model):
        return described
    asked = check(f"{getattr(model, '__name__', model)} validates", complete=Validates(model))
    return Conjunction((described, asked), (described, asked))


def _parsed(text: str) -> Any:
    try:
        return json_format.loads(text)
    except RecursionError:
        raise UnsupportedSchema("The schema at '/' is nested too deeply. Use '$defs' and '$ref'.") from None
    except ValueError as error:
        raise InvalidInputError(
            f"json() was given the text {text[:60]!r}, which is no JSON: {error}."
        ) from error


def _text(schema: Any) -> str:
    try:
        return json_format.dumps(schema)
    except (TypeError, ValueError) as error:
        raise InvalidTypeError(
            f"A JSON Schema consists of JSON values, but json() was given {error}."
        ) from error
    except RecursionError:
        raise UnsupportedSchema("The schema at '/' is nested too deeply. Use '$defs' and '$ref'.") from None


@lru_cache(128)
def _json(
    text: str,
    model: Any,
    whitespace: str,
    formats: bool,
    draft: str | None,
    documents: tuple[tuple[str, str], ...],
    is_unique: bool = False,
) -> JsonText:
    tell_compiling(f"json({text[:40]})")
    others = drafts_version((text, *dict(documents).values()))
    reading = text, formats, draft, documents, model is not None
    nodes = stored(("json", *reading, others), partial(_nodes, *reading), KINDS)
    machine = Machine(nodes, whitespace, is_unique)
    return JsonText(text, model, whitespace, formats, draft, documents, is_unique, machine)


def _nodes(
    text: str,
    formats: bool,
    draft: str | None,
    documents: tuple[tuple[str, str], ...],
    whole_integers: bool,
) -> list[Node]:
    """Gives what can stand somewhere in a text; the first node is the whole."""
    schema = json_format.loads(text)
    others = OtherDocuments({uri: json_format.loads(each) for uri, each in documents})
    try:
        reader = Reader(Document(schema, draft, others), formats, whole_integers)
        nodes = plan(reader.values, reader.wanted(reader.document.root))
    except TooLarge:
        raise UnsupportedSchema(
            "The schema at '/' needs too many states in all. Use smaller bounds, or fewer different schemas."
        ) from None
    except RecursionError:
        raise UnsupportedSchema("The schema at '/' is nested too deeply. Use '$defs' and '$ref'.") from None
    if not nodes:
        raise ConstraintError(f"No value satisfies the JSON Schema {text[:80]!r}: its conditions contradict.")
    return nodes


@dataclasses.dataclass(frozen=True, repr=False)
class JsonText(Constraint):
    """JSON texts, of all values or of those that satisfy a schema. Made by `json`.

    Attributes:
        schema: The schema as JSON text.
        model: The type that the schema came from, if it came from one.
        whitespace, formats, draft: As given to `json`.
        documents: Likewise, as JSON texts.
        is_unique: Whether an object has each name once at most.
    """

    schema: str
    model: Any
    whitespace: str
    formats: bool
    draft: str | None
    documents: tuple[tuple[str, str], ...]
    is_unique: bool
    machine: Machine = dataclasses.field(compare=False)

    def parse(self, text: str | bytes) -> Any:
        """Gives the value of a text: an instance of the model, or what `json.loads` gives.

        Raises:
            InvalidTypeError: It is no text.
            InvalidInputError: The text is not in the language, or the model refuses it for a reason that its
                schema does not give; the cause is then chained.
        """
        if not isinstance(text, str | bytes):
            raise InvalidTypeError(f"parse() takes the text of a JSON value, but was given {text!r}.")
        data = text.encode() if isinstance(text, str) else text
        state = self.advance(self.initial(), data)
        if state is None or not self.accepts(state):
            raise InvalidInputError(
                f"{text!r} is not in the language of {self.describe()}: {self._departure(data)}."
            )
        if self.model is None:
            try:
                return json_format.loads(data)
            except RecursionError:
                raise InvalidInputError(
                    f"{text[:40]!r}... is nested too deeply for Python's json. Read it in another way."
                ) from None
        try:
            return value_of(self.model, data)
        except ValueError as error:
            raise InvalidInputError(f"{self.model!r} refuses {text!r}: {error}") from error

    def _departure(self, data: bytes) -> str:
        """Says from where on a refused text has no completion."""
        state = self.initial()
        for at in range(len(data)):
            state = self.advance(state, data[at : at + 1])
            if state is None:
                read = data[:at].decode(errors="replace")
                return (
                    f"nothing in it begins with {read[-40:] + data[at : at + 1].decode(errors='replace')!r}"
                )
        return "it is not complete"

    @property
    def viable_is_exact(self) -> bool:
        """Whether a viable beginning can always be completed; see `uniqueItems` in the documentation."""
        return self.machine.is_exact

    @property
    def revisits_states(self) -> bool:
        """True."""
        return True

    def initial(self) -> State:
        """Gives the state of the empty string."""
        return self.machine.initial

    def advance(self, state: State, data: bytes) -> State | None:
        """Gives the state after `data`, or None if no allowed text begins so."""
        try:
            return self.machine.read(cast(Standing, state), data)
        except TypeError:
            require_bytes(data)
            raise

    def local(self, state: State) -> State | None:
        """Gives the state of the scalar or name under way, or of the place between two tokens."""
        return self.machine.local(cast(Standing, state))

    def next_bytes(self, state: State) -> Container[int]:
        """Gives the bytes that may come next, or more."""
        return self.machine.next_bytes(cast(Standing, state))

    def num_free(self, state: State) -> int:
        """Gives how many characters may follow, whichever they are, or fewer."""
        return self.machine.num_free(cast(Standing, state))

    def accepts(self, state: State) -> bool:
        """Says whether the text that led to `state` is complete."""
        return self.machine.accepts(cast(Standing, state))

    def describe(self) -> str:
        """Gives the beginning of the schema, or the name of the model."""
        if not self.is_unique:
            return "json()"
        if self.model is not None:
            return f"json({getattr(self.model, '__name__', repr(self.model))})"
        return f"json({self.schema if len(self.schema) <= 40 else self.schema[:37] + '...'})"

    def __reduce__(self):
        options = (self.whitespace, self.formats, self.draft, self.documents, self.is_unique)
        return _json, (self.schema, self.model, *options)
