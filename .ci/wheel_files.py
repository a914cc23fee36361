"""Compares what the wheel and the source distribution hold with the files of the tree.

`lmppl/models` and `lmppl/inference` are links; a build that does not follow them loses every module
behind them without a word. Exit status 1 and a list of names if a file is missing or too many.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_WHEEL_BYTES = 12 * 2**20


def main() -> int:
    """Builds both and prints what differs."""
    with tempfile.TemporaryDirectory() as folder:
        wheel, sdist = build(Path(folder))
        expected = package_files(ROOT)
        problems = [
            *differences("wheel", expected, wheel_files(wheel)),
            *differences("source distribution", expected, sdist_files(sdist)),
        ]
        size = wheel.stat().st_size
        if size > MAX_WHEEL_BYTES:
            problems.append(f"the wheel has {size} bytes, more than {MAX_WHEEL_BYTES}")
    print("\n".join(problems) or f"wheel and source distribution: {len(expected)} files each, as in the tree")
    return int(bool(problems))


def build(folder: Path) -> tuple[Path, Path]:
    """Builds the source distribution, and the wheel from it, in an environment that has hatchling."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run([*command, "-t", "sdist"], cwd=ROOT, check=True, capture_output=True)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (source,) = (folder / "unpacked").iterdir()
    subprocess.run([*command, "-t", "wheel"], cwd=source, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel, sdist


def package_files(root: Path) -> set[str]:
    """Gives the package's files, those behind the links included."""
    paths = (path for top in ("", "models", "inference") for path in (root / "lmppl" / top).rglob("*"))
    names = {path.relative_to(root).as_posix() for path in paths if path.is_file()}
    return {name for name in names if "__pycache__" not in name}


def wheel_files(wheel: Path) -> set[str]:
    """Gives the wheel's files without its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def sdist_files(sdist: Path) -> set[str]:
    """Gives the source distribution's files of the package."""
    with tarfile.open(sdist) as archive:
        names = (member.name.split("/", 1)[1] for member in archive.getmembers() if member.isfile())
        return {name for name in names if name.startswith("lmppl/")}


def differences(kind: str, expected: set[str], found: set[str]) -> list[str]:
    """Names what is missing from a build, and what it holds beyond the tree."""
    missing = [f"missing from the {kind}: {name}" for name in sorted(expected - found)]
    return missing + [f"in the {kind} but not in the tree: {name}" for name in sorted(found - expected)]


if __name__ == "__main__":
    sys.exit(main())
