"""No path of a store leads out of it, and what is no file or has no fitting size is refused before it is read."""

from __future__ import annotations

import multiprocessing
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from roar.errors import DamagedArtifactError, StoreError
from roar.store import compaction, results
from roar.store.artifacts import artifact_files, key_of
from roar.store.claims import claim, is_claimed, remove_left_behind
from roar.store.integrity import damages
from roar.store.local import LocalFiles
from roar.store.store import Store, open_store
from roar.store.tables import MOST_UNPACKED, read_table

VERBS: dict[str, Callable[[LocalFiles, str], Any]] = {
    "read": lambda files, path: files.read(path),
    "write": lambda files, path: files.write(path, b"mine"),
    "create": lambda files, path: files.create(path, b"mine"),
    "exists": lambda files, path: files.exists(path),
    "size": lambda files, path: files.size(path),
    "delete": lambda files, path: files.delete(path),
    "list": lambda files, path: files.list(path.rpartition("/")[0]),
    "list of all": lambda files, path: files.list(""),
    "strangers": lambda files, path: files.strangers(),
    "abandoned": lambda files, path: files.abandoned(),
}
ROW: dict[str, Any] = {
    "source": "digits", "model": "simplecnn", "regularizer": "recipe", "retrainer": "simplecnn",
    "estimator": "gradient", "mode": "roar", "fill": "mean",
    "threshold": 50.0, "seed": 0, "status": "ok", "accuracy": 0.5, "n_test": 360,
    "epochs": 20, "train_seconds": 1.5, "device": "cpu", "protocol": "p", "ranking": "r", "message": "",
    "family": "gradient", "base": "gradient", "ensemble": "base", "control_of": "", "control_of_ranking": "",
    "architecture": "simplecnn", "model_seed": 0, "variant": "scratch", "class_accuracy": [0.5, 0.5],
}
FOLDERS = ("models", "rankings", "degraded", "metrics", "results", "results/compacted", "plans", "plans/copies",
           "statistics", "checkpoints", "claims", "reports")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of the user that has nothing to do with the store."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "x.bin").write_bytes(b"precious")
    (folder / ".tmp-00000000-1-x").write_bytes(b"precious too")
    os.utime(folder / ".tmp-00000000-1-x", (0, 0))
    return folder


def untouched(outside: Path) -> bool:
    return {path.name: path.read_bytes() for path in outside.iterdir()} == {
        "x.bin": b"precious", ".tmp-00000000-1-x": b"precious too"}


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("verb", VERBS)
def test_a_linked_folder_is_refused_by_name(verb: str, folder: str, outside: Path, tmp_path: Path) -> None:
    root = tmp_path / "store"
    (root / folder).parent.mkdir(parents=True)
    (root / folder).symlink_to(outside, target_is_directory=True)
    with pytest.raises(StoreError, match=rf"store/{folder}' is a link, and a store holds folders and files alone; put"):
        VERBS[verb](LocalFiles(str(root)), f"{folder}/x.bin")
    assert untouched(outside)


@pytest.mark.parametrize("verb", VERBS)
def test_a_linked_file_is_refused_by_name(verb: str, outside: Path, tmp_path: Path) -> None:
    root = tmp_path / "store"
    (root / "results").mkdir(parents=True)
    (root / "results" / "x.bin").symlink_to(outside / "x.bin")
    with pytest.raises(StoreError, match=r"results/x\.bin' is a link"):
        VERBS[verb](LocalFiles(str(root)), "results/x.bin")
    assert untouched(outside)
    assert (root / "results" / "x.bin").is_symlink()


def test_a_store_whose_root_is_a_link_is_a_store(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk", target_is_directory=True)
    store = open_store(str(tmp_path / "store"))
    identity = store.description["id"]
    store.files.write("results/compacted/x.bin", b"123")
    assert store.files.list("results") == ["results/compacted/x.bin"]
    with claim(store.files, "task") as mine:
        assert mine
    assert open_store(str(tmp_path / "disk")).description["id"] == identity


def test_a_claim_follows_no_link(outside: Path, tmp_path: Path) -> None:
    files = LocalFiles(str(tmp_path / "store"))
    with claim(files, "task"):
        path = tmp_path / "store" / files.list("claims")[0]
    path.symlink_to(outside / "x.bin")
    with pytest.raises(StoreError, match="is a link"), claim(files, "task"):
        pass
    with pytest.raises(StoreError, match="is a link"):
        is_claimed(files, "task")
    with pytest.raises(StoreError, match="is a link"):
        remove_left_behind(files, f"claims/{path.name}")
    assert untouched(outside)


@pytest.mark.parametrize("folder", [*(name for name in FOLDERS if name != "results/compacted")])
@pytest.mark.parametrize("words", [("clean", "--yes"), ("verify", "--repair")])
def test_no_command_touches_anything_through_a_link(words: tuple[str, ...], folder: str, outside: Path, tmp_path: Path,
                                                    roar: Callable[..., Any]) -> None:
    root = tmp_path / "store"
    _ = open_store(str(root)).description
    (root / folder).parent.mkdir(exist_ok=True)
    (root / folder).symlink_to(outside, target_is_directory=True)
    said = roar(*words, "--store", str(root))
    assert untouched(outside)
    assert said.code == 1
    assert f"store/{folder}' is a link" in said.err


# -- what is no file -----------------------------------------------------------------------------------------------


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    where = Path.cwd()
    os.chdir(path.parent)  # a socket's path may have 100 characters
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.chdir(where)


def _device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero, which has no end
    except PermissionError:
        pytest.skip("only root can make a device; a FIFO and a socket are tested everywhere")


@pytest.mark.timeout(30)
@pytest.mark.parametrize(("make", "kind"), [(_fifo, "FIFO"), (_socket, "socket"), (_device, "device"),
                                            (Path.mkdir, "folder")])
@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("list", "list of all", "strangers",
                                                                         "abandoned")])
