"""Grammars that are read from disk are those that would be compiled, and tell their options apart."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import stored_answers
from grammar_documents import DOCUMENTS, NO_TEXTS
from lark.indenter import PythonIndenter
from viable_prefixes import accepted

from lmppl.cache_places import COMPILE_CACHE
from lmppl.constraints import stored_compilations
from lmppl.constraints.grammars import grammar, lark_grammars
from lmppl.constraints.grammars.grammar import lark
from lmppl.constraints.grammars.grammar_terminals import Terminal, compile_terminals
from lmppl.constraints.grammars.lark_grammars import GrammarSource
from lmppl.constraints.grammars.lark_options import DEFAULTS
from lmppl.constraints.grammars.match_automata import MatchAutomaton
from lmppl.constraints.plain_values import read, written
from lmppl.constraints.protocol import Constraint
from lmppl.errors import ConstraintError


def forget() -> None:
    """Forgets all grammars, as a new process has them forgotten."""
    lark_grammars._LOADED.clear()
    grammar._lark.cache_clear()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache that keeps all."""
    monkeypatch.setenv(COMPILE_CACHE, str(tmp_path / "cache"))
    monkeypatch.setattr(stored_compilations, "LEAST_SECONDS", 0.0)
    forget()
    yield tmp_path / "cache" / "constraints"
    forget()


