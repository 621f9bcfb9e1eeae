"""What is sealed and cannot be is not believed: shards that are no rankings, rows that are no results, galleries."""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from analysis_results import ROW

from roar.analysis.gallery import Gallery, GalleryRow
from roar.errors import DamagedArtifactError
from roar.jobs.stage import Desk
from roar.report.gallery import keep_gallery, read_gallery
from roar.store.artifacts import FORMAT, GALLERY, artifact_files, key_of
from roar.store.compaction import write_compacted
from roar.store.integrity import damages, unknown
from roar.store.merge import merge
from roar.store.requests import Plan, write_plan
from roar.store.results import COLUMNS, all_results, compacted_name, finished_jobs, read_results, result_file
from roar.store.sealed import seal, sealed_archive
from roar.store.shards import RankReader, rank_folder, read_ranks, shard_bytes, shard_name
from roar.store.store import Store, open_store

SIZE, PIXELS = 10, 64
INDICES = np.arange(2 * SIZE, dtype=np.int64) * 3


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(str(tmp_path / "store"))
    _ = store.description
    return store


# -- shards --------------------------------------------------------------------------------------------------------


def ranks_of(count: int) -> np.ndarray:
    random = np.random.default_rng(count)
    return random.permuted(np.tile(np.arange(PIXELS, dtype=np.uint8), (count, 1)), axis=1)


def put_ranking(store: Store, parts: list[bytes], estimator: str = "gradient") -> str:
    """A finished ranking whose every seal fits."""
    identity = {"artefact": "ranking", "estimator": estimator, "shard_size": SIZE}
    folder = f"rankings/s/m/{estimator}-{key_of(identity)}/test"
    files = {shard_name(number): data for number, data in enumerate(parts)}
    for path, data in artifact_files("ranking", folder, identity, files, {"split": "test"}).items():
        store.files.write(path, data)
    return folder


def shard(number: int, change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None,
          ) -> bytes:
    indices, ranks = INDICES[SIZE * number:SIZE * (number + 1)], ranks_of(SIZE)
    if change is not None:
        indices, ranks = change(indices.copy(), ranks.copy())
    return shard_bytes(indices, np.zeros(len(indices)), np.zeros(len(indices)), ranks, {})


def _set(ranks: np.ndarray, value: int) -> np.ndarray:
    ranks[3, 5] = value
    return ranks


WRONG: dict[str, Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "rows reversed": lambda index, ranks: (index[::-1], ranks),
    "all indices 0": lambda index, ranks: (index * 0, ranks),
    "indices negative": lambda index, ranks: (index - 100, ranks),
    "ranks all alike": lambda index, ranks: (index, ranks * 0),
    "one rank twice": lambda index, ranks: (index, _set(ranks, (int(ranks[3, 5]) + 1) % PIXELS)),
    "a rank too large": lambda index, ranks: (index, _set(ranks, 200)),
    "ranks of 2^62": lambda index, ranks: (index, _set(ranks.astype(np.uint64), 2**62)),
    "no image": lambda index, ranks: (index[:0], ranks[:0]),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_shard_that_is_no_ranking_is_not_believed(wrong: str, store: Store) -> None:
    folder = put_ranking(store, [shard(0), shard(1, WRONG[wrong])])
    path = f"{folder}/{shard_name(1)}"
    with pytest.raises(DamagedArtifactError, match="part-00001"):
        read_ranks(store, folder)
    with pytest.raises(DamagedArtifactError, match="part-00001"):
        RankReader(rank_folder(store, folder), store.read_file)(np.arange(2 * SIZE), INDICES)
    assert [damage.path for damage in damages(store)] == [path]


def rewritten(change: Callable[[pa.Table], pa.Table]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(change(pq.read_table(io.BytesIO(shard(0)))), stream)
    return stream.getvalue()


def _ranks_as(kind: pa.DataType, values: np.ndarray) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        lists = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)).cast(kind), PIXELS)
        return table.set_column(3, "rank", lists)
    return change


