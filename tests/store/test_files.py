"""Files appear whole or not at all, stay below their place, and say plainly what went wrong."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roar.errors import StoreError, UsageError
from roar.store.files import TEMPORARY, checked
from roar.store.local import LocalFiles
from roar.store.location import open_files


def test_what_is_written_is_read_and_listed(tmp_path: Path) -> None:
    files = open_files(str(tmp_path))
    files.write("a/b/c.bin", b"123")
    files.write("a/d.bin", b"")
    assert files.read("a/b/c.bin") == b"123"
    assert files.list("") == files.list("a") == ["a/b/c.bin", "a/d.bin"]
    assert files.size("a/b/c.bin") == 3
    files.delete("a/d.bin")
    assert not files.exists("a/d.bin")
    assert files.list("nothing") == []


def test_a_failed_write_leaves_the_old_file_and_no_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = LocalFiles(str(tmp_path))
    files.write("a/b.bin", b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match=r"b\.bin' needs 3 bytes and cannot be written \(No space left on device\)"):
        files.write("a/b.bin", b"new")
    assert files.read("a/b.bin") == b"old"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.bin"]


def test_an_unfinished_file_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / f"{TEMPORARY}1-2-x.json").write_text("half")
    assert LocalFiles(str(tmp_path)).list("") == []


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"There is no file .*x\.bin"):
        LocalFiles(str(tmp_path)).read("x.bin")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a//b", ".", "", "a\x00b", "C:\\x", "a\nb", "ä"])
def test_a_path_cannot_leave_the_store(path: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="plain names"):
        LocalFiles(str(tmp_path / "store")).write(path, b"x")
    assert list(tmp_path.rglob("*")) == []


@given(st.text(max_size=30))
def test_every_path_is_refused_or_stays_inside(path: str) -> None:
    root = Path("/root/of/it")
    try:
        inside = root / checked(path)
    except UsageError:
        return
    assert inside.resolve().is_relative_to(root)
    assert inside.resolve() != root


def test_an_unknown_kind_of_url_is_refused() -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        open_files("nonsense://bucket/prefix")
