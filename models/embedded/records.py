"""JSON records: a person described in a sentence, and the same facts as one JSON object."""

from __future__ import annotations

import json
import random

from lmppl.models.embedded.documents import Document, sections
from lmppl.models.embedded.people import CITIES, COMPANIES, HOBBIES, JOBS, draw_name

_PHRASES = {
    "age": ("{0} years old", "aged {0}", "is {0}", "age {0}"),
    "city": ("lives in {0}", "from {0}", "based in {0}", "has a home in {0}"),
    "job": ("works as a {0}", "is a {0}", "a {0} by trade", "earns a living as a {0}"),
    "company": ("works for {0}", "employed at {0}", "is with {0}"),
    "hobbies": ("likes {0}", "enjoys {0}", "spends free time on {0}", "hobbies: {0}"),
    "email": ("can be reached at {0}", "e-mail {0}", "writes from {0}"),
    "married": ("{0}",),
}
FIELDS = tuple(_PHRASES)
"""The fields that may follow `name`, in the order in which they are written."""


def record_document(rng: random.Random) -> Document:
    """Draws a description and its record: only the fields that are mentioned, in the order of `FIELDS`."""
    given, family = draw_name(rng)
    values = {
        "age": rng.randint(18, 90),
        "city": rng.choice(CITIES),
        "job": rng.choice(JOBS),
        "company": rng.choice(COMPANIES),
        "hobbies": rng.sample(HOBBIES, rng.randint(1, 3)),
        "email": f"{given}.{family}@{rng.choice(COMPANIES).split()[0]}.com".lower(),
        "married": rng.random() < 0.5,
    }
    mentioned = rng.sample(FIELDS, rng.randint(2, 4))
    templates = tuple(rng.choice(_PHRASES[field]) for field in mentioned)
    clauses = [t.format(_said(values[field], rng)) for t, field in zip(templates, mentioned, strict=True)]
    record = {"name": f"{given} {family}"} | {field: values[field] for field in FIELDS if field in mentioned}
    target = json.dumps(record)
    words = f"{given} {family}, " + ", ".join(clauses) + "."
    return Document("records", sections({"person": words}, "json"), target, target, templates)


def _said(value: object, rng: random.Random) -> str:
    if isinstance(value, bool):
        return rng.choice(("married", "has a spouse") if value else ("single", "not married"))
    if isinstance(value, list):
        return " and ".join(filter(None, (", ".join(value[:-1]), value[-1])))
    return str(value)
