"""A value that was given to the wrong function: the error says what it is, what is taken, and where to go."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import lmppl as lp

FIELD = {"over": "{a}", "fields": {"a": "[0-9]"}}


def no(text: str) -> bool:
    return False


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: lp.words(["ab"]), "given ['ab']. lp.choices takes lists of strings."),
        (
            lambda: lp.words(lp.regex("a")),
            "regex('a') is a constraint already: use it as it is, or join it by `&`.",
        ),
        (lambda: lp.check(no), "It comes first: lp.check('name', ...)."),
        (lambda: lp.check(["a"]), "a str, but was given ['a']. lp.choices takes lists of strings."),
        (lambda: lp.check("a", ["a"]), "is a function, not ['a']. lp.choices takes lists of strings."),
        (lambda: lp.check("a", lp.regex("a")), "regex('a') is a constraint already"),
        (lambda: lp.choices(no), "lp.check takes functions of the text."),
        (lambda: lp.choices(b"ab"), "but was given b'ab'. Texts are written in UTF-8: decode it."),
        (lambda: lp.regex(["a"]), "given ['a']. lp.choices takes lists of strings."),
        (lambda: lp.regex(no), "lp.check takes functions of the text."),
        (lambda: lp.pattern(b"a"), "given b'a'. Texts are written in UTF-8: decode it."),
        (lambda: lp.pattern(("a",)), "given ('a',). lp.choices takes lists of strings."),
        (lambda: lp.lark(["a"]), "given ['a']. lp.choices takes lists of strings."),
        (lambda: lp.lark(b"start: /a/"), "decode it."),
        (lambda: lp.json(["a"]), "not ['a']. lp.choices takes lists of strings."),
        (lambda: lp.json(Path("a")), "Give the file's text: Path(...).read_text()."),
        (lambda: lp.sql({"t": None}), "columns of a table as a list of names, but those of 't' are None."),
        (lambda: lp.sql("CREATE TABLE t (a)"), "Run it on a connection, and give that, or columns by table."),
        (lambda: lp.sql("CREATE TABLE " + "t" * 9_999), "There is no SQLite file"),
        (lambda: lp.linear(["a < 1"], **FIELD), "not ['a < 1']. Write linear(*[...], over=...)."),
        (lambda: lp.linear("a < 1", over=["{a}"], fields={}), "`over=` is a str such as 'price: {price}'"),
        (lambda: lp.smt(["a < 1"], **FIELD), "not ['a < 1']. Write smt(*[...], over=...)."),
    ],
)
def test_what_was_given_and_what_it_is_for_is_said(wrong: Callable[[], object], said: str) -> None:
    with pytest.raises(lp.LmpplError, match=re.escape(said)):
        wrong()
