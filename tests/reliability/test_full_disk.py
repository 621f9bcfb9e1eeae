"""A disk that is full, or a quota: one sentence, nothing half, and the same command finishes when there is space."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from roar_processes import assert_same, files_of, finish, start

from roar.errors import StoreError
from roar.store.integrity import damages
from roar.store.local import LocalFiles
from roar.store.store import open_store


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("only root can mount a small disk; the test of a quota runs everywhere")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize("free", [8, 60, 140, 260])  # kilobytes: in the model, the rankings, the results, the report
def test_a_full_disk_is_said_in_one_sentence(free: int, undisturbed: Path, small_disk: Path, tmp_path: Path) -> None:
    store, log = small_disk / "store", tmp_path / "log"
    filler = small_disk / "filler"
    space = os.statvfs(small_disk)
    filler.write_bytes(bytes(space.f_bavail * space.f_frsize - free * 1024))
    process = start(store, log=log)
    assert finish(process) == 1, log.read_text()[-2000:]
    said = log.read_text()
    assert "Traceback" not in said
    sentence = [line for line in said.splitlines() if line.startswith("Error: ")]
    assert len(sentence) == 1
    assert str(store) in sentence[0]
    assert "bytes and cannot be written (No space left on device); free space" in sentence[0]
    assert damages(open_store(str(store))) == []
    assert not list(store.rglob(".tmp-*"))
    theirs = files_of(undisturbed)
    assert all(data == theirs[path] for path, data in files_of(store).items())
    filler.unlink()
    assert finish(start(store, log=log)) == 0, log.read_text()[-2000:]
    assert_same(store, undisturbed)


def test_a_store_that_cannot_be_written_is_read(undisturbed: Path, small_disk: Path, tmp_path: Path) -> None:
    store, log = small_disk / "store", tmp_path / "log"
    shutil.copytree(undisturbed, store)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert_same(store, undisturbed)
    assert damages(open_store(str(store))) == []
    assert finish(start(store, "status", log=log)) == 0
    assert finish(start(store, "report", log=log)) == 1
    assert "cannot be written (Read-only file system); free space, mend the rights" in log.read_text()
    assert "Traceback" not in log.read_text()


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
from roar.store.local import LocalFiles
from roar.errors import StoreError
files = LocalFiles(sys.argv[2])
files.write("a/small.bin", b"x" * 100)
try:
    files.write("a/large.bin", b"x" * 5_000)
except StoreError as error:
    print(error)
"""


def test_a_quota_is_said_in_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED, "1000", str(tmp_path)], capture_output=True, text=True,
                          check=True)
    assert "large.bin' needs 5,000 bytes and cannot be written (File too large); free space" in done.stdout
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["small.bin"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY  # of this process


def test_a_place_that_cannot_be_made_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match=r"needs 3 bytes and cannot be written \(Not a directory\)"):
        LocalFiles(str(tmp_path / "file" / "store")).write("a.bin", b"abc")
