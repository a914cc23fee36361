"""Dates, e-mail addresses and identifiers: small formats whose syntax is exact."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from datetime import date, timedelta

from lmppl.models.embedded.documents import Document, sections
from lmppl.models.embedded.people import COMPANIES, draw_name

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
)  # fmt: skip
_DATE_FORMS: tuple[Callable[[date], str], ...] = (
    lambda d: f"{d.day} {_MONTHS[d.month - 1]} {d.year}",
    lambda d: f"{_MONTHS[d.month - 1]} {d.day}, {d.year}",
    lambda d: f"{_MONTHS[d.month - 1][:3]} {d.day} {d.year}",
    lambda d: f"{d.day} {_MONTHS[d.month - 1][:3]} {d.year}",
    lambda d: f"the {_ordinal(d.day)} of {_MONTHS[d.month - 1]} {d.year}",
    lambda d: f"{d.year}/{d.month:02}/{d.day:02}",
    lambda d: f"{d.day}.{d.month}.{d.year}",
)
_ADDRESS_FORMS: tuple[Callable[[str, str], str], ...] = (
    lambda given, family: f"{given}.{family}",
    lambda given, family: f"{given[0]}.{family}",
    lambda given, family: f"{given[0]}{family}",
    lambda given, family: f"{given}_{family}",
    lambda given, family: f"{family}.{given}",
    lambda given, family: given,
)


def date_document(rng: random.Random) -> Document:
    """Draws a date in words or figures, and the date as `YYYY-MM-DD`.

    A quarter are figures such as `03/04/2021`, which may be either order: the label is drawn from both.
    """
    day = date(1950, 1, 1) + timedelta(days=rng.randrange(100 * 365))
    if rng.random() < 0.25:
        first, second = rng.sample((day.day, day.month), 2) if day.day <= 12 else (day.day, day.month)
        said = f"{first:02}/{second:02}/{day.year}"
    else:
        said = rng.choice(_DATE_FORMS)(day)
    return Document("dates", sections({"date": said}, "iso"), day.isoformat(), day.isoformat())


def email_document(rng: random.Random) -> Document:
    """Draws a person at a company, and one of the addresses that they may have."""
    given, family = draw_name(rng)
    company = rng.choice(COMPANIES)
    site = company.lower().replace(" ", "") + rng.choice((".com", ".org", ".example"))
    address = rng.choice(_ADDRESS_FORMS)(given.lower(), family.lower()) + "@" + site
    said = f"{given} {family}, {company}"
    return Document("e-mails", sections({"person": said}, "email"), address, address)


def identifier_document(rng: random.Random) -> Document:
    """Draws the name of a format and a value in that format."""
    kind = rng.choice(list(FORMATS))
    value = FORMATS[kind](rng)
    return Document("identifiers", sections({"identifier": kind}, "value"), value, value)


def _ordinal(number: int) -> str:
    suffix = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def _figures(rng: random.Random, count: int, alphabet: str = "0123456789") -> str:
    return "".join(rng.choices(alphabet, k=count))


def _capitals(rng: random.Random, count: int) -> str:
    return _figures(rng, count, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def _isbn(rng: random.Random) -> str:
    body = "978" + _figures(rng, 9)
    check = -sum(int(digit) * (3 if i % 2 else 1) for i, digit in enumerate(body)) % 10
    return f"{body[:3]}-{body[3]}-{body[4:8]}-{body[8:12]}-{check}"


FORMATS: dict[str, Callable[[random.Random], str]] = {
    "ipv4 address": lambda rng: ".".join(str(rng.randrange(256)) for _ in range(4)),
    "mac address": lambda rng: ":".join(_figures(rng, 2, "0123456789abcdef") for _ in range(6)),
    "uuid": lambda rng: str(uuid.UUID(int=rng.getrandbits(128), version=4)),
    "phone number": lambda rng: f"({_figures(rng, 3)}) {_figures(rng, 3)}-{_figures(rng, 4)}",
    "zip code": lambda rng: _figures(rng, 5),
    "hex colour": lambda rng: "#" + _figures(rng, 6, "0123456789abcdef"),
    "version": lambda rng: f"{rng.randrange(10)}.{rng.randrange(20)}.{rng.randrange(30)}",
    "time": lambda rng: f"{rng.randrange(24):02}:{rng.randrange(60):02}",
    "isbn": _isbn,
    "licence plate": lambda rng: f"{_capitals(rng, 3)}-{_figures(rng, 4)}",
    "order number": lambda rng: f"ORD-{rng.randrange(2015, 2030)}-{_figures(rng, 6)}",
    "flight number": lambda rng: _capitals(rng, 2) + _figures(rng, rng.randint(2, 4)),
    "price": lambda rng: f"${rng.randrange(1, 1000)}.{rng.randrange(100):02}",
    "coordinates": lambda rng: f"{rng.uniform(-90, 90):.4f}, {rng.uniform(-180, 180):.4f}",
    "commit": lambda rng: _figures(rng, 7, "0123456789abcdef"),
    "url": lambda rng: f"https://www.{rng.choice(COMPANIES).lower().replace(' ', '')}.com/"
    + rng.choice(("news", "shop", "about", "jobs", "help")) + f"/{rng.randrange(1, 1000)}",
}  # fmt: skip
"""The formats, each with a function that draws a value in it."""