@pytest.mark.parametrize("change", [
    _ranks_as(pa.int16(), -ranks_of(SIZE).astype(np.int16)),
    _ranks_as(pa.float32(), ranks_of(SIZE)),
    _ranks_as(pa.uint8(), ranks_of(SIZE)[::-1]),  # permutations of the right type, under the digest of others
    lambda table: table.drop_columns(["target"]),
    lambda table: table.set_column(0, "index", pa.array([None] * SIZE, pa.int64())),
    lambda table: table.append_column("more", pa.array(range(SIZE))),
    lambda table: table.replace_schema_metadata({}),
], ids=["negative", "float", "another digest", "no target", "null", "more", "no digest"])
def test_a_shard_of_another_kind_is_not_believed(change: Callable[[pa.Table], pa.Table], store: Store) -> None:
    folder = put_ranking(store, [rewritten(change)])
    with pytest.raises(DamagedArtifactError, match="part-00000"):
        read_ranks(store, folder)
    with pytest.raises(DamagedArtifactError, match="part-00000"):
        RankReader(rank_folder(store, folder), store.read_file)(np.arange(SIZE), INDICES[:SIZE])
    assert len(damages(store)) == 1


def test_ranks_of_other_images_are_not_believed(store: Store) -> None:
    folder = put_ranking(store, [shard(0), shard(1)])
    np.testing.assert_array_equal(read_ranks(store, folder, INDICES),
                                  RankReader(rank_folder(store, folder), store.read_file)(np.arange(20), INDICES))
    with pytest.raises(DamagedArtifactError, match="has ranks of other images"):
        read_ranks(store, folder, INDICES + 1)
    with pytest.raises(DamagedArtifactError, match="has no ranks of image"):
        RankReader(rank_folder(store, folder), store.read_file)(np.arange(20), INDICES + 1)
    swapped = put_ranking(store, [shard(1), shard(0)], "vargrad")
    with pytest.raises(DamagedArtifactError, match="does not go on from the shard before it"):
        read_ranks(store, swapped)


