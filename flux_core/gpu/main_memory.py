"""How much main memory is free: of the machine, and of what a container or a service may take of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

MACHINE = Path("/proc/meminfo")
GROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")

V2 = ("memory.max", "memory.current", "inactive_file")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
"""Of a control group: the file of its limit, that of what is taken, and the line in memory.stat of what of that are
files read, which make room for whoever needs it. Linux' documentation: admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst.
"""


def free_main_memory(machine: Path = MACHINE, groups: Path = GROUPS, own: Path = OWN) -> int | None:
    """Return bytes of main memory that this process could still take; None where nobody says.

    Who takes more than its control group may is killed, whatever the machine has.
    """
    if not machine.exists():
        return None
    free = int(_lines(machine)["MemAvailable:"]) * 1024
    return max(0, min([free, *_of_groups(groups, own)]))


def _of_groups(groups: Path, own: Path) -> Iterator[int]:
    # In a container its own group is the root that it sees.
    places = [(groups / "memory", V1), (groups, V2)]
    with suppress(OSError):
        for line in own.read_text(encoding="ascii").splitlines():
            number, _, path = line.split(":", 2)
            if number == "0":
                inner = [one for one in Path(path.strip("/")).parents if one != Path()]
                places += [(groups / one, V2) for one in (Path(path.strip("/")), *inner)]
    for place, (limit, taken, files) in places:
        with suppress(OSError, ValueError):  # no limit reads "max", and a group that is not there has no file
            most = int((place / limit).read_text(encoding="ascii"))
            used = int((place / taken).read_text(encoding="ascii"))
            yield most - used + int(_lines(place / "memory.stat").get(files, 0))


def _lines(file: Path) -> Mapping[str, str]:
    lines = map(str.split, file.read_text(encoding="ascii").splitlines())
    return {words[0]: words[1] for words in lines if len(words) > 1}
