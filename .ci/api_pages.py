"""Writes `docs/api/`: one page a room, each exported name with the first line of its docstring.

`python .ci/api_pages.py` writes the pages; with `--check` it says which are out of date (exit status 1).
"""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ROOMS = {
    "lmppl": "What a program means: `import lmppl as lp`.",
    "lmppl.models": "What scores tokens. Most users only meet `lp.load`.",
    "lmppl.inference": "What runs a program. The methods are also names of `lmppl` itself.",
}


def main() -> int:
    """Writes or checks every page."""
    stale = []
    for room in ROOMS:
        path = ROOT / "docs" / "api" / f"{room.rpartition('.')[2]}.md"
        text = page(room)
        if path.exists() and path.read_text() == text:
            continue
        stale.append(path.relative_to(ROOT).as_posix())
        if "--check" not in sys.argv:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    if stale:
        print("out of date:" if "--check" in sys.argv else "written:", *stale)
    return int(bool(stale) and "--check" in sys.argv)


def page(room: str) -> str:
    """Gives the page of a room."""
    module = importlib.import_module(room)
    names = sorted(module.__all__, key=str.lower)
    lines = [f"- `{name}`: {summary(getattr(module, name))}" for name in names]
    return "\n".join([f"# `{room}`", "", ROOMS[room], "", *lines, ""])


def summary(value: Any) -> str:
    """Gives the first paragraph of a docstring on one line."""
    paragraph = (inspect.getdoc(value) or "").split("\n\n")[0]
    return " ".join(paragraph.split())


if __name__ == "__main__":
    sys.exit(main())