def test_ranks_by_chance_are_no_permutations(store: Store) -> None:
    def alike(index: np.ndarray, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return index, np.full_like(ranks, 7)

    folder = put_ranking(store, [shard(0, alike)], "random-bernoulli")
    assert (read_ranks(store, folder) == 7).all()
    assert damages(store) == []


# -- rows ----------------------------------------------------------------------------------------------------------

IMPOSSIBLE: list[dict[str, Any]] = [
    {"accuracy": 1e308}, {"accuracy": 1.5}, {"accuracy": -0.1}, {"accuracy": math.nan}, {"accuracy": math.inf},
    {"accuracy": None}, {"accuracy": "0.5"}, {"accuracy": True}, {"accuracy": 10**400},
    {"threshold": math.nan}, {"threshold": None}, {"threshold": -1.0}, {"threshold": 100.5}, {"threshold": "50"},
    {"seed": -5}, {"seed": 1.5}, {"seed": None}, {"seed": 2**63}, {"seed": True},
    {"mode": "sideways"}, {"mode": ""}, {"mode": None}, {"status": "perhaps"}, {"status": ["ok"]},
    {"n_test": 0}, {"n_test": -3}, {"n_test": 2**60}, {"epochs": -1}, {"train_seconds": -1.0},
    {"train_seconds": math.nan}, {"estimator": ""}, {"estimator": 5}, {"source": None}, {"fill": ["mean"]},
    {"class_accuracy": [2.0]}, {"class_accuracy": "abc"}, {"class_accuracy": []}, {"class_accuracy": {"a": 1}},
    {"class_accuracy": [[0.5]]}, {"message": "x" * 200_000}, {"device": None},
    {"status": "failed", "accuracy": 0.5},
    {"family": ""}, {"base": None}, {"ensemble": ""}, {"architecture": ""}, {"model_seed": -1}, {"variant": ""},
    {"control_of": None},
]


def body_of(row: dict[str, Any], identity: dict[str, Any]) -> bytes:
    """A result with a seal that fits, as a stranger writes it: JSON takes NaN from Python."""
    text = json.dumps({"format": FORMAT, "row": row, "identity": identity})
    import hashlib

    rest = text.encode()[1:]
    return b'{"sha256": "' + hashlib.sha256(rest).hexdigest().encode() + b'",' + rest


@pytest.mark.parametrize("changed", IMPOSSIBLE, ids=str)
def test_a_row_that_cannot_be_is_no_result(changed: dict[str, Any], store: Store, roar: Callable[..., Any]) -> None:
    identity = {"a": 1}
    row = {**ROW, "class_accuracy": None, "job": key_of(identity), **changed}
    path = f"results/{row['job']}" + (".failed.json" if row["status"] == "failed" else ".json")
    data = body_of(row, identity)
    store.files.write(path, data)
    with pytest.raises(DamagedArtifactError, match=r"results/\w+\."):
        read_results(store.files)
    assert [damage.path for damage in damages(store)] == [path]
    store.files.delete(path)
    store.files.write(compacted_name(data + b"\n"), data + b"\n")
    for look in (read_results, all_results, finished_jobs):
        with pytest.raises(DamagedArtifactError, match="holds what is no result"):
            look(store.files)
    said = roar("verify", "--repair", "--store", store.location)
    assert "1 damaged files" in said.out
    assert damages(store) == []
    assert all_results(store.files) == []


def test_a_row_that_is_not_its_jobs_is_no_result(store: Store) -> None:
    identity = {"threshold": 50.0, "seed": 3, "mode": "kar"}
    key = key_of(identity)
    good = {**ROW, "job": key, **identity}
    store.files.write(*result_file(key, good, identity))
    assert len(read_results(store.files)) == 1
    for column, value in (("threshold", 40.0), ("seed", 4), ("mode", "roar")):
        store.files.write(f"results/{key}.json", seal({"format": FORMAT, "row": {**good, column: value},
                                                       "identity": identity}))
        with pytest.raises(DamagedArtifactError):
            read_results(store.files)


@pytest.mark.parametrize("changed", [
    {}, {"accuracy": 0}, {"accuracy": 1.0}, {"threshold": 0.0}, {"threshold": 100}, {"seed": 2**63 - 1},
    {"class_accuracy": [0.5, None, 1.0]}, {"train_seconds": None}, {"mode": "recursive"}, {"fill": "my.py:fill"},
    {"status": "failed", "accuracy": None, "message": "x"},
], ids=str)
def test_a_row_that_can_be_is_a_result(changed: dict[str, Any], store: Store) -> None:
    row = {**ROW, "job": key_of({"a": 1}), **changed}
    store.files.write(*result_file(row["job"], row, {"a": 1}))
    assert list(read_results(store.files).columns) == list(COLUMNS)
    if row["status"] == "ok":
        write_compacted(store.files, all_results(store.files))
        assert len(read_results(store.files)) == 1
    assert damages(store) == []


# -- galleries, states, strangers ----------------------------------------------------------------------------------


def put_gallery(store: Store) -> None:
    strip = np.arange(2 * 8 * 8, dtype=np.uint8).reshape(2, 8, 8, 1)
    keep_gallery(store, Gallery((0.0, 50.0), (GalleryRow("gradient", "cat", strip), GalleryRow("sobel", "dog", strip))))


def test_a_flipped_bit_of_a_gallery_is_noticed(store: Store, roar: Callable[..., Any]) -> None:
    put_gallery(store)
    whole = store.files.read(GALLERY)
    gallery = read_gallery(store)
    assert gallery is not None
    assert [row.label for row in gallery.rows] == ["cat", "dog"]
    assert damages(store) == []
    for at in range(0, len(whole), max(1, len(whole) // 60)):
        store.files.write(GALLERY, whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
        with pytest.raises(DamagedArtifactError, match=r"gallery\.npz' is not what was written"):
            read_gallery(store)
    assert [damage.path for damage in damages(store)] == [GALLERY]
    assert roar("verify", "--repair", "--store", store.location).code == 0
    assert read_gallery(store) is None


@pytest.mark.parametrize("arrays", [
    {"images": np.zeros((2, 2, 8, 8, 1), np.float64)}, {"images": np.zeros((1, 2, 8, 8, 1), np.uint8)},
    {"thresholds": np.array(["a", "b"])}, {"labels": np.zeros(2)}, {"estimators": np.array([b"a", b"b"])}, {"more": 1},
    {"images": np.zeros((2, 2, 20_000, 20_000, 1), np.uint8)},
], ids=["float", "count", "thresholds", "labels", "estimators", "none", "bomb"])
def test_a_sealed_archive_that_is_no_gallery_is_refused(arrays: dict[str, Any], store: Store) -> None:
    good = {"thresholds": np.array([0.0, 50.0]), "estimators": np.array(["a", "b"]), "labels": np.array(["c", "d"]),
            "images": np.zeros((2, 2, 8, 8, 1), np.uint8)}
    stream = io.BytesIO()
    np.savez_compressed(stream, **({**good, **arrays} if "more" not in arrays else arrays))
    store.files.write(GALLERY, sealed_archive(stream.getvalue()))
    with pytest.raises(DamagedArtifactError, match=r"gallery\.npz' (is no gallery|unpacks to more than)"):
        read_gallery(store)


def test_a_state_that_is_damaged_is_found(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roar.jobs.stage.CHECKPOINT_EVERY", -1.0)
    Desk(store.files, "task", lambda share, text: None).save(lambda: b"state of it")
    (path,) = store.files.list("checkpoints")
    assert damages(store) == []
    data = store.files.read(path)
    store.files.write(path, data[:-1])
    assert [damage.path for damage in damages(store)] == [path]
    assert Desk(store.files, "task", lambda share, text: None).saved() is None


def test_files_of_strangers_are_left_alone_and_named(store: Store, tmp_path: Path, roar: Callable[..., Any]) -> None:
    put_ranking(store, [shard(0)])
    root = tmp_path / "store"
    folder = next(root.glob("rankings/*/*/*/test"))
    strange = [root / "rankings" / ".DS_Store", root / ".DS_Store", root / "notes.txt", folder / ".DS_Store",
               root / "results" / "x (conflicted copy 2026-11-20).json", root / "rankings" / "desktop.ini",
               folder / "part-00000 2.parquet", root / "plans" / ".syncthing.x.tmp", root / "models" / "a b" / "x.bin"]
    for path in strange:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")
    for words in (["status"], ["status", "--why", "rankings"], ["verify"], ["verify", "--repair"],
                  ["clean", "--dry-run"], ["clean", "--yes"], ["merge", str(tmp_path / "other")]):
        said = roar(*words, "--store", str(root))
        assert "Traceback" not in said.err
    assert all(path.read_bytes() == b"mine" for path in strange if path.name != "desktop.ini")
    named = roar("verify", "--store", str(root)).out
    for path in strange:
        if path.name != "desktop.ini":
            assert f"left alone: {path.relative_to(root)} is no file of a store" in named
    assert len(unknown(store.files)) == len(strange) - 1


# -- plans ---------------------------------------------------------------------------------------------------------


def test_a_plan_that_is_lost_in_both_places_is_said_and_put_aside(store: Store, tmp_path: Path,
                                                                  roar: Callable[..., Any]) -> None:
    plan = Plan("rank", "digits", "f", (), {"seed": 1})
    write_plan(store, plan)
    write_plan(store, Plan("rank", "digits", "f", (), {"seed": 2}))
    for folder in ("plans", "plans/copies"):
        (tmp_path / "store" / folder / f"{plan.key}.json").write_bytes(b"damaged")
    before = shutil.copytree(tmp_path / "store", tmp_path / "before")
    said = roar("verify", "--repair", "--store", store.location, "--executor", "serial")
    assert said.code == 1
    assert (f"lost: plans/{plan.key}.json and its copy, so what it asked for is not known any more; they are in "
            "lost+found/. Give the command again that made it") in said.out
    for folder in ("plans", "plans/copies"):
        name = f"{folder}/{plan.key}.json"
        assert (tmp_path / "store" / "lost+found" / name).read_bytes() == (before / name).read_bytes()
        assert not (tmp_path / "store" / name).exists()


def test_a_merge_heals_what_is_damaged_here(store: Store, tmp_path: Path) -> None:
    folder = put_ranking(store, [shard(0), shard(1)])
    other = open_store(str(tmp_path / "other"))
    shutil.copytree(tmp_path / "store", tmp_path / "other")
    (tmp_path / "store" / folder / shard_name(1)).write_bytes(b"damaged")
    assert merge(store, other).artifacts == 1
    assert damages(store) == []
    assert merge(store, other).artifacts == 0
