"""`lp.json` of Python types: what it allows is what pydantic takes."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import pathlib
import random
import typing
import uuid
from typing import Annotated, Any, Literal

import pytest
import typing_extensions
from viable_prefixes import accepted

import lmppl as lp
from lmppl.constraints.protocol import Constraint
from lmppl.errors import CheckError, InvalidInputError, InvalidTypeError

pydantic = pytest.importorskip("pydantic")
Field = pydantic.Field


class Size(enum.Enum):
    """A value of two types."""

    SMALL = 1
    LARGE = "large"


class Level(enum.IntEnum):
    """Values that are numbers."""

    LOW = 1
    HIGH = 2


@dataclasses.dataclass
class Point:
    """A place with a name."""

    x: int
    tag: str = ""


@dataclasses.dataclass
class Even:
    """A number that its class judges."""

    x: int

    def __post_init__(self) -> None:
        if self.x % 2:
            raise ValueError("odd")


class Row(typing_extensions.TypedDict):
    """A record without a class."""

    name: str
    size: Size


class Cat(pydantic.BaseModel):
    """One of two kinds."""

    kind: Literal["cat"]
    lives: int = Field(ge=0, le=9)


class Dog(pydantic.BaseModel):
    """The other kind."""

    model_config = pydantic.ConfigDict(extra="forbid")
    kind: Literal["dog"]
    tags: list[str] = Field(default_factory=list)


class Tree(pydantic.BaseModel):
    """A type that holds itself."""

    left: Tree | None = None
    value: Literal["a", "b"] = "a"


class Sevens(pydantic.BaseModel):
    """A number that a function judges."""

    a: int

    @pydantic.field_validator("a")
    @classmethod
    def divides(cls, value: int) -> int:
        """Refuses what seven does not divide."""
        if value % 7:
            raise ValueError("seven does not divide it")
        return value


class Ordered(pydantic.BaseModel):
    """Two numbers that are judged together."""

    low: int
    high: int

    @pydantic.model_validator(mode="after")
    def is_ordered(self) -> typing.Self:
        """Refuses what is not in order."""
        if self.low > self.high:
            raise ValueError("not in order")
        return self


class Strict(pydantic.BaseModel):
    """What is read otherwise than its schema says."""

    model_config = pydantic.ConfigDict(strict=True)
    a: int


class Initialised(pydantic.BaseModel):
    """A model with a last word."""

    a: int

    def model_post_init(self, context: Any) -> None:
        """Refuses what is negative."""
        if self.a < 0:
            raise ValueError("negative")


class Described(pydantic.BaseModel):
    """A model about which readers are told more, and nobody else."""

    model_config = pydantic.ConfigDict(title="Any", json_schema_extra={"examples": [{"title": "a"}]})
    name: str = Field(description="a name", examples=["a"], deprecated=True)
    size: Level = Field(Level.LOW, json_schema_extra={"description": "how far"})
    left: Point | None = None


class Loosened(pydantic.BaseModel):
    """A model whose JSON Schema says less than it."""

    a: int = Field(ge=3, json_schema_extra=lambda schema: schema.pop("minimum"))


class Emptied(pydantic.BaseModel):
    """A model whose JSON Schema asks for nothing."""

    model_config = pydantic.ConfigDict(json_schema_extra=lambda schema: schema.pop("required"))
    a: int


class Bird(pydantic.BaseModel):
    """An animal that need not say its kind."""

    kind: Literal["bird"] = "bird"
    wings: int


TOLD = [
    bool,
    int,
    Annotated[int, Field(gt=-3, lt=40, multiple_of=3)],
    Annotated[float, Field(ge=-1, le=0.5)],
    str,
    Annotated[str, Field(min_length=1, max_length=3)],
    Annotated[str, Field(pattern=r"^\d\d-[ab]+$")],
    datetime.date,
    datetime.datetime,
    datetime.time,
    datetime.timedelta,
    uuid.UUID,
    Size,
    Level,
    Literal["x", 3, None],
    list[Level],
    Annotated[set[Literal["a", "b", "c"]], Field(max_length=2)],
    tuple[int, bool],
    tuple[bool, ...],
    dict[str, bool],
    Point,
    Row,
    Annotated[Cat | Dog, Field(discriminator="kind")],
    Cat | Dog,
    Tree,
    Described,
]
JUDGED = [
    Loosened,
    Emptied,
    Annotated[int, pydantic.WithJsonSchema({"type": "string"})],
    Sevens,
    Ordered,
    Even,
    Strict,
    Initialised,
    decimal.Decimal,
    dict[int, bool],
    pathlib.Path,
    Annotated[float, Field(gt=0)],
    Annotated[int, Field(strict=True)],
    Annotated[str, pydantic.StringConstraints(strip_whitespace=True, min_length=2)],
    Annotated[Cat | Bird, Field(discriminator="kind")],
    *(Annotated[str, Field(pattern=p)] for p in ("^[a-z&&[aeiou]]$", "^[[a]]$", "^[a-c--b]$", "^[a~~b]$")),
    Annotated[str, Field(pattern=r"^\W+$")],
    Annotated[str, Field(pattern=r"^[^\d]+$")],
    Annotated[list[float], Field(min_length=1), pydantic.AfterValidator(sorted)],
    Annotated[set[float], Field(min_length=2)],
    Annotated[datetime.date, Field(gt=datetime.date(2020, 1, 1))],
    pydantic.AwareDatetime,
    pydantic.UUID4,
    list[Sevens | None],
    dict[str, Even],
]
BYTES = [bytes((byte,)) for byte in b'"{}[]:,-+.TZPDHMS0123456789aeflrstundgcbivkop \\']
NAMES = ("x", "tag", "name", "size", "kind", "lives", "tags", "left", "value", "a", "low", "high")
LIKELY = [*(f'"{name}":'.encode() for name in NAMES), b'"cat"', b'"dog"', b'"large"', b'"', b"}", b"]"]
WALKS = 30


def walked(constraint: Constraint, draw: random.Random) -> bytes | None:
    """Draws an allowed text piece by piece; None if it does not come to an end."""
    state, text = constraint.initial(), b""
    for _ in range(150):
        if constraint.accepts(state) and draw.random() < 0.5:
            return text
        likely = LIKELY if draw.random() < 0.6 else []
        for piece in (*draw.sample(likely, len(likely)), *draw.sample(BYTES, len(BYTES))):
            after = constraint.advance(state, piece)
            if after is not None:
                state, text = after, text + piece
                break
        else:
            break
    return text if constraint.accepts(state) else None


@pytest.mark.parametrize("type_", TOLD, ids=str)
def test_what_is_said_to_be_exact_is_parsed(type_: Any) -> None:
    constraint = lp.json(type_, whitespace="compact")
    assert constraint.viable_is_exact == lp.json(constraint.schema).viable_is_exact  # no check was joined
    draw = random.Random(0)
    texts = {text for _ in range(WALKS) if (text := walked(constraint, draw)) is not None}
    assert len(texts) > 1
    for text in texts:
        constraint.parse(text)


@pytest.mark.parametrize("type_", JUDGED, ids=str)
def test_where_pydantic_has_more_to_say_it_is_asked(type_: Any) -> None:
    constraint = lp.json(type_, whitespace="compact")
    assert not constraint.viable_is_exact
    draw = random.Random(0)
    for text in (walked(constraint, draw) for _ in range(WALKS)):
        assert text is None or constraint.parse(text) is not None


@pytest.mark.parametrize(
    ("type_", "allowed", "refused"),
    [
        (Sevens, '{"a": 14}', '{"a": 15}'),
        (Ordered, '{"low": 1, "high": 2}', '{"low": 2, "high": 1}'),
        (Even, '{"x": 2}', '{"x": 3}'),
        (Strict, '{"a": 1}', '{"a": 1.0}'),
        (Initialised, '{"a": 1}', '{"a": -1}'),
        (Loosened, '{"a": 3}', '{"a": 2}'),
        (Emptied, '{"a": 3}', "{}"),
        (Annotated[int, pydantic.WithJsonSchema({"type": "string"})], '"12"', '"twelve"'),
        (list[Sevens | None], '[null, {"a": 7}]', '[{"a": 6}]'),
        (datetime.datetime, '"2024-02-29T12:00:00"', '"2023-02-29T12:00:00"'),
        (datetime.datetime, '"2024-02-29T12:00:00.5+01:00"', '"2024-02-29T24:00:00"'),
        (datetime.time, '"12:00:00"', '"noon"'),
        (datetime.timedelta, '"P3DT1H"', '"three days"'),
        (uuid.UUID, '"00000000-0000-0000-0000-000000000000"', '"0"'),
        (dict[int, bool], '{"-3": true}', '{"three": true}'),
        (decimal.Decimal, '"1.50"', '"1.50 EUR"'),
        (pydantic.AwareDatetime, '"2024-02-29T12:00:00Z"', '"2024-02-29T12:00:00"'),
        (Annotated[float, Field(gt=0)], "0.001", "0." + 400 * "0" + "1"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_text_is_allowed_if_its_type_takes_it(type_: Any, allowed: str, refused: str) -> None:
    constraint = lp.json(type_)
    assert accepted(constraint, allowed)
    constraint.parse(allowed)
    assert not accepted(constraint, refused)
    with pytest.raises(InvalidInputError, match="not in the language"):
        constraint.parse(refused)


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        (datetime.date, [datetime.date(2024, 2, 29), datetime.date.min, datetime.date.max]),
        (datetime.datetime, [datetime.datetime(2024, 1, 1, 1, 2, 3, 4, datetime.UTC), datetime.datetime.max]),
        (datetime.time, [datetime.time(1, 2), datetime.time(1, 2, 3, 400, datetime.UTC)]),
        (
            datetime.timedelta,
            [
                datetime.timedelta(**{part: size})
                for part in ("days", "hours", "minutes", "seconds", "milliseconds", "microseconds")
                for size in (0, 1, -1, 7, 90, -365, 400, 3601, 86_399)
            ],
        ),
        (decimal.Decimal, [decimal.Decimal("1.50"), decimal.Decimal("-0.001"), decimal.Decimal(10**30)]),
        (uuid.UUID, [uuid.UUID(int=5), uuid.UUID(int=2**128 - 1)]),
        (dict[int, bool], [{1: True, -(2**63) + 1: False}]),
        (Size, list(Size)),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_values_are_allowed_as_pydantic_writes_them(type_: Any, values: list[Any]) -> None:
    adapter = pydantic.TypeAdapter(type_)
    constraint = lp.json(type_)
    for value in values:
        assert constraint.parse(adapter.dump_json(value)) == value


UserId = typing.NewType("UserId", int)
Names = typing_extensions.TypeAliasType("Names", list[str])


def test_names_for_types_are_types() -> None:
    assert lp.json(UserId).parse("7") == 7
    assert lp.json(Names).parse('["a"]') == ["a"]
    assert not accepted(lp.json(Names), '"a"')


def test_dates_are_refused_at_the_first_character_that_fits_none() -> None:
    constraint = lp.json(datetime.date)
    assert constraint.advance(constraint.initial(), b'"2023-02-2') is not None
    assert constraint.advance(constraint.initial(), b'"2023-02-3') is None
    assert constraint.advance(constraint.initial(), b'"0000') is None


def test_a_pattern_that_pydantic_cannot_read_is_a_clear_error() -> None:
    with pytest.raises(InvalidTypeError, match=r"no look-around: ask for that by lp\.json_check"):
        lp.json(Annotated[str, Field(pattern="a(?=b)")])


def test_a_validator_that_fails_otherwise_is_an_error() -> None:
    class Wrong(pydantic.BaseModel):
        a: int

        @pydantic.field_validator("a")
        @classmethod
        def fails(cls, value: int) -> int:
            return value + "1"  # type: ignore[operator]

    constraint = lp.json(Wrong)
    with pytest.raises(CheckError, match="Wrong validates"):
        accepted(constraint, '{"a": 1}')


def test_the_mass_of_what_a_model_refuses_is_left_out() -> None:
    class Odd(pydantic.BaseModel):
        n: Literal[1, 2, 3]

        @pydantic.model_validator(mode="after")
        def is_odd(self) -> typing.Self:
            if self.n == 2:
                raise ValueError("even")
            return self

    texts = ['{"n":1}', '{"n":2}', '{"n":3}', "no", "<eos>"]
    lm = lp.TableLM(texts, [0.2, 0.3, 0.1, 0.4, 0.0], [[0, 0, 0, 0, 1]] * 5)

    @lp.program
    def number(lm: Any) -> str:
        return lp.sample("text", lm("", max_tokens=2) & lp.json(Odd))

    posterior = lp.infer(number, lm, method=lp.Enumerate())
    assert dict(posterior.answers()) == pytest.approx({'{"n":1}': 2 / 3, '{"n":3}': 1 / 3})
    drawn = lp.infer(number, lm, method=lp.SMC(200), key=1)
    assert set(dict(drawn.answers())) == {'{"n":1}', '{"n":3}'}