def test_what_is_no_file_is_refused_and_nothing_hangs(verb: str, make: Callable[[Path], None], kind: str,
                                                      tmp_path: Path) -> None:
    root = tmp_path / "store"
    (root / "results").mkdir(parents=True)
    make(root / "results" / "x.bin")
    with pytest.raises(StoreError, match=rf"results/x\.bin' is a {kind}, and a store holds .*; move it away"):
        VERBS[verb](LocalFiles(str(root)), "results/x.bin")


@pytest.mark.timeout(30)
@pytest.mark.parametrize("where", ["store.json", "results/x.json", "plans/x.json", "models/s/m-0/manifest.json",
                                   "statistics/x.json", "claims/x.lock", "checkpoints/x", "reports/gallery.npz"])
@pytest.mark.parametrize("words", [("status",), ("verify",), ("clean", "--dry-run")])
def test_no_command_waits_for_a_fifo(words: tuple[str, ...], where: str, tmp_path: Path,
                                     roar: Callable[..., Any]) -> None:
    root = tmp_path / "store"
    if where != "store.json":
        _ = open_store(str(root)).description
    (root / where).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(root / where)
    said = roar(*words, "--store", str(root))
    assert said.code == 0 or f"store/{where}' is a FIFO" in said.err


# -- sizes ---------------------------------------------------------------------------------------------------------


def _store_with_an_artifact(root: Path) -> tuple[Store, str]:
    store = open_store(str(root))
    _ = store.description
    folder = f"models/s/m-{key_of({'a': 1})}"
    for path, data in artifact_files("model", folder, {"a": 1}, {"weights.safetensors": b"abc"}, {}).items():
        store.files.write(path, data)
    return store, folder


def _grow(path: Path, size: int) -> None:
    """A sparse file: it takes no space, and 5 GB to read."""
    with path.open("r+b" if path.exists() else "wb") as file:
        file.truncate(size)


def _peak_of(work: Callable[..., Any], *arguments: Any) -> int:
    """The memory in bytes that a function takes at most, in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    with context.Pool(1) as pool:
        return int(pool.apply(_measured, (work, arguments)))


def _measured(work: Callable[..., Any], arguments: tuple[Any, ...]) -> int:
    import resource
    import sys

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work(*arguments)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1 if sys.platform == "darwin" else 1024)


def _read_part(root: str, folder: str) -> None:
    with pytest.raises(DamagedArtifactError, match="is not what was written"):
        open_store(root).read_file(folder, "weights.safetensors")
    assert [damage.state for damage in damages(open_store(root))] == ["is not what was written"]


def _read_large(root: str, path: str) -> None:
    with pytest.raises(StoreError, match=r"has 5,000,000,000 bytes and at most [0-9,]+ were written; move it away"):
        damages(open_store(root))


@pytest.mark.timeout(60)
def test_the_size_is_asked_before_a_part_is_read(tmp_path: Path) -> None:
    _, folder = _store_with_an_artifact(tmp_path / "store")
    _grow(tmp_path / "store" / folder / "weights.safetensors", 5_000_000_000)
    assert _peak_of(_read_part, str(tmp_path / "store"), folder) < 100e6


@pytest.mark.timeout(60)
@pytest.mark.parametrize("path", ["store.json", "plans/0123456789ab.json", "results/0123456789ab.json",
                                  "results/compacted/0123456789abcdef0123.jsonl", "statistics/x.json", "manifest.json"])
def test_no_file_larger_than_any_of_its_kind_is_read(path: str, tmp_path: Path) -> None:
    _, folder = _store_with_an_artifact(tmp_path / "store")
    place = tmp_path / "store" / (f"{folder}/manifest.json" if path == "manifest.json" else path)
    place.parent.mkdir(parents=True, exist_ok=True)
    _grow(place, 5_000_000_000)
    assert _peak_of(_read_large, str(tmp_path / "store"), path) < 100e6


def test_results_are_compacted_into_files_that_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (compaction, results):
        monkeypatch.setattr(module, "MOST_COMPACTED", 3_000)
    files = LocalFiles(str(tmp_path))
    for number in range(12):
        key = key_of({"a": number})
        files.write(*results.result_file(key, {**ROW, "job": key}, {"a": number}))
    assert compaction.compact(files, at_least=1) == 12
    compacted = results.compacted_files(files)
    assert len(compacted) > 1
    assert max(files.size(path) for path in compacted) <= 3_000
    assert len(results.all_results(files)) == 12


# -- Parquet -------------------------------------------------------------------------------------------------------


def _bomb(dictionary: bool) -> bytes:
    """A file of some kilobytes whose one column has 2 GB of zeros: as pages that are packed, or as one run."""
    sink = pa.BufferOutputStream()
    part = pa.table({"x": np.zeros(2**22, np.int32)})
    with pq.ParquetWriter(sink, part.schema, compression="zstd", use_dictionary=dictionary,
                          data_page_size=2**30) as writer:
        for _ in range(128):
            writer.write_table(part, row_group_size=2**22)
    return sink.getvalue().to_pybytes()


def _refused(data: bytes) -> None:
    with pytest.raises(DamagedArtifactError, match=r"'x' unpacks to [0-9,]+ bytes and roar writes at most"):
        read_table(data, "x")


@pytest.mark.parametrize("dictionary", [True, False])
def test_a_bomb_of_parquet_is_not_unpacked(dictionary: bool) -> None:
    data = _bomb(dictionary)
    assert len(data) < 3e6 < MOST_UNPACKED
    assert _peak_of(_refused, data) < 200e6
