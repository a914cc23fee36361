"""Every module of the installed package can be imported, and importing the package stays cheap."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

import lmppl
import lmppl.inference
import lmppl.models


def module_names() -> list[str]:
    """Lists the installed package's modules, those behind the links included."""
    return sorted(module.name for module in pkgutil.walk_packages(lmppl.__path__, "lmppl."))


@pytest.mark.parametrize("name", module_names())
def test_a_module_can_be_imported(name: str):
    importlib.import_module(name)


def test_the_modules_of_all_three_rooms_are_there():
    rooms = {".".join(name.split(".")[:2]) for name in module_names()}
    assert {"lmppl.errors", "lmppl.models", "lmppl.inference"} <= rooms
    assert {"lmppl.models.decoder", "lmppl.inference.awrs"} <= set(module_names())


def test_importing_the_package_loads_neither_a_model_library_nor_pytorch():
    code = "import lmppl, sys; print(*({'torch', 'transformers', 'flax', 'pandas'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_the_names_of_the_surface_are_listed_before_they_are_loaded():
    code = "import lmppl; print(*(set(lmppl.__all__) - set(dir(lmppl))))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


@pytest.mark.parametrize("first", ["lmppl.inference", "lmppl.models", "lmppl.statements"])
def test_no_import_order_puts_a_module_in_the_place_of_an_exported_name(first: str):
    code = (
        f"import {first}, lmppl, types\n"
        "modules = {'errors', 'testing'}\n"
        "for name in lmppl.__all__:\n"
        "    assert isinstance(getattr(lmppl, name), types.ModuleType) == (name in modules), name\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
