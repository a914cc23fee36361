"""Automata on disk are those that would be compiled, and nothing on the disk can make them others."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lmppl.cache_places import COMPILE_CACHE
from lmppl.constraints import regular_expression, stored_automata
from lmppl.constraints.automaton import ByteAutomaton
from lmppl.constraints.regular_expression import compiled
from lmppl.errors import ConstraintError

compile_anew = compiled.__wrapped__


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that keeps all automata."""
    monkeypatch.setenv(COMPILE_CACHE, str(tmp_path))
    monkeypatch.setattr(stored_automata, "LEAST_SECONDS", 0.0)
    return tmp_path / "automata"


@pytest.fixture
def not_compiled(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lets compiling fail from a call on."""

    def fail(*_: object) -> None:
        raise AssertionError("it is compiled again")

    return lambda: monkeypatch.setattr(regular_expression, "determinised", fail)


@pytest.mark.parametrize("pattern", ["a", "[a-z]{3,9}é*", r"(?i)\w{1,3}|[^x]*", r"[^\s\S]", ""])
def test_what_is_read_is_what_was_compiled(
    pattern: str, folder: Path, not_compiled: Callable[[], None]
) -> None:
    made = compile_anew(pattern)
    not_compiled()
    found = compile_anew(pattern)
    assert found is not made
    assert found == made
    assert found.flat == made.flat
    assert not found.transitions.flags.writeable
    assert len(list(folder.iterdir())) == 1


def test_patterns_flags_and_code_are_told_apart(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, any_case = compile_anew("a"), compile_anew("a", 2)  # re.IGNORECASE
    assert small != any_case
    assert compile_anew("a") == small
    assert len(list(folder.iterdir())) == 2
    monkeypatch.setattr(stored_automata, "_code", lambda: "another version")
    compile_anew("a")
    assert len(list(folder.iterdir())) == 3


def test_what_compiles_quickly_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_automata, "LEAST_SECONDS", 60.0)
    compile_anew("a")
    assert not folder.exists()


def test_a_cache_that_is_off_or_cannot_be_written_changes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = compile_anew("ab*")
    monkeypatch.setenv(COMPILE_CACHE, "off")
    assert compile_anew("ab*") == made
    monkeypatch.setenv(COMPILE_CACHE, str(next(folder.iterdir())))  # a file, and no folder
    assert compile_anew("ab*") == made


@pytest.mark.parametrize("size", [0, 10, 100, -1])
def test_a_damaged_file_is_made_again(size: int, folder: Path) -> None:
    made = compile_anew("[ab]{1,3}")
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:size])
    assert compile_anew("[ab]{1,3}") == made
    assert path.read_bytes()[:2] == b"PK"


@pytest.mark.parametrize("wrong", [7, -2])
def test_a_file_with_a_state_that_is_none_is_made_again(wrong: int, folder: Path) -> None:
    made = compile_anew("[ab]{1,3}")
    (path,) = folder.iterdir()
    table = made.transitions.copy()
    table[0, 0] = wrong
    np.savez(path, table=table, class_of=np.arange(256).astype(np.uint8), accepting=made.accepting)
    assert compile_anew("[ab]{1,3}") == made


def test_errors_are_not_kept(folder: Path) -> None:
    for _ in range(2):
        with pytest.raises(ConstraintError, match="states"):
            compile_anew("(a|b)*a(a|b){20}")
    assert not folder.exists()


def test_those_used_longest_ago_are_dropped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patterns = [f"a{{1,{size}}}" for size in (3, 4, 5)]
    for pattern in patterns[:2]:
        compile_anew(pattern)
        time.sleep(0.01)
    first, second = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
    compile_anew(patterns[0])  # so that the second is older now
    monkeypatch.setattr(stored_automata, "MAX_BYTES", 2 * first.stat().st_size + 100)
    time.sleep(0.01)
    compile_anew(patterns[2])
    assert first.exists()
    assert not second.exists()


def test_what_is_kept_is_small(folder: Path) -> None:
    made = compile_anew(r"[\w .,]{1,9}")
    assert isinstance(made, ByteAutomaton)
    (path,) = folder.iterdir()
    assert path.stat().st_size < made.transitions.nbytes / 20
