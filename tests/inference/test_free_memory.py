"""What does not fit is said before it is made: particles on the host, in a machine or in a container."""

from pathlib import Path

import numpyro.distributions as dist
import pytest

import lmppl as lp
from lmppl.inference import free_memory


def test_too_many_particles_are_refused_before_one_is_started(monkeypatch):
    monkeypatch.setattr(free_memory, "free_on_host", lambda: 2**20)
    begun = []

    def program():
        begun.append(1)
        lp.sample("x", dist.Normal(0.0, 1.0))

    with pytest.raises(lp.NotEnoughMemory, match="1,000 particles need 8 MiB .* 1 MiB are free. Use fewer"):
        lp.infer(program, method=lp.SMC(1000))
    assert not begun
    lp.infer(program, method=lp.SMC(100))
    assert len(begun) == 100


@pytest.mark.parametrize(
    ("kind", "limit", "used", "files"),
    [
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ],
    ids=["version 2", "version 1"],
)
@pytest.mark.parametrize("place", ["", "outer", "outer/inner"])
def test_a_container_has_what_is_left_of_its_limit(tmp_path, monkeypatch, kind, limit, used, files, place):
    root = tmp_path / kind
    (root / "outer/inner").mkdir(parents=True)
    (root / place / limit).write_text("9000\n")
    (root / place / used).write_text("3000\n")
    (root / place / "memory.stat").write_text(f"anon 2\n{files} 500\n")
    lines = tmp_path / "groups"
    lines.write_text(f"9:name=other:/\n1:{kind}:/outer/inner\n")
    monkeypatch.setattr(free_memory, "_GROUPS", tmp_path)
    monkeypatch.setattr(
        free_memory, "Path", lambda path: lines if path == "/proc/self/cgroup" else Path(path)
    )
    assert free_memory.free_on_host() == 6500
    (root / place / limit).write_text("max\n")
    assert free_memory.free_on_host() != 6500


def test_a_machine_that_says_nothing_is_taken_to_have_enough(monkeypatch):
    monkeypatch.setattr(free_memory, "_free_on_machine", lambda: iter(()))
    monkeypatch.setattr(free_memory, "_group_folders", lambda: iter(()))
    assert free_memory.free_on_host() is None
    free_memory.require_room_for_particles(10**15)
