"""Free main memory is what a process may take: a container's limit counts, not the machine's size."""

from __future__ import annotations

from pathlib import Path

import pytest

from flux_core.gpu.main_memory import free_main_memory

GIB = 1 << 30


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    file = tmp_path / "meminfo"
    file.write_text(f"MemTotal:       {128 << 20} kB\nMemAvailable:   {100 << 20} kB\nHugePages_Total:  0\n")
    return file


def group(place: Path, limit: str, *, used: int, files: int) -> None:
    place.mkdir(parents=True, exist_ok=True)
    (place / "memory.max").write_text(f"{limit}\n")
    (place / "memory.current").write_text(f"{used}\n")
    (place / "memory.stat").write_text(f"anon {used - files}\nfile {files}\ninactive_file {files}\n")


def test_without_a_limit_it_is_what_the_machine_has(machine: Path, tmp_path: Path) -> None:
    assert free_main_memory(machine, tmp_path / "none", tmp_path / "none") == 100 * GIB
    group(tmp_path / "groups", "max", used=GIB, files=0)
    assert free_main_memory(machine, tmp_path / "groups", tmp_path / "none") == 100 * GIB


def test_a_container_has_what_its_limit_leaves_and_files_that_were_read_make_room(
    machine: Path, tmp_path: Path
) -> None:
    group(tmp_path / "groups", str(16 * GIB), used=6 * GIB, files=2 * GIB)
    assert free_main_memory(machine, tmp_path / "groups", tmp_path / "none") == 12 * GIB
    group(tmp_path / "groups", str(4 * GIB), used=6 * GIB, files=0)
    assert free_main_memory(machine, tmp_path / "groups", tmp_path / "none") == 0


def test_a_service_has_what_the_tightest_of_its_groups_leaves(machine: Path, tmp_path: Path) -> None:
    own, groups = tmp_path / "cgroup", tmp_path / "groups"
    own.write_text("1:name=systemd:/elsewhere\n0::/system.slice/flux-bot.service\n")
    group(groups / "system.slice" / "flux-bot.service", str(40 * GIB), used=GIB, files=0)
    group(groups / "system.slice", str(30 * GIB), used=10 * GIB, files=0)
    assert free_main_memory(machine, groups, own) == 20 * GIB


def test_older_kernels_say_it_in_other_words(machine: Path, tmp_path: Path) -> None:
    place = tmp_path / "groups" / "memory"
    place.mkdir(parents=True)
    (place / "memory.limit_in_bytes").write_text(f"{8 * GIB}\n")
    (place / "memory.usage_in_bytes").write_text(f"{3 * GIB}\n")
    (place / "memory.stat").write_text(f"cache 5\ntotal_inactive_file {GIB}\n")
    assert free_main_memory(machine, tmp_path / "groups", tmp_path / "none") == 6 * GIB


def test_this_machine_has_some() -> None:
    free = free_main_memory()
    assert free is None or free > 0
