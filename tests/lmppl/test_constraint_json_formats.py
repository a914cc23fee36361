"""The formats of JSON Schema that are regular, against readers of the standard library and by example."""

from __future__ import annotations

import datetime
import ipaddress
import json
import random
import re
from typing import Any

import pytest
from viable_prefixes import accepted

import lmppl as lp
from lmppl.constraints.json_values.object_shapes import contains
from lmppl.constraints.json_values.string_formats import FORMATS, NOT_REGULAR, format_text
from lmppl.errors import UnsupportedSchema

EXAMPLES = {
    "date": (["2024-02-29", "1999-12-31"], ["2023-02-29", "2024-13-01", "2024-1-1", "2024-04-31"]),
    "date-time": (
        ["2024-02-29T23:59:60Z", "2024-01-01t00:00:00.5+01:00"],
        ["2024-02-30T00:00:00Z"],
    ),
    "duration": (["P1Y2M3DT4H5M6S", "P3W", "PT1M"], ["P", "P1YT", "P1D2H", "P1Y3D", "1D", "P1W2D"]),
    "email": (
        ["a.b@c-d.e", '"a b"@c', "a@[1.2.3.4]", "a@[IPv6:::1]"],
        [".a@b", "a@-b", "a@[1.2.3.400]"],
    ),
    "ipv4": (["0.0.0.0", "255.1.20.3"], ["256.0.0.1", "1.2.3", "01.2.3.4"]),
    "ipv6": (["::", "1::8", "::1.2.3.4", "1:2:3:4:5:6:7:8"], ["1:2", ":::", "::1%eth0", "1:2:3:4:5:6:7:8:9"]),
    "iri": (["http://ünï.com/ä?ö#ü", "urn:a"], ["/ä", "http://a b", "http://[::g]"]),
    "iri-reference": (["ä/b", "", "//ü"], ["ä b", "a\\b"]),
    "json-pointer": (["", "/a~1b/~0", "/\n"], ["a", "/~2", "/~"]),
    "relative-json-pointer": (["0", "1/a", "2#"], ["/a", "01", "-1", "0##"]),
    "time": (["23:59:60Z", "01:29:60.25+01:30", "08:30:06-08:00"], ["22:59:60Z", "24:00:00Z", "12:00:00"]),
    "uri": (
        ["http://a.b:80/c?d#e", "mailto:a@b", "http://[::1]/"],
        ["//a", "http://ü", "a b:c", "http://[1]/"],
    ),
    "uri-reference": (["a/b", "", "//a", "#x", "?q"], ["a b", "\\a", "http://[/"]),
    "uri-template": (["/a/{b}{?c*,d:3}", ""], ["{", "{}", "{a:0}", "{a b}", "}"]),
    "uuid": (
        ["2EB8AA08-aa98-11ea-B4aa-73b441d16380"],
        ["2eb8aa08-aa98-11ea-b4aa"],
    ),
}


def accepts(schema: Any, value: str) -> bool:
    return accepted(lp.json(schema, formats=True), json.dumps(value, ensure_ascii=False))


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_tells_its_texts_from_others(name: str) -> None:
    good, bad = EXAMPLES[name]
    assert all(accepts({"format": name}, text) for text in good)
    assert not any(accepts({"format": name}, text) for text in bad)
    assert not any(contains(format_text(name), text) for text in bad)


def test_ipv6_agrees_with_the_standard_library() -> None:
    draw = random.Random(0)
    machine = format_text("ipv6")
    pieces = ["0", "1f", "abcd", ":", ":", ":", "::", "12345", "1.2.3.4", "1.2.3.256"]
    agreed = 0
    for _ in range(4_000):
        text = "".join(draw.choices(pieces, k=draw.randint(1, 12)))
        try:
            ipaddress.IPv6Address(text)
            expected = True
        except ValueError:
            expected = False
        agreed += expected
        assert contains(machine, text) == expected, text
    assert agreed > 50


def test_dates_agree_with_the_standard_library() -> None:
    machine = format_text("date")
    for year in (1, 1900, 1999, 2000, 2023, 2024, 2100, 9996):
        for month in range(14):
            for day in range(33):
                text = f"{year:04}-{month:02}-{day:02}"
                try:
                    datetime.date.fromisoformat(text)
                    expected = True
                except ValueError:
                    expected = False
                assert contains(machine, text) == expected, text


def is_time(text: str) -> bool:
    match = re.fullmatch(r"(\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:[zZ]|([+-])(\d\d):(\d\d))", text)
    if match is None:
        return False
    hour, minute, second, ahead_hour, ahead_minute = (int(match[i] or 0) for i in (1, 2, 3, 5, 6))
    if hour > 23 or minute > 59 or second > 60 or ahead_hour > 23 or ahead_minute > 59:
        return False
    ahead = (ahead_hour * 60 + ahead_minute) * (-1 if match[4] == "-" else 1)
    return second < 60 or (hour * 60 + minute - ahead) % 1440 == 1439


def test_a_leap_second_is_the_last_of_a_day_of_utc_in_every_zone() -> None:
    draw = random.Random(0)
    machine = format_text("time")
    leaps = 0
    for _ in range(3_000):
        minute, ahead = draw.randrange(1450), draw.randrange(-1445, 1446)
        if draw.random() < 0.5:
            minute = (1439 + ahead) % 1440
        zone = "+-"[ahead < 0] + f"{abs(ahead) // 60:02}:{abs(ahead) % 60:02}"
        second = draw.choice(["60", "60.5", "59", "61"])
        text = f"{minute // 60:02}:{minute % 60:02}:{second}{draw.choice([zone, zone, 'Z'])}"
        assert contains(machine, text) == is_time(text), text
        leaps += is_time(text) and second.startswith("60")
    assert leaps > 300


def test_formats_are_annotations_unless_asked_for() -> None:
    constraint = lp.json({"type": "string", "format": "ipv4"})
    assert constraint.advance(constraint.initial(), b'"x"') is not None
    assert accepts({"format": "int32"}, "no draft defines this format")
    assert accepts({"not": {"format": "ipv4"}}, "x")
    assert not accepts({"not": {"format": "ipv4"}}, "1.2.3.4")


@pytest.mark.parametrize("name", sorted(NOT_REGULAR))
def test_formats_that_are_not_regular_are_refused_by_name(name: str) -> None:
    with pytest.raises(UnsupportedSchema, match=f"'/items', keyword 'format': '{name}' cannot"):
        lp.json({"items": {"format": name}}, formats=True)
