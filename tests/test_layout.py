"""The tree keeps the rules of its layout: names, lengths, imports, exports, words."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("lmppl", "lmppl.models", "lmppl.inference")
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "misc", "common"}
TEXT_SUFFIXES = {".py", ".md", ".toml", ".txt", ".cfg", ".lark", ".pddl", ".yaml", ".yml", ".sh"}

pytestmark = pytest.mark.skipif(
    not (ROOT / "lmppl").exists(), reason="the tests run against an installed wheel, away from the tree"
)


def modules() -> list[Path]:
    """Lists the package's modules by their path in the tree, each once."""
    return sorted(path for top in ("lmppl", "models", "inference") for path in (ROOT / top).rglob("*.py"))


def name_of(path: Path) -> str:
    """Names a test case after the file's path."""
    return path.relative_to(ROOT).as_posix()


each_module = pytest.mark.parametrize("path", modules(), ids=name_of)


@each_module
def test_a_module_says_what_it_is_for_and_is_short(path: Path):
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "the docstring is missing"
    assert len(text.splitlines()) <= 600, "split the module by subject"
    assert path.stem not in VAGUE_NAMES, "name the module after its subject"


@each_module
def test_a_module_is_not_named_like_what_it_exports(path: Path):
    clashes = [name for name in top_level_names(ast.parse(path.read_text())) if name == path.stem]
    assert not clashes, "an import would give the one where the other is meant: rename the module"


@each_module
def test_a_module_imports_nothing_private_or_forbidden(path: Path):
    tree = ast.parse(path.read_text())
    for name in imported_names(tree):
        assert not name.startswith("jax._src"), "private to JAX"
        assert name.split(".")[0] != "torch", "the library never imports PyTorch"
        assert name.split(".")[0] not in {"models", "inference"}, "import it below `lmppl`"
    top_level = imported_names(ast.Module(body=[*without_type_checking(tree)], type_ignores=[]), deep=False)
    assert "transformers" not in {name.split(".")[0] for name in top_level}, "import it inside a function"


@each_module
def test_a_module_does_not_print_and_exports_only_from_the_rooms(path: Path):
    tree = ast.parse(path.read_text())
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [func.lineno for func in calls if isinstance(func, ast.Name) and func.id == "print"]
    if path not in {ROOT / top / "__init__.py" for top in ("lmppl", "models", "inference")}:
        assert "__all__" not in set(top_level_names(tree, private=True))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_exports_what_its_api_page_lists(room: str):
    exported = importlib.import_module(room).__all__
    page = (ROOT / "docs" / "api" / f"{room.rpartition('.')[2]}.md").read_text()
    assert sorted(exported) == sorted(set(exported)), "a name is exported twice"
    assert re.findall(r"^- `(\w+)`", page, flags=re.MULTILINE) == sorted(exported, key=str.lower)
    for name in exported:
        getattr(importlib.import_module(room), name)


def test_test_folders_are_no_packages_and_test_files_have_names_of_their_own():
    paths = list((ROOT / "tests").rglob("*.py"))
    names = [path.name for path in paths if path.name != "conftest.py"]
    assert len(names) == len(set(names))
    assert "__init__.py" not in names


def test_no_file_names_a_folder_of_somebodys_machine():
    machine_path = re.compile(r"(?<![\w.~/$}])/(home|root|work|tmp|Users)/\w")
    found = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in text_files()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if machine_path.search(line)
    ]
    assert not found, "\n".join(found)


def test_no_note_to_self_is_left():
    marker = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")
    found = [name_of(path) for path in text_files() if marker.search(path.read_text(errors="replace"))]
    assert not found, "write an issue instead"


def text_files() -> Iterator[Path]:
    """Gives the project's own text files."""
    for path in [*ROOT.glob("*"), *(ROOT / ".ci").iterdir()]:
        if path.is_file() and (path.suffix in TEXT_SUFFIXES or path.name in {"Makefile", "run"}):
            yield path
    for top in ("lmppl", "models", "inference", "tests", "examples", "docs", "benchmarks"):
        for path in (ROOT / top).rglob("*"):
            if path.is_file() and path.suffix in TEXT_SUFFIXES:
                yield path


def top_level_names(tree: ast.Module, *, private: bool = False) -> Iterator[str]:
    """Gives the names that a module defines at its top level."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        else:
            names = []
        yield from (name for name in names if private or not name.startswith("_"))


def imported_names(tree: ast.Module, *, deep: bool = True) -> list[str]:
    """Gives the modules that are imported, in functions too if `deep`."""
    nodes = ast.walk(tree) if deep else tree.body
    imports = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    nodes = ast.walk(tree) if deep else tree.body
    return imports + [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]


def without_type_checking(tree: ast.Module) -> list[ast.stmt]:
    """Gives a module's statements but for `if TYPE_CHECKING:`."""
    return [
        node
        for node in tree.body
        if not (isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"))
    ]
