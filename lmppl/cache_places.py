"""Where on disk lmppl keeps what it compiled. Not JAX's business, so that constraints need not import it."""

from __future__ import annotations

import os
from pathlib import Path

COMPILE_CACHE = "LMPPL_COMPILE_CACHE"


def cache_folder() -> Path | None:
    """Gives the folder that the user chose, or the default one; None where it is switched off.

    It is named by the environment variable `LMPPL_COMPILE_CACHE`, or is `$XDG_CACHE_HOME/lmppl/compiled`, or
    `~/.cache/lmppl/compiled`.
    """
    wanted = os.environ.get(COMPILE_CACHE, "")
    if wanted.lower() == "off":
        return None
    if wanted:
        return Path(wanted).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "lmppl" / "compiled"
