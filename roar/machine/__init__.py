"""The CPUs and the memory that this process may use, which are often less than the machine has.

A scheduler gives a job some CPUs (affinity, ``taskset``), and a container or a service a share of them and a limit of
memory (control groups, versions 1 and 2). A limit holds for all groups below it, so each group from the process's own
up to the root of what it sees counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")


def cpus(root: Path = _ROOT) -> int:
    """How many CPUs this process may keep busy, at least 1.

    Args:
        root: where ``proc`` and the file systems of control groups lie.
    """
    quotas = [int(quota / period) for quota, period in _quotas(root) if quota > 0 and period > 0]
    return max(1, min([_scheduled(), *quotas]))


def memory(root: Path = _ROOT) -> int:
    """Bytes of memory that this process may use, with all that share its limit."""
    return min([physical_memory(), *_limits(root)])


def physical_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _scheduled() -> int:
    """The CPUs that the scheduler may run this process on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[tuple[float, float]]:
    """Microseconds of CPU time within a period of so many, of each group that limits them."""
    for group in _groups("cpu", root):
        words = _text(group / "cpu.max").split() or [_text(group / "cpu.cfs_quota_us"),
                                                      _text(group / "cpu.cfs_period_us")]
        if len(words) == 2 and all(word.lstrip("-").isdigit() for word in words):  # "max" is no limit, nor is -1
            yield float(words[0]), float(words[1])


def _limits(root: Path) -> Iterator[int]:
    for group in _groups("memory", root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            if (text := _text(group / name)).isdigit():
                yield int(text)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The folders of this process's control groups that may have a controller, each from its own up to the mount."""
    mounts = list(_mounts(controller, root))
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        unified = number == "0" and not controllers
        if not unified and controller not in controllers.split(","):
            continue
        for mount, above in (place[:2] for place in mounts if place[2] == unified):
            # A process that sees a part of the tree is below the part's root, or outside of what it sees.
            below = path.removeprefix(above) if path == above or path.startswith(f"{above.rstrip('/')}/") else ""
            parts = [part for part in below.split("/") if part]
            if ".." in parts:
                parts = []
            for depth in range(len(parts), -1, -1):
                yield mount.joinpath(*parts[:depth])


def _mounts(controller: str, root: Path) -> Iterator[tuple[Path, str, bool]]:
    """Where a controller's groups are mounted, which group lies there, and whether it is version 2."""
    for line in _text(root / "proc/self/mountinfo").splitlines():
        fields, _, rest = line.partition(" - ")
        kind, options = rest.split(" ")[0], rest.split(" ")[-1]
        if kind == "cgroup2" or (kind == "cgroup" and controller in options.split(",")):
            above, place = fields.split(" ")[3:5]
            yield root / place.lstrip("/"), above, kind == "cgroup2"


def _text(path: Path) -> str:
    """What a file says; nothing where it is not there."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
