"""The files that a grammar imports: where they are looked for, as Lark does, and what was found."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from lmppl.errors import ConstraintError, InvalidInputError, InvalidTypeError

Loader: TypeAlias = Callable[[Any, str], tuple[Any, str]]
"""A function as Lark's `FromPackageLoader`: gives place and text of an imported file, or an OSError."""

Where: TypeAlias = tuple[str | Loader, Any, str]
"""A folder or function, what the importing grammar lies in, and the name of the imported one."""

MANY_TIMES = 10  # that one file is imported before imports go round in a circle


class Imports:
    """Finds imported files where Lark does, and remembers what it has looked at."""

    def __init__(self, sources: tuple[str | Loader, ...]):
        self.sources = sources
        self.digests: dict[Where, str | None] = {}
        self.times: Counter[Any] = Counter()

    def __call__(self, base: Any, name: str) -> tuple[Any, str]:
        """Gives path and text of a file; Lark's own library is searched if there is none."""
        for source in (*self.sources, *([base] if isinstance(base, str) else [])):
            where = (source, None if isinstance(source, str) else base, name)
            found = looked_up(*where)
            self.digests[where] = digest(found)
            if found is not None:
                path, data = found
                self.times[path] += 1
                try:
                    return path, data.decode()
                except UnicodeDecodeError as error:
                    raise ConstraintError(f"The imported file {path!r} cannot be read: {error}") from error
        raise FileNotFoundError(name)

    def circle(self) -> str | None:
        """Gives a file that was imported again and again, if there is one."""
        path, times = max(self.times.items(), key=lambda item: item[1], default=(None, 0))
        return str(path) if times > MANY_TIMES else None


def looked_up(source: str | Loader, base: Any, name: str) -> tuple[Any, bytes] | None:
    """Gives path and contents of a file in a folder, or of what a function finds; None if there is none."""
    try:
        if isinstance(source, str):
            path = os.path.join(source, name)
            return path, Path(path).read_bytes()
        found = source(base, name)
    except OSError:
        return None
    except Exception as error:
        raise InvalidInputError(
            f"A function of `import_paths` of lark(), {source!r}, raised {type(error).__name__} for "
            f"{name!r}: {error}. Where it has no such file it raises an OSError, as FileNotFoundError."
        ) from error
    if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], str)):
        raise InvalidTypeError(
            f"A function of `import_paths` of lark() gives the path and the text of a file, but {source!r} "
            f"gave {found!r} for {name!r}."
        )
    return found[0], found[1].encode()


def sources_of(import_paths: Iterable[str | os.PathLike[str] | Loader]) -> tuple[str | Loader, ...]:
    """Checks what a user passed as `import_paths`."""
    is_list = isinstance(import_paths, Iterable) and not isinstance(import_paths, str | bytes)
    for each in import_paths if is_list else ():
        is_list = is_list and (
            isinstance(each, str | os.PathLike) or (callable(each) and isinstance(each, Hashable))
        )
    if not is_list:
        raise InvalidTypeError(
            "`import_paths` of lark() is a list of folders, or of functions such as Lark's "
            f"FromPackageLoader, but was given {import_paths!r}."
        )
    return tuple(os.fspath(f) if isinstance(f, str | os.PathLike) else f for f in import_paths)


def digest(found: tuple[Any, bytes] | None) -> str | None:
    """Gives the digest of what was looked up."""
    return None if found is None else hashlib.sha256(found[1]).hexdigest()
