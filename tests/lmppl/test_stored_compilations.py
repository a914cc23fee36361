"""What is on disk is what would be compiled, and nothing on the disk can make it something else."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmppl.cache_places import COMPILE_CACHE
from lmppl.constraints import stored_compilations
from lmppl.constraints.plain_values import written
from lmppl.constraints.regular import character_sets, regular_expression
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.regular_expression import compiled
from lmppl.constraints.stored_compilations import AUTOMATA, StoredParts, stored
from lmppl.errors import ConstraintError

compile_anew = compiled.__wrapped__


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that keeps all."""
    for kinds in ((False, False), (False, True), (True, False), (True, True)):
        character_sets._common_edges(*kinds)  # which would else be kept when first asked for
    monkeypatch.setenv(COMPILE_CACHE, str(tmp_path))
    monkeypatch.setattr(stored_compilations, "LEAST_SECONDS", 0.0)
    return tmp_path / "constraints"


@pytest.fixture
def not_compiled(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lets compiling fail from a call on."""

    def fail(*_: object) -> None:
        raise AssertionError("it is compiled again")

    return lambda: monkeypatch.setattr(regular_expression, "determinised", fail)


@pytest.mark.parametrize("pattern", ["a", "[a-z]{3,9}é*", r"(?i)\w{1,3}|[^x]*", r"[^\s\S]", ""])
def test_automaton_that_is_read_is_what_was_compiled(
    pattern: str, folder: Path, not_compiled: Callable[[], None]
) -> None:
    made = compile_anew(pattern)
    not_compiled()
    found = compile_anew(pattern)
    assert found is not made
    assert found == made
    assert found.flat == made.flat
    assert not found.transitions.flags.writeable
    assert not found.accepting.flags.writeable
    assert len(list(folder.iterdir())) == 1


def test_patterns_flags_and_code_are_told_apart(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, any_case = compile_anew("a"), compile_anew("a", 2)  # re.IGNORECASE
    assert small != any_case
    assert compile_anew("a") == small
    assert len(list(folder.iterdir())) == 2
    monkeypatch.setattr(stored_compilations, "_code", lambda: "another version")
    compile_anew("a")
    assert len(list(folder.iterdir())) == 3


def test_code_without_files_keeps_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_compilations, "_code", lambda: "")
    compile_anew("a")
    assert not folder.exists()


def test_every_file_of_the_code_and_pythons_version_are_in_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = stored_compilations._code.__wrapped__
    (tmp_path / "inner").mkdir()
    for name in ("stored_compilations.py", "inner/other.py"):
        (tmp_path / name).write_text("1")
    monkeypatch.setattr(stored_compilations, "__file__", str(tmp_path / "stored_compilations.py"))
    known = {digest()}
    assert digest() in known
    for name in ("stored_compilations.py", "inner/other.py", "new.py"):
        (tmp_path / name).write_text("2")
        assert digest() not in known
        known.add(digest())
    monkeypatch.setattr("platform.python_version", lambda: "3.99.0")
    assert digest() not in known


def test_what_compiles_quickly_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_compilations, "LEAST_SECONDS", 3600.0)
    compile_anew("a")
    stored("a share", lambda: 1, share=0.5)
    assert not folder.exists()
    stored("less than nothing", lambda: 1, share=0.0)
    assert len(list(folder.iterdir())) == 1


def test_a_cache_that_is_off_or_cannot_be_written_changes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = compile_anew("ab*")
    monkeypatch.setenv(COMPILE_CACHE, "off")
    assert compile_anew("ab*") == made
    monkeypatch.setenv(COMPILE_CACHE, str(next(folder.iterdir())))  # a file, and no folder
    assert compile_anew("ab*") == made


def test_what_cannot_be_written_as_plain_data_is_not_kept(folder: Path) -> None:
    value = object()
    assert stored("an object", lambda: value) is value
    assert not folder.exists()


@pytest.mark.parametrize("size", [0, 10, 100, -1])
def test_a_truncated_file_is_made_again(size: int, folder: Path) -> None:
    made = compile_anew("[ab]{1,3}")
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:size])
    assert compile_anew("[ab]{1,3}") == made
    assert path.read_bytes() == whole


def test_a_file_of_something_else_is_made_again(folder: Path) -> None:
    made, other = compile_anew("[ab]{1,3}"), compile_anew("[cd]{1,3}")
    one, two = folder.iterdir()
    files = {path: path.read_bytes() for path in (one, two)}
    one.write_bytes(files[two])
    two.write_bytes(files[one])
    assert compile_anew("[ab]{1,3}") == made
    assert compile_anew("[cd]{1,3}") == other
    assert {path: path.read_bytes() for path in (one, two)} == files


@pytest.mark.parametrize("wrong", ["state too large", "state too small", "no parts"])
def test_a_whole_file_that_holds_no_automaton_is_made_again(wrong: str, folder: Path) -> None:
    made = compile_anew("[ab]{1,3}")
    (path,) = folder.iterdir()
    table = made.transitions.copy()
    table[0, 0] = {"state too large": 7, "state too small": -2}.get(wrong, 0)
    value: Any = {"": ByteAutomaton(table, made.accepting)}
    if wrong == "no parts":
        value = [made]
    path.write_bytes(written(value, AUTOMATA, path.name.encode()))
    assert compile_anew("[ab]{1,3}") == made


def test_errors_are_not_kept(folder: Path) -> None:
    for _ in range(2):
        with pytest.raises(ConstraintError, match="states"):
            compile_anew("(a|b)*a(a|b){20}")
    assert not folder.exists()


def test_those_used_longest_ago_are_dropped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patterns = [f"a{{1,{size}}}" for size in (3, 4, 5)]
    for number, pattern in enumerate(patterns[:2]):
        before = set(folder.iterdir()) if number else set()
        compile_anew(pattern)
        (path,) = set(folder.iterdir()) - before
        os.utime(path, (number, number))
    first, second = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
    compile_anew(patterns[0])  # so that the second is older now
    monkeypatch.setattr(stored_compilations, "MAX_BYTES", 2 * first.stat().st_size + 50)
    compile_anew(patterns[2])
    assert first.exists()
    assert not second.exists()
    assert len(list(folder.iterdir())) == 2


def test_the_number_of_files_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_compilations, "MAX_FILES", 2)
    for number in range(4):
        compile_anew(rf"[\w .,]{{1,{number + 2}}}")
        for path in folder.iterdir():
            os.utime(path, (path.stat().st_mtime - 1,) * 2)
    assert len(list(folder.iterdir())) == 2


def test_what_is_kept_is_small(folder: Path) -> None:
    made = compile_anew(r"[\w .,]{1,9}")
    assert isinstance(made, ByteAutomaton)
    (path,) = folder.iterdir()
    assert path.stat().st_size < made.transitions.nbytes / 20


def test_parts_are_kept_together_once_they_took_long(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_compilations, "LEAST_SECONDS", 3600.0)
    parts = StoredParts("several")
    assert parts.get("one", lambda: 1) == 1
    assert parts.get("one", lambda: 2) == 2  # what is made here is not given again
    parts.keep()
    assert not folder.exists()
    parts.spend(3600.0)
    parts.keep()
    found = StoredParts("several")
    assert found.get("one", lambda: 3) == 2
    assert found.found("two") is None
    found.add("two", (2,))
    found.spend(3600.0)
    found.keep()
    both = StoredParts("several")
    assert (both.found("one"), both.found("two")) == (2, (2,))


def test_parts_that_are_no_longer_what_would_be_made_are_made_again(folder: Path) -> None:
    parts = StoredParts("changing")
    parts.add("version", 1)
    parts.keep()
    for version, expected in ((1, 1), (2, None)):
        found = StoredParts("changing", is_current=lambda kept, v=version: kept["version"] == v)
        assert found.found("version") == expected


def test_nothing_is_kept_of_what_nobody_can_describe(folder: Path) -> None:
    parts = StoredParts(None)
    assert parts.get("one", lambda: 1) == 1
    parts.keep()
    assert not folder.exists()


def test_writers_and_readers_at_the_same_time_see_whole_files(folder: Path) -> None:
    values = [np.full(50_000 + number, number, np.int32) for number in range(8)]

    def use(number: int) -> bool:
        parts = StoredParts("shared")
        found = parts.found("array")
        parts.add("array", values[number % 8])
        parts.keep()
        return found is None or bool((found == found[0]).all() and len(found) == 50_000 + found[0])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(200)))
    assert len(list(folder.iterdir())) == 1
