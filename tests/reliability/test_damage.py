"""Every kind of damage to every kind of file is noticed when it is read, and repaired without touching another."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from roar_processes import assert_same

from roar import pipeline
from roar.errors import DamagedArtifactError, StoreError
from roar.experiment import load_experiment
from roar.metrics.deletion.tasks import delete
from roar.metrics.retraining.tasks import retrain
from roar.report.view import Results
from roar.store.artifacts import MANIFEST
from roar.store.compaction import compact, write_compacted
from roar.store.integrity import damages, missing
from roar.store.requests import read_plans
from roar.store.results import all_results
from roar.store.shards import read_ranks
from roar.store.store import open_store

SMALL: dict[str, Any] = {
    "source": {"limit_train": 40, "limit_test": 20}, "train": {"epochs": 1, "batch_size": 20},
    "estimators": {"names": ["gradient", "random"], "shard_size": 20}, "degrade": {"thresholds": [50]},
    "retrain": {"seeds": 2, "epochs": 1, "batch_size": 20}, "compute": {"executor": "serial", "pack": 4},
}


def made(store: Path, seed: int) -> Path:
    session = pipeline.prepare(load_experiment(None, {**SMALL, "seed": seed, "store": str(store)}))
    pipeline.degrade(session)
    delete(session)
    retrain(session)
    return store


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("whole") / "store", 0)


@pytest.fixture(scope="module")
def compacted(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("compacted") / "store"
    shutil.copytree(whole, store)
    assert compact(open_store(str(store)).files, at_least=1) == 6
    return store


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another store of the same kind, every key of which is another; its results lie there in both ways."""
    store = made(tmp_path_factory.mktemp("foreign") / "store", 1)
    files = open_store(str(store)).files
    write_compacted(files, all_results(files))
    return store


def only(paths: Any) -> Path:
    return sorted(path for path in paths if path.is_file())[0]


# A file of every kind, in a store.
KINDS: dict[str, Callable[[Path], Path]] = {
    "model": lambda store: only(store.glob("models/*/*/weights.safetensors")),
    "history": lambda store: only(store.glob("models/*/*/history.parquet")),
    "ranking": lambda store: only(store.glob("rankings/*/*/gradient-*/train/part-00001.parquet")),
    "degraded": lambda store: only(store.glob("degraded/*/*/gradient-*/*/test-*.parquet")),
    "deletion": lambda store: only(store.glob("metrics/deletion/*/*/gradient-*/*.parquet")),
    "manifest of a model": lambda store: only(store.glob(f"models/*/*/{MANIFEST}")),
    "manifest of a ranking": lambda store: only(store.glob(f"rankings/*/*/gradient-*/train/{MANIFEST}")),
    "manifest of a degraded set": lambda store: only(store.glob(f"degraded/*/*/gradient-*/*/{MANIFEST}")),
    "result": lambda store: only(store.glob("results/*.json")),
    "compacted": lambda store: only(store.glob("results/compacted/*")),
    "plan": lambda store: only(store.glob("plans/*.json")),
    "copy of a plan": lambda store: only(store.glob("plans/copies/*.json")),
    "store": lambda store: store / "store.json",
}
DAMAGES = ["truncated", "flipped", "emptied", "deleted", "replaced"]


def damage(path: Path, how: str, other: Path) -> None:
    data = path.read_bytes()
    if how == "truncated":
        path.write_bytes(data[:2 * len(data) // 3])
    elif how == "flipped":
        path.write_bytes(data[:len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1:])
    elif how == "emptied":
        path.write_bytes(b"")
    elif how == "deleted":
        path.unlink()
    else:
        path.write_bytes(other.read_bytes())


def stamps(store: Path) -> dict[str, tuple[int, int]]:
    return {path.relative_to(store).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
            for path in store.rglob("*") if path.is_file() and path.relative_to(store).parts[0] != "claims"}


def may_change(path: str, kind: str) -> Callable[[str], bool]:
    """Which files a repair may write."""
    folder = path.rpartition("/")[0]
    if kind == "ranking":
        return lambda other: other in (path, f"{folder}/{MANIFEST}")
    if kind == "manifest of a ranking" or kind in ("result", "plan", "copy of a plan", "store"):
        return lambda other: other == path
    if kind == "compacted":
        return lambda other: other.startswith("results/")
    return lambda other: other.startswith(f"{folder}/")


def read(store: Path, path: str) -> None:
    """Read the file as roar does; what is gone is missed here or by the plan."""
    opened = open_store(str(store))
    folder, _, name = path.rpartition("/")
    if path.startswith("rankings/"):
        read_ranks(opened, folder)
    elif path.startswith(("models/", "degraded/", "metrics/")):
        manifest = opened.manifest(folder)
        if manifest is not None and name != MANIFEST:
            opened.read_file(folder, name)
    elif path.startswith("results/"):
        Results(opened).results()
    else:
        read_plans(opened)
    for plan in missing(opened):
        raise StoreError(f"missing: {plan.artifacts} {plan.jobs}")


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_noticed_and_repaired(kind: str, how: str, whole: Path, compacted: Path, foreign: Path,
                                        tmp_path: Path, roar: Callable[..., Any]) -> None:
    pristine = compacted if kind == "compacted" else whole
    store = tmp_path / "store"
    shutil.copytree(pristine, store)
    target = KINDS[kind](store)
    path = target.relative_to(store).as_posix()
    damage(target, how, KINDS[kind](foreign))
    before = stamps(store)

    if kind == "copy of a plan":  # it is only read when the plan itself is damaged
        assert how == "deleted" or [d.path for d in damages(open_store(str(store)))] == [path]
    else:
        with pytest.raises(StoreError) as error:
            read(store, path)
        assert how == "deleted" or isinstance(error.value, DamagedArtifactError)
        said = roar("verify", "--store", str(store))
        assert said.code == 1
        assert path in said.out or "missing: " in said.out

    said = roar("verify", "--repair", "--store", str(store))
    assert said.code == 0, said.out + said.err
    assert "0 damaged, 0 missing" in said.out
    assert roar("verify", "--store", str(store)).code == 0
    after, allowed = stamps(store), may_change(path, kind)
    assert [other for other in before if before[other] != after.get(other) and not allowed(other)] == []
    assert_same(store, pristine)
    ours, theirs = (read_plans(open_store(str(place))) for place in (store, pristine))
    assert ours == theirs
    assert open_store(str(store)).description == open_store(str(pristine)).description
