"""Every code block of the documentation runs, every command exists, and every link leads somewhere."""

from __future__ import annotations

import contextlib
import io
import itertools
import linecache
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$", flags=re.MULTILINE | re.DOTALL)
SETTING = re.compile(r"[A-Z_]+=")  # of an environment variable, before a command
LINK = re.compile(r"\]\((?!https?:|#)(?P<target>[^)#\s]+)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line it starts at."""

    language: str
    code: str
    line: int


def blocks(text: str) -> list[Block]:
    """Finds the fenced blocks of a page."""
    return [
        Block(match["language"], match["code"], text[: match.start()].count("\n") + 2)
        for match in FENCE.finditer(text)
    ]


def name_of(page: Path) -> str:
    """Names a test case after the page's path."""
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_blocks_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    found = blocks(page.read_text())
    namespace: dict[str, Any] = {"__name__": "documentation"}
    printed = ""
    for block in found:
        if block.language == "python":
            printed = run_python(block, name_of(page), namespace)
        elif block.language == "text":
            assert words(printed) == words(block.code), f"{name_of(page)}:{block.line}: not what was printed"
        elif block.language == "sh":
            check_commands(block.code)
        else:
            pytest.fail(f"{name_of(page)}:{block.line}: label the block python, text (what it prints) or sh")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_links_of_a_page_lead_somewhere(page: Path):
    targets = LINK.findall(page.read_text())
    missing = [target for target in targets if not (page.parent / target).exists()]
    if missing and not (ROOT / "lmppl").exists():
        pytest.skip("away from the tree not every file is there")
    assert not missing


def test_a_block_that_fails_is_found():
    with pytest.raises(ZeroDivisionError):
        run_python(Block("python", "1 / 0\n", 1), "page.md", {})
    with pytest.raises(AssertionError):
        check_commands("make nonsense\n")


def run_python(block: Block, page: str, namespace: dict[str, Any]) -> str:
    """Runs a block in the page's namespace and gives what it printed; tracebacks show its lines."""
    name = f"<{page}:{block.line}>"
    linecache.cache[name] = (len(block.code), None, block.code.splitlines(keepends=True), name)
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(compile(block.code, name, "exec", dont_inherit=True), namespace)
    return output.getvalue()


def words(text: str) -> list[str]:
    """Splits printed text, so that the width of a column does not matter."""
    return text.split()


def check_commands(code: str) -> None:
    """Checks that each command line names a target, an extra or a file that exists."""
    for line in filter(None, (line.partition("#")[0].strip() for line in code.splitlines())):
        command, *arguments = itertools.dropwhile(SETTING.match, line.split())
        if command == "make":
            assert set(positional(arguments)) <= make_targets(), f"no such target: {line}"
        elif command.endswith("python"):
            scripts = [argument for argument in positional(arguments) if argument.endswith(".py")]
            assert all((ROOT / script).exists() for script in scripts), f"no such script: {line}"
        elif command.endswith("pip"):
            named = set(",".join(re.findall(r"\[([\w,]+)\]", line)).split(",")) - {""}
            assert named <= extras(), f"no such extra: {line}"
        elif command.endswith("pytest"):
            assert all((ROOT / path).exists() for path in positional(arguments)), f"no such path: {line}"
        else:
            assert command in {"git", "cd"}, f"not a command that is checked: {line}"


def positional(arguments: list[str]) -> list[str]:
    """Gives the arguments that are neither options nor variables."""
    return [argument for argument in arguments if not argument.startswith("-") and "=" not in argument]


def make_targets() -> set[str]:
    """Reads the Makefile's targets."""
    makefile = ROOT / "Makefile"
    if not makefile.exists():
        pytest.skip("there is no Makefile here")
    return set(re.findall(r"^(\w+):", makefile.read_text(), flags=re.MULTILINE))


def extras() -> set[str]:
    """Reads the package's extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return set(project["optional-dependencies"])
