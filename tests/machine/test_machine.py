"""The CPUs and the memory that a process may use: affinity, and control groups of both versions at every depth."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from roar import machine

V2 = "35 25 0:31 {above} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1 = ("34 31 0:30 {above} /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
      "35 31 0:31 {above} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
      "36 31 0:32 {above} /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids")
MB = 10**6


def pretend(root: Path, cgroup: str, mounts: str, **files: str) -> Path:
    """A root with ``/proc`` and groups; of a file's name ``__`` is a slash."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    (root / "proc/self/mountinfo").write_text("23 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + mounts + "\n")
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(path.name.replace("-", ".")).write_text(text + "\n")
    return root


@pytest.fixture(autouse=True)
def sixteen_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    monkeypatch.setattr(machine, "physical_memory", lambda: 64_000 * MB)


@pytest.mark.parametrize(("cgroup", "mounts", "files", "cpus", "megabytes"), [
    ("0::/", V2.format(above="/"), {"cpu-max": "max 100000", "memory-max": "max"}, 16, 64_000),
    ("0::/", V2.format(above="/"), {"cpu-max": "400000 100000", "memory-max": str(700 * MB)}, 4, 700),
    ("0::/job/step", V2.format(above="/"), {"job__step__cpu-max": "200000 100000",
                                            "job__step__memory-max": str(500 * MB)}, 2, 500),
    ("0::/job/step", V2.format(above="/"), {"job__cpu-max": "350000 100000", "job__memory-max": str(900 * MB),
                                            "job__step__cpu-max": "max 100000", "job__step__memory-max": "max"},
     3, 900),
    ("0::/job", V2.format(above="/"), {"job__cpu-max": "50000 100000"}, 1, 64_000),
    ("0::/../other", V2.format(above="/"), {"cpu-max": "200000 100000"}, 2, 64_000),
    ("4:memory:/box\n3:cpu,cpuacct:/box\n0::/", V1.format(above="/"),
     {"cpu__box__cpu-cfs_quota_us": "300000", "cpu__box__cpu-cfs_period_us": "100000",
      "memory__box__memory-limit_in_bytes": str(600 * MB),
      "memory__memory-limit_in_bytes": "9223372036854771712"}, 3, 600),
    ("4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc", V1.format(above="/docker/abc"),
     {"cpu__cpu-cfs_quota_us": "200000", "cpu__cpu-cfs_period_us": "100000",
      "memory__memory-limit_in_bytes": str(800 * MB)}, 2, 800),
    ("3:cpu:/box", V1.format(above="/"),
     {"cpu__box__cpu-cfs_quota_us": "-1", "cpu__box__cpu-cfs_period_us": "100000"}, 16, 64_000),
    ("", "", {}, 16, 64_000),
], ids=["no limit", "container", "below the root", "limit above", "half a CPU", "outside what is seen", "version 1",
        "version 1 in a container", "version 1 without limit", "no control groups"])
def test_limits_of_control_groups(tmp_path: Path, cgroup: str, mounts: str, files: dict[str, str], cpus: int,
                                  megabytes: int) -> None:
    root = pretend(tmp_path, cgroup, mounts, **files)
    assert machine.cpus(root) == cpus
    assert machine.memory(root) == megabytes * MB


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no CPU affinity")
def test_affinity_counts_and_a_local_cluster_has_no_more(tmp_path: Path) -> None:
    code = ("import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
            "from roar import machine\n"
            "from roar.experiment import ComputeSettings\n"
            "from roar.jobs.ray.environment import prepare\n"
            "prepare()\n"
            "from roar.jobs.ray.cluster import connect, largest_node\n"
            "connect(ComputeSettings())\n"
            "print(machine.cpus(), largest_node(0))")
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said.split() == ["1", "1.0"]
