"""Questions over small schemas, and the SQL that answers them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from lmppl.models.embedded.documents import Document, sections
from lmppl.models.embedded.people import CITIES, COMPANIES, GIVEN_NAMES

UNSEEN_SCHEMA = "schema with flights"
"""Schemas with the table `flight` are never trained on: a split of their own."""

_COLOURS = ("red", "blue", "green", "white", "black", "silver")
_COUNTRIES = (
    "Brazil",
    "Canada",
    "Egypt",
    "France",
    "Germany",
    "India",
    "Italy",
    "Japan",
    "Kenya",
    "Mexico",
    "Spain",
)


@dataclass(frozen=True)
class Table:
    """A table that a schema may hold: its columns of text, with values, and of numbers, with ranges."""

    plural: str
    texts: dict[str, tuple[str, ...]]
    numbers: dict[str, tuple[int, int]]


TABLES = {
    "singer": Table("singers", {"country": _COUNTRIES, "genre": ("pop", "jazz", "rock", "folk")},
                    {"age": (18, 80), "albums": (1, 30)}),
    "student": Table("students", {"city": CITIES, "major": ("math", "physics", "law", "history", "art")},
                     {"age": (17, 40), "grade": (1, 6)}),
    "employee": Table("employees", {"city": CITIES, "company": COMPANIES},
                      {"age": (18, 70), "salary": (20000, 90000), "year": (1990, 2025)}),
    "book": Table("books", {"author": GIVEN_NAMES, "language": ("English", "French", "German", "Spanish")},
                  {"pages": (50, 900), "price": (5, 60), "year": (1950, 2025)}),
    "movie": Table("movies", {"director": GIVEN_NAMES, "genre": ("comedy", "drama", "horror", "action")},
                   {"length": (60, 200), "rating": (1, 10), "year": (1950, 2025)}),
    "car": Table("cars", {"colour": _COLOURS, "maker": COMPANIES},
                 {"price": (2000, 90000), "speed": (100, 300), "year": (1980, 2025)}),
    "product": Table("products", {"colour": _COLOURS, "category": ("toys", "food", "tools", "books")},
                     {"price": (1, 500), "stock": (0, 900), "weight": (1, 50)}),
    "team": Table("teams", {"city": CITIES, "sport": ("tennis", "football", "hockey", "rugby")},
                  {"wins": (0, 40), "players": (5, 30)}),
    "pet": Table("pets", {"species": ("cat", "dog", "bird", "fish"), "colour": _COLOURS},
                 {"age": (1, 20), "weight": (1, 40)}),
    "hotel": Table("hotels", {"city": CITIES, "country": _COUNTRIES}, {"stars": (1, 5), "rooms": (5, 400)}),
    "flight": Table("flights", {"origin": CITIES, "airline": COMPANIES},
                    {"seats": (50, 400), "price": (40, 900)}),
}  # fmt: skip


@dataclass(frozen=True)
class _Scene:
    """A schema and the table and columns that a question is about."""

    schema: str
    noun: str
    plural: str
    texts: list[str]
    numbers: list[str]
    text: str
    value: str
    number: str
    threshold: int


def sql_document(rng: random.Random) -> Document:
    """Draws a schema, a question and its query; a quarter of the questions leave a column open."""
    scene = _draw_scene(rng)
    kind = rng.choice(list(_OPEN if rng.random() < 0.25 else _CLOSED))
    paraphrases, meanings = {**_OPEN, **_CLOSED}[kind]
    template = rng.choice(paraphrases)
    query = rng.choice(meanings(scene))
    question = template.format(s=scene) + rng.choices(("", "?"), weights=(70, 30))[0]
    unseen = UNSEEN_SCHEMA if "flight(" in scene.schema else ""
    prompt = sections({"schema": scene.schema, "question": question}, "sql")
    return Document("sql", prompt, query, query, (template,), unseen)


def _draw_scene(rng: random.Random) -> _Scene:
    nouns = rng.sample(list(TABLES), rng.choice((1, 2, 2)))
    tables = {}
    for noun in nouns:
        table = TABLES[noun]
        texts = rng.sample(list(table.texts), rng.randint(1, len(table.texts)))
        numbers = rng.sample(list(table.numbers), rng.randint(1, min(2, len(table.numbers))))
        tables[noun] = (texts, numbers)
    lines = []
    for noun, (texts, numbers) in tables.items():
        columns = texts + numbers
        lines.append(f"{noun}(id, name, {', '.join(rng.sample(columns, len(columns)))})")
    noun = nouns[0]
    texts, numbers = tables[noun]
    text, number = rng.choice(texts), rng.choice(numbers)
    low, high = TABLES[noun].numbers[number]
    value = rng.choice(TABLES[noun].texts[text])
    schema = "\n".join(rng.sample(lines, len(lines)))
    return _Scene(
        schema, noun, TABLES[noun].plural, texts, numbers, text, value, number, rng.randint(low, high)
    )


_Kind = tuple[tuple[str, ...], Callable[[_Scene], list[str]]]
_CLOSED: dict[str, _Kind] = {
    "column": (
        ("list the {s.text} of all {s.plural}", "what is the {s.text} of each {s.noun}",
         "show the {s.text} of every {s.noun}", "{s.text} of all {s.plural}"),
        lambda s: [f"SELECT {s.text} FROM {s.noun}"]),
    "count": (
        ("how many {s.plural} are there", "count the {s.plural}", "what is the number of {s.plural}"),
        lambda s: [f"SELECT COUNT(*) FROM {s.noun}"]),
    "equal": (
        ("names of {s.plural} whose {s.text} is {s.value}", "which {s.plural} have {s.text} {s.value}",
         "list the names of {s.plural} with {s.text} {s.value}",
         "{s.plural} with the {s.text} {s.value}, by name"),
        lambda s: [f"SELECT name FROM {s.noun} WHERE {s.text} = '{s.value}'"]),
    "count equal": (
        ("how many {s.plural} have {s.text} {s.value}", "number of {s.plural} whose {s.text} is {s.value}",
         "count the {s.plural} with {s.text} {s.value}"),
        lambda s: [f"SELECT COUNT(*) FROM {s.noun} WHERE {s.text} = '{s.value}'"]),
    "above": (
        ("names of {s.plural} with {s.number} over {s.threshold}",
         "which {s.plural} have a {s.number} above {s.threshold}",
         "{s.plural} whose {s.number} is more than {s.threshold}"),
        lambda s: [f"SELECT name FROM {s.noun} WHERE {s.number} > {s.threshold}"]),
    "below": (
        ("names of {s.plural} with {s.number} under {s.threshold}",
         "which {s.plural} have a {s.number} below {s.threshold}",
         "{s.plural} whose {s.number} is less than {s.threshold}"),
        lambda s: [f"SELECT name FROM {s.noun} WHERE {s.number} < {s.threshold}"]),
    "average": (
        ("what is the average {s.number} of the {s.plural}", "mean {s.number} of all {s.plural}",
         "average {s.number} over all {s.plural}"),
        lambda s: [f"SELECT AVG({s.number}) FROM {s.noun}"]),
    "highest": (
        ("which {s.noun} has the highest {s.number}", "name of the {s.noun} with the largest {s.number}",
         "the {s.noun} with the most {s.number}"),
        lambda s: [f"SELECT name FROM {s.noun} ORDER BY {s.number} DESC LIMIT 1"]),
    "lowest": (
        ("which {s.noun} has the lowest {s.number}", "name of the {s.noun} with the smallest {s.number}",
         "the {s.noun} with the least {s.number}"),
        lambda s: [f"SELECT name FROM {s.noun} ORDER BY {s.number} LIMIT 1"]),
    "sorted": (
        ("names of all {s.plural} sorted by {s.number}", "list the {s.plural} by {s.number}",
         "{s.plural} in order of {s.number}"),
        lambda s: [f"SELECT name FROM {s.noun} ORDER BY {s.number}"]),
    "per": (
        ("number of {s.plural} per {s.text}", "how many {s.plural} for each {s.text}",
         "count the {s.plural} by {s.text}"),
        lambda s: [f"SELECT {s.text}, COUNT(*) FROM {s.noun} GROUP BY {s.text}"]),
    "average per": (
        ("average {s.number} of {s.plural} per {s.text}",
         "mean {s.number} for each {s.text} of the {s.plural}"),
        lambda s: [f"SELECT {s.text}, AVG({s.number}) FROM {s.noun} GROUP BY {s.text}"]),
    "distinct": (
        ("what different {s.text} do the {s.plural} have", "all distinct {s.text} of {s.plural}",
         "every {s.text} of the {s.plural}, without repeats"),
        lambda s: [f"SELECT DISTINCT {s.text} FROM {s.noun}"]),
    "both": (
        ("names of {s.plural} with {s.text} {s.value} and {s.number} over {s.threshold}",
         "which {s.plural} have {s.text} {s.value} and more than {s.threshold} {s.number}"),
        lambda s: [f"SELECT name FROM {s.noun} WHERE {s.text} = '{s.value}' AND {s.number} > {s.threshold}"]),
}  # fmt: skip
_OPEN: dict[str, _Kind] = {
    "list": (
        ("list the {s.plural}", "show me the {s.plural}", "give me all {s.plural}"),
        lambda s: [f"SELECT {c} FROM {s.noun}" for c in ("*", "name", "id")]),
    "best": (
        ("which {s.noun} is the best", "the top {s.noun}", "name the biggest {s.noun}"),
        lambda s: [f"SELECT name FROM {s.noun} ORDER BY {n} DESC LIMIT 1" for n in s.numbers]),
    "over": (
        ("which {s.plural} are over {s.threshold}", "{s.plural} above {s.threshold}",
         "names of {s.plural} with more than {s.threshold}"),
        lambda s: [f"SELECT name FROM {s.noun} WHERE {n} > {s.threshold}" for n in s.numbers]),
    "groups": (
        ("count the {s.plural} by group", "how many {s.plural} of each kind",
         "how are the {s.plural} distributed"),
        lambda s: [f"SELECT {t}, COUNT(*) FROM {s.noun} GROUP BY {t}" for t in s.texts]),
    "mean": (
        ("what is the average of the {s.plural}", "an average over the {s.plural}"),
        lambda s: [f"SELECT AVG({n}) FROM {s.noun}" for n in s.numbers]),
    "order": (
        ("sort the {s.plural}", "list the {s.plural} in order", "rank the {s.plural}"),
        lambda s: [f"SELECT name FROM {s.noun} ORDER BY {c}" for c in ("name", *s.numbers)]),
}  # fmt: skip
