"""The wheel and the source distribution hold every module, and the import rules see the linked folders."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(
    not (ROOT / "lmppl").exists(), reason="the tests run against an installed wheel, away from the tree"
)


def wheel_files_script() -> ModuleType:
    """Loads `.ci/wheel_files.py`, which `make check` runs."""
    spec = importlib.util.spec_from_file_location("wheel_files", ROOT / ".ci" / "wheel_files.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_wheel_and_the_source_distribution_hold_every_file_of_the_tree(tmp_path: Path):
    script = wheel_files_script()
    wheel, sdist = script.build(tmp_path)
    expected = script.package_files(ROOT)
    assert {"lmppl/models/__init__.py", "lmppl/inference/__init__.py", "lmppl/py.typed"} <= expected
    assert script.wheel_files(wheel) == expected
    assert script.sdist_files(sdist) == expected


def test_a_module_that_a_build_lost_is_named():
    differences = wheel_files_script().differences("wheel", {"lmppl/a.py", "lmppl/b.py"}, {"lmppl/a.py"})
    assert differences == ["missing from the wheel: lmppl/b.py"]


def test_the_base_dependencies_hold_no_torch():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    requirements = [*project["dependencies"], *itertools.chain.from_iterable(extras)]
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert not [line for line in [*requirements, *pins] if line.startswith(("torch", "nvidia"))]


def test_every_package_that_is_imported_is_declared_and_the_other_way_round():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    of_users = [line for extra, lines in extras.items() if extra not in ("test", "dev") for line in lines]
    declared = {name_of(line) for line in [*project["dependencies"], *of_users]}
    paths = [path for top in ("lmppl", "models", "inference") for path in (ROOT / top).rglob("*.py")]
    imported = {name for path in paths for name in imported_packages(path)}
    assert imported - sys.stdlib_module_names - {"lmppl"} == declared


def name_of(requirement: str) -> str:
    """Gives the import name of a requirement: most have that of their distribution."""
    name = re.split(r"[^\w-]", requirement)[0].replace("-", "_").lower()
    return {"z3_solver": "z3"}.get(name, name)


def imported_packages(path: Path) -> set[str]:
    """Gives the top-level packages that a module imports, in functions too."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {name.split(".")[0] for name in names}


def test_the_type_checker_is_told_to_follow_both_links():
    pyright = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pyright"]
    assert {"lmppl", "lmppl/models", "lmppl/inference"} <= set(pyright["include"])


FORBIDDEN = [
    ("lmppl", "lmppl.models"),
    ("lmppl", "lmppl.inference"),
    ("models", "lmppl.inference"),
    ("inference", "lmppl.models"),
    ("inference", "torch"),
]


def test_each_forbidden_import_is_caught_behind_the_links(tmp_path: Path):
    tree = copy_of_the_package(tmp_path)
    for number, (room, imported) in enumerate(FORBIDDEN):
        (tree / room / f"offender_{number}.py").write_text(f"import {imported}\n")
    result = lint_imports(tree)
    assert result.returncode != 0
    for number, (_, imported) in enumerate(FORBIDDEN):
        assert f"offender_{number} -> {imported}" in result.stdout, result.stdout


def test_the_tree_keeps_the_import_rules(tmp_path: Path):
    result = lint_imports(copy_of_the_package(tmp_path))
    assert result.returncode == 0, result.stdout


def copy_of_the_package(folder: Path) -> Path:
    """Copies the package's Python files, its links as links, and the rules."""
    ignore = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.json")
    for name in ("lmppl", "models", "inference"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    """Runs import-linter in a tree, on that tree's package and no installed one."""
    pytest.importorskip("importlinter", reason="import-linter is part of the extra `dev`")
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environment = os.environ | {"PYTHONPATH": str(tree)}
    return subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