@pytest.fixture
def not_read_by_lark(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lets Lark's reading fail from a call on."""
    return lambda: monkeypatch.setattr(lark_grammars, "_read_by_lark", stored_answers.refuse)


def answers(test_data: Path, how_many: str, cache: Path | None, *more: str) -> dict[str, Any]:
    """Gives the answers of a process that keeps all that it compiles; or nothing, without a cache."""
    arguments = [str(test_data), how_many, "inf" if cache is None else "0", *more]
    found = subprocess.run(
        [sys.executable, stored_answers.__file__, *arguments],
        env={**os.environ, COMPILE_CACHE: "off" if cache is None else str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not found.returncode, found.stderr[-2000:]
    return json.loads(found.stdout)


@pytest.mark.once
@pytest.mark.parametrize("how_many", ["few", pytest.param("all", marks=pytest.mark.slow)])
def test_grammars_and_schemas_of_another_process_answer_alike_at_every_prefix(
    how_many: str, test_data: Path, tmp_path: Path
) -> None:
    expected = answers(test_data, how_many, None)
    assert len(expected) > 100
    judged = [verdict for _, verdicts, _ in expected.values() for verdict in verdicts]
    accepted_ones = [verdict for verdict in judged if verdict.endswith("a")]
    assert min(len(accepted_ones), len(judged) - len(accepted_ones)) > 50
    assert answers(test_data, how_many, tmp_path) == expected
    assert answers(test_data, how_many, tmp_path, "anew") == expected


def test_to_compile_what_is_not_kept_would_be_noticed(test_data: Path, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="compiled again"):
        answers(test_data, "few", tmp_path, "anew")


def described(automaton: MatchAutomaton) -> tuple:
    return bytes(automaton.flat), automaton.labels, automaton.settled, automaton.runs


@pytest.mark.parametrize("mode", stored_answers.MODES, ids="-".join)
def test_parts_of_shared_grammars_are_read_as_they_were_made(
    mode: tuple[str, str], test_data: Path, folder: Path, not_read_by_lark: Callable[[], None]
) -> None:
    def loaded() -> list[lark_grammars.LoadedGrammar]:
        found = []
        for name in DOCUMENTS:
            if (name, mode) in NO_TEXTS:
                continue
            file, _, start = name.partition(" ")
            path = test_data / "lark_grammars" / f"{file}.lark"
            start = start or ("file_input" if name == "lark_python" else "start")
            found.append(GrammarSource.of(path, start, *mode, ()).loaded())
        return found

    made = loaded()
    for each in made:
        grammar._lark(each)
        each.parts.keep()
    forget()
    not_read_by_lark()
    num_automata = 0
    for before, after in zip(made, loaded(), strict=True):
        assert before == after
        assert before is not after
        assert before.reading == after.reading
        names = {"reading", "terminals", *(("table",) if mode[0] == "lalr" else ())}
        kept, found = before.parts._made, after.parts._found
        assert names <= kept.keys() == found.keys()
        for name in kept.keys() - {"terminals"}:
            assert found[name] == kept[name], name
        for name, (looked_at, automata) in kept["terminals"].items():
            assert found["terminals"][name][0] == looked_at
            assert found["terminals"][name][1].keys() == automata.keys()
            for key, automaton in automata.items():
                assert described(found["terminals"][name][1][key]) == described(automaton)
                num_automata += 1
    assert num_automata > 100


def test_rows_that_are_one_object_stay_one(test_data: Path, folder: Path) -> None:
    """Which completions go by."""
    lark(test_data / "lark_grammars" / "syncode_java_grammar.lark", parser="lalr")
    (loaded,) = lark_grammars._LOADED.values()
    made = loaded.parts._made["table"]
    kinds = loaded.parts._kinds
    found = read(written(made, kinds), kinds)
    assert found == made
    sizes = [len({id(row) for row in table.reductions}) for table in (made, found)]
    assert sizes[0] == sizes[1] < len(made.reductions)


def test_terminals_that_look_back_have_all_their_automata(
    folder: Path, not_read_by_lark: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = lark(stored_answers.EDGES)
    forget()
    not_read_by_lark()
    monkeypatch.setattr("lmppl.constraints.grammars.grammar_terminals.match_automaton", stored_answers.refuse)
    found = lark(stored_answers.EDGES)
    for text in ("if x", "iffy", "1-2", "-1 if", "a1 éif"):
        assert accepted(found, text) == accepted(made, text)
    assert accepted(found, "if x")
    assert not accepted(found, "1-2")


def test_a_terminal_forgets_no_automaton(folder: Path) -> None:
    looking = Terminal("A", 1, r"\ba", None, frozenset(), 0)
    compile_terminals([looking], stored_compilations.StoredParts(None))
    again = Terminal("A", 1, r"\ba", None, frozenset(), 0)
    for before in ("", "a", " "):
        assert described(looking.after(before).automaton) == described(again.after(before).automaton)
    with pytest.raises(ConstraintError, match="before it"):
        _ = looking.automaton


TWO = 'start: A | B\nother: B\nA: "a"\nB: "b"'
NAMES = "start: x\n%import names.x"
BESIDE = "start: x\n%import .names.x"
MANY = "start: " + " ".join(f'"a{i}"?' for i in range(20))
HIDDEN = 'start: A | "x" "y" B\nA.2: /[a-w]/\nB: "b"\n%ignore " "'
BETWEEN = 'start: LPAR A A RPAR\nA: /a/\nLPAR: "("\nRPAR: ")"\n_NEWLINE: /\\n */\n%declare _INDENT _DEDENT'


def pairs(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Gives arguments of `lark` that differ in one option, and in what they allow."""
    for name in ("one", "two"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "names.lark").write_text(f'x: "{name}"')
        (folder / name / "main.lark").write_text(BESIDE)
    return {
        "text": [{"grammar": 'start: "a"'}, {"grammar": 'start: "b"'}],
        "start": [{"grammar": TWO}, {"grammar": TWO, "start": "other"}],
        "parser": [{"grammar": MANY, "parser": each, "lexer": "basic"} for each in ("earley", "lalr")],
        "lexer": [{"grammar": HIDDEN, "parser": "lalr", "lexer": each} for each in ("contextual", "basic")],
        "path": [{"grammar": folder / name / "main.lark"} for name in ("one", "two")],
        "import_paths": [{"grammar": NAMES, "import_paths": [folder / name]} for name in ("one", "two")],
        "options": [{"grammar": "start: /A/", "g_regex_flags": flags} for flags in (0, re.IGNORECASE)],
        "indentation": [
            {"grammar": BETWEEN, "parser": "lalr", "postlex": e} for e in (None, PythonIndenter())
        ],
    }


OPTIONS = [field.name for field in fields(GrammarSource) if field.name != "folder"]
TEXTS = ("a", "b", "a0a1", "one", "two", "xyb", "(a\na)")


def allowed(arguments: dict[str, Any]) -> list[str] | None:
    """Gives what a grammar answers that is read from disk, or compiled and kept; None if it is refused."""
    forget()
    try:
        constraint: Constraint = lark(**arguments)
    except (ConstraintError, LookupError):  # the latter is only raised by mutants
        return None
    return [stored_answers.seen(constraint, text.encode()) for text in TEXTS]


def confused(options: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Says whether one of two grammars allows, after the other was kept, what it does not allow else."""
    with monkeypatch.context() as patch:
        patch.setenv(COMPILE_CACHE, "off")
        expected = [allowed(each) for each in options]
    assert expected[0] != expected[1]
    return [allowed(each) for each in options * 2] != expected * 2


def test_every_option_is_in_the_key(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = pairs(tmp_path)
    assert options.keys() == set(OPTIONS)
    for name, pair in options.items():
        assert not confused(pair, monkeypatch), name


@pytest.mark.parametrize("option", OPTIONS)
def test_a_key_that_forgets_an_option_is_caught(
    option: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = lark_grammars._description
    left_out = {"options": DEFAULTS, "import_paths": ()}.get(option)
    monkeypatch.setattr(
        lark_grammars, "_description", lambda source: original(replace(source, **{option: left_out}))
    )
    assert confused(pairs(tmp_path)[option], monkeypatch)


@pytest.mark.parametrize("is_script", [True, False], ids=["script", "notebook"])
def test_a_text_imports_from_beside_the_script_that_runs(
    is_script: bool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in Lark: the same text in another script, or in a notebook's other folder, is another grammar."""
    pairs(tmp_path)  # writes files of one name into two folders
    for name, other in (("one", "two"), ("two", "one")) * 2:
        main = sys.modules["__main__"]
        if is_script:
            monkeypatch.setattr(main, "__file__", str(tmp_path / name / "script.py"), raising=False)
        else:
            monkeypatch.delattr(main, "__file__", raising=False)
            monkeypatch.chdir(tmp_path / name)
        for remembered in (False, True):
            if not remembered:
                forget()
            constraint = lark(BESIDE)
            assert accepted(constraint, name)
            assert not accepted(constraint, other)


@pytest.mark.parametrize("package", ["lark", "regex"])
def test_versions_are_in_the_key(package: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = lark_grammars.version
    lark(TWO)
    monkeypatch.setattr(lark_grammars, "version", lambda name: "99" if name == package else original(name))
    forget()
    lark(TWO)
    assert len(list(folder.iterdir())) == 2


def test_without_a_version_of_lark_nothing_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise lark_grammars.PackageNotFoundError(name)

    monkeypatch.setattr(lark_grammars, "version", missing)
    assert accepted(lark(TWO), "a")
    assert not folder.exists()


def test_a_grammar_whose_imports_have_changed_is_compiled_again(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "names.lark").write_text('x: "one"')
    arguments: dict[str, Any] = {"grammar": NAMES, "import_paths": [tmp_path]}
    one = allowed(arguments)
    assert allowed(arguments) == one
    (tmp_path / "names.lark").write_text('x: "two"')
    two = allowed(arguments)
    assert two != one
    assert allowed(arguments) == two
    (tmp_path / "before").mkdir()
    (tmp_path / "before" / "names.lark").write_text('x: "one"')
    arguments["import_paths"] = [tmp_path / "before", tmp_path]
    assert allowed(arguments) == one
    (tmp_path / "before" / "names.lark").unlink()
    assert allowed(arguments) == two
    (tmp_path / "before" / "names.lark").write_text('x: "one"')  # where there was none
    assert allowed(arguments) == one


def test_imports_that_are_not_looked_at_again_would_be_noticed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lark_grammars, "_is_current", lambda parts: True)
    with pytest.raises(AssertionError):
        test_a_grammar_whose_imports_have_changed_is_compiled_again(folder, tmp_path)


@pytest.mark.parametrize("size", [0, 30, 200, -1])
def test_a_damaged_file_of_a_grammar_is_made_again(size: int, folder: Path) -> None:
    expected = allowed({"grammar": TWO, "parser": "lalr"})
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:size])
    assert allowed({"grammar": TWO, "parser": "lalr"}) == expected
    assert path.read_bytes() == whole


def test_errors_of_grammars_are_not_kept(folder: Path) -> None:
    for text in ("start: x", "start: A\nA: /(a+)\\1/", 'start: "a" start'):
        for _ in range(2):
            forget()
            with pytest.raises(ConstraintError):
                lark(text)
    assert not folder.exists()
