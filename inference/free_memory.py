"""How much memory is free, on the device and on the host, and whether the particles of a run fit into it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jax

from lmppl.errors import NotEnoughMemory

_BYTES_A_PARTICLE = 8_192  # least seen of one that waits: the stack of its program, its record and its place
_GROUPS = Path("/sys/fs/cgroup")
# Of a control group: its limit, what it uses, and what of that are files that can be read again.
_LIMITS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def require_room_for_particles(num_particles: int) -> None:
    """Asks for the memory of the particles themselves, before any of them is started.

    Raises:
        NotEnoughMemory: They do not fit; the message names the sizes.
    """
    needed, available = num_particles * _BYTES_A_PARTICLE, free_on_host()
    if available is not None and needed > available:
        raise NotEnoughMemory(
            f"{num_particles:,} particles need {shown_bytes(needed)} for their programs alone; "
            f"{shown_bytes(available)} are free. Use fewer particles: a few hundred are many."
        )


def free_on_device() -> int | None:
    """Gives what is free on the device, in bytes; None where that cannot be known."""
    device = jax.local_devices()[0]
    statistics = device.memory_stats() if device.platform != "cpu" else None
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
    return free_on_host()


def free_on_host() -> int | None:
    """Gives what this process may still take of the host's memory, in bytes; None if that is not known.

    A container may take less than the machine has.
    """
    return min((*_free_on_machine(), *_free_in_groups()), default=None)


def shown_bytes(num_bytes: int) -> str:
    """Gives a size to be read by people."""
    return f"{num_bytes / 2**30:.1f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.0f} MiB"


def _free_on_machine() -> Iterator[int]:
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    yield 1024 * int(line.split()[1])
    except OSError:
        return


def _free_in_groups() -> Iterator[int]:
    """Gives what is left of the limit of each control group that this process is in."""
    for folder in _group_folders():
        for limit, used, files in _LIMITS:
            try:
                most, now = (int((folder / name).read_text()) for name in (limit, used))
                statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            except (OSError, ValueError):  # "max" is no limit
                continue
            yield max(0, most - now + int(statistics.get(files, 0)))


def _group_folders() -> Iterator[Path]:
    """Gives the folders of this process's memory groups, the outer ones included."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds == "" or "memory" in kinds.split(","):
            root = _GROUPS / "memory" if kinds else _GROUPS
            folder = root / path.lstrip("/")
            yield from (folder, *(outer for outer in folder.parents if outer.is_relative_to(root)))
